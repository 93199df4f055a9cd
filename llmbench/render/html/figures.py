"""Plots of latency and memory against input length, and of every token's gap against its position."""

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence

from llmbench.analysis.metrics import METRICS
from llmbench.analysis.stats import Summary
from llmbench.analysis.token_gaps import FIRST_STEADY, GapProfile
from llmbench.render.html.document import Figure, PlotValue, Sign, column_label
from llmbench.render.html.series import PlotSeries, colour, dash, fill
from llmbench.schema.units import Unit

LOGARITHMIC_FROM = 128
"""Where the longest input is so many times the shortest, its axis is logarithmic."""

STEEP_FROM = 8
"""Where it is, and the highest value so many times the lowest, that axis is, too."""

MARKERS_UP_TO = 64
"""Tokens of a line that are marked one by one."""

PLOT_DIGITS = 6
_Trace = Mapping[str, PlotValue]


def against_length(
    series: Sequence[PlotSeries], names: Sequence[str], *, title: str, caption: str
) -> Figure | None:
    """Metrics of one unit against the input length; ``None`` where there are fewer than two lengths.

    The first metric is a solid line, the second a dashed one; pale points are launches.
    """
    lengths = sorted(
        {row.input_tokens for each in series for row in each.rows if set(names) & set(row.summaries)}
    )
    if len(lengths) < 2:
        return None
    traces = [
        trace for each in series for dashed, name in enumerate(names) for trace in _line(each, name, dashed)
    ]
    is_wide = lengths[-1] >= LOGARITHMIC_FROM * lengths[0]
    lowest, highest = _extremes(series, names)
    is_steep = is_wide and highest >= STEEP_FROM * lowest > 0
    return Figure(
        title=title,
        caption=caption,
        key=_metric_key(names, series[0].colour) if len(names) > 1 else (),
        data=traces,
        layout={
            "xaxis": _length_axis(lengths, is_wide=is_wide),
            "yaxis": {
                "title": {"text": METRICS[names[0]].unit.value},
                "type": "log" if is_steep else "linear",
                "range": reach(lowest, highest, is_log=is_steep),
            },
        },
    )


def _metric_key(names: Sequence[str], own: str) -> tuple[Sign, ...]:
    marks = ("solid", "dash")
    return tuple(
        Sign(name=METRICS[name].title, colour=own, mark=mark) for name, mark in zip(names, marks, strict=True)
    )


def _line(series: PlotSeries, name: str, dashed: int) -> Iterator[_Trace]:
    """One metric of one series: its centres with their intervals, and the launches behind them."""
    rows = sorted((row for row in series.rows if name in row.summaries), key=lambda row: row.input_tokens)
    scale = METRICS[name].unit.scale
    shown = ", ".join(part for part in (series.name, METRICS[name].title) if part)
    lengths = [row.input_tokens for row in rows]
    yield {
        "type": "scatter",
        "mode": "lines+markers",
        "name": column_label(shown),
        "x": lengths,
        "y": [rounded(row.summaries[name].median * scale) for row in rows],
        "error_y": bars([row.summaries[name] for row in rows], scale) | {"color": series.colour},
        "line": {"color": series.colour, "dash": "dash" if dashed else dash(series.index)},
        "marker": {"color": series.colour, "size": 8, "symbol": "diamond" if dashed else "circle"},
        "hovertemplate": f"%{{x}} tokens in: %{{y:.4g}} {METRICS[name].unit.value}",
    }
    points = [(row.input_tokens, value) for row in rows for value in row.medians[name].values()]
    yield {
        "type": "scatter",
        "mode": "markers",
        "name": "a launch",
        "x": [length for length, _ in points],
        "y": [rounded(value * scale) for _, value in points],
        "marker": {"color": series.colour, "size": 5, "opacity": 0.45},
        "hovertemplate": f"a launch: %{{y:.4g}} {METRICS[name].unit.value}",
    }


def _extremes(series: Sequence[PlotSeries], names: Sequence[str]) -> tuple[float, float]:
    values = [
        value * METRICS[name].unit.scale
        for each in series
        for row in each.rows
        for name in names
        if name in row.summaries
        for value in (row.summaries[name].median, *row.medians[name].values())
    ]
    return min(values), max(values)


