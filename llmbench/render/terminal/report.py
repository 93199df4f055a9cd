"""A report on a terminal: what was measured, its table, and what to mind."""

from collections.abc import Iterator, Sequence

from rich.console import Console

from llmbench.analysis.metrics import METRICS, SCREEN_METRICS
from llmbench.analysis.report import Report
from llmbench.render import views
from llmbench.render.sentences.remarks import bandwidth_sentences, placement_sentence, remarks
from llmbench.render.terminal.table import print_line, print_table
from llmbench.render.text import load_time, row_label, settings_text
from llmbench.schema.units import format_bytes


def render_report(report: Report, console: Console) -> None:
    """Print a report."""
    for line in views.report_titles(report):
        print_line(console, line, style="bold")
    for alarm in report.alarms:
        print_line(console, alarm, style="bold red")
    shown: tuple[str, ...] = ()
    if report.rows:
        shown = print_table(views.run_table(report.rows, views.settings_columns(report)), console).names()
        percentiles = views.percentile_table(report.rows)
        if percentiles.rows:
            console.print()
            print_table(percentiles, console)
    else:
        print_line(console, "nothing that counts was measured", style="bold red")
    for line in _notes(report, shown):
        print_line(console, line, style="dim")


def _notes(report: Report, shown: Sequence[str]) -> Iterator[str]:
    yield from _load_and_memory(report)
    yield from bandwidth_sentences(report)
    yield from _placements(report)
    summaries = [summary for row in report.rows for summary in row.summaries.values()]
    if any(summary.has_interval for summary in summaries):
        several = any(row.launches > 1 for row in report.rows)
        over = "launches" if several else "the iterations of one launch"
        yield f"margins: intervals at 95 % over {over}"
    warnings = dict.fromkeys(warning for summary in summaries for warning in summary.warnings)
    yield from (f"no margin: {warning}" for warning in warnings)
    yield from (f"note: {warning}" for warning in report.warnings if warning not in report.alarms)
    yield from (f"note: {row_label(row)}: {warning}" for row in report.rows for warning in row.warnings)
    for remark in remarks(report):
        yield f"note: {remark.text}" if remark.is_doubt else remark.text
    definitions = [
        f"{METRICS[name].head} = {METRICS[name].definition}" for name in SCREEN_METRICS if name in shown
    ]
    if definitions:
        yield f"s: token ids handed over, t1..tn: tokens available. {'; '.join(definitions)}"


def _placements(report: Report) -> Iterator[str]:
    for proof, apart in zip(report.proofs, report.distinctions, strict=True):
        if proof is not None and len(proof.machine.sockets) > 1:
            where = settings_text(apart)
            yield f"{where}: {placement_sentence(proof)}" if where else placement_sentence(proof)


def _load_and_memory(report: Report) -> Iterator[str]:
    found = []
    loads = [
        ", ".join(load_time(load.median, state) for state, load in by_state.items())
        for by_state in report.load
        if by_state
    ]
    if loads:
        found.append(f"load: {' / '.join(loads)}")
    memory = [row.summaries["memory"].median for row in report.rows if "memory" in row.summaries]
    if memory:
        found.append(f"peak memory while generating: {format_bytes(round(max(memory)))}")
    if found:
        yield "; ".join(found)
