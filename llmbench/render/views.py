"""The views that several formats share, each a table written once: a run, a comparison, runs over time, and more.

Tables only a page has are in ``html.tables``, those only a file has in ``tidy`` and ``llm_bench``.
"""

import dataclasses
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence

from llmbench.analysis import history, stats
from llmbench.analysis.comparison.change import Change
from llmbench.analysis.comparison.rule import Verdict
from llmbench.analysis.history import HistoryEntry, HistoryLine, Track
from llmbench.analysis.metrics.base import NEVER_DROPPED
from llmbench.analysis.metrics.serving import SHOWN_METRICS
from llmbench.analysis.metrics.table import HEADLINES, PHASES, present
from llmbench.analysis.noise.estimate import Noise
from llmbench.analysis.placement_proof import Effect
from llmbench.analysis.report import Report, Row
from llmbench.analysis.speedup import Kind, Speedup, SpeedupLine
from llmbench.analysis.stages import request_metric
from llmbench.analysis.stats import Ratio
from llmbench.render.sentences.card import split_parts
from llmbench.render.sentences.verdict import VerdictLine
from llmbench.render.table import (
    EMPTY,
    Cell,
    Column,
    Table,
    TableColumn,
    count_cell,
    estimate,
    metric_column,
    quantity,
    text_column,
    texts,
)
from llmbench.render.text import change, margin, minute, number_text, share
from llmbench.schema.settings.any_workload import POLICY
from llmbench.schema.units import Unit

CURVE = 40
"""Runs of a curve at most, the last ones."""

TIMES_SIGN = "\N{MULTIPLICATION SIGN}"

CHANGES = (0.01, 0.02, 0.05, 0.10)
"""The changes whose launches a calibration counts."""

TONES = {
    Verdict.REGRESSED: "bad",
    Verdict.IMPROVED: "good",
    Verdict.UNCHANGED: "",
    Verdict.INCONCLUSIVE: "warn",
    Verdict.INCOMPARABLE: "warn",
}
_LEVELS = "▁▂▃▄▅▆▇█"


def run_table(rows: Sequence[Row], settings: Mapping[str, Sequence[str]]) -> Table:
    """Return what each prompt took; *settings* are the columns that distinguish rows of one prompt."""
    shown = present(SHOWN_METRICS, (row.figures for row in rows))
    columns: list[TableColumn] = [
        (Column("prompt", is_text=True, priority=_prompt_priority(rows)), [_prompt(row) for row in rows]),
        *((Column(name, is_text=True), _names(cells)) for name, cells in settings.items()),
        *_image_columns(rows),
        *_count_columns(rows),
        *(_metric(name, rows) for name in shown),
        (Column("launches", is_detail=True), [count_cell(row.launches) for row in rows]),
        (Column("requests", is_detail=True), map(_requests, rows)),
    ]
    return Table.of_columns(columns, note_priority=50)


def _count_columns(rows: Sequence[Row]) -> Iterable[TableColumn]:
    """Yield the tokens that went in and came out, where there are any."""
    several = len({row.output_tokens for row in rows}) > 1
    if any(row.input_tokens for row in rows):
        yield Column("in", full="input tokens"), [count_cell(row.input_tokens) for row in rows]
    if any(row.output_tokens for row in rows):
        outputs = Column("out", full="output tokens", priority=80 if several else 45)
        yield outputs, [count_cell(row.output_tokens) for row in rows]


def _image_columns(rows: Sequence[Row]) -> Iterable[TableColumn]:
    """Yield what the images of prompts became; nothing where none has any."""
    if not any(row.prompt.images for row in rows):
        return
    yield Column("image", is_text=True, priority=44), texts(row.prompt.image_label for row in rows)
    slices = Column("slices", full="image slices", priority=42)
    tokens = Column("image\ntokens", name="image_tokens", full="image tokens", priority=43)
    counts = ((slices, [row.image_slices for row in rows]), (tokens, [row.image_tokens for row in rows]))
    for column, values in counts:
        if any(values):
            yield column, map(count_cell, values)


def _prompt_priority(rows: Sequence[Row]) -> int:
    """That of a load is low: it has one prompt of each length, which is a column of its own."""
    return 10 if any(row.config.is_load for row in rows) else NEVER_DROPPED


def settings_columns(report: Report) -> dict[str, list[str]]:
    """Return what distinguishes configurations, a value per row, and what tensor parallelism came to."""
    rows = report.shown_rows
    found = {name: [report.distinctions[row.cell][name] for row in rows] for name in report.distinctions[0]}
    if any(report.effects):
        found.pop(POLICY, None)
        found["tensor\nparallel"] = [_effect(report, row.cell) for row in rows]
    return found


def _effect(report: Report, cell: int) -> str:
    effect = report.effects[cell]
    if effect is Effect.EFFECTIVE:
        return f"{split_parts(report.run, cell)} sockets"
    return effect.value if effect else "off"


