"""Hosts side by side on a page: the verdict over them, what each is, and its figures against the median host's."""

import statistics
from collections.abc import Iterator, Mapping, Sequence

from llmbench.analysis.comparison.rule import Verdict
from llmbench.analysis.fleet import FleetChange, FleetLine, FleetReport
from llmbench.analysis.stages import request_metric
from llmbench.render.html.document import Block, Figures, Notes, Page, Section, render
from llmbench.render.html.plots import relative_point
from llmbench.render.html.series import colour
from llmbench.render.html.svg import Axis, Figure, Line, Marks, Point, Shape, Sign
from llmbench.render.terminal.fleet import (
    figure_table,
    fleet_sentence,
    host_table,
    line_name,
    outlier_sentences,
    spread_sentences,
)
from llmbench.render.text import change, number_text
from llmbench.render.views import TONES
from llmbench.schema.units import counted

_LABELLED = 12
"""Hosts up to which each has its name below the plot; on hovering a mark has it always."""

_LINES_DRAWN = 4
"""Prompts and configurations that are drawn; the table has all."""

_APART = 0.12
"""How far the marks of two prompts stand from each other, as a share of a host's room."""

_LEAST_REACH = 5.0
"""Per cent that a plot reaches to both sides at least, so that noise does not look large."""


def fleet_page(report: FleetReport, name: str) -> str:
    """Return the page of a fleet run."""
    return render(fleet_value(report, name))


def fleet_value(report: FleetReport, name: str) -> Page:
    """Return that page as a value."""
    verdicts = dict.fromkeys(found.verdict for found in report.changes)
    measured = sum(each.report is not None for each in report.hosts)
    return Page(
        title=f"{name}: {counted(len(report.hosts), 'host')}",
        lead=(
            f"{measured} of {counted(len(report.hosts), 'host')} measured.",
            "A host is a block: it gives one value, and intervals over hosts are intervals of these.",
        ),
        badges=tuple((verdict.value, TONES[verdict]) for verdict in verdicts),
        sections=(
            Section(name="verdict", title="Verdict over hosts", blocks=tuple(_verdicts(report.changes))),
            Section(name="hosts", title="Host by host", blocks=tuple(_hosts(report))),
            Section(name="numbers", title="The numbers", blocks=tuple(_numbers(report))),
        ),
    )


def _verdicts(changes: Sequence[FleetChange]) -> Iterator[Block]:
    if not changes:
        return
    for found in changes:
        yield Notes(lines=(fleet_sentence(found),), tone=TONES[found.verdict])
    yield Figures(figures=tuple(map(_ratio_figure, changes)))


def _hosts(report: FleetReport) -> Iterator[Block]:
    alarms = (*outlier_sentences(report), *report.alarms)
    if alarms:
        yield Notes(lines=alarms, tone="warn")
    yield host_table(report)


def _numbers(report: FleetReport) -> Iterator[Block]:
    if not report.lines:
        return
    names = dict.fromkeys(line.metric for line in report.lines)
    by_metric = {name: [line for line in report.lines if line.metric == name] for name in names}
    figures = [_metric_figure(lines) for lines in by_metric.values() if len(_hosts_of(lines)) > 1]
    if figures:
        yield Figures(figures=tuple(figures))
    yield figure_table(report)
    spreads = tuple(spread_sentences(report))
    if spreads:
        yield Notes(lines=spreads, tone="dim")


def _hosts_of(lines: Sequence[FleetLine]) -> list[str]:
    return list(dict.fromkeys(host for line in lines for host in line.values))


def _metric_figure(lines: Sequence[FleetLine]) -> Figure:
    """One metric of every host as a change from the median of all, so that prompts of all lengths fit."""
    drawn, hosts = lines[:_LINES_DRAWN], _hosts_of(lines)
    left_of = (len(drawn) - 1) / 2
    found = [
        (index, line, _points(line, hosts, _APART * (index - left_of))) for index, line in enumerate(drawn)
    ]
    rest = f" The first {len(drawn)} of {counted(len(lines), 'row')}." if len(lines) > len(drawn) else ""
    return Figure(
        title=request_metric(lines[0].metric).title,
        caption=f"Change from the median of all hosts. Bars: intervals at 95 % over launches. Cross: an outlier.{rest}",
        key=tuple(Sign(name=line_name(line), colour=colour(index)) for index, line, _ in found),
        is_wide=True,
        x=_host_axis(hosts),
        y=_change_axis([point.y for _, _, points in found for point in points.values()]),
        shapes=(_zero(len(hosts)), *(shape for each in found for shape in _marks(*each))),
    )


def _points(line: FleetLine, hosts: Sequence[str], shift: float) -> Mapping[str, Point]:
    unit = request_metric(line.metric).unit
    middle = statistics.median(summary.median for summary in line.values.values()) or 1.0
    return {
        host: relative_point(
            hosts.index(host) + shift,
            summary,
            middle,
            f"{host}: {number_text(summary.median, unit)} {unit.value}, {change(summary.median / middle)}",
        )
        for host, summary in line.values.items()
    }


def _marks(index: int, line: FleetLine, points: Mapping[str, Point]) -> Iterator[Shape]:
    usual = tuple(point for host, point in points.items() if host not in line.outliers)
    far = tuple(point for host, point in points.items() if host in line.outliers)
    yield Marks(points=usual, colour=colour(index))
    yield Marks(points=far, colour=colour(index), shape="cross", size=5)


def _ratio_figure(found: FleetChange) -> Figure:
    """Each host's change from A to B, and the mean of all with its interval over hosts."""
    hosts = list(found.ratios)
    points = tuple(
        Point(number, 100 * (ratio - 1), f"{host}: {change(ratio)}")
        for number, (host, ratio) in enumerate(found.ratios.items())
    )
    mean, ratio = len(hosts), found.ratio
    ends = (100 * (ratio.low - 1), 100 * (ratio.high - 1)) if ratio.has_interval else ()
    over = Point(mean, 100 * (ratio.ratio - 1), f"all hosts: {change(ratio.ratio)}", *ends)
    bad = {Verdict.REGRESSED: "var(--bad)", Verdict.IMPROVED: "var(--good)"}.get(found.verdict, "var(--ink)")
    return Figure(
        title=f"{request_metric(found.metric).title}: B against A",
        caption="Points: each host. Diamond: the geometric mean with its interval at 95 % over hosts.",
        is_wide=True,
        x=_host_axis([*hosts, "all"]),
        y=_change_axis([point.y for point in (*points, over)] + list(ends)),
        shapes=(
            _zero(mean + 1),
            Marks(points=points, colour=colour(0)),
            Marks(points=(over,), colour=bad, shape="diamond", size=6),
        ),
    )


def _host_axis(hosts: Sequence[str]) -> Axis:
    step = -(-len(hosts) // _LABELLED)
    ticks = tuple((number, host) for number, host in enumerate(hosts) if number % step == 0)
    return Axis(title="host", low=-0.5, high=len(hosts) - 0.5, ticks=ticks, has_grid=False)


def _change_axis(values: Sequence[float]) -> Axis:
    reach = max(_LEAST_REACH, 1.25 * max(map(abs, values)))
    low = min(-_LEAST_REACH, 1.25 * min(values))
    return Axis(low=max(low, -reach), high=max(_LEAST_REACH, 1.25 * max(values)), suffix=" %")


def _zero(hosts: int) -> Line:
    return Line(points=((-0.5, 0), (hosts - 0.5, 0)), colour="var(--dim)", dash="dot", width=1)
