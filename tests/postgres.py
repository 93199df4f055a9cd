"""A real PostgreSQL with pgvector for tests, under a name of its own, gone afterwards."""

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator

from llmbench.retrieval import server


@contextlib.contextmanager
def database() -> Iterator[str]:
    """Have a fresh embedded database up while the block runs; yield its name: ``embedded:test-...``."""
    name = f"embedded:test-{os.getpid()}-{uuid.uuid4().hex[:6]}"
    try:
        with server.served(name):
            yield name
    finally:
        shutil.rmtree(server.data_folder(name), ignore_errors=True)
