"""The plots of a page: metrics against input length, every token, sockets, and the changes of a comparison."""

import statistics
import textwrap
from collections.abc import Iterator, Sequence

from llmbench.analysis.comparison.change import Change
from llmbench.analysis.comparison.compare import Comparison
from llmbench.analysis.load_curve import CurvePoint, LoadCurve
from llmbench.analysis.stages import request_metric
from llmbench.analysis.stats import Summary
from llmbench.analysis.token_gaps import FIRST_STABLE, GapProfile
from llmbench.render.html.series import PlotSeries, colour, dash, fill
from llmbench.render.html.svg import Area, Axis, Bar, Figure, Line, Marks, Point, Shape, Sign, category_axis
from llmbench.render.sentences.verdict import VerdictLine, interval_text, verdict_lines
from llmbench.render.text import number_text, prompt_name, settings_text
from llmbench.render.views import TONES
from llmbench.schema.measurement import WORKED_SHARE
from llmbench.schema.units import Unit, counted

LOGARITHMIC_FROM = 128
"""Where the longest input is this many times the shortest, its axis is logarithmic."""

STEEP_FROM = 8
"""Where it is, and the highest value this many times the lowest, that axis is, too."""

MARKERS_UP_TO = 64
"""Tokens of a line that are marked one by one."""

MAX_PLOTTED = 60
"""Rows of a plot of changes; the table has all."""

_COLOURS = {"bad": "var(--bad)", "good": "var(--good)", "warn": "var(--warn)", "": "var(--dim)"}
_HIGHEST = 1.0
"""A plot of changes ends at +100 %, wherever an interval goes."""

_ROW_NAME_WIDTH = 24
"""Characters of a row's name in a line; more would leave no room for the plot at 400 px."""


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
    is_wide = lengths[-1] >= LOGARITHMIC_FROM * lengths[0]
    lowest, highest = _extremes(series, names)
    return Figure(
        title=title,
        caption=caption,
        key=_metric_key(names, series[0].colour) if len(names) > 1 else (),
        x=_length_axis(lengths, is_wide=is_wide),
        y=latency_axis(
            lowest,
            highest,
            request_metric(names[0]).unit,
            is_log=is_wide and highest >= STEEP_FROM * lowest > 0,
        ),
        shapes=tuple(
            shape
            for each in series
            for dashed, name in enumerate(names)
            for shape in _line(each, name, dashed)
        ),
    )


def load_figures(curves: Sequence[LoadCurve]) -> Iterator[Figure]:
    """Latencies against the rate of completed requests, for each configuration by itself; the knee is marked."""
    for number, curve in enumerate(curves):
        for metric in ("first_token", "tpot"):
            points = [point for point in curve.points if point.rate and metric in point.row.summaries]
            if len(points) > 1:
                yield _load_figure(curve, points, colour(number), metric)


def _load_figure(curve: LoadCurve, points: Sequence[CurvePoint], own: str, metric: str) -> Figure:
    names = [name for name in (metric, f"p90.{metric}") if all(name in p.row.summaries for p in points)]
    scale, rates = Unit.MILLISECONDS.scale, [point.rate.median for point in points if point.rate]
    highest = max(point.row.summaries[name].median for point in points for name in names) * scale
    settings = settings_text(curve.settings)
    shapes: list[Shape] = []
    for name, mark in zip(names, ("solid", "dash"), strict=False):
        found = tuple(
            interval_point(
                rate,
                point.row.summaries[name],
                Unit.MILLISECONDS,
                f"{request_metric(name).title}, {_level(curve, point)}, {rate:.3g} requests/s",
            )
            for rate, point in zip(rates, points, strict=True)
        )
        shapes += [
            Line(points=[(p.x, p.y) for p in found], colour=own, name=request_metric(name).title, dash=mark),
            Marks(points=found, colour=own, name=request_metric(name).title),
        ]
    knee = None if curve.knee is None else curve.points[curve.knee]
    if knee is not None and knee in points:
        at = Point(
            knee.rate.median if knee.rate else 0.0,
            knee.row.summaries[metric].median * scale,
            f"the knee: {_level(curve, knee)}",
        )
        shapes.append(Marks(points=(at,), colour="var(--bad)", name="knee", shape="diamond", size=7))
    return Figure(
        title=f"{request_metric(metric).title} against completed requests per second"
        f"{f', {settings}' if settings else ''}",
        caption=f"{_levels(curve, points)}. Bars: intervals at 95 % over launches. Diamond: the knee, where "
        "throughput / latency is highest.",
        key=_metric_key(names, own) if len(names) > 1 else (),
        x=Axis(title="requests/s", low=0, high=max(rates) * 1.1 or 1.0),
        y=latency_axis(0, highest, Unit.MILLISECONDS, is_log=False),
        shapes=tuple(shapes),
    )


