"""The plots of a page: metrics against input length, every token, sockets, and the changes of a comparison."""

import math
import statistics
import textwrap
from collections.abc import Iterator, Mapping, Sequence

from llmbench.analysis.comparison.change import Change
from llmbench.analysis.comparison.compare import Comparison
from llmbench.analysis.metrics import METRICS
from llmbench.analysis.stats import Summary
from llmbench.analysis.token_gaps import FIRST_STEADY, GapProfile
from llmbench.render.html.document import Figure, PlotValue, Sign, column_label
from llmbench.render.html.series import PlotSeries, colour, dash, fill
from llmbench.render.sentences.verdict import VerdictLine, interval_text, verdict_lines
from llmbench.render.text import prompt_name
from llmbench.render.views import TONES
from llmbench.schema.measurement import WORKED_SHARE
from llmbench.schema.units import Unit

LOGARITHMIC_FROM = 128
"""Where the longest input is so many times the shortest, its axis is logarithmic."""

STEEP_FROM = 8
"""Where it is, and the highest value so many times the lowest, that axis is, too."""

MARKERS_UP_TO = 64
"""Tokens of a line that are marked one by one."""

MAX_PLOTTED = 60
"""Rows of a plot of changes; the table has all."""

PLOT_DIGITS = 6
_COLOURS = {"bad": "var:--bad", "good": "var:--good", "warn": "var:--warn", "": "var:--dim"}
_HIGHEST = 1.0
"""A plot of changes ends at +100 %, wherever an interval goes."""

_BREAK = "<br>"
_ROW_NAME_WIDTH = 24
"""Characters of a row's name in a line; more are cut off at 400 px."""

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
        lines = [
            (prompt_name(profile.prompt, profile.input_tokens), index, profile)
            for index, profile in enumerate(profiles)
        ]
        return (_gaps("every token's gap", lines, is_wide=True),) if lines else ()
    found: dict[str, list[tuple[str, int, GapProfile]]] = {}
    for each in series:
        for profile in each.profiles:
            found.setdefault(profile.prompt.sha256, []).append((each.name, each.index, profile))
    return tuple(
        _gaps(prompt_name(lines[0][2].prompt, lines[0][2].input_tokens), lines) for lines in found.values()
    )


def _gaps(title: str, lines: Sequence[tuple[str, int, GapProfile]], *, is_wide: bool = False) -> Figure:
    traces = [trace for name, index, profile in lines for trace in _gap_line(name, index, profile)]
    found = [gap for _, _, profile in lines for gap in profile.gaps]
    stable = [gap for gap in found if gap.token >= FIRST_STEADY] or found
    scale = Unit.MILLISECONDS.scale
    low, high = min(gap.low for gap in stable) * scale, max(gap.median for gap in found) * scale
    high = max(high, statistics.median(gap.high for gap in stable) * scale)
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


def socket_figure(series: Sequence[PlotSeries]) -> Figure | None:
    """How busy each socket was kept; ``None`` where nobody looked, or the machine has one socket."""
    found = [
        (each, proved.placement)
        for each in series
        for proved in [each.report.proofs[each.cell]]
        if proved is not None and len(proved.placement.sockets) > 1
    ]
    if not found:
        return None
    return Figure(
        title="how busy each socket was",
        caption=f"Of the time its CPUs could be filled; below {WORKED_SHARE:.0%} a socket did not do its part.",
        data=[
            {
                "type": "bar",
                "name": column_label(each.name or "this run"),
                "x": [f"socket {work.socket}" for work in seen.sockets],
                "y": [rounded(seen.share(work) * 100) for work in seen.sockets],
                "marker": {"color": each.colour},
                "hovertemplate": "%{x}: %{y:.0f} %",
            }
            for each, seen in found
        ],
        layout={
            "yaxis": {"title": {"text": "% busy"}, "rangemode": "tozero"},
            "shapes": [_level(WORKED_SHARE * 100)],
        },
    )


