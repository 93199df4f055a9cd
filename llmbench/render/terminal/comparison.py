"""A comparison on a terminal: its table, what changed, one sentence, and what to type next."""

from collections.abc import Iterator

from rich.console import Console

from llmbench.analysis.comparison.compare import Comparison
from llmbench.analysis.comparison.rule import Verdict
from llmbench.render import views
from llmbench.render.sentences.remarks import agreement_remark, bandwidth_sentences
from llmbench.render.sentences.verdict import (
    lengths,
    next_steps,
    not_compared,
    sentence,
    side_lines,
    verdict_lines,
)
from llmbench.render.table import units_of
from llmbench.render.terminal.table import print_line, print_table
from llmbench.render.text import setting_text

_STYLES = {Verdict.REGRESSED: "bold red", Verdict.IMPROVED: "bold green", Verdict.UNCHANGED: "bold"}


def render_comparison(comparison: Comparison, console: Console) -> None:
    """Print a comparison."""
    base, candidate = comparison.sides
    sides = f"{base}: {comparison.base.run.id}, {candidate}: {comparison.candidate.run.id}"
    if comparison.is_paired:
        sides = f"{base} and {candidate} of {comparison.base.run.id.removesuffix(f':{base}')}"
    print_line(console, sides, style="bold")
    for text in side_lines(comparison):
        print_line(console, text, style="dim")
    found = verdict_lines(comparison)
    if found:
        shown = print_table(views.comparison_table(found, comparison.sides), console).names()
        sizes = [lengths(comparison)]
        if "base" in shown and "unit" not in shown:
            sizes.append(units_of(line.metric for line in found))
        print_line(console, "; ".join(sizes), style="dim")
    for text in _notes(comparison):
        print_line(console, text, style="dim")
    print_line(console, sentence(comparison), style=_STYLES.get(comparison.verdict, "bold yellow"))
    for text in next_steps(comparison):
        print_line(console, text, is_whole=True)


def _bandwidths(comparison: Comparison) -> Iterator[str]:
    """How close to the memory's bandwidth two engines come: a slower one far from it has the time elsewhere."""
    reports = (comparison.base, comparison.candidate)
    if len({config.engine for report in reports for config in report.run.cells}) > 1:
        for side, report in zip(comparison.sides, reports, strict=True):
            yield from (f"{side}: {text}" for text in bandwidth_sentences(report))


def _notes(comparison: Comparison) -> Iterator[str]:
    remark = agreement_remark(comparison)
    if remark:
        yield remark.text
    if any(line.is_alarm for line in verdict_lines(comparison)):
        yield "! significant after correction for the number of rows, counts for the exit code; ~ undecided"
    yield from _bandwidths(comparison)
    yield from not_compared(comparison)
    for found in comparison.changes:
        yield f"changed: {found.name}: {setting_text(found.base)} -> {setting_text(found.candidate)}"
    if not comparison.changes:
        yield "changed: nothing that was recorded"
    yield from (f"note: {text}" for text in comparison.warnings)
