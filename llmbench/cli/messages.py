"""Messages on the terminal: without secrets, and without characters that steer a terminal."""

import contextlib
import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from llmbench.cli.options.help import colored
from llmbench.files.redaction import redact

if TYPE_CHECKING:
    from llmbench.schema.run import Run


def shown(text: str) -> str:
    """Return the text as a terminal may have it; its lines stay lines."""
    from llmbench.render.text import plain

    return "\n".join(plain(line) for line in redact(text).split("\n"))


def say(*texts: str) -> None:
    """Print lines on standard output; once that takes no more, nowhere: no measurement is lost for it."""
    try:
        for text in texts:
            click.echo(shown(text))
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if not isinstance(error, BrokenPipeError):  # a reader such as head has seen what it wanted
            warn(f"nothing more is printed: {error.strerror}")


def warn(*texts: str) -> None:
    """Print warnings on standard error."""
    for text in texts:
        click.echo(f"{colored('warning:', fg='yellow')} {shown(text)}", err=True)


def complain(error: str, *, hint: str | None = None) -> None:
    """Print what was wrong and what to do, a line each, on standard error."""
    click.echo(f"{colored('error:', fg='red', bold=True)} {shown(error)}", err=True)
    if hint:
        click.echo(f"{colored('hint:', fg='cyan')} {shown(hint)}", err=True)


_Function = TypeVar("_Function", bound=Callable[..., int])


def salvage_option(function: _Function) -> _Function:
    """Add ``--salvage`` to a command that reads run files."""
    return click.option("--salvage", is_flag=True, help="Read around damaged lines of a run file.")(function)


def load_run(path: Path, *, salvage: bool = False) -> "Run":
    """Return the run in a file, as `llmbench.load` reads it; warns on standard error of what was left out."""
    from llmbench.api import load_with_warnings

    run, warnings = load_with_warnings(path, salvage=salvage)
    warn(*warnings)
    return run


@contextlib.contextmanager
def paused_collector() -> Iterator[None]:
    """Pause the cyclic garbage collector: it would scan the millions of values of a large run again and again."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
