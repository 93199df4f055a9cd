"""Plots for a terminal: latency against input length, and every token's gap against its position."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.text import Text

from llmbench.analysis import token_gaps
from llmbench.analysis.load_curve import LoadCurve, load_curves
from llmbench.analysis.metrics.table import HEADLINES, METRICS
from llmbench.analysis.report import Report, Row
from llmbench.render.terminal.table import print_line
from llmbench.render.text import in_brackets
from llmbench.schema.units import Unit, counted

WIDEST = 72
NARROWEST = 16
HEIGHT = 12
CELLS = 4
"""Configurations of a sweep that are drawn."""

_AXIS_CHARACTERS = 24
_TICK_CHARACTERS = 10
_LEAST_SHARE = 0.1
_ROUND = (1, 1.5, 2, 2.5, 3, 4, 5, 8)
_BLANK = "\u2800"
_MARKS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Points:
    """Points under one mark; without one they are joined by a line."""

    name: str
    mark: str | None
    x: Sequence[float]
    y: Sequence[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plot:
    """One plot: its points and what its axes show; latencies from 0 on, or only as far as they go."""

    title: str
    points: Sequence[_Points]
    x_label: str
    y_label: str
    is_from_zero: bool


def render_plots(report: Report, console: Console) -> None:
    """Print the plots of a report, or say why there is none."""
    if console.options.ascii_only:
        print_line(console, "the plots need a terminal with UTF-8", style="dim")
        return
    cells = list(enumerate(report.distinctions))
    found = [plot for cell, settings in cells[:CELLS] for plot in _plots(report, cell, settings)]
    if report.run.workload.is_concurrent:
        found, cells = list(map(_curve, load_curves(report))), []
    _print_plots(found, console)
    if not found:
        is_valid = any(row.launches for row in report.rows)
        needs = "two input lengths, or two output tokens" if is_valid else "a valid request"
        print_line(console, f"nothing to plot: it takes {needs}", style="dim")
    if len(cells) > CELLS:
        print_line(
            console,
            f"{counted(len(cells) - CELLS, 'more configuration')}: llmbench report html draws all",
            style="dim",
        )


def render_load_curves(report: Report, console: Console) -> None:
    """Print the curves of a load where there are any and the terminal can draw them."""
    if not console.options.ascii_only:
        _print_plots([_curve(curve) for curve in load_curves(report)], console)


def _print_plots(found: Sequence[_Plot], console: Console) -> None:
    for plot in found:
        print_line(console, plot.title, style="bold")
        console.print(Text(_draw(plot, width=console.width)), soft_wrap=True)


def _curve(curve: LoadCurve) -> _Plot:
    """The time to the first token against the rate of completed requests; the knee is marked."""
    points = [
        (point.rate.median, point.row.summaries["first_token"].median * Unit.MILLISECONDS.scale)
        for point in curve.points
        if point.rate and "first_token" in point.row.summaries
    ]
    line = _Points(name="", mark=None, x=[x for x, _ in points], y=[y for _, y in points])
    knee = [] if curve.knee is None else [points[curve.knee]]
    mark = _Points(name="knee", mark="K", x=[x for x, _ in knee], y=[y for _, y in knee])
    where = in_brackets(curve.settings)
    return _Plot(
        title=f"first token against completed requests per second{where}{', K = knee' if knee else ''}",
        points=(line, mark) if knee else (line,),
        x_label="requests/s",
        y_label="ms",
        is_from_zero=True,
    )


def _plots(report: Report, cell: int, settings: Mapping[str, str]) -> Iterator[_Plot]:
    rows = sorted((row for row in report.rows if row.cell == cell), key=lambda row: row.input_tokens)
    where = f" [{', '.join(f'{name}={value}' for name, value in settings.items())}]" if settings else ""
    for name in HEADLINES:
        points = _against_length(rows, name)
        if points is not None:
            title = f"{METRICS[name].title} against input tokens{where}"
            unit = METRICS[name].unit.value
            yield _Plot(title=title, points=(points,), x_label="in", y_label=unit, is_from_zero=True)
    lines = _gaps(report, cell)
    if lines:
        marks = ", ".join(f"{each.mark} = {each.name}" for each in lines)
        title = f"inter-token latency{where}: {marks}"
        yield _Plot(title=title, points=lines, x_label="token", y_label="ms", is_from_zero=False)


def _against_length(rows: Sequence[Row], name: str) -> _Points | None:
    having = [row for row in rows if name in row.summaries]
    if len({row.input_tokens for row in having}) < 2:
        return None
    scale = METRICS[name].unit.scale
    return _Points(
        name=name,
        mark=None,
        x=[row.input_tokens for row in having],
        y=[row.summaries[name].median * scale for row in having],
    )


def _gaps(report: Report, cell: int) -> list[_Points]:
    profiles = [profile for profile in token_gaps.gap_profiles(report.evaluation) if profile.cell == cell]
    return [
        _Points(
            name=f"{profile.prompt.label} ({profile.input_tokens} in)",
            mark=_MARKS[index % len(_MARKS)],
            x=[gap.token for gap in profile.gaps],
            y=[gap.median * Unit.MILLISECONDS.scale for gap in profile.gaps],
        )
        for index, profile in enumerate(profiles)
    ]


def bare_figure(width: int) -> Any:
    """Return a figure without points for a terminal of this width."""
    from plotille import Figure

    figure = Figure()
    figure.with_colors = False
    figure.width = (
        min(max(width - _AXIS_CHARACTERS, NARROWEST), WIDEST) // _TICK_CHARACTERS * _TICK_CHARACTERS
    )
    figure.height = HEIGHT
    figure.origin = False
    for kind in (int, float):
        figure.register_label_formatter(kind, axis_label)
    return figure


def _draw(plot: _Plot, *, width: int) -> str:
    figure = bare_figure(width)
    figure.x_label, figure.y_label = plot.x_label, plot.y_label
    values = [value for each in plot.points for value in each.y]
    low, high = _ends(0.0 if plot.is_from_zero else min(values), max(values), HEIGHT)
    figure.set_y_limits(min_=low, max_=high)
    positions = [position for each in plot.points for position in each.x]
    _, last = _ends(0.0, max(positions), figure.width / _TICK_CHARACTERS)
    figure.set_x_limits(min_=0, max_=last)
    for each in plot.points:
        if each.mark is None:
            figure.plot(each.x, each.y)
        figure.scatter(each.x, each.y, marker=each.mark or "o")
    return figure_text(figure)


def figure_text(figure: Any) -> str:
    """Return a figure as lines without blanks at their ends."""
    text: str = figure.show()
    return "\n".join(line.rstrip(f" {_BLANK}") for line in text.splitlines())


def _ends(low: float, high: float, steps: float) -> tuple[float, float]:
    """An axis that contains both in this many steps of a round length, and begins at a multiple of it."""
    reach = max(high - low, high * _LEAST_SHARE) or 1.0
    low = max(0.0, (low + high - reach) / 2)
    power = 10.0 ** math.floor(math.log10(reach / steps))
    lengths = (power * tens * factor for tens in (1, 10) for factor in _ROUND)
    return next(
        (begin, begin + length * steps)
        for length in lengths
        for begin in [math.floor(low / length) * length]
        if begin + length * steps >= low + reach
    )


def axis_label(value: float, chars: int, delta: float, left: bool = False) -> str:  # noqa: ARG001, FBT001, FBT002  plotille's
    """Return the label of a tick, six significant digits."""
    return f"{value:<{chars}.6g}" if left else f"{value:>{chars}.6g}"
