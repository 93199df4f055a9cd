"""``--baseline``: the run in the reports folder that a candidate is compared with."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from llmbench.analysis import history
from llmbench.analysis.comparison.rule import compared_metrics
from llmbench.analysis.report import Report, summarize_run
from llmbench.cli.messages import load_run
from llmbench.cli.run_files import newest_first
from llmbench.errors import InputError
from llmbench.store import reader

LATEST = "latest"


def find_baseline(name: str, candidate: Report, folder: Path) -> Report:
    """Return the run of that name in a folder; ``latest`` is the last that was whole and valid and measured the same.

    The same is: on the same machine, in the same configuration, whatever the versions. Raises InputError where
    there is none: a baseline that is missing never passes.
    """
    if name != LATEST:
        return _summarized(_path_of(name, folder))
    paths = newest_first(folder)
    for path in paths:
        with contextlib.suppress(InputError):  # a damaged run is no baseline, and no reason to stop
            found = history.baseline(candidate, _alike(candidate, path))
            if found is not None:
                return found
    raise InputError(
        f"--baseline latest: none of the runs in {folder} ({len(paths)}) is an earlier one, whole and valid, "
        "of this machine and configuration",
        hint="keep a run there first; llmbench report history shows what there is",
    )


def _path_of(name: str, folder: Path) -> Path:
    paths = [reader.run_file_path(folder, each) for each in (name, name.removesuffix(".jsonl"))]
    found = next((path for path in paths if path.is_file()), None)
    if found is None:
        raise InputError(
            f"--baseline {name}: there is no {paths[-1]}", hint="give the --name of a run, or latest"
        )
    return found


def _alike(candidate: Report, path: Path) -> Iterator[Report]:
    """The report of a run file, if its header promises all that the candidate measured; only then it is read whole."""
    header = reader.read_run_header(path)
    if header is None:
        return
    setups = [history.setup_of(header, cell) for cell in range(len(header.cells))]
    wanted = [history.setup_of(candidate.run, cell) for cell in range(len(candidate.run.cells))]
    if len(setups) == len(wanted) and all(setup in setups for setup in wanted):
        yield _summarized(path)


def _summarized(path: Path) -> Report:
    run = load_run(path)
    return summarize_run(run, compared_metrics(run))
