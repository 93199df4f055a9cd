"""Plots of every measured request: launches side by side, runs in their colours."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from llmbench.analysis.evaluation import EvaluatedRequest
from llmbench.analysis.metrics.table import METRICS
from llmbench.analysis.report import Row
from llmbench.render.html.series import PlotSeries, fill, latencies
from llmbench.render.html.svg import Axis, Bar, Figure, Line, Marks, Point, Shape, Sign
from llmbench.render.text import number_text, prompt_name
from llmbench.schema.units import Unit

PROMPTS_DRAWN = 6
"""Prompts whose requests are drawn; the others are in the tables."""

REQUESTS_DRAWN = 500
"""Points of a plot; of more requests only every n-th is drawn, and the plot says so."""

_HALF = 0.38
_TICKS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """The requests of one series for one prompt; *columns* has the place of each of its launches."""

    series: PlotSeries
    row: Row
    judged: tuple[EvaluatedRequest, ...]
    columns: Mapping[int, int]

    @property
    def positions(self) -> Iterator[tuple[EvaluatedRequest, float]]:
        """Each request and where it stands: in its launch's column, in the order of the iterations."""
        launches: dict[int, list[EvaluatedRequest]] = {}
        for each in self.judged:
            launches.setdefault(each.launch.index, []).append(each)
        for launch, found in launches.items():
            ordered = sorted(found, key=lambda each: each.measurement.iteration)
            for order, each in enumerate(ordered):
                part = order / (len(ordered) - 1) - 0.5 if len(ordered) > 1 else 0.0
                yield each, self.columns[launch] + part * 0.6


def by_launch(series: Sequence[PlotSeries]) -> tuple[Figure, ...]:
    """Every measured request in the order it was made, launch by launch: a plot per prompt and metric."""
    measured = {
        each.index: tuple(judged for judged in each.report.evaluation.requests if judged.is_measured)
        for each in series
    }
    prompts: dict[str, list[tuple[PlotSeries, Row]]] = {}
    for each in series:
        for row in each.rows:
            prompts.setdefault(row.prompt.sha256, []).append((each, row))
    return tuple(
        _figure(name, groups)
        for found in chosen(list(prompts.values()))
        for groups in [_groups(found, measured)]
        for name in latencies(series)
        if name != "second_token"
        if any(each.value(name) is not None for group in groups for each in group.judged)
    )


def chosen(prompts: Sequence[list[tuple[PlotSeries, Row]]]) -> list[list[tuple[PlotSeries, Row]]]:
    """The prompts that are drawn: all, or of many those from the shortest to the longest input, evenly."""
    ordered = sorted(prompts, key=lambda found: found[0][1].input_tokens)
    if len(ordered) <= PROMPTS_DRAWN:
        return ordered
    step = (len(ordered) - 1) / (PROMPTS_DRAWN - 1)
    return [ordered[round(position * step)] for position in range(PROMPTS_DRAWN)]


def _groups(
    found: Sequence[tuple[PlotSeries, Row]], measured: Mapping[int, Sequence[EvaluatedRequest]]
) -> list[_Group]:
    """The requests of one prompt, the launches of each series to the right of those before."""
    groups: list[_Group] = []
    column = 0
    for series, row in found:
        judged = tuple(
            each
            for each in measured[series.index]
            if each.launch.cell == row.cell and each.prompt == row.prompt
        )
        launches = sorted({each.launch.index for each in judged})
        columns = {launch: column + position for position, launch in enumerate(launches)}
        groups.append(_Group(series=series, row=row, judged=judged, columns=columns))
        column += len(launches)
    return groups


