"""A fleet on a terminal: what each host is, what it measured, how much hosts differ, and the verdict over them."""

from collections.abc import Iterator

from rich.console import Console

from llmbench.analysis.fleet import FleetChange, FleetLine, FleetReport, HostResult
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
    for text in spread_sentences(report):
        print_line(console, text)
    for text in (*outlier_sentences(report), *report.alarms):
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
    has_settings = any(line.settings for line in report.lines)
    first = {line.location: line for line in reversed(report.lines)}
    rows = [(line, host) for line in reversed(first.values()) for host in line.rows]
    metrics = [request_metric(name) for name in names]
    return Table(
        columns=(
            Column("prompt", is_text=True),
            *([Column("settings", is_text=True)] if has_settings else []),
            Column("in"),
            Column("host", is_text=True),
            *(Column(metric.short_title, name=metric.name, unit=metric.unit.value) for metric in metrics),
        ),
        rows=tuple(
            (
                *_row_cells(line, host, has_settings=has_settings),
                Cell(host, tone="name"),
                *(_figure(lines.get((line.location, name)), host) for name in names),
            )
            for line, host in rows
        ),
    )


def _row_cells(line: FleetLine, host: str, *, has_settings: bool) -> tuple[Cell, ...]:
    row = line.rows[host]
    settings = [Cell(settings_text(line.settings))] if has_settings else []
    return Cell(row.prompt.label), *settings, Cell(str(row.input_tokens), value=row.input_tokens)


def _figure(line: FleetLine | None, host: str) -> Cell:
    if line is None or host not in line.values:
        return EMPTY
    cell = estimate(line.values[host], request_metric(line.metric).unit)
    if host not in line.outliers:
        return cell
    return Cell(f"{cell.text}!", value=cell.value, note=cell.note, title=cell.title, tone="warn")


def spread_sentences(report: FleetReport) -> Iterator[str]:
    """Yield how much of the spread is between machines, of each line with several hosts."""
    for line in report.lines:
        if line.between is not None:
            yield (
                f"{line_name(line)}, {request_metric(line.metric).title}: hosts differ by "
                f"{share(line.between)} (standard deviation), launches on one host by {share(line.within)}"
            )


def line_name(line: FleetLine) -> str:
    """Return the prompt of a line, with what sets its configuration apart."""
    row, settings = next(iter(line.rows.values())), settings_text(line.settings)
    return f"{row.prompt.label} ({settings})" if settings else row.prompt.label


def outlier_sentences(report: FleetReport) -> Iterator[str]:
    """Yield each outlier with possible reasons: what of its machine is not as elsewhere, what the doctor found."""
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
