"""Threads and child processes that a test leaves behind."""

import contextlib
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

_KEPT = ("asyncio_", "ThreadPoolExecutor-", "tqdm_monitor")
"""Those in which asyncio looks up hosts and transformers reads weights, and one of tqdm: libraries keep them."""

_OURS = tuple(str(Path(__file__).parents[1] / name) for name in ("llmbench", "tests"))


def name_own_pools() -> None:
    """Have threads of pools that our code or a test makes named after its file: those of libraries may stay."""
    made: Callable[..., None] = ThreadPoolExecutor.__init__

    def make(pool: ThreadPoolExecutor, *arguments: Any, **options: Any) -> None:
        made(pool, *arguments, **options)
        file = sys._getframe(1).f_code.co_filename
        if file.startswith(_OURS):
            pool._thread_name_prefix = f"pool of {Path(file).name}"  # type: ignore[attr-defined]

    ThreadPoolExecutor.__init__ = make  # type: ignore[method-assign]


def threads_and_children() -> set[str]:
    """Return the threads of this process that no library keeps, and its children that have not ended."""
    threads = [thread for thread in threading.enumerate() if not thread.name.startswith(_KEPT)]
    found = {f"thread {thread.name} {thread.ident}" for thread in threads}
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            found |= {f"process {number}" for number in (task / "children").read_text().split()}
    return found
