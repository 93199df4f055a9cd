"""A scripted server in a process of its own, and what ``llmbench load`` measured of it."""

import contextlib
import json
import urllib.request
from collections.abc import Iterator
from typing import Any

from llmbench.engines.servers.base import ServerProcess, free_port, own_python, wait_until_ready
from llmbench.schema.measurement import Measurement
from llmbench.schema.run import Run
from tests.waiting import PATIENCE_S


@contextlib.contextmanager
def scripted_server(script: str) -> Iterator[ServerProcess]:
    """A server that is ready, and is ended behind the block."""
    port = free_port()
    server = ServerProcess(own_python("llmbench.engines.servers.scripted", script, str(port)), port)
    try:
        wait_until_ready(server, "/health", limit_s=PATIENCE_S)
        yield server
    finally:
        server.stop()


def log_of(server: ServerProcess) -> list[dict[str, Any]]:
    """What the server itself noted of each request."""
    with urllib.request.urlopen(f"{server.url}/log") as response:  # noqa: S310  our own address
        found: list[dict[str, Any]] = json.load(response)
        return found


def measured(run: Run) -> list[Measurement]:
    """The measured requests of a run, those that failed included."""
    return [m for launch in run.launches for m in launch.measurements if not m.is_warmup]
