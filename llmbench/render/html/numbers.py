"""The first tables of a page: what each prompt took, every metric with its interval, and what the words mean."""

from collections.abc import Iterator, Sequence

from llmbench.analysis import stats
from llmbench.analysis.bandwidth import Decoding
from llmbench.analysis.metrics import LAUNCH_METRICS, METRICS, SCREEN_METRICS, Metric, present
from llmbench.analysis.report import Row
from llmbench.analysis.stages import row_metric
from llmbench.render.html import cells
from llmbench.render.html.document import Cell, Head, Table, Tile
from llmbench.render.html.series import PlotSeries, latencies
from llmbench.render.text import number_text, row_label
from llmbench.schema.measurement import Measurement
from llmbench.schema.run import Launch


def tiles(series: PlotSeries) -> tuple[Tile, ...]:
    """First, second and later tokens at the longest input, with the shortest below."""
    found = []
    for name in latencies([series]):
        rows = sorted((row for row in series.rows if name in row.summaries), key=lambda row: row.input_tokens)
        if not rows:
            continue
        unit = METRICS[name].unit
        shortest, longest = rows[0], rows[-1]
        note = f"at {longest.input_tokens} tokens in"
        if shortest.input_tokens < longest.input_tokens:
            note += f"; {number_text(shortest.summaries[name].median, unit)} at {shortest.input_tokens}"
        shown = f"{number_text(longest.summaries[name].median, unit)} {unit.value}"
        found.append(Tile(head=METRICS[name].title, text=shown, note=note))
    return tuple(found)


def main_table(series: Sequence[PlotSeries]) -> Table:
    """What each prompt took: a row a prompt and series, so that runs stand below each other."""
    names = present(SCREEN_METRICS, (row.summaries for each in series for row in each.rows))
    heads = [*_prompt_heads(), *cells.series_heads(series)]
    heads += [Head(text=METRICS[name].title, unit=METRICS[name].unit.value) for name in names]
    heads += [Head(text="launches"), Head(text="requests")]
    prompts = list(dict.fromkeys(row.prompt.sha256 for each in series for row in each.rows))
    found = [(each, row) for each in series for row in each.rows]
    rows = [
        (
            *_prompt_cells(row),
            *cells.series_cells(series, each),
            *(cells.summary(row.summaries.get(name), METRICS[name].unit) for name in names),
            cells.count(row.launches),
            _requests(row),
        )
        for each, row in sorted(found, key=lambda pair: prompts.index(pair[1].prompt.sha256))
    ]
    return Table(heads=tuple(heads), rows=tuple(rows))


def _requests(row: Row) -> Cell:
    if not row.invalid:
        return cells.count(row.measured)
    return Cell(text=f"{row.measured - row.invalid} of {row.measured}", tone="warn")


def _prompt_heads() -> list[Head]:
    return [
        Head(text="prompt", is_text=True),
        Head(text="in", unit="tokens"),
        Head(text="out", unit="tokens"),
    ]


def _prompt_cells(row: Row) -> list[Cell]:
    which = Cell(text=row_label(row), title=f"{row.prompt.set}, {row.prompt.sha256[:12]}")
    return [which, cells.count(row.input_tokens), cells.count(row.output_tokens)]


def every_metric(series: Sequence[PlotSeries]) -> Table:
    """All metrics with interval and percentiles: a row a series, prompt and metric."""
    heads = [*cells.series_heads(series), Head(text="prompt", is_text=True), Head(text="in", unit="tokens")]
    heads += [Head(text="metric", is_text=True), Head(text="unit", is_text=True), Head(text="n")]
    heads += [Head(text=name) for name in ("centre", "low", "high", "p90", "p95", "p99")]
    rows = [
        (
            *cells.series_cells(series, each),
            cells.text(row_label(row)),
            cells.count(row.input_tokens),
            *_metric_cells(row, name),
        )
        for each in series
        for row in each.rows
        for name in row.summaries
    ]
    return cells.cut(heads, rows, len(rows), fold="every metric, its interval at 95 % and its percentiles")


def _metric_cells(row: Row, name: str) -> Iterator[Cell]:
    metric, found = row_metric(name), row.summaries[name]
    unit = metric.unit
    yield Cell(text=metric.title, title=metric.definition)
    yield cells.text(unit.value)
    yield cells.count(found.n)
    yield cells.value(found.median, unit)
    yield cells.value(found.low if found.has_interval else None, unit)
    yield cells.value(found.high if found.has_interval else None, unit)
    for percent in stats.PERCENTILE_NEEDS:
        yield cells.value(stats.percentile(row.values[name], percent), unit)


def definitions(series: Sequence[PlotSeries]) -> Table:
    """What each metric means."""
    names = dict.fromkeys(name for each in series for row in each.rows for name in row.summaries)
    metrics: list[Metric[Measurement] | Metric[Decoding] | Metric[Launch]] = [
        row_metric(name) for name in names
    ]
    rows = [
        (
            cells.text(metric.title),
            cells.text(metric.definition),
            cells.text(metric.unit.value),
            cells.text(metric.direction.value),
        )
        for metric in (*metrics, *LAUNCH_METRICS.values())
    ]
    heads = [Head(text=name, is_text=True) for name in ("metric", "what it is", "unit", "better")]
    fold = "what the words mean (s: token ids handed over; t1 to tn: tokens available)"
    return Table(heads=tuple(heads), rows=tuple(rows), fold=fold)