def _figure(name: str, groups: Sequence[_Group]) -> Figure:
    metric = METRICS[name]
    counted = [value * metric.unit.scale for group in groups for value in group.row.values.get(name, ())]
    counted = counted or [value for group in groups for value in _all_values(name, group)]
    step = math.ceil(sum(len(group.judged) for group in groups) / REQUESTS_DRAWN)
    return Figure(
        title=f"{metric.title}, {prompt_name(groups[0].row.prompt, groups[0].row.input_tokens)}",
        caption=f"One request of {step} is drawn." if step > 1 else "",
        key=_key(groups),
        height=240,
        x=_launch_axis(groups),
        y=_window(counted, metric.unit),
        shapes=(
            *(band for group in groups for band in _band(name, group)),
            *(_counted(name, group, step) for group in groups),
            *_not_counted(name, groups, step),
            *(line for group in groups for line in _medians(name, group)),
        ),
    )


def _key(groups: Sequence[_Group]) -> tuple[Sign, ...]:
    """What a cross is, where there is one."""
    if not any(each.reasons for group in groups for each in group.judged):
        return ()
    return (Sign(name="does not count", colour="var(--bad)", mark="cross"),)


def _all_values(name: str, group: _Group) -> Iterator[float]:
    found = (each.value(name) for each in group.judged)
    yield from (value * METRICS[name].unit.scale for value in found if value is not None)


def _counted(name: str, group: _Group, step: int) -> Marks:
    found = [(each, x) for each, x in group.positions if not each.reasons]
    return Marks(
        points=tuple(_points(name, found[::step])),
        colour=group.series.colour,
        name=group.series.name or "counts",
        size=3.5,
        opacity=0.8,
    )


def _not_counted(name: str, groups: Sequence[_Group], step: int) -> Iterator[Marks]:
    found = [(each, x) for group in groups for each, x in group.positions if each.reasons]
    if found:
        points = tuple(_points(name, found[::step]))
        yield Marks(points=points, colour="var(--bad)", name="does not count", shape="cross", size=3.5)


def _points(name: str, found: Sequence[tuple[EvaluatedRequest, float]]) -> Iterator[Point]:
    unit = METRICS[name].unit
    for each, x in found:
        value = each.value(name)
        if value is not None:
            title = f"{'; '.join(_words(each))}: {number_text(value, unit)} {unit.value}"
            yield Point(x, value * unit.scale, title)


def _words(judged: EvaluatedRequest) -> Iterator[str]:
    yield f"launch {judged.launch.index + 1}, iteration {judged.measurement.iteration}"
    yield from judged.reasons


def _medians(name: str, group: _Group) -> Iterator[Line]:
    unit = METRICS[name].unit
    for launch, median in group.row.medians.get(name, {}).items():
        column, value = group.columns[launch], median * unit.scale
        yield Line(
            points=((column - _HALF, value), (column + _HALF, value)),
            colour="var(--ink)",
            title=f"median of launch {launch + 1}: {number_text(median, unit)} {unit.value}",
        )


def _launch_axis(groups: Sequence[_Group]) -> Axis:
    """Launches by their numbers, from 1 on; of many only every n-th."""
    total = sum(len(group.columns) for group in groups)
    step = max(1, math.ceil(total / _TICKS))
    ticks = tuple(
        (column, str(launch + 1))
        for group in groups
        for position, (launch, column) in enumerate(group.columns.items())
        if position % step == 0
    )
    return Axis(title="launch", low=-0.6, high=total - 0.4, ticks=ticks, has_grid=False)


def _window(values: Sequence[float], unit: Unit) -> Axis:
    margin = max((max(values) - min(values)) * 0.15, max(values) * 0.01) or 1.0
    return Axis(title=unit.value, low=max(0.0, min(values) - margin), high=max(values) + margin)


def _band(name: str, group: _Group) -> Iterator[Shape]:
    """The interval of a series behind its launches; nothing where it is infinite."""
    summary = group.row.summaries.get(name)
    if summary is not None and summary.has_interval:
        scale = METRICS[name].unit.scale
        yield Bar(
            x=(min(group.columns.values()) - 0.5, max(group.columns.values()) + 0.5),
            y=(summary.low * scale, summary.high * scale),
            colour=fill(group.series.index),
        )