def _level(curve: LoadCurve, point: CurvePoint) -> str:
    return f"{point.level:g} requests/s due" if curve.is_open else f"{point.level:g} at once"


def _levels(curve: LoadCurve, points: Sequence[CurvePoint]) -> str:
    """What the points are, from left to right."""
    levels = ", ".join(f"{point.level:g}" for point in points)
    return f"Points: {levels} {'requests/s due' if curve.is_open else 'at once'}"


def _metric_key(names: Sequence[str], own: str) -> tuple[Sign, ...]:
    marks = ("solid", "dash")
    return tuple(
        Sign(name=request_metric(name).title, colour=own, mark=mark)
        for name, mark in zip(names, marks, strict=True)
    )


def _line(series: PlotSeries, name: str, dashed: int) -> Iterator[Shape]:
    """One metric of one series: its centres with their intervals, and the launches behind them."""
    rows = sorted((row for row in series.rows if name in row.summaries), key=lambda row: row.input_tokens)
    unit = request_metric(name).unit
    shown = ", ".join(part for part in (series.name, request_metric(name).title) if part)
    launches = tuple(
        Point(
            row.input_tokens,
            value * unit.scale,
            f"launch {launch + 1}: {number_text(value, unit)} {unit.value}",
        )
        for row in rows
        for launch, value in row.medians[name].items()
    )
    yield Marks(points=launches, colour=series.colour, name="launches", size=2.5, opacity=0.45)
    centres = tuple(
        interval_point(
            row.input_tokens, row.summaries[name], unit, f"{shown}, {counted(row.input_tokens, 'token')} in"
        )
        for row in rows
    )
    yield Line(
        points=[(point.x, point.y) for point in centres],
        colour=series.colour,
        name=shown,
        dash="dash" if dashed else dash(series.index),
    )
    yield Marks(
        points=centres, colour=series.colour, name=shown, shape="diamond" if dashed else "circle", size=4
    )


def interval_point(x: float, found: Summary, unit: Unit, title: str) -> Point:
    """A centre above *x*, in its unit, with its interval where there is one."""
    low, high = (found.low * unit.scale, found.high * unit.scale) if found.has_interval else (None, None)
    reach = (
        f", {number_text(found.low, unit)} to {number_text(found.high, unit)}" if found.has_interval else ""
    )
    text = f"{title}: {number_text(found.median, unit)} {unit.value}{reach}"
    return Point(x, found.median * unit.scale, text, low, high)


def relative_point(x: float, found: Summary, reference: float, title: str) -> Point:
    """Return a centre as its change from a reference in per cent, with its interval where there is one."""
    center, *ends = (
        100 * (value / reference - 1)
        for value in (found.median, *((found.low, found.high) if found.has_interval else ()))
    )
    return Point(x, center, title, *ends)


def _extremes(series: Sequence[PlotSeries], names: Sequence[str]) -> tuple[float, float]:
    values = [
        value * request_metric(name).unit.scale
        for each in series
        for row in each.rows
        for name in names
        if name in row.summaries
        for value in (row.summaries[name].median, *row.medians[name].values())
    ]
    return min(values), max(values)


