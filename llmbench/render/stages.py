"""Stages of requests as tables: of a run a row per stage with its share, of a file a row per request and stage."""

import dataclasses
import statistics
from collections.abc import Iterator, Mapping, Sequence

from llmbench.analysis.evaluation import EvaluatedRequest
from llmbench.analysis.first_call import FirstCall, first_call
from llmbench.analysis.report import Report, Row
from llmbench.analysis.stages import UNEXPLAINED, call_times, request_metric, stage_of, stage_sources, whole_s
from llmbench.analysis.stats import Summary, percentile
from llmbench.render.table import (
    EMPTY,
    Cell,
    Column,
    Table,
    TableColumn,
    count_cell,
    estimate,
    quantity,
    text_column,
)
from llmbench.render.text import LEAST_FOR_MARGIN, share
from llmbench.schema.measurement import Stage, StageSource
from llmbench.schema.units import NS_PER_MS, Unit, seconds_between

TOTAL, FIRST_TOKEN = "request", "first token"
"""What the stages cover, as the last line of each table names it."""


def stages_of(row: Row) -> tuple[str, ...]:
    """Return the stages of a row in their order, the remainder last; none where its requests have no stages."""
    return tuple(stage for name in row.figures if (stage := stage_of(name)))


def covered(row: Row) -> tuple[str, str]:
    """Return what the stages of a row cover, and the metric of its time."""
    return (FIRST_TOKEN, "first_token") if "first_token" in row.figures else (TOTAL, "e2e")


def stage_table(report: Report) -> Table:
    """Return the stages of each prompt with calls, time and share, what no stage covers, and the whole."""
    rows = [row for row in report.shown_rows if stages_of(row)]
    if not rows:
        return Table((), ())
    sources = stage_sources(report.run)
    lines = [(row, line) for row in rows for line in _lines(report, row, sources)]
    known = {name for _, line in lines for name, cell in line.items() if cell.text}
    shown = [name for name in _COLUMNS if name in known or name not in _WHERE_KNOWN]
    columns: list[TableColumn] = [
        (_COLUMNS[name], [line.get(name, Cell()) for _, line in lines]) for name in shown
    ]
    if len(rows) > 1:
        columns = [*_apart(report, [row for row, _ in lines]), *columns]
    return Table.of_columns(columns, note_priority=30)


_PERCENTILES = (90, 99)
_COLUMNS = {
    "stage": Column("stage", is_text=True),
    "timed by": Column("timed by", is_text=True, priority=10),
    "calls": Column("calls", priority=40),
    "ms/call": Column("ms/call", priority=20),
    **{f"p{p}": Column(f"p{p}", full=f"p{p} of a call", unit="ms", priority=15) for p in _PERCENTILES},
    "time": Column("time", unit="ms"),
    "share": Column("share", unit="%"),
    "pace": Column("pace", full="ms per second of audio", unit="ms/s", priority=12),
    "peak": Column("peak", name="peak memory", full="peak memory in the first call", unit="MiB", priority=35),
}
"""The columns of stages, by the names of a line's cells."""

_WHERE_KNOWN = frozenset(("ms/call", "pace", "peak", *(f"p{percent}" for percent in _PERCENTILES)))
"""Those that a table has only where a line has a cell of them."""

_Line = dict[str, Cell]


def heaviest_stages(report: Report) -> str:
    """Return which stages take the most, and what making the first free would save at most (Amdahl's law)."""
    shares: dict[str, list[float]] = {}
    for row in report.shown_rows:
        for stage in stages_of(row):
            shares.setdefault(stage, []).append(row.figures[f"share.{stage}"].median)
    shares.pop(UNEXPLAINED, None)
    order = sorted(shares, key=lambda stage: -statistics.fmean(shares[stage]))
    if not order:
        return ""
    named = (f"{stage.replace('_', ' ')} {_range(shares[stage])}" for stage in order[:2])
    first = order[0].replace("_", " ")
    return (
        f"heaviest: {', '.join(named)}; making {first} free would save at most {share(max(shares[order[0]]))}"
    )


def _range(shares: Sequence[float]) -> str:
    low, high = share(min(shares)), share(max(shares))
    return high if low == high else f"{low.removesuffix(' %')} to {high}"


def _apart(report: Report, rows: Sequence[Row]) -> Iterator[TableColumn]:
    """Yield what sets the rows of lines apart: their prompts, their lengths under load, and settings."""
    if len({row.prompt.short_label for row in rows}) > 1 or not report.distinctions[0]:
        yield text_column("prompt", (row.prompt.short_label for row in rows))
    for name in report.distinctions[0]:
        yield text_column(name, (report.distinctions[row.cell][name] for row in rows))
    if rows[0].config.is_load and len({row.input_tokens for row in rows}) > 1:
        yield Column("in", full="input tokens"), [count_cell(row.input_tokens) for row in rows]


