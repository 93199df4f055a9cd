"""The command ``llmbench`` as tests call it: inside this process, or as a process of its own.

Inside this process is the rule, for a start takes a third of a second. Real engines, crashes and hangs need a worker
process for each launch. A process of its own is for tests whose subject is the process: killed, closed streams,
encodings, secrets, users, code injected by PYTHONPATH.
"""

import contextlib
import io
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from llmbench.cli.main import invoke

Done = subprocess.CompletedProcess[str]
RunCommand = Callable[..., Done]

SCREEN = {"NO_COLOR": "1", "COLUMNS": "120"}
"""No colours, and a width that does not depend on whose terminal this is."""


def in_process(folder: Path, launcher: str, *arguments: str, **changes: str) -> Done:
    """The command inside this process, in *folder*; *launcher* makes its launches."""
    with _restored(), contextlib.chdir(folder), _stream() as out, _stream() as err:
        os.environ.update(SCREEN, LLMBENCH_LAUNCHER=launcher)
        os.environ.update(changes)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = invoke(list(arguments))
        return subprocess.CompletedProcess(arguments, code, _text(out), _text(err))


def as_process(folder: Path, *arguments: str, **changes: str) -> Done:
    """The command as a process of its own, in *folder*."""
    return subprocess.run(
        [sys.executable, "-m", "llmbench", *arguments],
        check=False,
        cwd=folder,
        env={**os.environ, **SCREEN, **changes},
        capture_output=True,
        text=True,
        timeout=1200,  # a conversion on a machine that is busy
    )


@contextlib.contextmanager
def _restored() -> Iterator[None]:
    """Leave environment and signal handlers as they were, whatever the command sets."""
    environment = dict(os.environ)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(environment)
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _stream() -> contextlib.AbstractContextManager[io.TextIOWrapper]:
    """A file in place of a standard stream: no terminal, and it has a descriptor that a child can inherit."""
    return tempfile.TemporaryFile("w+", encoding="utf-8", errors="backslashreplace")


def _text(stream: io.TextIOWrapper) -> str:
    stream.seek(0)
    return stream.read()