def percentile_table(report: Report) -> Table:
    """Return the percentiles of the headline metrics, for prompts with enough requests; without any, no rows."""
    found = [
        (row, request_metric(name), [stats.percentile(row.values[name], p) for p in stats.PERCENTILE_NEEDS])
        for row in report.rows
        for name in present(HEADLINES, (row.summaries,))
    ]
    kept = [entry for entry in found if any(value is not None for value in entry[2])]
    rows, metrics = [row for row, _, _ in kept], [metric for _, metric, _ in kept]
    settings = {
        name: [report.distinctions[row.cell][name] for row in rows]
        for name in (report.distinctions[0] if len(report.rows) > 1 else ())
    }
    counts = [len(row.values[metric.name]) for row, metric, _ in kept]
    percentiles: list[TableColumn] = [
        (Column(f"p{percent}"), [quantity(values[index], metric.unit) for _, metric, values in kept])
        for index, percent in enumerate(stats.PERCENTILE_NEEDS)
        if any(values[index] for _, _, values in kept)
    ]
    columns: list[TableColumn] = [
        (Column("prompt", is_text=True, priority=_prompt_priority(report.rows)), map(_prompt, rows)),
        *((Column(name, is_text=True), _names(cells)) for name, cells in settings.items()),
        (Column("in"), [count_cell(row.input_tokens) for row in rows]),
        text_column("percentiles", (metric.short_title for metric in metrics)),
        text_column("unit", (metric.unit.value for metric in metrics)),
        (Column("n", priority=1), map(count_cell, counts)),
        *percentiles,
    ]
    return Table.of_columns(columns)


def _prompt(row: Row) -> Cell:
    return Cell(row.prompt.short_label, title=f"{row.prompt.set}, {row.prompt.sha256[:12]}")


def _names(values: Iterable[str]) -> Iterable[Cell]:
    return (Cell(value, tone="name") for value in values)


def _metric(name: str, rows: Sequence[Row]) -> TableColumn:
    is_whole = name == "e2e" and not any(row.config.task_info.is_generating for row in rows)
    column = metric_column(name, NEVER_DROPPED if is_whole else None)
    return column, [_figure(row, name, request_metric(name).unit) for row in rows]


def _figure(row: Row, name: str, unit: Unit) -> Cell:
    """Return a figure; one that is not valid is dimmed and marked, whatever the width of the screen."""
    if row.summaries or name not in row.doubtful:
        return estimate(row.summaries.get(name), unit)
    return _marked(row.doubtful[name].median, unit, "; ".join(row.warnings))


def _marked(value: float, unit: Unit, why: str) -> Cell:
    found = quantity(value, unit)
    return dataclasses.replace(found, text=f"{found.text}!", title=why, tone="dim")


def _requests(row: Row) -> Cell:
    """Return how many requests count, and how many were made where those are more."""
    if not row.invalid:
        return count_cell(row.measured)
    return Cell(f"{row.measured - row.invalid} of {row.measured}", tone="warn")


def comparison_table(
    lines: Sequence[VerdictLine], sides: tuple[str, str], *, is_compact: bool = False
) -> Table:
    """Return every change in numbers; a *compact* table has the unit behind the candidate's value."""
    columns = (
        Column("prompt", is_text=True),
        Column("metric", is_text=True),
        Column(sides[0], name="base", priority=3),
        Column(sides[1], name="candidate", priority=3),
        *(() if is_compact else (Column("unit", is_text=True, priority=1),)),
        Column("change"),
        Column("at 95 %", is_text=is_compact, priority=2),
        Column("verdict", is_text=True),
        Column("threshold", is_detail=True),
        Column("launches", priority=0, is_detail=len({line.source.launches for line in lines}) < 2),
        Column("smallest visible change", is_detail=True),
    )
    return Table(columns, tuple(_comparison_row(line, is_compact=is_compact) for line in lines))


def _comparison_row(line: VerdictLine, *, is_compact: bool) -> tuple[Cell, ...]:
    found, tone = line.source, TONES[line.verdict]
    word = "~" if line.verdict is Verdict.INCONCLUSIVE else line.verdict.value
    return (
        Cell(line.where),
        Cell(request_metric(line.metric).short_title, full=request_metric(line.metric).title),
        Cell(line.base),
        Cell(line.candidate, note=line.unit if is_compact else ""),
        *(() if is_compact else (Cell(line.unit),)),
        Cell(line.change, tone=tone),
        Cell(line.interval, full=line.interval or "unknown", tone="" if line.interval else "dim"),
        Cell(word, note="!" if line.is_alarm else "", tone=tone, title=line.verdict.value),
        Cell(share(found.threshold)),
        Cell(" + ".join(map(str, found.launches))),
        _share(found.smallest_visible),
    )


