"""Runs over time: those of one machine and configuration in a line, each judged against the one before."""

import dataclasses
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from llmbench.analysis import stats
from llmbench.analysis.change_points import find_change_points
from llmbench.analysis.comparison import change
from llmbench.analysis.comparison.change import Change, Sample
from llmbench.analysis.comparison.compare import SIDES
from llmbench.analysis.comparison.rule import COMPARED, Rule
from llmbench.analysis.metrics.serving import LOAD_METRICS
from llmbench.analysis.report import Report, Row, varied_settings
from llmbench.analysis.stages import request_metric, stage_of
from llmbench.analysis.stats import Ratio, Summary
from llmbench.schema.config import Prompt
from llmbench.schema.run import Run
from llmbench.schema.units import Direction

_NOT_WHAT = {
    *("model", "weight_format", "interpreter", "launches", "iterations", "warmups"),
    *("foreign_cpu_limit", "is_verified"),
}
"""Settings that tell where files lie and how often something was measured, not what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What is the same in all runs of a line, by name: machine, model and settings; and the hashes of its prompts.

    Versions, the kernel and the model's files are no part of it: they are what changes from release to release.
    """

    named: Mapping[str, str] = field(hash=False)
    prompts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """One configuration (*cell*) of one run."""

    report: Report
    cell: int

    @property
    def rows(self) -> tuple[Row, ...]:
        """Its prompts."""
        return tuple(row for row in self.report.rows if row.cell == self.cell)

    @property
    def name(self) -> str:
        """The id of its run; of a run that compares two sides, with the side."""
        run = self.report.run
        is_paired = len(run.cells) == len(SIDES) and all(launch.block is not None for launch in run.launches)
        return f"{run.id}:{SIDES[self.cell]}" if is_paired else run.id

    def row_at(self, position: int) -> Row | None:
        """Return the row of a prompt, by its position in the configuration; ``None`` where nothing is known of it."""
        rows = (row for row in self.report.shown_rows if row.cell == self.cell)
        return next((row for row in rows if row.config.prompts.index(row.prompt) == position), None)

    @property
    def engine(self) -> str:
        """The version of OpenVINO that was measured; empty where it is not known."""
        engine = self.report.run.cells[self.cell].computing_engine
        is_known = engine is not None and engine.framework == "ov"
        return self.report.run.software_of(self.cell).get("openvino", "") if is_known else ""

    @property
    def is_green(self) -> bool:
        """Whether it can stand as a baseline: whole, valid, and every prompt measured."""
        rows = self.rows
        prompts = len(self.report.run.cells[self.cell].prompts)
        is_whole = len(rows) == prompts and all(row.launches for row in rows)
        return self.report.run.is_complete and self.report.is_valid and is_whole


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryLine:
    """The runs of one setup, oldest first."""

    setup: Setup
    entries: tuple[HistoryEntry, ...]

    def last(self, count: int | None) -> "HistoryLine":
        """The same line with its last *count* runs; ``None`` is all."""
        return self if count is None else dataclasses.replace(self, entries=self.entries[-count:])

    def has_any(self, names: Iterable[str]) -> bool:
        """Return whether any of its runs has a figure of any of these metrics."""
        wanted = set(names)
        return any(wanted & row.figures.keys() for entry in self.entries for row in entry.rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """One prompt's metric in every run of a line; a row is ``None`` where a run does not have the prompt."""

    prompt: Prompt
    input_tokens: int
    metric: str
    rows: tuple[Row | None, ...]

    @property
    def points(self) -> tuple[Summary | None, ...]:
        """For each run what counts; ``None`` where nothing does."""
        return tuple(row.summaries.get(self.metric) if row else None for row in self.rows)


def history_lines(reports: Iterable[Report]) -> tuple[HistoryLine, ...]:
    """The runs by what they measured, the line that was added to last first."""
    found: list[tuple[Setup, list[HistoryEntry]]] = []
    for report in sorted(reports, key=lambda report: report.run.started_at):
        for cell in range(len(report.run.cells)):
            setup = setup_of(report.run, cell)
            entries = next((entries for known, entries in found if known == setup), None)
            if entries is None:
                entries = []
                found.append((setup, entries))
            entries.append(HistoryEntry(report=report, cell=cell))
    made = [HistoryLine(setup=setup, entries=tuple(entries)) for setup, entries in found]
    return tuple(sorted(made, key=lambda line: line.entries[-1].report.run.started_at, reverse=True))


def setup_of(run: Run, cell: int) -> Setup:
    """What a configuration of a run measured, and on what."""
    config, origin, machine = run.cells[cell], run.origin_of(cell), run.environment
    # what a script says is not a model but what a build does
    script = "script" if config.engine_info.is_simulated else ""
    named = {
        "model": script or origin.source_id or config.model,
        "weight format": origin.weight_format or "",
        "CPU": machine.cpu_model,
        "CPUs": str(len(machine.topology.allowed) or ""),
    }
    named |= {name: value for name, value in varied_settings(config).items() if name not in _NOT_WHAT}
    return Setup(named=named, prompts=tuple(prompt.sha256 for prompt in config.prompts))


def tracks(line: HistoryLine, names: Sequence[str]) -> tuple[Track, ...]:
    """Every prompt's metrics over the runs of a line, those included of which no run is valid."""
    found = []
    for position in range(len(line.setup.prompts)):
        rows = tuple(entry.row_at(position) for entry in line.entries)
        found += [
            Track(prompt=known[-1].prompt, input_tokens=known[-1].input_tokens, metric=name, rows=rows)
            for name in names
            if (known := [row for row in rows if row and name in row.figures])
        ]
    return tuple(found)


def mean(entry: HistoryEntry, metric: str) -> Summary | None:
    """The geometric mean over the prompts of a run, with its interval over launches; ``None`` if one lacks it."""
    found = _sample(entry, metric)
    return stats.summarize_launches([math.exp(log) for log in found.logs.values()]) if found else None


def steps(line: HistoryLine, metric: str, rule: Rule | None = None) -> tuple[Change | None, ...]:
    """For each run the change of the mean over prompts from the last green run before it.

    ``None`` where there is none, or where the metric has no verdict. Nothing is corrected for how many runs there
    are: a long line shows a false step now and then.
    """
    if metric not in (*COMPARED, *LOAD_METRICS) and stage_of(metric) is None:
        return (None,) * len(line.entries)
    threshold = (rule or Rule()).threshold_of(metric)
    found: list[Change | None] = []
    before: Sample | None = None
    for entry in line.entries:
        now = _sample(entry, metric)
        found.append(
            change.judge_change(metric, before, now, threshold=threshold, is_valid=entry.report.is_valid)
            if before and now
            else None
        )
        before = now if now and entry.is_green else before
    return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelChange:
    """A change of the level of a metric in a line: from the run *before* it to the run *after*.

    *change* compares all runs between the change before and this one with those up to the next. *note* says why it was
    accepted, and is ``None`` where it was not.
    """

    metric: str
    before: HistoryEntry
    after: HistoryEntry
    runs: tuple[int, int]
    ratio: Ratio
    note: str | None = None

    @property
    def is_regression(self) -> bool:
        """Whether it is worse, and not accepted."""
        is_lower_better = request_metric(self.metric).direction is Direction.LOWER
        return (self.ratio.ratio > 1) is is_lower_better and self.note is None


def level_changes(
    line: HistoryLine, metric: str, accepted: Mapping[str, str] | None = None
) -> tuple[LevelChange, ...]:
    """Return where the mean of a metric over the prompts changed its level, oldest first; only valid runs count.

    *accepted* has notes by the id of a run: a new baseline begins there, whether a change is seen or not.
    """
    accepted = accepted or {}
    known = [(e, found.center) for e in line.entries if e.is_green and (found := _sample(e, metric))]
    entries, logs = [entry for entry, _ in known], [math.log(center) for _, center in known]
    resets = [i for i, entry in enumerate(entries) if i and entry.report.run.id in accepted]
    borders = set(resets)
    for start, end in itertools.pairwise([0, *resets, len(logs)]):
        borders |= {start + found for found in find_change_points(logs[start:end])}
    ends = [0, *sorted(borders), len(logs)]
    return tuple(
        LevelChange(
            metric=metric,
            before=entries[at - 1],
            after=entries[at],
            runs=(at - start, end - at),
            ratio=stats.welch_ratio(logs[start:at], logs[at:end]),
            note=accepted.get(entries[at].report.run.id),
        )
        for start, at, end in zip(ends, ends[1:], ends[2:], strict=False)
    )


def baseline(candidate: Report, reports: Iterable[Report]) -> Report | None:
    """The last green run before a candidate that measured the same on the same machine; ``None`` if there is none.

    Every configuration of the candidate must be green in it.
    """
    wanted = [setup_of(candidate.run, cell) for cell in range(len(candidate.run.cells))]
    before = [
        report
        for report in reports
        if report.run.id != candidate.run.id and report.run.started_at < candidate.run.started_at
    ]
    fitting = [report for report in before if all(_is_green(report, setup) for setup in wanted)]
    return max(fitting, key=lambda report: report.run.started_at, default=None)


def _is_green(report: Report, setup: Setup) -> bool:
    return any(
        setup_of(report.run, cell) == setup and HistoryEntry(report=report, cell=cell).is_green
        for cell in range(len(report.run.cells))
    )


def _sample(entry: HistoryEntry, metric: str) -> Sample | None:
    """A run's launches as a comparison takes them; ``None`` where it has no prompt."""
    rows = entry.rows
    return change.sample(rows, metric) if rows else None
