"""The live line of long work: one line on standard error that moves while the work goes on."""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Self

from rich.cells import set_cell_size
from rich.console import Console

from llmbench.render.text import plain

_INTERVAL_S = 0.25
_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_ASCII_FRAMES = "|/-\\"
_CLEAR = "\r\x1b[2K"
_WIDEST = 160


class LiveLine:
    """A spinner, the time elapsed, and what *describe* returns, where standard error is a terminal; elsewhere nothing.

    *describe* is called four times a second from a thread of its own, and returns parts that are shown as far as the
    terminal is wide. To draw a line takes some 50 microseconds, so that the thread takes nothing from what is measured.
    """

    def __init__(self, describe: Callable[[], Iterable[str]], *, is_shown: bool = True) -> None:
        console = Console(stderr=True)
        self._is_shown = is_shown and console.is_terminal and not console.is_dumb_terminal
        self._frames = _ASCII_FRAMES if console.options.ascii_only else _FRAMES
        self.shares_screen = self._is_shown and sys.stdout is not None and sys.stdout.isatty()
        self._describe = describe
        self._lock = threading.RLock()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        if self._is_shown:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        if self._is_shown:
            self._thread.join()
            self._write(_CLEAR)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """The line is away while the block prints."""
        with self._lock:
            if self._is_shown and self._thread.is_alive():
                self._write(_CLEAR)
            yield
            if self._is_shown and sys.stdout is not None:
                with contextlib.suppress(OSError, ValueError):
                    sys.stdout.flush()

    def _run(self) -> None:
        while not self._is_over.wait(_INTERVAL_S):
            with self._lock, contextlib.suppress(OSError):
                self._write(_CLEAR + self._text())

    def _text(self) -> str:
        elapsed = time.monotonic() - self._began
        frame = self._frames[int(elapsed / _INTERVAL_S) % len(self._frames)]
        minutes, seconds = divmod(int(elapsed), 60)
        parts = (f"{minutes}:{seconds:02d}", *filter(None, self._describe()))
        return fit_line(f"{frame} {'  '.join(plain(part) for part in parts)}", _columns() - 1)

    @staticmethod
    def _write(text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(text)
            sys.stderr.flush()


def fit_line(text: str, width: int) -> str:
    """Return as much of a text as *width* columns hold, without spaces at its end."""
    return set_cell_size(text, min(width, _WIDEST)).rstrip()


def _columns() -> int:
    try:
        return os.get_terminal_size(2).columns
    except OSError:
        return 80