def _share(value: float | None) -> Cell:
    return EMPTY if value is None else Cell(share(value), value=value)


def history_table(line: HistoryLine, names: Sequence[str]) -> Table:
    """Return a row per run: when, which, the means over its prompts, each prompt, and the step from the run before."""
    runs = [entry.report.run for entry in line.entries]
    tracks = history.tracks(line, names)
    launches = [max((row.launches for row in entry.rows), default=0) for entry in line.entries]
    notes = [_why_no_baseline(entry) for entry in line.entries]
    columns: list[TableColumn] = [
        text_column("started", (minute(run.started_at) for run in runs), 3),
        text_column("run", (entry.name for entry in line.entries)),
        text_column("openvino", (entry.engine for entry in line.entries), 1),
        (Column("launches", priority=2), map(count_cell, launches)),
    ]
    known = {name for entry in line.entries for row in entry.rows for name in row.figures}
    for name in [name for name in names if name in known] or names[:1]:
        columns += _history_columns(line, name, [track for track in tracks if track.metric == name])
    if any(notes):
        columns.append((Column("note", is_text=True), [Cell(note, tone="bad") for note in notes]))
    return Table.of_columns(columns)


def _history_columns(line: HistoryLine, name: str, tracks: Sequence[Track]) -> list[TableColumn]:
    """Return the columns of one metric: its mean, the step of the mean, and each prompt."""
    metric, steps = request_metric(name), history.steps(line, name)
    unit = metric.unit
    head = Column(metric.short_title, name=name, unit=unit.value)
    columns: list[TableColumn] = [(head, [_mean(entry, name, unit) for entry in line.entries])]
    if any(steps):
        head = Column("step", full=f"step of the mean {metric.title}", is_text=True)
        columns.append((head, map(_step, steps)))
    for track in tracks:
        of_prompt = f"{metric.title}, {track.prompt.label} ({track.input_tokens} in)"
        cells = [_figure(row, name, unit) if row else EMPTY for row in track.rows]
        columns.append((Column(of_prompt, unit=unit.value, is_detail=True), cells))
    return columns


def _mean(entry: HistoryEntry, name: str, unit: Unit) -> Cell:
    """Return the mean over the prompts of a run; that of a run without valid requests is dimmed and marked."""
    found = history.mean(entry, name)
    medians = [row.figures[name].median for row in entry.rows if name in row.figures]
    is_doubtful = found is None and any(row.doubtful for row in entry.rows) and all(m > 0 for m in medians)
    if is_doubtful and medians:
        return _marked(statistics.geometric_mean(medians), unit, _why_no_baseline(entry))
    return estimate(found, unit)


def _step(found: Change | None) -> Cell:
    """Return the change from the run before: empty where unchanged, ``~`` before it where undecided."""
    if found is None or found.verdict is Verdict.UNCHANGED:
        return Cell()
    text = change(found.ratio.ratio)
    if found.verdict is Verdict.INCONCLUSIVE:
        return Cell(f"~ {text}", tone="dim")
    return Cell(f"{text} {found.verdict.value}", tone=TONES[found.verdict])


def _why_no_baseline(entry: HistoryEntry) -> str:
    if entry.is_green:
        return ""
    if not entry.report.is_valid:
        return "INVALID"
    return "rows missing" if entry.report.run.is_complete else "cut short"


def trend_table(tracks: Sequence[Track]) -> Table:
    """Return a row per prompt and metric: its curve over the runs, and the ends of it."""
    known = [[point.median for point in track.points if point] for track in tracks]
    metrics = [request_metric(track.metric) for track in tracks]
    curves = [curve([point.median if point else None for point in track.points[-CURVE:]]) for track in tracks]

    def ends(
        head: str, pick: Callable[[Sequence[float]], float], priority: int = NEVER_DROPPED
    ) -> TableColumn:
        """Return a column of what *pick* finds in each series."""
        return Column(head, priority=priority), [
            quantity(pick(found), metric.unit) for found, metric in zip(known, metrics, strict=True)
        ]

    return Table.of_columns(
        [
            text_column("prompt", (track.prompt.label for track in tracks)),
            (Column("in", priority=5), [count_cell(track.input_tokens) for track in tracks]),
            text_column("metric", (metric.short_title for metric in metrics)),
            text_column("unit", (metric.unit.value for metric in metrics), 3),
            text_column("trend", curves),
            ends("oldest", lambda found: found[0], 4),
            ends("latest", lambda found: found[-1]),
            (Column("change"), texts(change(each[-1] / each[0]) if each[0] else "n/a" for each in known)),
            ends("lowest", min, 2),
            ends("highest", max, 1),
        ]
    )


