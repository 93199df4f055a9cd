"""Reports and run files as runs, for every subcommand that reads them."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from llmbench.cli.messages import warn

if TYPE_CHECKING:
    from llmbench.run import Run

_Function = TypeVar("_Function", bound=Callable[..., int])


def salvage_option(function: _Function) -> _Function:
    """``--salvage`` of a command that reads run files."""
    return click.option("--salvage", is_flag=True, help="Read around damaged lines of a run file.")(function)


def load(path: Path, *, salvage: bool = False) -> "Run":
    """The run in a file, as `llmbench.load` reads it; warns on standard error of what was left out."""
    from llmbench.api import load_with_warnings

    run, warnings = load_with_warnings(path, salvage=salvage)
    warn(*warnings)
    return run
