"""The folded tables of a page: the gap of every token, each launch, and each request."""

from collections.abc import Iterator, Sequence

from llmbench.analysis import validity
from llmbench.analysis.metrics import METRICS, SCREEN_METRICS, present
from llmbench.analysis.validity import JudgedMeasurement
from llmbench.render.html import cells
from llmbench.render.html.document import Cell, Head, Table
from llmbench.render.html.series import PlotSeries
from llmbench.render.text import counted, load_time, row_label
from llmbench.schema.run import Launch, Outcome
from llmbench.schema.units import Unit, format_bytes


def slope_tables(series: Sequence[PlotSeries]) -> Table | None:
    """How much longer a token takes behind more context; ``None`` where no series tells."""
    heads = [
        *cells.series_heads(series),
        Head(text="slope", unit="ms/token per 1,000 tokens of context"),
        Head(text="launches", unit="lowest to highest"),
        Head(text="over contexts of", unit="tokens"),
    ]
    rows = [
        (*cells.series_cells(series, each), *_slope_cells(each)) for each in series if each.slope is not None
    ]
    return Table(heads=tuple(heads), rows=tuple(rows)) if rows else None


def _slope_cells(series: PlotSeries) -> Iterator[Cell]:
    """The slope of one series, and how far its launches agree."""
    slope = series.slope
    if slope is None:
        return
    found = [each * 1000 * Unit.MILLISECONDS.scale for each in slope.by_launch.values()]
    yield Cell(text=f"{slope.median * 1000 * Unit.MILLISECONDS.scale:+.3g}")
    yield Cell(text=f"{min(found):+.3g} to {max(found):+.3g}") if len(found) > 1 else cells.EMPTY
    yield Cell(text=f"{slope.shortest} to {slope.longest}")


def gap_tables(series: Sequence[PlotSeries]) -> Table | None:
    """The median gap of every token: a row a token, a column a line of the plots."""
    lines = [(each, profile) for each in series for profile in each.profiles]
    if not lines:
        return None
    tokens = sorted({gap.token for _, profile in lines for gap in profile.gaps})
    columns = [{gap.token: gap for gap in profile.gaps} for _, profile in lines]
    heads = [Head(text="output token")]
    heads += [
        Head(text=f"{profile.prompt.label}, {profile.input_tokens} in", unit=each.name or "ms")
        for each, profile in lines
    ]
    rows = [
        (cells.count(token), *(_gap(column[token].median if token in column else None) for column in columns))
        for token in tokens
    ]
    return cells.cut(
        heads, rows, len(rows), fold="the gap of every token in ms, medians over the requests that count"
    )


def _gap(seconds: float | None) -> Cell:
    return cells.value(seconds, Unit.MILLISECONDS)


def launch_tables(series: Sequence[PlotSeries]) -> Table:
    """Each launch: how it went, and its medians."""
    names = present(SCREEN_METRICS, (row.summaries for each in series for row in each.rows))
    heads = [*cells.series_heads(series), Head(text="launch"), Head(text="prompt", is_text=True)]
    heads += [Head(text="in", unit="tokens")]
    heads += [Head(text=METRICS[name].title, unit=METRICS[name].unit.value) for name in names]
    rows = [
        (
            *cells.series_cells(series, each),
            cells.count(launch + 1),
            cells.text(row_label(row)),
            cells.count(row.input_tokens),
            *(cells.value(row.medians[name].get(launch), METRICS[name].unit) for name in names),
        )
        for each in series
        for row in each.rows
        for launch in sorted({index for found in row.medians.values() for index in found})
    ]
    return cells.cut(heads, rows, len(rows), fold="the median of each launch")


def memory_tables(series: Sequence[PlotSeries]) -> Table:
    """Load time and memory of each launch, and how it ended."""
    heads = [*cells.series_heads(series), Head(text="launch"), Head(text="started", is_text=True)]
    heads += [
        Head(text="load"),
        Head(text="peak while loading"),
        Head(text="peak while generating"),
    ]
    heads += [Head(text="outcome", is_text=True)]
    rows = [
        (*cells.series_cells(series, each), *_launch_cells(launch))
        for each in series
        for launch in each.report.run.launches
        if launch.cell == each.cell
    ]
    return cells.cut(heads, rows, len(rows))


def _launch_cells(launch: Launch) -> Iterator[Cell]:
    peaks = [m.memory.peak_bytes for m in launch.measurements if m.memory is not None]
    yield cells.count(launch.index + 1)
    yield Cell(text=launch.started_at[:19].replace("T", " "), title=launch.started_at)
    yield cells.EMPTY if launch.load_s is None else Cell(text=load_time(launch.load_s, launch.model_cache))
    yield _bytes(launch.load_memory.peak_bytes if launch.load_memory else None)
    yield _bytes(max(peaks, default=None))
    how = launch.outcome.value
    if launch.failure:
        how = f"{how} in {launch.failure.phase}: {launch.failure.message}"
    yield Cell(text=how, tone="" if launch.outcome is Outcome.FINISHED else "bad")


def _bytes(size: int | None) -> Cell:
    return cells.EMPTY if size is None else Cell(text=format_bytes(size), title=f"{size} bytes")


def request_tables(series: Sequence[PlotSeries]) -> Table:
    """Every request, warm-ups and those that do not count included and marked."""
    names = present(METRICS, (row.summaries for each in series for row in each.rows))
    heads = [*cells.series_heads(series), Head(text="launch"), Head(text="iteration")]
    heads += [Head(text="prompt", is_text=True), Head(text="counts", is_text=True)]
    heads += [Head(text="in", unit="tokens"), Head(text="out", unit="tokens")]
    heads += [Head(text=METRICS[name].title, unit=METRICS[name].unit.value) for name in names]
    found = [
        (each, judged)
        for each in series
        for judged in validity.judge_run(each.report.run)
        if judged.launch.cell == each.cell
    ]
    rows = ((*cells.series_cells(series, each), *_request_cells(judged, names)) for each, judged in found)
    return cells.cut(heads, rows, len(found), fold=f"all {counted(len(found), 'request')}")


def _request_cells(judged: JudgedMeasurement, names: Sequence[str]) -> Iterator[Cell]:
    m = judged.measurement
    yield cells.count(judged.launch.index + 1)
    yield cells.count(m.iteration)
    yield cells.text(judged.prompt.label)
    yield _standing(judged)
    yield cells.count(m.input_tokens)
    yield cells.count(m.output_tokens)
    for name in names:
        yield cells.value(METRICS[name].of(m), METRICS[name].unit)


def _standing(judged: JudgedMeasurement) -> Cell:
    if judged.reasons:
        return Cell(text=f"no: {'; '.join(judged.reasons)}", tone="bad")
    if judged.measurement.is_warmup:
        return Cell(text="warm-up", tone="dim")
    if not judged.counts:
        return Cell(text=f"no: its launch {judged.launch.outcome.value}", tone="bad")
    return cells.text("yes")
