"""Stages of requests as tables: of a run a row per stage with its share, of a file a row per request and stage."""

import dataclasses
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence

from llmbench.analysis.evaluation import EvaluatedRequest
from llmbench.analysis.first_call import FirstCall, first_call
from llmbench.analysis.report import Report, Row
from llmbench.analysis.stages import UNEXPLAINED, call_times, request_metric, stage_of, stage_sources, whole_s
from llmbench.analysis.stats import Summary, percentile
from llmbench.render.table import EMPTY, Cell, Column, Table, count_cell, estimate, quantity, texts
from llmbench.render.text import LEAST_FOR_MARGIN, settings_text, share
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
    labels, sources = _labels(report, rows), stage_sources(report.run)
    calls = [first_call(report.evaluation, row) for row in rows]
    table = Table(
        (
            Column("stage", is_text=True),
            Column("timed by", is_text=True, priority=10),
            Column("calls", priority=40),
            Column("ms/call", priority=20),
            *(
                Column(f"p{percent}", full=f"p{percent} of a call", unit="ms", priority=15)
                for percent in _PERCENTILES
            ),
            Column("time", unit="ms"),
            Column("share", unit="%"),
            Column("pace", full="ms per second of audio", unit="ms/s", priority=12),
            Column("peak", name="peak memory", full="peak memory in the first call", unit="MiB", priority=35),
        ),
        tuple(
            cells
            for row, call in zip(rows, calls, strict=True)
            for cells in _with_percentiles(report, row, _stage_rows(row, sources, call))
        ),
        note_priority=30,
    )
    table = table.without(*(f"p{percent}" for percent in _unknown(table)))
    if not any(name.startswith("call.") for row in rows for name in row.figures):
        table = table.without("ms/call")
    if not any(name.startswith("pace.") for row in rows for name in row.figures):
        table = table.without("pace")
    if not any(call and call.stage_bytes for call in calls):
        table = table.without("peak memory")
    if len(rows) == 1:
        return table
    lines = [
        label
        for row, label, call in zip(rows, labels, calls, strict=True)
        for _ in _stage_rows(row, sources, call)
    ]
    return dataclasses.replace(
        table,
        columns=(Column("prompt", is_text=True), *table.columns),
        rows=tuple((cell, *cells) for cell, cells in zip(texts(lines), table.rows, strict=True)),
    )


_PERCENTILES = (90, 99)
_AT = 4
"""Where percentiles of calls are in a row of stages."""


def _with_percentiles(
    report: Report, row: Row, lines: Iterable[tuple[Cell, ...]]
) -> Iterator[tuple[Cell, ...]]:
    """Yield the rows with percentiles of the calls of each stage that ran more than once, where they carry them."""
    requests = [
        judged.measurement
        for judged in report.evaluation.requests
        if judged.is_counted and judged.launch.cell == row.cell and judged.prompt == row.prompt
    ]
    for cells in lines:
        stage = str(cells[0].value)
        times = call_times(requests, stage) if f"call.{stage}" in row.figures else []
        found = (percentile(times, percent) for percent in _PERCENTILES)
        added = (Cell() if value is None else quantity(value, Unit.MILLISECONDS) for value in found)
        yield (*cells[:_AT], *added, *cells[_AT:])


def _unknown(table: Table) -> tuple[int, ...]:
    """The percentiles that no stage carries."""
    return tuple(
        percent
        for offset, percent in enumerate(_PERCENTILES)
        if not any(row[_AT + offset].text for row in table.rows)
    )


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


def _labels(report: Report, rows: Sequence[Row]) -> list[str]:
    settings = [settings_text(report.distinctions[row.cell]) for row in rows]
    return [
        f"{row.prompt.short_label}{f' [{apart}]' * bool(apart)}"
        for row, apart in zip(rows, settings, strict=True)
    ]


def _stage_rows(
    row: Row, sources: Mapping[str, frozenset[StageSource]], call: FirstCall | None
) -> Iterator[tuple[Cell, ...]]:
    found, peaks = row.figures, call.stage_bytes if call else {}
    if "image_decoding" in found:
        yield _outside_row(found["image_decoding"])
    for stage in stages_of(row):
        is_rest = stage == UNEXPLAINED
        calls = found.get(f"calls.{stage}")
        yield (
            Cell(stage.replace("_", " "), value=stage, tone="dim" if is_rest else "name"),
            Cell(" and ".join(sorted(source.value for source in sources.get(stage, ())))),
            Cell() if is_rest else _count(calls.median if calls else 1.0),
            estimate(found[f"call.{stage}"], Unit.MILLISECONDS) if f"call.{stage}" in found else Cell(),
            estimate(found[f"stage.{stage}"], Unit.MILLISECONDS),
            _part(found.get(f"share.{stage}")),
            estimate(found[pace], Unit.MILLISECONDS_PER_SECOND)
            if (pace := f"pace.{stage}") in found
            else Cell(),
            _peak(peaks.get(stage)),
        )
    if call is not None and call.first_token_s is not None:
        yield _first_call_row(call)
    title, whole = covered(row)
    yield (
        Cell(title),
        Cell(),
        Cell(),
        Cell(),
        estimate(found.get(whole), Unit.MILLISECONDS),
        Cell("100", value=100.0),
        Cell(),
        _peak(max(peaks.values(), default=None)),
    )


def _outside_row(decoding: Summary) -> tuple[Cell, ...]:
    """What is done before the request begins, and is in no sum."""
    return (
        Cell("image decoding", value="image_decoding", tone="dim"),
        Cell(StageSource.CLOCK.value),
        Cell(),
        Cell(),
        estimate(decoding, Unit.MILLISECONDS),
        Cell("outside", tone="dim"),
        Cell(),
        Cell(),
    )


def _first_call_row(call: FirstCall) -> tuple[Cell, ...]:
    """What no stage of the first call has: the time in which an engine makes ready for later calls."""
    return (
        Cell("  in first call", value="first_call", tone="dim"),
        Cell(),
        Cell(),
        Cell(),
        quantity(call.unexplained_s, Unit.MILLISECONDS),
        Cell(),
        Cell(),
        Cell(),
    )


def _peak(size: int | None) -> Cell:
    return Cell() if size is None else quantity(size, Unit.MEBIBYTES)


def _count(calls: float) -> Cell:
    return Cell(f"{calls:.6g}", value=calls)


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
