"""Plots of every measured request: launches side by side, runs in their colours."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from llmbench.analysis.evaluation import EvaluatedRequest
from llmbench.analysis.metrics import METRICS
from llmbench.analysis.report import Row
from llmbench.render.html.document import Figure, PlotValue, Sign, column_label
from llmbench.render.html.plots import rounded
from llmbench.render.html.series import PlotSeries, fill, latencies
from llmbench.render.text import prompt_name

PROMPTS_DRAWN = 6
"""Prompts whose requests are drawn; the others stand in the tables."""

REQUESTS_DRAWN = 2000
"""Points of a plot; of more requests every so many are drawn, and the plot says so."""

_HALF = 0.38
_TICKS = 12
_Trace = Mapping[str, PlotValue]


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
    """Every measured request in the order it was made, launch by launch: a plot a prompt and metric."""
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
        data=[
            *(_counted(name, group, step) for group in groups),
            _not_counted(name, groups, step),
            *(_medians(name, group) for group in groups),
        ],
        layout={
            "height": 240,
            "xaxis": _launch_axis(groups),
            "yaxis": {"title": {"text": metric.unit.value}, "range": _window(counted)},
            "shapes": [band for group in groups for band in _band(name, group)],
        },
    )


def _key(groups: Sequence[_Group]) -> tuple[Sign, ...]:
    """What a cross is, where there is one."""
    if not any(each.reasons for group in groups for each in group.judged):
        return ()
    return (Sign(name="does not count", colour="var:--bad", mark="cross"),)


def _all_values(name: str, group: _Group) -> Iterator[float]:
    found = (each.value(name) for each in group.judged)
    yield from (value * METRICS[name].unit.scale for value in found if value is not None)


def _counted(name: str, group: _Group, step: int) -> _Trace:
    found = [(each, x) for each, x in group.positions if not each.reasons]
    marker: _Trace = {"color": group.series.colour, "size": 7, "opacity": 0.8}
    return _points(name, found[::step], column_label(group.series.name or "counts"), marker)


def _not_counted(name: str, groups: Sequence[_Group], step: int) -> _Trace:
    found = [(each, x) for group in groups for each, x in group.positions if each.reasons]
    marker: _Trace = {"color": "var:--bad", "size": 8, "symbol": "x-thin-open", "line": {"width": 2}}
    return {**_points(name, found[::step], "does not count", marker), "visible": bool(found)}


def _points(name: str, found: Sequence[tuple[EvaluatedRequest, float]], title: str, marker: _Trace) -> _Trace:
    metric = METRICS[name]
    seen = [(each, x, value) for each, x in found for value in [each.value(name)] if value is not None]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": title,
        "x": [rounded(x) for _, x, _ in seen],
        "y": [rounded(value * metric.unit.scale) for _, _, value in seen],
        "text": ["<br>".join(_words(each)) for each, _, _ in seen],
        "marker": marker,
        "hovertemplate": f"%{{text}}<br>%{{y:.4g}} {metric.unit.value}<extra></extra>",
    }


def _words(judged: EvaluatedRequest) -> Iterator[str]:
    yield f"launch {judged.launch.index + 1}, iteration {judged.measurement.iteration}"
    yield from map(column_label, judged.reasons)


def _medians(name: str, group: _Group) -> _Trace:
    x: list[PlotValue] = []
    y: list[PlotValue] = []
    for launch, median in group.row.medians.get(name, {}).items():
        column = group.columns[launch]
        value = rounded(median * METRICS[name].unit.scale)
        x += [column - _HALF, column + _HALF, None]
        y += [value, value, None]
    return {
        "type": "scatter",
        "mode": "lines",
        "x": x,
        "y": y,
        "line": {"color": "var:--ink", "width": 2},
        "hovertemplate": f"launch median: %{{y:.4g}} {METRICS[name].unit.value}<extra></extra>",
    }


def _launch_axis(groups: Sequence[_Group]) -> dict[str, PlotValue]:
    """Launches by their numbers; of many every so many."""
    total = sum(len(group.columns) for group in groups)
    step = max(1, math.ceil(total / _TICKS))
    ticks = [
        (column, launch)
        for group in groups
        for position, (launch, column) in enumerate(group.columns.items())
        if position % step == 0
    ]
    return {
        "title": {"text": "launch"},
        "tickvals": [column for column, _ in ticks],
        "ticktext": [str(launch) for _, launch in ticks],
        "range": [-0.6, total - 0.4],
        "showgrid": False,
    }


def _window(values: Sequence[float]) -> list[PlotValue]:
    margin = max((max(values) - min(values)) * 0.15, max(values) * 0.01)
    return [rounded(max(0.0, min(values) - margin)), rounded(max(values) + margin)]


def _band(name: str, group: _Group) -> list[PlotValue]:
    """The interval of a series behind its launches; nothing where it is infinite."""
    summary = group.row.summaries.get(name)
    if summary is None or not summary.has_interval:
        return []
    scale = METRICS[name].unit.scale
    return [
        {
            "type": "rect",
            "x0": min(group.columns.values()) - 0.5,
            "x1": max(group.columns.values()) + 0.5,
            "y0": rounded(summary.low * scale),
            "y1": rounded(summary.high * scale),
            "fillcolor": fill(group.series.index),
            "line": {"width": 0},
            "layer": "below",
        }
    ]
