"""Plots as SVG: drawn once, without a script, in the colours of the style sheet, with titles on hovering.

A plot is as wide as its place on the page and keeps its proportions. One that has a row of its own is drawn for wide
and for narrow windows, and the style sheet shows one of the two.
"""

import html
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from llmbench.render.text import plain

NARROW, WIDE = 480, 1140
"""Units across a plot beside others, and across one with a row of its own."""

_CHARACTER = 6.8
_LINE = 14
_TOP, _RIGHT, _BOTTOM = 10, 14, 26
_DASHES = {"solid": "", "dash": "7 4", "dot": "2 4"}
_ARROW = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """What a plot shows in one direction, from *low* to *high*.

    *ticks* are values with their labels, and ``None`` puts them at round numbers, *suffix* behind each. An axis that
    *is_log* has a logarithmic scale; *has_grid* draws a line for each tick.
    """

    low: float
    high: float
    title: str = ""
    suffix: str = ""
    ticks: tuple[tuple[float, str], ...] | None = None
    is_log: bool = False
    has_grid: bool = True

    def share(self, value: float) -> float:
        """Return where a value lies: 0 at *low*, 1 at *high*."""
        if self.is_log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def labels(self) -> tuple[tuple[float, str], ...]:
        """Return the ticks with their labels."""
        if self.ticks is not None:
            return self.ticks
        return tuple((value, f"{value:.6g}{self.suffix}") for value in _round_values(self))


def category_axis(
    names: Sequence[str], *, title: str = "", edge: float = 0.5, is_upwards: bool = False
) -> Axis:
    """Return an axis with a place for each name, from 0 on; an upwards one has the first name at its top."""
    last = len(names) - 1
    ticks = tuple((last - at if is_upwards else at, name) for at, name in enumerate(names))
    return Axis(title=title, low=-edge, high=last + edge, ticks=ticks, has_grid=False)