def _length_axis(lengths: Sequence[int], *, is_wide: bool) -> Axis:
    if is_wide:
        ticks = tuple((length, str(length)) for length in lengths)
        return Axis(
            title="input tokens", low=lengths[0] * 0.9, high=lengths[-1] * 1.1, ticks=ticks, is_log=True
        )
    return Axis(title="input tokens", low=0, high=lengths[-1] * 1.05)


def latency_axis(lowest: float, highest: float, unit: Unit, *, is_log: bool) -> Axis:
    """From 0 to a little above, however far an interval goes."""
    if is_log:
        return Axis(title=unit.value, low=lowest * 0.8, high=highest * 1.25, is_log=True)
    return Axis(title=unit.value, low=0, high=highest * 1.15 or 1.0)


def against_position(series: Sequence[PlotSeries]) -> tuple[Figure, ...]:
    """The gap of every token against its position: a line per prompt, or, of several series, a plot per prompt."""
    if len(series) == 1:
        profiles = series[0].profiles
        lines = [
            (prompt_name(profile.prompt, profile.input_tokens), index, profile)
            for index, profile in enumerate(profiles)
        ]
        return (_gaps("inter-token latency of every token", lines, is_wide=True),) if lines else ()
    found: dict[str, list[tuple[str, int, GapProfile]]] = {}
    for each in series:
        for profile in each.profiles:
            found.setdefault(profile.prompt.sha256, []).append((each.name, each.index, profile))
    return tuple(
        _gaps(prompt_name(lines[0][2].prompt, lines[0][2].input_tokens), lines) for lines in found.values()
    )


def _gaps(title: str, lines: Sequence[tuple[str, int, GapProfile]], *, is_wide: bool = False) -> Figure:
    found = [gap for _, _, profile in lines for gap in profile.gaps]
    stable = [gap for gap in found if gap.token >= FIRST_STABLE] or found
    scale = Unit.MILLISECONDS.scale
    low, high = min(gap.low for gap in stable) * scale, max(gap.median for gap in found) * scale
    high = max(high, statistics.median(gap.high for gap in stable) * scale)
    margin = max((high - low) * 0.08, high * 0.01) or 1.0
    last = max(gap.token for gap in found)
    return Figure(
        title=title,
        caption="Medians over the requests that count; the band is their middle half.",
        key=tuple(Sign(name=name, colour=colour(index), mark=dash(index)) for name, index, _ in lines)
        if is_wide
        else (),
        is_wide=is_wide,
        x=Axis(title="output token", low=1, high=last + 1),
        y=Axis(title="ms since the token before", low=max(0.0, low - margin), high=high + margin),
        shapes=tuple(shape for name, index, profile in lines for shape in _gap_line(name, index, profile)),
    )


def _gap_line(name: str, index: int, profile: GapProfile) -> Iterator[Shape]:
    scale = Unit.MILLISECONDS.scale
    if any(gap.n > 1 for gap in profile.gaps):
        upper = [(gap.token, gap.high * scale) for gap in profile.gaps]
        lower = [(gap.token, gap.low * scale) for gap in reversed(profile.gaps)]
        yield Area(points=[*upper, *lower], colour=fill(index))
    points = [(gap.token, gap.median * scale) for gap in profile.gaps]
    yield Line(points=points, colour=colour(index), name=name, dash=dash(index), title=name)
    if len(points) <= MARKERS_UP_TO:
        marked = tuple(
            Point(token, value, f"{name}: token {token}, {gap.context} before it: {value:.4g} ms")
            for (token, value), gap in zip(points, profile.gaps, strict=True)
        )
        yield Marks(points=marked, colour=colour(index), name=name, size=2.5)


