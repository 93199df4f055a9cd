"""The tables of a page: what each prompt took, every metric with its interval, each launch and each request."""

from collections.abc import Iterable, Iterator, Sequence

from llmbench import report, stats
from llmbench.measurement import Measurement
from llmbench.metrics import LOAD, METRICS, Metric
from llmbench.render.html.document import Cell, Head, Table, Tile
from llmbench.render.html.series import Series
from llmbench.render.text import counted, label, margin, number
from llmbench.report import Judged, Row
from llmbench.run import Launch, Outcome
from llmbench.stats import Summary
from llmbench.units import Unit, format_bytes

MAIN = ("first_token", "second_token", "next_token", "tpot", "e2e", "decode_rate")
"""The metrics of the first table, in order."""

TILED = ("first_token", "second_token", "next_token")
MAX_ROWS = 2000
"""Rows of a table; what is left out is said."""

_EMPTY = Cell(text="n/a", tone="dim")


def text(value: str) -> Cell:
    """A cell of words."""
    return Cell(text=value)


def count(value: int) -> Cell:
    """A cell of a whole number."""
    return Cell(text=str(value))


def value(found: float | None, unit: Unit) -> Cell:
    """A cell of a value without an interval."""
    return _EMPTY if found is None else Cell(text=number(found, unit))


def summary(found: Summary | None, unit: Unit) -> Cell:
    """A centre with its margin; its interval, or why there is none, is told on hovering."""
    if found is None:
        return _EMPTY
    reach = "; ".join(found.warnings)
    if found.has_interval:
        reach = f"{number(found.low, unit)} to {number(found.high, unit)} {unit.value} at 95 %"
    return Cell(text=number(found.median, unit), note=margin(found), title=reach)


def tiles(series: Series) -> tuple[Tile, ...]:
    """First, second and later tokens at the longest input, with the shortest below."""
    found = []
    for name in TILED:
        rows = sorted((row for row in series.rows if name in row.summaries), key=lambda row: row.input_tokens)
        if not rows:
            continue
        unit = METRICS[name].unit
        shortest, longest = rows[0], rows[-1]
        note = f"at {longest.input_tokens} tokens in"
        if shortest.input_tokens < longest.input_tokens:
            note += f"; {number(shortest.summaries[name].median, unit)} at {shortest.input_tokens}"
        shown = f"{number(longest.summaries[name].median, unit)} {unit.value}"
        found.append(Tile(head=METRICS[name].title, text=shown, note=note))
    return tuple(found)


def main_table(series: Sequence[Series]) -> Table:
    """What each prompt took: a row a series and prompt."""
    names = [name for name in MAIN if any(name in row.summaries for each in series for row in each.rows)]
    heads = [*_series_heads(series), *_prompt_heads(), Head(text="launches"), Head(text="requests")]
    heads += [Head(text=METRICS[name].title, unit=METRICS[name].unit.value) for name in names]
    rows = [
        (
            *_series_cells(series, each),
            *_prompt_cells(row),
            count(row.launches),
            _requests(row),
            *(summary(row.summaries.get(name), METRICS[name].unit) for name in names),
        )
        for each in series
        for row in each.rows
    ]
    return Table(heads=tuple(heads), rows=tuple(rows))


def _requests(row: Row) -> Cell:
    """How many requests count, and how many were made where those are more."""
    if not row.invalid:
        return count(row.measured)
    return Cell(text=f"{row.measured - row.invalid} of {row.measured}", tone="warn")


def _series_heads(series: Sequence[Series]) -> list[Head]:
    """A column of names where there are several series."""
    return [Head(text="run", is_text=True)] if len(series) > 1 else []


def _series_cells(series: Sequence[Series], each: Series) -> list[Cell]:
    """The name of a series where there are several."""
    return [Cell(text=each.name, tone="name")] if len(series) > 1 else []


def _prompt_heads() -> list[Head]:
    """Which prompt, and its sizes."""
    return [
        Head(text="prompt", is_text=True),
        Head(text="in", unit="tokens"),
        Head(text="out", unit="tokens"),
    ]