def curve(values: Sequence[float | None]) -> str:
    """Return values as a row of small bars between the lowest and the highest; a missing value is a hole."""
    known = [value for value in values if value is not None]
    if not known:
        return " " * len(values)
    low, reach = min(known), max(known) - min(known)
    last = len(_LEVELS) - 1
    return "".join(
        " " if value is None else _LEVELS[round((value - low) / reach * last) if reach else last // 2]
        for value in values
    )


def calibration_table(noises: Sequence[Noise], launches: int, blocks: int) -> Table:
    """Return the noise of each prompt and metric, and what can be seen of a change."""
    metrics = [request_metric(each.metric) for each in noises]
    values = [quantity(each.center, metric.unit) for each, metric in zip(noises, metrics, strict=True)]
    visible, of_blocks = f"visible\n{launches}+{launches}", f"ab of\n{blocks}"
    return Table.of_columns(
        [
            text_column("\nprompt", (each.label for each in noises)),
            text_column("\nmetric", (metric.short_title for metric in metrics)),
            (Column("\nvalue", name="value", priority=2), values),
            (Column("iteration\nnoise", priority=1), [_share(each.iteration) for each in noises]),
            (Column("launch\nnoise"), [_share(each.launch) for each in noises]),
            (Column("session\nchange", priority=4), [_share(each.session) for each in noises]),
            (Column(visible, priority=5), [_share(each.visible(launches)) for each in noises]),
            (Column(of_blocks, priority=3), [_share(each.visible_in_blocks(blocks)) for each in noises]),
            (
                Column("to see\n1/2/5/10 %"),
                texts("/".join(_launches(each.needed(by)) for by in CHANGES) for each in noises),
            ),
        ]
    )


def _launches(value: int | None) -> str:
    """Return a number of launches; ``None`` is more than a thousand."""
    return ">1000" if value is None else str(value)


def speedup_table(found: Speedup, name: str, lines: Sequence[SpeedupLine]) -> Table:
    """Return one metric of every setup and input length, and how many times as fast it is."""
    unit = request_metric(name).unit
    entries = [line.entries[name] for line in lines]
    gains = [entry.gain for entry in entries]
    setups = [Cell(line.setup.name.replace(" sockets", ""), full=line.setup.name) for line in lines]
    medians = texts(number_text(entry.summary.median, unit) for entry in entries)
    margins = texts(margin(entry.summary) for entry in entries)
    columns: list[tuple[Column, list[Cell]]] = [
        (Column("in"), [count_cell(line.input_tokens) for line in lines]),
        (Column("setup", is_text=True), setups),
        (Column(unit.value.removesuffix("/token"), name="value"), medians),
        (Column("", name="margin", is_text=True, priority=3), margins),
        (Column("times"), texts(f"{gain.ratio:.2f}" if gain else "" for gain in gains)),
        (Column("95 %", is_text=True, priority=1), texts(map(ratio_interval, gains))),
    ]
    if name in PHASES:
        shares = [_efficiency(found, line, name) for line in lines]
        columns.append((Column("efficiency", priority=2), texts(shares)))
    return Table.of_columns(
        (column, cells)
        for column, cells in columns
        if column.key in {"in", "setup", "value"} or any(cell.text for cell in cells)
    )


def _efficiency(found: Speedup, line: SpeedupLine, name: str) -> str:
    """Return the part of a perfect speed-up of several sockets; empty for one socket."""
    gain = line.entries[name].gain
    if gain is None or line.setup.kind is Kind.ONE:
        return ""
    return f"{found.efficiency(gain):.0%}"


def setup_table(found: Speedup, names: Sequence[str] = HEADLINES) -> Table:
    """Return setups by input lengths: the medians of some metrics, with their speed-ups."""
    lines = {(line.setup.cell, line.input_tokens): line for line in found.lines}
    columns: list[TableColumn] = [
        (Column("setup", is_text=True), [Cell(setup.name, tone="name") for setup in found.setups])
    ]
    for name in (name for name in names if any(name in line.entries for line in found.lines)):
        head, unit = request_metric(name).short_title, request_metric(name).unit
        columns += [
            (
                Column(f"{head}, {length} in", unit=unit.value),
                [_gain_cell(lines.get((setup.cell, length)), name, unit) for setup in found.setups],
            )
            for length in found.lengths
        ]
    return Table.of_columns(columns)


def _gain_cell(line: SpeedupLine | None, name: str, unit: Unit) -> Cell:
    if line is None or name not in line.entries:
        return EMPTY
    entry = line.entries[name]
    note = f"{entry.gain.ratio:.2f}{TIMES_SIGN}" if entry.gain else ""
    return Cell(number_text(entry.summary.median, unit), note=note, title=ratio_interval(entry.gain))


def ratio_interval(ratio: Ratio | None) -> str:
    """Return ``[1.66, 1.76]``; empty where there is none."""
    return f"[{ratio.low:.2f}, {ratio.high:.2f}]" if ratio and ratio.has_interval else ""
