"""The table of a comparison on a terminal, what changed, one sentence, and what to type next."""

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet

from rich.console import Console

from llmbench.analysis.comparison.compare import Comparison
from llmbench.analysis.comparison.rule import Verdict
from llmbench.analysis.metrics import METRICS
from llmbench.render.sentences.remarks import agreement_remark
from llmbench.render.sentences.verdict import (
    VerdictLine,
    lengths,
    line_label,
    next_steps,
    sentence,
    verdict_lines,
    verdict_word,
)
from llmbench.render.terminal.report import Column, print_line, print_table, units_of, width
from llmbench.render.text import plain

_STYLES = {
    Verdict.REGRESSED: "red",
    Verdict.IMPROVED: "green",
    Verdict.UNCHANGED: "",
    Verdict.INCONCLUSIVE: "yellow",
    Verdict.INCOMPARABLE: "yellow",
}
_DROPPED_FIRST = (("unit",), ("interval",), ("base", "candidate"))


def render_comparison(comparison: Comparison, console: Console) -> None:
    """Print a comparison."""
    print_line(
        console, f"base: {comparison.base.run.id}, candidate: {comparison.candidate.run.id}", style="bold"
    )
    found = verdict_lines(comparison)
    if found:
        columns = _fitting(found, console)
        print_table(columns, console, styles=[_STYLES[line.verdict] for line in found])
        print_line(console, "; ".join(_sizes(comparison, {column.key for column in columns})), style="dim")
    for text in _notes(comparison):
        print_line(console, text, style="dim")
    print_line(console, sentence(comparison), style=f"bold {_STYLES[comparison.verdict]}".strip())
    for text in next_steps(comparison):
        print_line(console, text, is_whole=True)


def _fitting(found: Sequence[VerdictLine], console: Console) -> list[Column]:
    columns = _columns(found)
    for keys in _DROPPED_FIRST:
        if width(columns) <= console.width:
            break
        columns = [column for column in columns if column.key not in keys]
    return columns


def _sizes(comparison: Comparison, shown: AbstractSet[str]) -> Iterator[str]:
    yield lengths(comparison)
    if "base" in shown and "unit" not in shown:
        yield units_of(line.metric for line in verdict_lines(comparison))


def _columns(found: Sequence[VerdictLine]) -> list[Column]:
    texts = ("where", "metric", "unit", "verdict")
    heads = {
        "where": "prompt",
        "metric": "metric",
        "base": "base",
        "candidate": "candidate",
        "unit": "unit",
        "change": "change",
        "interval": "at 95 %",
    }
    columns = [
        Column(
            key=key,
            head=head,
            cells=tuple(_cell(line, key) for line in found),
            is_text=key in texts,
        )
        for key, head in heads.items()
    ]
    verdicts = Column(key="verdict", head="verdict", cells=tuple(map(verdict_word, found)), is_text=True)
    return [*columns, verdicts]


def _cell(line: VerdictLine, key: str) -> str:
    return METRICS[line.metric].short_title if key == "metric" else plain(getattr(line, key))


def _notes(comparison: Comparison) -> Iterator[str]:
    told = agreement_remark(comparison)
    if told:
        yield told.text
    if any(line.is_alarm for line in verdict_lines(comparison)):
        yield "! holds after correction for the number of rows, and counts for the exit code; ~ undecided"
    for pair in comparison.pairs:
        if pair.reasons:
            yield f"not compared: {line_label(comparison, pair)}: {'; '.join(pair.reasons)}"
    yield from (f"not compared: {text}" for text in comparison.unpaired)
    for found in comparison.changes:
        yield f"changed: {found.name}: {found.base or 'not set'} -> {found.candidate or 'not set'}"
    if not comparison.changes:
        yield "changed: nothing that was recorded"
    yield from (f"note: {text}" for text in comparison.warnings)
