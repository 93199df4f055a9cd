"""Reports and run files as runs, for every subcommand that reads them."""

import contextlib
import gc
from collections.abc import Callable, Iterator
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
    """The run in a run file, in a CSV of either layout, or in llm_bench's CSV or JSON; warns on standard error.

    Raises InputError if it cannot be read.
    """
    with _without_collections():
        return _read(path, salvage=salvage)


@contextlib.contextmanager
def _without_collections() -> Iterator[None]:
    """No garbage collection while a run is read, nor of it later.

    A run is a tree of many small objects and has no cycles; looking for some takes longer than reading it.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _read(path: Path, *, salvage: bool) -> "Run":
    """The run, by what the file is."""
    from llmbench import importers, store

    if path.suffix == ".jsonl" or store.is_run_file(path):
        run, warnings = store.read_with_warnings(path, salvage=salvage)
        warn(*warnings)
        return run
    return importers.read(path)
