"""The Python interface: measure, load, compare, and a run as a frame. What the command line does, without its words."""

import contextlib
import dataclasses
import gc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from llmbench.analysis.comparison.compare import Comparison
from llmbench.analysis.comparison.compare import compare as compare_reports
from llmbench.analysis.comparison.rule import Rule, compared_metrics
from llmbench.analysis.report import summarize_run
from llmbench.runner import session
from llmbench.runner.launchers.base import Launcher, TimeLimits
from llmbench.schema.config import RunConfig
from llmbench.schema.run import Run as Record
from llmbench.store import importers, reader

if TYPE_CHECKING:
    import pandas as pd

_LIMIT_S = 1200.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(Record):
    """A run that can be had as a frame."""

    def to_pandas(self) -> "pd.DataFrame":
        """A row a request, warm-ups and invalid ones included and marked: the columns of the tidy CSV."""
        import pandas as pd

        from llmbench.analysis.evaluation import evaluate
        from llmbench.analysis.tidy_layout import TIDY_COLUMNS
        from llmbench.render import tidy

        return pd.DataFrame(tidy.rows(evaluate(self)), columns=list(TIDY_COLUMNS))


def measure(
    *configurations: RunConfig,
    output_dir: str | Path = "reports",
    name: str | None = None,
    limit_s: float = _LIMIT_S,
    launcher: Launcher | None = None,
    on_event: session.OnEvent | None = None,
) -> Run:
    """Measure configurations in fresh processes, and return the run that was kept in *output_dir*.

    *limit_s* is for loading and for each request. *on_event* sees that the run begins, then each event once it is on
    the disk. A launch that fails is in the run with its failure. See `llmbench.runner.session.measure`.

    Raises:
        LlmbenchError: one of `llmbench.errors`: what cannot be measured, or could not be kept.
    """
    return _with_frame(
        session.measure(
            configurations,
            outputs=session.Outputs(folder=Path(output_dir), name=name),
            policy=session.Policy(limits=TimeLimits(load_s=limit_s, request_s=limit_s)),
            launcher=launcher,
            on_event=on_event,
        )
    )


def _with_frame(record: Record) -> Run:
    return Run(**{each.name: getattr(record, each.name) for each in dataclasses.fields(record)})


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
        return _with_frame(record), warnings


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
    before, after = (summarize_run(side, compared_metrics(side)) for side in (base, candidate))
    return compare_reports(before, after, chosen)