def _level(level: float) -> dict[str, PlotValue]:
    line: dict[str, PlotValue] = {"color": "var:--dim", "dash": "dot", "width": 1}
    return {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": level, "y1": level, "line": line}


def ratios(comparison: Comparison) -> Figure | None:
    """The change of each row with its interval, the thresholds behind them; ``None`` where nothing is compared."""
    every = verdict_lines(comparison)
    found = every[:MAX_PLOTTED]
    if not found:
        return None
    left = f" The first {len(found)} of {len(every)} are drawn." if every[MAX_PLOTTED:] else ""
    names = [_row_name(line) for line in found]
    names = [f"{name}{' ' * names[:position].count(name)}" for position, name in enumerate(names)]
    lowest, highest = _extent([line.source for line in found])
    return Figure(
        title="change of each metric",
        caption="Change from the base with its interval at 95 %; right is slower. The pale bar is the threshold "
        f"within which a change does not matter.{left}",
        is_wide=True,
        data=[_ratio_trace(tone, names, found) for tone in ("bad", "warn", "good", "")],
        layout={
            "height": 90 + len(found) * (10 + 14 * max(1 + name.count(_BREAK) for name in names)),
            "xaxis": {"title": {"text": "change"}, "ticksuffix": " %", "range": [lowest, highest]},
            "yaxis": {
                "categoryorder": "array",
                "categoryarray": names[::-1],
                "range": [-0.7, len(names) - 0.3],
            },
            "shapes": [*_thresholds(found), _zero()],
        },
    )


def _row_name(line: VerdictLine) -> str:
    """What a row of the plot is of, in lines that leave room for the plot on a narrow screen."""
    words = f"{line.where} {METRICS[line.metric].title}"
    return _BREAK.join(
        column_label(part) for part in textwrap.wrap(words, _ROW_NAME_WIDTH, break_long_words=False)
    )


def _extent(changes: Sequence[Change]) -> tuple[float, float]:
    """What the plot shows, in percent: all ratios and thresholds, and of intervals not more than makes sense."""
    reach = max(max(abs(each.ratio.ratio - 1), each.threshold) for each in changes)
    for each in changes:
        if each.ratio.has_interval:
            reach = max(reach, min(_HIGHEST, max(each.ratio.high - 1, 1 - each.ratio.low)))
    return rounded(-110 * min(reach, _HIGHEST)), rounded(110 * reach)


def _ratio_trace(tone: str, names: Sequence[str], found: Sequence[VerdictLine]) -> dict[str, PlotValue]:
    mine = [
        (name, line.source) for name, line in zip(names, found, strict=True) if TONES[line.verdict] == tone
    ]
    ratios_found = [change.ratio for _, change in mine]
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [rounded((ratio.ratio - 1) * 100) for ratio in ratios_found],
        "y": [name for name, _ in mine],
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [rounded((r.high - r.ratio) * 100) if r.has_interval else 0 for r in ratios_found],
            "arrayminus": [rounded((r.ratio - r.low) * 100) if r.has_interval else 0 for r in ratios_found],
            "color": _COLOURS[tone],
        },
        "marker": {"color": _COLOURS[tone], "size": 9},
        "text": [interval_text(change) for _, change in mine],
        "hovertemplate": "%{y}: %{x:+.2f} % (%{text})<extra></extra>",
    }


def _thresholds(found: Sequence[VerdictLine]) -> list[PlotValue]:
    """Behind each row the changes that do not matter."""
    last = len(found) - 1
    return [
        {
            "type": "rect",
            "x0": rounded(-line.source.threshold * 100),
            "x1": rounded(line.source.threshold * 100),
            "y0": last - position - 0.32,
            "y1": last - position + 0.32,
            "fillcolor": "var:--f7",
            "line": {"width": 0},
            "layer": "below",
        }
        for position, line in enumerate(found)
    ]


def _zero() -> dict[str, PlotValue]:
    line: dict[str, PlotValue] = {"color": "var:--dim", "width": 1}
    return {
        "type": "line",
        "x0": 0,
        "x1": 0,
        "yref": "paper",
        "y0": 0,
        "y1": 1,
        "line": line,
        "layer": "below",
    }