def _lines(report: Report, row: Row, sources: Mapping[str, frozenset[StageSource]]) -> Iterator[_Line]:
    found, call = row.figures, first_call(report.evaluation, row)
    peaks = (
        {stage: quantity(size, Unit.MEBIBYTES) for stage, size in call.stage_bytes.items()} if call else {}
    )
    if "image_decoding" in found:
        yield _outside_line(found["image_decoding"])
    for stage in stages_of(row):
        line = _stage_line(found, stage)
        line["timed by"] = Cell(" and ".join(sorted(source.value for source in sources.get(stage, ()))))
        if "ms/call" in line:
            line |= _percentiles(report, row, stage)
        yield line | ({"peak": peaks[stage]} if stage in peaks else {})
    if call is not None and call.first_token_s is not None:
        yield _first_call_line(call)
    title, whole = covered(row)
    time = estimate(found.get(whole), Unit.MILLISECONDS)
    line = {"stage": Cell(title), "time": time, "share": Cell("100", value=100.0)}
    if call and call.stage_bytes:
        line["peak"] = quantity(max(call.stage_bytes.values()), Unit.MEBIBYTES)
    yield line


def _stage_line(found: Mapping[str, Summary], stage: str) -> _Line:
    """The figures of a stage; how often the remainder ran means nothing."""
    is_rest = stage == UNEXPLAINED
    line = {
        "stage": Cell(stage.replace("_", " "), value=stage, tone="dim" if is_rest else "name"),
        "time": estimate(found[f"stage.{stage}"], Unit.MILLISECONDS),
        "share": _part(found.get(f"share.{stage}")),
    }
    if not is_rest:
        calls = found[f"calls.{stage}"].median if f"calls.{stage}" in found else 1.0
        line["calls"] = Cell(f"{calls:.6g}", value=calls)
    if f"call.{stage}" in found:
        line["ms/call"] = estimate(found[f"call.{stage}"], Unit.MILLISECONDS)
    if f"pace.{stage}" in found:
        line["pace"] = estimate(found[f"pace.{stage}"], Unit.MILLISECONDS_PER_SECOND)
    return line


def _percentiles(report: Report, row: Row, stage: str) -> _Line:
    """The percentiles of the calls of a stage, where they carry them."""
    requests = [
        judged.measurement
        for judged in report.evaluation.requests
        if judged.is_counted and judged.launch.cell == row.cell and judged.prompt == row.prompt
    ]
    times = call_times(requests, stage)
    found = {percent: percentile(times, percent) for percent in _PERCENTILES}
    return {f"p{p}": quantity(value, Unit.MILLISECONDS) for p, value in found.items() if value is not None}


def _outside_line(decoding: Summary) -> _Line:
    """What is done before the request begins, and is in no sum."""
    return {
        "stage": Cell("image decoding", value="image_decoding", tone="dim"),
        "timed by": Cell(StageSource.CLOCK.value),
        "time": estimate(decoding, Unit.MILLISECONDS),
        "share": Cell("outside", tone="dim"),
    }


def _first_call_line(call: FirstCall) -> _Line:
    """What no stage of the first call has: the time in which an engine makes ready for later calls."""
    name = Cell("  in first call", value="first_call", tone="dim")
    return {"stage": name, "time": quantity(call.unexplained_s, Unit.MILLISECONDS)}


def _part(found: Summary | None) -> Cell:
    """The cell of a share with its margin in percentage points."""
    cell = estimate(found, Unit.PERCENT)
    if found is None:
        return cell
    reach = max(found.high - found.median, found.median - found.low) * 100
    note = f"±{reach:.1f}" if found.has_interval and found.n >= LEAST_FOR_MARGIN else ""
    return dataclasses.replace(cell, text=f"{found.median * 100:.1f}", note=note)


STAGE_COLUMNS = (
    *("run", "launch", "iteration", "warm_up", "valid", "prompt", "stage", "source", "calls"),
    *("start_ms", "duration_ms", "share_percent", "request_ms"),
)
"""A CSV of stages; starts are counted from that of the request."""


def request_stages(*reports: Report) -> Table:
    """Return a row for each request and stage, warm-ups and invalid ones included and marked, then its remainder."""
    rows = (
        (Cell(report.run.id), *cells)
        for report in reports
        for judged in report.evaluation.requests
        for cells in _request_rows(judged)
    )
    return Table(tuple(Column(name, is_text=True) for name in STAGE_COLUMNS), tuple(rows))


def _request_rows(judged: EvaluatedRequest) -> Iterator[tuple[Cell, ...]]:
    m, whole = judged.measurement, whole_s(judged.measurement)
    if not m.stages or whole is None:
        return
    about = (
        count_cell(judged.launch.index + 1),
        count_cell(m.iteration),
        Cell(value=m.is_warmup),
        Cell(value=not judged.reasons),
        Cell(judged.prompt.label),
    )
    total = _milliseconds(whole)
    for stage in m.stages:
        yield (*about, *_stage_cells(stage, m.start_ns), _share(stage.duration_ns, whole), total)
    left = round(request_metric(f"stage.{UNEXPLAINED}").of(m) or 0.0, 9)
    yield (
        *(*about, Cell(UNEXPLAINED), Cell(), Cell(), Cell(), _milliseconds(left)),
        *(_share(left * 1e9, whole), total),
    )


def _stage_cells(stage: Stage, start_ns: int) -> tuple[Cell, ...]:
    start = None if stage.at_ns is None else seconds_between(start_ns, stage.at_ns)
    return (
        Cell(stage.name),
        Cell(stage.source.value),
        count_cell(stage.count),
        Cell() if start is None else _milliseconds(start),
        _milliseconds(stage.duration_ns / 1e9),
    )


def _milliseconds(seconds: float) -> Cell:
    return Cell(value=round(seconds * 1e3, 6))


def _share(duration_ns: float, whole: float) -> Cell:
    return EMPTY if not whole else Cell(value=round(duration_ns / NS_PER_MS / whole / 10, 4))
