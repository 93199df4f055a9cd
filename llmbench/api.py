"""The Python interface: measure, load, compare, and a run as a frame. What the command line does, without its words."""

import contextlib
import dataclasses
import gc
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from llmbench.analysis.comparison.compare import Comparison
from llmbench.analysis.comparison.compare import compare as compare_reports
from llmbench.analysis.comparison.rule import COMPARED, Rule
from llmbench.analysis.report import summarize_run
from llmbench.models.resolve import check_lengths, complete, find_subject
from llmbench.runner import plan, session
from llmbench.runner.launchers.base import LaunchEvent, TimeLimits
from llmbench.schema.config import RunConfig
from llmbench.schema.run import Run as Record
from llmbench.store import importers, reader
from llmbench.store.writer import RunFile

if TYPE_CHECKING:
    import pandas as pd

_LIMIT_S = 1200.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(Record):
    """A run that can be had as a frame."""

    def to_pandas(self) -> "pd.DataFrame":
        """A row a request, warm-ups and invalid ones included and marked: the columns of the tidy CSV."""
        import pandas as pd

        from llmbench.analysis.tidy_layout import TIDY_COLUMNS
        from llmbench.render import tidy

        return pd.DataFrame(tidy.rows(self), columns=list(TIDY_COLUMNS))


def measure(
    *configs: RunConfig,
    output_dir: str | Path = "reports",
    name: str | None = None,
    limit_s: float = _LIMIT_S,
    on_event: Callable[[LaunchEvent], None] | None = None,
) -> Run:
    """Measure configurations in fresh processes, and return the run that was kept in *output_dir*.

    *limit_s* is for loading and for each request. *on_event* sees each event once it is on the disk. A launch that
    fails is in the run with its failure. Raises the errors of `llmbench.errors`.
    """
    subjects = [
        find_subject(
            config.model,
            engine=config.engine,
            is_verified=config.is_verified,
            weight_format=config.weight_format,
        )
        for config in configs
    ]
    cells = tuple(
        dataclasses.replace(config, model=subject.path, weight_format=subject.weight_format)
        for config, subject in zip(configs, subjects, strict=True)
    )
    subjects = [complete(subject, cell) for subject, cell in zip(subjects, cells, strict=True)]
    for cell, subject in zip(cells, subjects, strict=True):
        check_lengths(cell, subject.context_tokens)
    folder = Path(output_dir)
    session.check_paths(cells, folder)
    header = session.new_header(cells, subjects, name=name)
    path = session.run_file_path(header, folder)
    with RunFile.create(path, header) as file:
        events = session.record(
            file,
            cells,
            plan.plan_launches(cells),
            limits=TimeLimits(load_s=limit_s, request_s=limit_s),
            subjects=subjects,
        )
        with contextlib.closing(events):
            _hand_on(events, on_event)
    return load(path)


def _hand_on(events: Generator[LaunchEvent], on_event: Callable[[LaunchEvent], None] | None) -> None:
    """Ask for each event, which begins the next request, and show it to who wants to see it."""
    for event in events:
        if on_event is not None:
            on_event(event)


def load(path: str | Path, *, salvage: bool = False) -> Run:
    """The run in a run file, in a CSV of either layout, or in llm_bench's CSV or JSON.

    *salvage* reads around damaged lines of a run file. Raises InputError if it cannot be read.
    """
    return load_with_warnings(path, salvage=salvage)[0]


def load_with_warnings(path: str | Path, *, salvage: bool = False) -> tuple[Run, Sequence[str]]:
    """The run in a file, and a sentence on each line of a run file that was left out."""
    file = Path(path)
    with _without_collections():
        if file.suffix == ".jsonl" or reader.is_run_file(file):
            record, warnings = reader.read_with_warnings(file, salvage=salvage)
        else:
            record, warnings = importers.read_report(file), ()
        return Run(**{each.name: getattr(record, each.name) for each in dataclasses.fields(record)}), warnings


@contextlib.contextmanager
def _without_collections() -> Iterator[None]:
    """No garbage collection while a run is read, nor of it later.

    A run is a tree of many small objects and has no cycles; looking for some takes longer than reading it.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()


def compare(base: Record, candidate: Record, rule: Rule | None = None) -> Comparison:
    """Base against candidate, launch against launch; *rule* has the thresholds and what may differ."""
    chosen = rule or Rule()
    return compare_reports(summarize_run(base, COMPARED), summarize_run(candidate, COMPARED), chosen)
