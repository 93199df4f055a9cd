"""Stages on a page: how each request is made up, as bars of the mean, and one request as it went."""

import textwrap
from collections.abc import Iterator, Sequence

from llmbench.analysis.report import Row
from llmbench.analysis.stages import UNEXPLAINED
from llmbench.render.html.document import Block, Figures
from llmbench.render.html.series import PlotSeries, colour
from llmbench.render.html.svg import Axis, Bar, Figure, Shape, Sign, category_axis
from llmbench.render.stages import FIRST_TOKEN, covered, stage_table, stages_of
from llmbench.render.text import number_text
from llmbench.schema.measurement import Measurement
from llmbench.schema.units import NS_PER_MS, Unit, seconds_between

MOST_BARS = 40
"""Bars of a plot; the table below it has all."""

_REST, _LABEL = "var(--dim)", 44


def stage_blocks(series: Sequence[PlotSeries]) -> Iterator[Block]:
    """Yield the plots and the tables of the stages of every run; nothing where there are no stages."""
    bars = [(each, row) for each in series for row in each.rows if stages_of(row)]
    if not bars:
        return
    colours = _colours(bars)
    gantt = _one_request(series[0], colours) if len(series) == 1 else None
    yield Figures(figures=(_stacked(bars, colours), *([gantt] if gantt else [])))
    for report in {id(each.report): each.report for each, _ in bars}.values():
        yield stage_table(report)


def _colours(bars: Sequence[tuple[PlotSeries, Row]]) -> dict[str, str]:
    names = dict.fromkeys(name for _, row in bars for name in stages_of(row) if name != UNEXPLAINED)
    return {name: colour(index) for index, name in enumerate(names)} | {UNEXPLAINED: _REST}


def _key(colours: dict[str, str]) -> tuple[Sign, ...]:
    return tuple(Sign(name=name.replace("_", " "), colour=own) for name, own in colours.items())


def _stacked(bars: Sequence[tuple[PlotSeries, Row]], colours: dict[str, str]) -> Figure:
    """A bar per prompt, its stages one behind the other: medians, which add up to about the whole."""
    shown = bars[:MOST_BARS]
    last = len(shown) - 1
    totals = [
        sum(max(0.0, row.figures[f"stage.{name}"].median) for name in stages_of(row)) for _, row in shown
    ]
    is_first = {covered(row)[0] for _, row in shown} == {FIRST_TOKEN}
    names = ["\n".join((row.prompt.label, *textwrap.wrap(each.name, _LABEL))) for each, row in shown]
    left = f" The first {len(shown)} of {len(bars)} are drawn." if bars[MOST_BARS:] else ""
    return Figure(
        title=f"stages of {'the first token' if is_first else 'a request'}",
        caption=f"Medians; what no stage covers is {UNEXPLAINED}. Hover for the share.{left}",
        key=_key(colours),
        is_wide=True,
        height=70 + len(shown) * (14 + 14 * max(1 + name.count("\n") for name in names)),
        x=Axis(title="ms", low=0, high=max(totals) * Unit.MILLISECONDS.scale * 1.02 or 1.0),
        y=category_axis(names, edge=0.6, is_upwards=True),
        shapes=tuple(
            shape for position, (_, row) in enumerate(shown) for shape in _bars(row, last - position, colours)
        ),
    )


def _bars(row: Row, position: int, colours: dict[str, str]) -> Iterator[Shape]:
    at = 0.0
    for name in stages_of(row):
        time, part = row.figures[f"stage.{name}"].median, row.figures[f"share.{name}"].median
        end = at + max(0.0, time) * Unit.MILLISECONDS.scale
        text = f"{name.replace('_', ' ')}: {number_text(time, Unit.MILLISECONDS)} ms, {part:.1%}"
        yield Bar(x=(at, end), y=(position - 0.3, position + 0.3), colour=colours[name], title=text)
        at = end


def _one_request(series: PlotSeries, colours: dict[str, str]) -> Figure | None:
    """The request of median length as it went; ``None`` where no stage of it has an instant."""
    counted = [
        judged.measurement
        for judged in series.report.evaluation.requests
        if judged.is_counted and any(stage.at_ns is not None for stage in judged.measurement.stages)
    ]
    if not counted:
        return None
    counted.sort(key=lambda m: m.end_ns - m.start_ns)
    m = counted[len(counted) // 2]
    names = list(dict.fromkeys(stage.name for stage in m.stages if stage.at_ns is not None))
    last = len(names) - 1
    prompt = series.report.run.cells[series.cell].prompts[m.prompt].label
    return Figure(
        title=f"one request as it went: {prompt}, launch {m.launch + 1}",
        caption="The request of median length; a stage without an instant of its own is left out.",
        is_wide=True,
        height=60 + 26 * len(names),
        x=Axis(title="ms", low=0, high=seconds_between(m.start_ns, m.end_ns) * 1e3 or 1.0),
        y=Axis(
            low=-0.6,
            high=last + 0.6,
            ticks=tuple((last - row, name.replace("_", " ")) for row, name in enumerate(names)),
        ),
        shapes=tuple(_spans(m, names, colours)),
    )


def _spans(m: Measurement, names: Sequence[str], colours: dict[str, str]) -> Iterator[Shape]:
    for stage in m.stages:
        if stage.at_ns is not None:
            at, row = (stage.at_ns - m.start_ns) / NS_PER_MS, len(names) - 1 - names.index(stage.name)
            text = f"{stage.name.replace('_', ' ')}: from {at:.3g} ms, {stage.duration_ns / NS_PER_MS:.4g} ms"
            yield Bar(
                x=(at, at + stage.duration_ns / NS_PER_MS),
                y=(row - 0.35, row + 0.35),
                colour=colours[stage.name],
                title=text,
            )