def bars(summaries: Sequence[Summary], scale: float) -> dict[str, PlotValue]:
    """Error bars; a length of 0 where the interval is infinite."""
    known = [summary if summary.has_interval else None for summary in summaries]
    return {
        "type": "data",
        "symmetric": False,
        "array": [rounded((each.high - each.median) * scale) if each else 0 for each in known],
        "arrayminus": [rounded((each.median - each.low) * scale) if each else 0 for each in known],
        "thickness": 1.5,
    }


def _length_axis(lengths: Sequence[int], *, is_wide: bool) -> dict[str, PlotValue]:
    found: dict[str, PlotValue] = {"title": {"text": "input tokens"}, "type": "log" if is_wide else "linear"}
    if is_wide:
        return found | {"tickvals": lengths, "ticktext": [str(length) for length in lengths]}
    return found | {"rangemode": "tozero"}


def reach(lowest: float, highest: float, *, is_log: bool) -> list[PlotValue]:
    """What an axis of latencies shows: from 0 to a little above, however far an interval goes."""
    if is_log:
        return [rounded(math.log10(lowest * 0.8)), rounded(math.log10(highest * 1.25))]
    return [0, rounded(highest * 1.15)]


def against_position(series: Sequence[PlotSeries]) -> tuple[Figure, ...]:
    """The gap of every token against its position: a line a prompt, or, of several series, a plot a prompt."""
    if len(series) == 1:
        profiles = series[0].profiles
        lines = [(_name(profile), index, profile) for index, profile in enumerate(profiles)]
        return (_gaps("every token's gap", lines, is_wide=True),) if lines else ()
    found: dict[str, list[tuple[str, int, GapProfile]]] = {}
    for each in series:
        for profile in each.profiles:
            found.setdefault(profile.prompt.sha256, []).append((each.name, each.index, profile))
    return tuple(_gaps(_name(lines[0][2]), lines) for lines in found.values())


def _name(profile: GapProfile) -> str:
    return f"{profile.prompt.label}, {profile.input_tokens} tokens in"


def _gaps(title: str, lines: Sequence[tuple[str, int, GapProfile]], *, is_wide: bool = False) -> Figure:
    traces = [trace for name, index, profile in lines for trace in _gap_line(name, index, profile)]
    found = [gap for _, _, profile in lines for gap in profile.gaps]
    steady = [gap for gap in found if gap.token >= FIRST_STEADY] or found
    scale = Unit.MILLISECONDS.scale
    low, high = min(gap.low for gap in steady) * scale, max(gap.median for gap in found) * scale
    high = max(high, statistics.median(gap.high for gap in steady) * scale)
    margin = max((high - low) * 0.08, high * 0.01)
    return Figure(
        title=title,
        caption="Medians over the requests that count; the band holds the middle half of them.",
        key=tuple(Sign(name=name, colour=colour(index), mark=dash(index)) for name, index, _ in lines)
        if is_wide
        else (),
        is_wide=is_wide,
        data=traces,
        layout={
            "xaxis": {"title": {"text": "output token"}},
            "yaxis": {
                "title": {"text": "ms since the token before"},
                "range": [rounded(max(0.0, low - margin)), rounded(high + margin)],
            },
        },
    )


def _gap_line(name: str, index: int, profile: GapProfile) -> Iterator[_Trace]:
    scale = Unit.MILLISECONDS.scale
    tokens = [gap.token for gap in profile.gaps]
    if any(gap.n > 1 for gap in profile.gaps):
        edge = [gap.high for gap in profile.gaps] + [gap.low for gap in reversed(profile.gaps)]
        yield {
            "type": "scatter",
            "mode": "lines",
            "x": [*tokens, *reversed(tokens)],
            "y": [rounded(value * scale) for value in edge],
            "fill": "toself",
            "fillcolor": fill(index),
            "line": {"width": 0},
            "hoverinfo": "skip",
        }
    yield {
        "type": "scatter",
        "mode": "lines+markers" if len(tokens) <= MARKERS_UP_TO else "lines",
        "name": column_label(name),
        "x": tokens,
        "y": [rounded(gap.median * scale) for gap in profile.gaps],
        "customdata": [gap.context for gap in profile.gaps],
        "line": {"color": colour(index), "dash": dash(index), "width": 2},
        "marker": {"size": 4, "color": colour(index)},
        "hovertemplate": "token %{x}, %{customdata} before it: %{y:.4g} ms",
    }


def rounded(value: float) -> float:
    """A number without digits that nobody sees."""
    return round(value, PLOT_DIGITS)