def _prompt_cells(row: Row) -> list[Cell]:
    """Which prompt, and its sizes."""
    which = Cell(text=label(row), title=f"{row.prompt.set}, {row.prompt.sha256[:12]}")
    return [which, count(row.input_tokens), count(row.output_tokens)]


def every_metric(series: Sequence[Series]) -> Table:
    """All metrics with interval and percentiles: a row a series, prompt and metric."""
    heads = [*_series_heads(series), Head(text="prompt", is_text=True), Head(text="in", unit="tokens")]
    heads += [Head(text="metric", is_text=True), Head(text="unit", is_text=True), Head(text="n")]
    heads += [Head(text=name) for name in ("centre", "low", "high", "p90", "p95", "p99")]
    rows = [
        (*_series_cells(series, each), text(label(row)), count(row.input_tokens), *_metric_cells(row, name))
        for each in series
        for row in each.rows
        for name in row.summaries
    ]
    return _cut(heads, rows, fold="every metric, its interval at 95 % and its percentiles")


def _metric_cells(row: Row, name: str) -> Iterator[Cell]:
    """One metric of one prompt."""
    unit, found = METRICS[name].unit, row.summaries[name]
    yield Cell(text=METRICS[name].title, title=METRICS[name].definition)
    yield text(unit.value)
    yield count(found.n)
    yield value(found.median, unit)
    yield value(found.low if found.has_interval else None, unit)
    yield value(found.high if found.has_interval else None, unit)
    for percent in stats.PERCENTILE_NEEDS:
        yield value(stats.percentile(row.values[name], percent), unit)


def definitions(series: Sequence[Series]) -> Table:
    """What each metric means."""
    names = dict.fromkeys(name for each in series for row in each.rows for name in row.summaries)
    metrics: list[Metric[Measurement] | Metric[Launch]] = [METRICS[name] for name in names]
    rows = [
        (text(metric.title), text(metric.definition), text(metric.unit.value), text(metric.direction.value))
        for metric in (*metrics, LOAD)
    ]
    heads = [Head(text=name, is_text=True) for name in ("metric", "what it is", "unit", "better")]
    fold = "what the words mean (s: token ids handed over; t1 to tn: tokens available)"
    return Table(heads=tuple(heads), rows=tuple(rows), fold=fold)


def slopes(series: Sequence[Series]) -> Table | None:
    """How much longer a token takes behind more context; ``None`` where no series tells."""
    heads = [
        *_series_heads(series),
        Head(text="slope", unit="ms/token per 1,000 tokens of context"),
        Head(text="launches", unit="lowest to highest"),
        Head(text="over contexts of", unit="tokens"),
    ]
    rows = [(*_series_cells(series, each), *_slope_cells(each)) for each in series if each.slope is not None]
    return Table(heads=tuple(heads), rows=tuple(rows)) if rows else None


def _slope_cells(series: Series) -> Iterator[Cell]:
    """The slope of one series, and how far its launches agree."""
    slope = series.slope
    if slope is None:
        return
    found = [each * 1000 * Unit.MILLISECONDS.scale for each in slope.by_launch.values()]
    yield Cell(text=f"{slope.median * 1000 * Unit.MILLISECONDS.scale:+.3g}")
    yield Cell(text=f"{min(found):+.3g} to {max(found):+.3g}") if len(found) > 1 else _EMPTY
    yield Cell(text=f"{slope.shortest} to {slope.longest}")


def gaps(series: Sequence[Series]) -> Table | None:
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
        (count(token), *(_gap(column[token].median if token in column else None) for column in columns))
        for token in tokens
    ]
    return _cut(heads, rows, fold="the gap of every token in ms, medians over the requests that count")


def _gap(seconds: float | None) -> Cell:
    """One gap."""
    return value(seconds, Unit.MILLISECONDS)


