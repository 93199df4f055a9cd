"""A fleet on a terminal: what each host is, what it measured, how much hosts differ, and the verdict over them."""

from collections.abc import Iterator

from rich.console import Console

from llmbench.analysis.fleet import FleetChange, FleetLine, FleetReport, HostResult
from llmbench.analysis.report import Report, Row
from llmbench.analysis.stages import request_metric
from llmbench.render.table import EMPTY, Cell, Column, Table, estimate
from llmbench.render.terminal.table import print_line, print_table
from llmbench.render.text import change, counted, settings_text, share

_USUAL = ("CPU", "cores", "memory")
_MOST_DIFFERENCES = 3


def render_fleet(report: FleetReport, console: Console) -> None:
    """Print a fleet report."""
    print_table(host_table(report), console)
    console.print()
    table = figure_table(report)
    if table.rows:
        print_table(table, console)
    for text in _spreads(report):
        print_line(console, text)
    for text in (*_outliers(report), *report.alarms):
        print_line(console, f"note: {text}", style="yellow")
    for found in report.changes:
        print_line(console, fleet_sentence(found), style="bold")


def host_table(report: FleetReport) -> Table:
    """Return a row per host: what it is, how it ended, and what is not as on most hosts."""
    return Table(
        columns=(
            Column("host", is_text=True),
            *(Column(name, is_text=True, priority=10) for name in _USUAL),
            Column("runs", is_text=True),
            Column("differs in", is_text=True, priority=60),
        ),
        rows=tuple(
            (
                Cell(each.host, tone="name"),
                *(Cell(each.fingerprint.get(name, "n/a")) for name in _USUAL),
                Cell(each.state or "complete"),
                _differing(report, each),
            )
            for each in report.hosts
        ),
    )


def _differing(report: FleetReport, host: HostResult) -> Cell:
    found = report.differences.get(host.host, {})
    shown = [f"{name} {value}" for name, value in list(found.items())[:_MOST_DIFFERENCES]]
    return Cell("; ".join(shown), title=settings_text(found), tone="warn")


def figure_table(report: FleetReport) -> Table:
    """Return a row per prompt, configuration and host, with the metrics as columns; outliers are marked."""
    names = list(dict.fromkeys(line.metric for line in report.lines))
    lines = {(line.location, line.metric): line for line in report.lines}
    has_settings = any(each.report.distinctions[0] for each in report.hosts if each.report is not None)
    rows = [
        (location, host)
        for location in dict.fromkeys(line.location for line in report.lines)
        for host in (each for each in report.hosts if each.report is not None)
        if any(host.host in lines[location, name].values for name in names if (location, name) in lines)
    ]
    metrics = [request_metric(name) for name in names]
    return Table(
        columns=(
            Column("prompt", is_text=True),
            *([Column("settings", is_text=True, priority=50)] if has_settings else []),
            Column("in"),
            Column("host", is_text=True),
            *(Column(metric.short_title, name=metric.name, unit=metric.unit.value) for metric in metrics),
        ),
        rows=tuple(
            (
                *_row_cells(host.report, location, has_settings=has_settings),
                Cell(host.host, tone="name"),
                *(_figure(lines.get((location, name)), host.host) for name in names),
            )
            for location, host in rows
            if host.report is not None
        ),
    )


def _row_cells(report: Report, location: tuple[int, int], *, has_settings: bool) -> tuple[Cell, ...]:
    row = _row(report, location)
    settings = [Cell(settings_text(report.distinctions[row.cell]))] if has_settings else []
    return Cell(row.prompt.label), *settings, Cell(str(row.input_tokens), value=row.input_tokens)


def _figure(line: FleetLine | None, host: str) -> Cell:
    if line is None or host not in line.values:
        return EMPTY
    cell = estimate(line.values[host], request_metric(line.metric).unit)
    if host not in line.outliers:
        return cell
    return Cell(f"{cell.text}!", value=cell.value, note=cell.note, title=cell.title, tone="warn")


def _spreads(report: FleetReport) -> Iterator[str]:
    """How much of the spread is between machines, of each line with several hosts."""
    for line in report.lines:
        if line.between is not None:
            yield (
                f"{_name(report, line)}, {request_metric(line.metric).title}: hosts differ by "
                f"{share(line.between)} (standard deviation), launches on one host by {share(line.within)}"
            )


def _name(report: FleetReport, line: FleetLine) -> str:
    """The prompt of a line, with what sets its configuration apart, as the first host that measured it has them."""
    found = next(each.report for each in report.hosts if each.report is not None and each.host in line.values)
    settings = settings_text(found.distinctions[line.location[0]])
    label = _row(found, line.location).prompt.label
    return f"{label} ({settings})" if settings else label


def _row(report: Report, location: tuple[int, int]) -> Row:
    return next(row for row in report.rows if (row.cell, row.prompt.index) == location)


def _outliers(report: FleetReport) -> Iterator[str]:
    """Each outlier with what may be the reason: what of its machine is not as elsewhere, and what the doctor found."""
    hosts = {each.host: each for each in report.hosts}
    for line in report.lines:
        for host, distance in line.outliers.items():
            reasons = [f"{name} {value}" for name, value in report.differences.get(host, {}).items()]
            reasons += hosts[host].problems
            why = "; ".join(reasons[:_MOST_DIFFERENCES]) or "nothing known of it differs"
            title = request_metric(line.metric).title
            yield f"{host} is an outlier: {title} {change(1 + distance)} from the median of all hosts; {why}"


def fleet_sentence(found: FleetChange) -> str:
    """Return the verdict over hosts: ``first token: 7 of 8 hosts slower, +4.1 % (+2.9 to +5.2 %): regressed``."""
    title = request_metric(found.metric).title
    ratio = found.ratio
    interval = (
        f" ({change(ratio.low)} to {change(ratio.high)})"
        if ratio.has_interval
        else " (one host: no interval)"
    )
    hosts = counted(len(found.ratios), "host")
    return (
        f"{title}: {found.slower} of {hosts} slower, {change(ratio.ratio)}{interval}: {found.verdict.value}"
    )
