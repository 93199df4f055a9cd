"""A report on a terminal: a result card that can be pasted into a mail; what explains it where that is wanted."""

import dataclasses
from collections.abc import Iterator

from rich.console import Console

from llmbench.analysis.attention import attention_alarms
from llmbench.analysis.caveats import ONE_LAUNCH
from llmbench.analysis.first_call import first_call
from llmbench.analysis.metrics.serving import LOAD_METRICS, SHOWN_METRICS
from llmbench.analysis.metrics.table import PHASES, SCREEN_METRICS
from llmbench.analysis.report import Report
from llmbench.analysis.stages import row_metric
from llmbench.analysis.validity import describe_interference
from llmbench.render import views
from llmbench.render.sentences.card import card_lines, verdict_line
from llmbench.render.sentences.load import client_lines, load_lines, server_lines
from llmbench.render.sentences.remarks import bandwidth_sentences, instants, placement_sentence, remarks
from llmbench.render.stages import heaviest_stages, stage_table
from llmbench.render.table import Table
from llmbench.render.terminal.table import print_facts, print_hidden, print_line, print_table
from llmbench.render.text import after, load_time, settings_text
from llmbench.schema.units import counted, format_bytes

_ON_CARD = frozenset(
    (*PHASES, "decode_rate", "tokens_per_step", "text_rate", "recall", "right_chunk"),
)
"""The metrics that a card shows, with the primary ones of its workload; the others are explained."""

_LOAD_CARD = frozenset((*LOAD_METRICS, "first_token"))
"""Those of the card of a load."""

_UNITS = {"first_token": "TTFT ms", "next_token": "ms"}
"""Units on a card, which leave room for all its columns at 40 characters."""


def render_report(report: Report, console: Console, *, is_explained: bool = False) -> None:
    """Print a report: its card, and with *is_explained* all other metrics, notes and definitions."""
    for line in card_lines(report):
        print_facts(console, line, style="bold")
    for alarm in attention_alarms(report.run):
        print_line(console, alarm, style="bold red")
    notes = list(_notes(report))
    if report.shown_rows:
        table = _short_units(views.run_table(report.shown_rows, views.settings_columns(report)))
        is_generating = report.run.cells[0].task_info.is_generating
        on_card = _ON_CARD if is_generating else frozenset(SCREEN_METRICS) - {"energy"}
        on_card = _LOAD_CARD if report.run.workload.is_concurrent else on_card
        others = [name for name in SHOWN_METRICS if name not in on_card and name in table.names()]
        print_hidden(on_screen := table.without(*others), print_table(on_screen, console), console)
        stages = stage_table(report)
        if stages.rows:
            print_hidden(stages, print_table(stages, console), console)
            print_line(console, heaviest_stages(report))
        percentiles = views.percentile_table(report)
        if percentiles.rows:
            print_table(percentiles, console)
        for line in load_lines(report):
            print_line(console, line)
    is_well = report.is_valid and not report.partial
    count = len(notes) - len({f"note: {known}" for known in (*report.alarms, ONE_LAUNCH)} & set(notes))
    more = "" if is_explained or not count else f"; {counted(count, 'note')}: -v"
    print_facts(console, f"{verdict_line(report)}{more}", style="bold" if is_well else "bold red")
    if is_explained:
        if report.shown_rows and others:
            print_table(table.without(*on_card), console)
        for line in (*notes, *_facts(report), *_definitions(report)):
            print_line(console, line, style="dim")


def _short_units(table: Table) -> Table:
    columns = (dataclasses.replace(each, unit=_UNITS.get(each.key, each.unit)) for each in table.columns)
    return dataclasses.replace(table, columns=tuple(columns))


def _notes(report: Report) -> Iterator[str]:
    yield from (f"note: {warning}" for warning in report.warnings)
    yield from (
        f"note: {row.prompt.label}: {warning}" for row in report.shown_rows for warning in row.warnings
    )
    yield from (f"note: {remark.text}" for remark in remarks(report) if remark.is_doubt)


def _facts(report: Report) -> Iterator[str]:
    yield from _work(report)
    yield from client_lines(report)
    yield from server_lines(report)
    yield from _load_and_memory(report)
    yield from bandwidth_sentences(report)
    yield from _placements(report)
    yield from _interference(report)
    yield from (remark.text for remark in remarks(report) if not remark.is_doubt)


def _work(report: Report) -> Iterator[str]:
    config, varied = report.run.cells[0], report.distinctions[0]
    counts = [
        f"{counted(config.iterations, 'iteration')} per launch after {counted(config.warmups, 'warm-up')}"
    ]
    if "output_tokens" not in varied and config.output_tokens:
        counts.append(counted(config.output_tokens, "output token"))
    yield f"{', '.join(counts)}; model: {report.run.model}"


def _definitions(report: Report) -> Iterator[str]:
    summaries = [summary for row in report.rows for summary in row.summaries.values()]
    if any(summary.has_interval for summary in summaries):
        several = any(row.launches > 1 for row in report.rows)
        over = "launches" if several else "the iterations of one launch"
        yield f"±: the farther end of the 95 % interval over {over}"
    warnings = dict.fromkeys(warning for summary in summaries for warning in summary.warnings)
    yield from (f"no ±: {warning}" for warning in warnings)
    yield "!: not valid, or of a launch that did not finish; left out of comparisons"
    shown = {name for row in report.shown_rows for name in row.figures}
    definitions = [
        f"{row_metric(name).head} = {row_metric(name).definition}".replace("\n", " ")
        for name in SHOWN_METRICS
        if name in shown
    ]
    if definitions:
        yield f"{instants(report)}. {'; '.join(definitions)}"


def _interference(report: Report) -> Iterator[str]:
    """The CPU use of other processes meanwhile, during invalid requests too."""
    measured = [request.measurement for request in report.evaluation.requests if request.is_measured]
    conditions = [m.conditions for m in measured if m.conditions is not None]
    if conditions:
        yield f"while it was measured, {describe_interference(conditions)}"


def _placements(report: Report) -> Iterator[str]:
    for proof, apart in zip(report.proofs, report.distinctions, strict=True):
        if proof is not None and len(proof.machine.sockets) > 1:
            yield after(settings_text(apart), placement_sentence(proof))


def _load_and_memory(report: Report) -> Iterator[str]:
    found = []
    loads = [
        ", ".join(load_time(load.median, state) for state, load in by_state.items())
        for by_state in report.load
        if by_state
    ]
    if loads:
        found.append(f"load: {' / '.join(loads)}")
    memory = [row.figures["memory"].median for row in report.shown_rows if "memory" in row.figures]
    if memory:
        found.append(f"peak memory while generating: {format_bytes(round(max(memory)))}")
    if found:
        yield "; ".join(found)
    yield from _memory_by_stage(report)


def _memory_by_stage(report: Report) -> Iterator[str]:
    """The peaks of each prompt's first call, in the order of time."""
    for row in report.shown_rows:
        call = first_call(report.evaluation, row)
        if call is not None and call.stage_bytes:
            peaks = {"load": call.load_bytes, **call.stage_bytes}
            parts = [f"{name.replace('_', ' ')} {format_bytes(size)}" for name, size in peaks.items() if size]
            yield (
                f"peak memory of {row.prompt.label}: {', '.join(parts)} (first call; high-water mark, read and reset "
                "every 2 ms)"
            )