def launches(series: Sequence[Series]) -> Table:
    """Each launch: how it went, and its medians."""
    names = [name for name in MAIN if any(name in row.summaries for each in series for row in each.rows)]
    heads = [*_series_heads(series), Head(text="launch"), Head(text="prompt", is_text=True)]
    heads += [Head(text="in", unit="tokens")]
    heads += [Head(text=METRICS[name].title, unit=METRICS[name].unit.value) for name in names]
    rows = [
        (
            *_series_cells(series, each),
            count(launch),
            text(label(row)),
            count(row.input_tokens),
            *(value(row.medians[name].get(launch), METRICS[name].unit) for name in names),
        )
        for each in series
        for row in each.rows
        for launch in sorted({index for found in row.medians.values() for index in found})
    ]
    return _cut(heads, rows, fold="the median of each launch")


def memory(series: Sequence[Series]) -> Table:
    """Load time and memory of each launch, and how it ended."""
    heads = [*_series_heads(series), Head(text="launch"), Head(text="started", is_text=True)]
    heads += [
        Head(text="load", unit="s"),
        Head(text="peak while loading"),
        Head(text="peak while generating"),
    ]
    heads += [Head(text="outcome", is_text=True)]
    rows = [
        (*_series_cells(series, each), *_launch_cells(launch))
        for each in series
        for launch in each.report.run.launches
        if launch.cell == each.cell
    ]
    return _cut(heads, rows)


def _launch_cells(launch: Launch) -> Iterator[Cell]:
    """One launch."""
    peaks = [m.memory.peak_bytes for m in launch.measurements if m.memory is not None]
    yield count(launch.index)
    yield Cell(text=launch.started_at[:19].replace("T", " "), title=launch.started_at)
    yield value(launch.load_s, Unit.SECONDS)
    yield _bytes(launch.load_memory.peak_bytes if launch.load_memory else None)
    yield _bytes(max(peaks, default=None))
    how = launch.outcome.value
    if launch.failure:
        how = f"{how} in {launch.failure.phase}: {launch.failure.message}"
    yield Cell(text=how, tone="" if launch.outcome is Outcome.FINISHED else "bad")


def _bytes(size: int | None) -> Cell:
    """A size as a person reads it."""
    return _EMPTY if size is None else Cell(text=format_bytes(size), title=f"{size} bytes")


def requests(series: Sequence[Series]) -> Table:
    """Every request, warm-ups and those that do not count included and marked."""
    names = [name for name in METRICS if any(name in row.summaries for each in series for row in each.rows)]
    heads = [*_series_heads(series), Head(text="launch"), Head(text="iteration")]
    heads += [Head(text="prompt", is_text=True), Head(text="counts", is_text=True)]
    heads += [Head(text="in", unit="tokens"), Head(text="out", unit="tokens")]
    heads += [Head(text=METRICS[name].title, unit=METRICS[name].unit.value) for name in names]
    rows = [
        (*_series_cells(series, each), *_request_cells(judged, names))
        for each in series
        for judged in report.judge(each.report.run)
        if judged.launch.cell == each.cell
    ]
    return _cut(heads, rows, fold=f"all {counted(len(rows), 'request')}")


def _request_cells(judged: Judged, names: Sequence[str]) -> Iterator[Cell]:
    """One request."""
    m = judged.measurement
    yield count(judged.launch.index)
    yield count(m.iteration)
    yield text(judged.prompt.label)
    yield _standing(judged)
    yield count(m.input_tokens)
    yield count(m.output_tokens)
    for name in names:
        yield value(METRICS[name].of(m), METRICS[name].unit)


def _standing(judged: Judged) -> Cell:
    """Whether a request counts, and why not."""
    if judged.reasons:
        return Cell(text=f"no: {'; '.join(judged.reasons)}", tone="bad")
    if judged.measurement.is_warmup:
        return Cell(text="warm-up", tone="dim")
    if not judged.counts:
        return Cell(text=f"no: its launch {judged.launch.outcome.value}", tone="bad")
    return text("yes")


def _cut(heads: Iterable[Head], rows: Sequence[tuple[Cell, ...]], *, fold: str = "") -> Table:
    """A table of at most MAX_ROWS rows; the line above it tells how many are left out."""
    if len(rows) > MAX_ROWS:
        left = f"the first {MAX_ROWS} of {len(rows)} rows; llmbench report csv writes all"
        fold = f"{fold}: {left}" if fold else left
    return Table(heads=tuple(heads), rows=tuple(rows[:MAX_ROWS]), fold=fold)
