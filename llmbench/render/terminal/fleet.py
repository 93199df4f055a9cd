"""A fleet on a terminal: what each host is, what it measured, how much hosts differ, and the verdict over them."""

import dataclasses
from collections.abc import Iterator

from rich.console import Console

from llmbench.analysis.fleet import FleetChange, FleetLine, FleetReport, HostResult
from llmbench.analysis.stages import request_metric
from llmbench.render.table import EMPTY, Cell, Column, Table, TableColumn, count_cell, estimate, text_column
from llmbench.render.terminal.table import print_line, print_table
from llmbench.render.text import change, settings_text, share
from llmbench.schema.units import counted

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
    hosts = report.hosts
    return Table.of_columns(
        [
            (Column("host", is_text=True), [Cell(each.host, tone="name") for each in hosts]),
            *(
                text_column(name, (each.fingerprint.get(name, "n/a") for each in hosts), 10)
                for name in _USUAL
            ),
            text_column("runs", (each.state or "complete" for each in hosts)),
            (
                Column("differs in", is_text=True, priority=60),
                [_differing(report, each) for each in hosts],
            ),
        ]
    )


def _differing(report: FleetReport, host: HostResult) -> Cell:
    found = report.differences.get(host.host, {})
    shown = [f"{name} {value}" for name, value in list(found.items())[:_MOST_DIFFERENCES]]
    return Cell("; ".join(shown), title=settings_text(found), tone="warn")


def figure_table(report: FleetReport) -> Table:
    """Return a row per prompt, configuration and host, with the metrics as columns; outliers are marked."""
    lines = {(line.location, line.metric): line for line in report.lines}
    first = {line.location: line for line in reversed(report.lines)}
    rows = [(line, line.rows[host], host) for line in reversed(first.values()) for host in line.rows]
    columns: list[TableColumn] = [text_column("prompt", (row.prompt.label for _, row, _ in rows))]
    if any(line.settings for line in report.lines):
        columns.append(text_column("settings", (settings_text(line.settings) for line, _, _ in rows)))
    columns.append((Column("in"), [count_cell(row.input_tokens) for _, row, _ in rows]))
    columns.append((Column("host", is_text=True), [Cell(host, tone="name") for _, _, host in rows]))
    for metric in map(request_metric, dict.fromkeys(line.metric for line in report.lines)):
        head = Column(metric.short_title, name=metric.name, unit=metric.unit.value)
        cells = [_figure(lines.get((line.location, metric.name)), host) for line, _, host in rows]
        columns.append((head, cells))
    return Table.of_columns(columns)


def _figure(line: FleetLine | None, host: str) -> Cell:
    if line is None or host not in line.values:
        return EMPTY
    cell = estimate(line.values[host], request_metric(line.metric).unit)
    if host not in line.outliers:
        return cell
    return dataclasses.replace(cell, text=f"{cell.text}!", tone="warn")


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
    interval = "one host: no interval"
    if ratio.has_interval:
        interval = f"{change(ratio.low)} to {change(ratio.high)}"
    slower = f"{found.slower} of {counted(len(found.ratios), 'host')} slower"
    return f"{title}: {slower}, {change(ratio.ratio)} ({interval}): {found.verdict.value}"