def socket_figure(series: Sequence[PlotSeries]) -> Figure | None:
    """How busy each socket was kept; ``None`` where it was not recorded, or there is one socket."""
    found = [
        (each, proved.placement)
        for each in series
        for proved in [each.report.proofs[each.cell]]
        if proved is not None and len(proved.placement.sockets) > 1
    ]
    if not found:
        return None
    columns = [(each, seen.share(work) * 100, work.socket) for each, seen in found for work in seen.sockets]
    highest = max(100.0, *(busy for _, busy, _ in columns))
    return Figure(
        title="how busy each socket was",
        caption=f"Of the time its CPUs could be filled; below {WORKED_SHARE:.0%} a socket did not do its part.",
        x=category_axis([f"socket {socket}" for _, _, socket in columns]),
        y=Axis(title="% busy", low=0, high=highest * 1.05),
        shapes=(
            *(
                Bar(
                    x=(position - 0.35, position + 0.35),
                    y=(0, busy),
                    colour=each.colour,
                    title=f"{each.name + ', ' if each.name else ''}socket {socket}: {busy:.0f} %",
                )
                for position, (each, busy, socket) in enumerate(columns)
            ),
            Line(
                points=((-0.5, WORKED_SHARE * 100), (len(columns) - 0.5, WORKED_SHARE * 100)),
                colour="var(--dim)",
                dash="dot",
                width=1,
            ),
        ),
    )


def ratios(comparison: Comparison) -> Figure | None:
    """The change of each row with its interval, the thresholds behind them; ``None`` where nothing is compared."""
    every = verdict_lines(comparison)
    found = every[:MAX_PLOTTED]
    if not found:
        return None
    left = f" The first {len(found)} of {len(every)} are drawn." if every[MAX_PLOTTED:] else ""
    names = [_row_name(line) for line in found]
    last = len(found) - 1
    lowest, highest = _extent([line.source for line in found])
    return Figure(
        title="change of each metric",
        caption="Change from the base with its interval at 95 %, an arrow where it goes on; right is slower. The pale "
        f"bar is the threshold within which a change does not matter.{left}",
        is_wide=True,
        height=60 + len(found) * (10 + 14 * max(1 + name.count("\n") for name in names)),
        x=Axis(title="change", low=lowest, high=highest, suffix=" %"),
        y=category_axis(names, edge=0.7, is_upwards=True),
        shapes=(
            *(
                Bar(
                    x=(-line.source.threshold * 100, line.source.threshold * 100),
                    y=(last - position - 0.32, last - position + 0.32),
                    colour="var(--f7)",
                )
                for position, line in enumerate(found)
            ),
            Line(points=((0, -0.7), (0, last + 0.7)), colour="var(--dim)", width=1),
            *(
                Marks(
                    points=(_ratio_point(line, name, last - position),),
                    colour=_COLOURS[TONES[line.verdict]],
                    name=name.replace("\n", " "),
                    horizontal=True,
                )
                for position, (line, name) in enumerate(zip(found, names, strict=True))
            ),
        ),
    )


def _row_name(line: VerdictLine) -> str:
    """What a row of the plot is of, in lines that leave room for the plot on a narrow screen."""
    words = f"{line.where} {request_metric(line.metric).title}"
    return "\n".join(textwrap.wrap(words, _ROW_NAME_WIDTH, max_lines=3, placeholder=" …"))


def _ratio_point(line: VerdictLine, name: str, position: int) -> Point:
    ratio = line.source.ratio
    low, high = ((ratio.low - 1) * 100, (ratio.high - 1) * 100) if ratio.has_interval else (None, None)
    reach = interval_text(line.source)
    title = f"{name}: {line.change} ({reach})" if reach else f"{name}: {line.change}"
    return Point((ratio.ratio - 1) * 100, position, title.replace("\n", " "), low, high)


def _extent(changes: Sequence[Change]) -> tuple[float, float]:
    """What the plot shows, in percent: all ratios and thresholds, and of intervals not more than makes sense."""
    reach = max(max(abs(each.ratio.ratio - 1), each.threshold) for each in changes)
    for each in changes:
        if each.ratio.has_interval:
            reach = max(reach, min(_HIGHEST, max(each.ratio.high - 1, 1 - each.ratio.low)))
    return -110 * min(reach, _HIGHEST), 110 * reach