def _round_values(axis: Axis) -> Iterator[float]:
    """Multiples of 1, 2 or 5 times a power of ten; of a logarithmic axis those numbers themselves."""
    if axis.is_log:
        powers = range(math.floor(math.log10(axis.low)), math.ceil(math.log10(axis.high)) + 1)
        found = (digit * 10.0**power for power in powers for digit in (1, 2, 5))
        yield from (value for value in found if axis.low <= value <= axis.high)
        return
    rough = (axis.high - axis.low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(digit * power for digit in (1, 2, 5, 10) if digit * power >= rough * 0.999)
    for number in range(math.ceil(axis.low / step - 1e-9), math.floor(axis.high / step + 1e-9) + 1):
        yield number * step


@dataclass(frozen=True, slots=True)
class Point:
    """A value with what is shown on hovering; *low* and *high* are the ends of its interval, if it has one."""

    x: float
    y: float
    title: str = ""
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """Points of one colour: each a *shape* (``circle``, ``diamond``, ``cross``).

    Intervals lie along y, and along x where they are *horizontal*. What leaves the plot ends in an arrow.
    """

    points: Sequence[Point]
    colour: str
    name: str = ""
    shape: str = "circle"
    size: float = 4.0
    opacity: float = 1.0
    horizontal: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Straight lines from point to point."""

    points: Sequence[tuple[float, float]]
    colour: str
    name: str = ""
    dash: str = "solid"
    width: float = 2.0
    title: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Area:
    """A filled outline."""

    points: Sequence[tuple[float, float]]
    colour: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A filled rectangle between two corners."""

    x: tuple[float, float]
    y: tuple[float, float]
    colour: str
    title: str = ""


Shape = Marks | Line | Area | Bar


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign:
    """What a colour and a line stand for; *mark* is ``solid``, ``dash``, ``dot``, or ``cross``."""

    name: str
    colour: str
    mark: str = "solid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A plot: axes, shapes from back to front, a title, and a sentence that says how to read it.

    *key* has what its own colours and lines stand for. One that *is_wide* has a row of its own.
    """

    title: str
    x: Axis
    y: Axis
    shapes: tuple[Shape, ...]
    caption: str = ""
    key: tuple[Sign, ...] = ()
    is_wide: bool = False
    height: int = 300

    @property
    def marks(self) -> tuple[Marks, ...]:
        """The points, in their order."""
        return tuple(shape for shape in self.shapes if isinstance(shape, Marks))

    @property
    def lines(self) -> tuple[Line, ...]:
        """The lines, in their order."""
        return tuple(shape for shape in self.shapes if isinstance(shape, Line))


def draw(figure: Figure, width: int = NARROW, attributes: str = "") -> str:
    """Return a figure as an SVG element, *width* units across."""
    return "".join(_Drawing(figure, width).elements(attributes))


def _escaped(text: str) -> str:
    return html.escape(plain(text))


class _Drawing:
    """A figure with the room that its labels leave: *left*, *inner* (width) and *depth* (height) of the plot."""

    def __init__(self, figure: Figure, width: int) -> None:
        self._figure = figure
        self._width = width
        lines = [line for _, label in figure.y.labels() for line in label.split("\n")]
        room = 10 + _CHARACTER * max(map(len, lines), default=0) + (18 if figure.y.title else 0)
        self._left = min(room, width * 0.45)
        self._inner = width - self._left - _RIGHT
        more = max((label.count("\n") for _, label in figure.x.labels()), default=0) * _LINE
        self._foot = _BOTTOM + more + (18 if figure.x.title else 0)
        self._depth = figure.height - _TOP - self._foot

    def elements(self, attributes: str) -> Iterator[str]:
        """Yield the parts of the SVG, from back to front."""
        figure = self._figure
        yield (
            f'<svg viewBox="0 0 {self._width} {figure.height}" role="img" '
            f'aria-label="{_escaped(figure.title)}"{attributes}>'
        )
        yield from self._x_axis()
        yield from self._y_axis()
        yield (
            f'<svg x="{self._left:.1f}" y="{_TOP}" width="{self._inner:.1f}" height="{self._depth:.1f}" '
            'overflow="hidden">'
        )
        for shape in figure.shapes:
            yield from self._shape(shape)
        yield "</svg></svg>"

    def _x(self, value: float) -> float:
        return self._figure.x.share(value) * self._inner

    def _y(self, value: float) -> float:
        return (1 - self._figure.y.share(value)) * self._depth

    def _x_axis(self) -> Iterator[str]:
        axis, foot = self._figure.x, _TOP + self._depth
        taken = -math.inf
        for value, label in axis.labels():
            x = self._left + self._x(value)
            if axis.has_grid:
                yield f'<path class="grid" d="M{x:.1f} {_TOP}V{foot:.1f}"/>'
            lines = label.split("\n")
            half = max(map(len, lines)) * _CHARACTER / 2
            middle = min(max(x, half), self._width - half)
            if middle - half > taken + 4:
                taken = middle + half
                for number, line in enumerate(lines):
                    y = foot + 16 + number * _LINE
                    yield f'<text x="{middle:.1f}" y="{y:.1f}" text-anchor="middle">{_escaped(line)}</text>'
        yield f'<path class="axis" d="M{self._left:.1f} {foot:.1f}h{self._inner:.1f}"/>'
        if axis.title:
            middle = self._left + self._inner / 2
            y = self._figure.height - 6
            yield f'<text x="{middle:.1f}" y="{y:.1f}" text-anchor="middle">{_escaped(axis.title)}</text>'

    def _y_axis(self) -> Iterator[str]:
        axis = self._figure.y
        for value, label in axis.labels():
            y = _TOP + self._y(value)
            if axis.has_grid:
                yield f'<path class="grid" d="M{self._left:.1f} {y:.1f}h{self._inner:.1f}"/>'
            lines = label.split("\n")
            for number, line in enumerate(lines):
                at = y + 4 + (number - (len(lines) - 1) / 2) * _LINE
                yield f'<text x="{self._left - 6:.1f}" y="{at:.1f}" text-anchor="end">{_escaped(line)}</text>'
        if axis.title:
            y = _TOP + self._depth / 2
            turned = f'transform="translate(13 {y:.1f}) rotate(-90)"'
            yield f'<text {turned} text-anchor="middle">{_escaped(axis.title)}</text>'

    def _shape(self, shape: Shape) -> Iterator[str]:
        match shape:
            case Marks():
                yield from self._marks(shape)
            case Line():
                dash = f";stroke-dasharray:{_DASHES[shape.dash]}" if _DASHES[shape.dash] else ""
                style = f"fill:none;stroke:{shape.colour};stroke-width:{shape.width:g}{dash}"
                yield f'<polyline points="{self._path(shape.points)}" style="{style}">{_title(shape.title)}</polyline>'
            case Area():
                yield f'<polygon points="{self._path(shape.points)}" style="fill:{shape.colour}"/>'
            case Bar():
                left, right = sorted(map(self._x, shape.x))
                top, foot = sorted(map(self._y, shape.y))
                yield (
                    f'<rect x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" height="{foot - top:.1f}" '
                    f'style="fill:{shape.colour}">{_title(shape.title)}</rect>'
                )

    def _path(self, points: Sequence[tuple[float, float]]) -> str:
        return " ".join(f"{self._x(x):.1f},{self._y(y):.1f}" for x, y in points)

    def _marks(self, marks: Marks) -> Iterator[str]:
        is_cross = marks.shape == "cross"
        paint = f"fill:none;stroke:{marks.colour};stroke-width:2" if is_cross else f"fill:{marks.colour}"
        yield f'<g style="{paint}" opacity="{marks.opacity:g}">'
        for point in marks.points:
            x, y = self._x(point.x), self._y(point.y)
            if point.low is not None and point.high is not None:
                ends = self._interval(point.low, point.high, x, y, horizontal=marks.horizontal)
                yield f'<path d="{ends}" style="fill:none;stroke:{marks.colour};stroke-width:1.5"/>'
            yield _mark(marks, x, y, _title(point.title))
        yield "</g>"

    def _interval(self, low: float, high: float, x: float, y: float, *, horizontal: bool) -> str:
        """The path of an interval with a cap at each end, or an arrow where it leaves the plot."""
        scaled, room = (self._x, self._inner) if horizontal else (self._y, self._depth)
        start, end = sorted((scaled(low), scaled(high)))
        near, far = max(start, 0.0), min(end, room)
        path = f"M{near:.1f} {y:.1f}H{far:.1f}" if horizontal else f"M{x:.1f} {near:.1f}V{far:.1f}"
        for at, back in ((near, _ARROW if start < 0 else 0.0), (far, -_ARROW if end > room else 0.0)):
            if horizontal:
                path += f"M{at + back:.1f} {y - _ARROW:.1f}l{-back} {_ARROW}l{back} {_ARROW}"
            else:
                path += f"M{x - _ARROW:.1f} {at + back:.1f}l{_ARROW} {-back}l{_ARROW} {back}"
        return path


def _title(text: str) -> str:
    return f"<title>{_escaped(text)}</title>" if text else ""


def _mark(marks: Marks, x: float, y: float, title: str) -> str:
    size = marks.size
    match marks.shape:
        case "diamond":
            return f'<path d="M{x - size:.1f} {y:.1f}l{size} {-size}l{size} {size}l{-size} {size}z">{title}</path>'
        case "cross":
            start = f"M{x - size:.1f} {y - size:.1f}"
            return (
                f'<path d="{start}l{2 * size} {2 * size}m0 {-2 * size}l{-2 * size} {2 * size}">{title}</path>'
            )
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{size:g}">{title}</circle>'
