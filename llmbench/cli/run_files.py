"""Which run file is meant: by its path, by its folder, by the beginning of its name, or the last one."""

import glob
from collections.abc import Sequence
from pathlib import Path

import click

from llmbench.cli.options.completion import FileText
from llmbench.errors import InputError
from llmbench.store import reader

REPORTS = Path("reports")
"""Where runs are written without ``--output-dir``, and looked for without a path."""

_LISTED = 5


class RunPath(FileText):
    """The path of a run, which may be a folder (its last run) or the beginning of a run's name."""

    name = "run"

    def __init__(self) -> None:
        super().__init__(lambda: (path.stem for path in REPORTS.glob("*.jsonl")))

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Path:  # type: ignore[override]  # noqa: ARG002
        """Return the file."""
        return find_run(Path(str(value)))


def or_last(paths: Sequence[Path]) -> tuple[Path, ...]:
    """Return the paths, or without any the last run in ``reports``."""
    return tuple(paths) or (last_run(REPORTS),)


def find_run(path: Path) -> Path:
    """Return the file of a run.

    Raises:
        InputError: a folder without runs, or a name that no run has, or several begin with.
    """
    if path.is_dir():
        return last_run(path)
    if path.exists() or path.suffix in {".jsonl", ".csv", ".json"}:
        return path
    folders = (path.parent,) if path.parent != Path() else (REPORTS, Path())
    found = [file for folder in folders for file in sorted(folder.glob(f"{glob.escape(path.name)}*.jsonl"))]
    exact = [file for file in found if file.stem == path.name]
    if len(exact or found) == 1:
        return (exact or found)[0]
    if found:
        listed = ", ".join(file.stem for file in found[:_LISTED]) + (", ..." if len(found) > _LISTED else "")
        raise InputError(
            f"{len(found)} runs begin with {str(path)!r}: {listed}", hint="type more of the name"
        )
    there = [file.stem for folder in folders for file in newest_first(folder)[:_LISTED]]
    raise InputError(
        f"there is no file, folder or run {str(path)!r}",
        hint=f"the last runs are {', '.join(there)}" if there else _NO_RUNS,
    )


_NO_RUNS = "measure something first: llmbench demo, or llmbench run -m MODEL"


def last_run(folder: Path) -> Path:
    """Return the run in a folder that began last; raise InputError where there is none."""
    found = newest_first(folder)
    if not found:
        raise InputError(f"there are no runs in {folder}", hint=_NO_RUNS)
    return found[0]


def newest_first(folder: Path) -> list[Path]:
    """Return the run files of a folder by when they began, the last one first."""
    begun = [
        (run.started_at, path) for path in folder.glob("*.jsonl") if (run := reader.read_run_header(path))
    ]
    return [path for _, path in sorted(begun, reverse=True)]
