"""What a second socket brings, as the first section of a page: sentences, a small table, a chart of speed-ups."""

from collections.abc import Iterator, Sequence

from llmbench.analysis import speedup
from llmbench.analysis.metrics.table import HEADLINES, METRICS
from llmbench.analysis.report import Report
from llmbench.analysis.speedup import Kind, Speedup
from llmbench.analysis.stats import Ratio
from llmbench.render import views
from llmbench.render.html.document import Block, Figures, Notes, Section
from llmbench.render.html.series import colour
from llmbench.render.html.svg import Axis, Bar, Figure, Line, Marks, Point, Shape, Sign, category_axis
from llmbench.render.terminal.speedup import notes, speedup_sentences

_BAR = 0.8
"""The part of a group's room that its bars take."""


def sockets_section(report: Report) -> Section:
    """Return the section that says what a second socket brings."""
    found = speedup.tabulate(report)
    return Section(name="sockets", title="What a second socket brings", blocks=tuple(_blocks(found, report)))


def details_section(report: Report) -> Section:
    """Return a table for each metric of a run of setups, its threads and the proof where it ran."""
    found = speedup.tabulate(report)
    blocks: list[Block] = []
    for name in speedup.SPEEDUP_METRICS:
        lines = [line for line in found.lines if name in line.entries]
        if lines:
            metric = METRICS[name]
            title = f"{metric.title}, {metric.unit.value}; speed-up against {found.base.name}"
            blocks += [Notes(lines=(title,)), views.speedup_table(found, name, lines)]
    blocks.append(Notes(lines=tuple(notes(found, report)), tone="dim"))
    return Section(name="setups", title="Setup by setup", blocks=tuple(blocks))


def _blocks(found: Speedup, report: Report) -> Iterator[Block]:
    headline, *more = speedup_sentences(found)
    yield Notes(lines=(headline,), tone=_tone(found))
    yield Notes(lines=tuple(more))
    yield Notes(lines=report.alarms, tone="bad")
    yield views.setup_table(found)
    figure = speedup_figure(found)
    if figure is not None:
        yield Figures(figures=(figure,))


def _tone(found: Speedup) -> str:
    """Return ``good`` where it pays at some length, ``bad`` where it is slower at all."""
    gains = found.gains("first_token")
    if found.pays_from("first_token") is not None:
        return "good"
    return "bad" if gains and all(gain.has_interval and gain.high < 1 for gain in gains.values()) else "warn"


def speedup_figure(found: Speedup) -> Figure | None:
    """Return the chart of speed-ups against the faster socket alone; ``None`` where nothing can be compared."""
    setups = [setup for setup in found.setups if setup.kind is not Kind.ONE]
    lines = {(line.setup.cell, line.input_tokens): line for line in found.lines}
    groups = [(name, length) for name in HEADLINES for length in found.lengths]
    gains = [
        (group, number, gain)
        for group, (name, length) in enumerate(groups)
        for number, setup in enumerate(setups)
        if (line := lines.get((setup.cell, length))) and name in line.entries
        if (gain := line.entries[name].gain)
    ]
    if not gains:
        return None
    sockets = len(found.split.sockets)
    highest = max(float(sockets), *(gain.ratio for _, _, gain in gains))
    edge = len(groups) - 0.5
    return Figure(
        title=f"how many times as fast as {found.base.name}",
        caption=f"Bars: speed-ups with their intervals at 95 %, paired by block. Solid line: {found.base.name}. "
        f"Dotted line: {sockets} sockets doing {sockets} times the work of one.",
        key=tuple(Sign(name=setup.name, colour=colour(number)) for number, setup in enumerate(setups)),
        is_wide=True,
        x=category_axis([f"{METRICS[name].short_title}\n{length} in" for name, length in groups]),
        y=Axis(title="speed-up", low=0, high=highest * 1.15, suffix=views.TIMES_SIGN),
        shapes=(
            *_bars(gains, [setup.name for setup in setups]),
            Line(points=((-0.5, 1), (edge, 1)), colour="var(--ink)", width=1),
            Line(points=((-0.5, sockets), (edge, sockets)), colour="var(--dim)", dash="dot", width=1),
        ),
    )


def _bars(gains: Sequence[tuple[int, int, Ratio]], names: Sequence[str]) -> Iterator[Shape]:
    width = _BAR / len(names)
    for group, number, gain in gains:
        left = group - _BAR / 2 + number * width
        title = f"{names[number]}: {gain.ratio:.2f}{views.TIMES_SIGN} {views.ratio_interval(gain)}".strip()
        yield Bar(x=(left, left + width * 0.92), y=(0, gain.ratio), colour=colour(number), title=title)
        ends = (gain.low, gain.high) if gain.has_interval else ()
        point = Point(left + width * 0.46, gain.ratio, title, *ends)
        yield Marks(points=(point,), colour="var(--ink)", size=1.5)
