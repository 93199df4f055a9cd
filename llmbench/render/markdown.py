"""Comparisons for a pull-request comment or a job summary: what moved is shown, what did not is folded."""

import html
import re
from collections.abc import Iterator, Sequence

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
)
from llmbench.render.text import plain

MAX_ROWS = 500
"""Rows of one table; with cells of at most MAX_CELL characters a comment stays within 1 MB."""

MAX_CELL = 100
MAX_SENTENCE = 300
_SPECIAL = re.compile(r"[\\`*_\[\]|~#@]")
_MARKS = {
    Verdict.REGRESSED: "**regressed**",
    Verdict.IMPROVED: "improved",
    Verdict.UNCHANGED: "unchanged",
    Verdict.INCONCLUSIVE: "~",
}


def comparison_markdown(comparisons: Sequence[Comparison]) -> str:
    """The comparisons one below the other."""
    return "\n".join("\n".join(_blocks(comparison)) for comparison in comparisons)


def escape(text: str, *, longest: int = MAX_CELL) -> str:
    """Text that Markdown and HTML show as it is, mentions and references included; long text is cut."""
    shown = plain(text)
    shown = shown if len(shown) <= longest else f"{shown[: longest - 1]}…"
    return _SPECIAL.sub(lambda match: f"&#{ord(match[0])};", html.escape(shown, quote=False))


def _blocks(comparison: Comparison) -> Iterator[str]:
    yield f"### llmbench: {comparison.verdict.value}\n"
    yield f"{_prose(sentence(comparison))}\n"
    found = verdict_lines(comparison)
    moved = [line for line in found if line.verdict is not Verdict.UNCHANGED]
    still = [line for line in found if line.verdict is Verdict.UNCHANGED]
    if moved:
        yield _table(moved)
    for step in next_steps(comparison):
        yield f"```\n{plain(step.strip())}\n```\n" if step.startswith(" ") else f"{_prose(step)}\n"
    yield from _not_compared(comparison)
    if still:
        yield _folded(f"{len(still)} unchanged", _table(still))
    told = agreement_remark(comparison)
    if told:
        yield f"{_prose(told.text)}\n"
    yield from _background(comparison)
    sides = f"{escape(comparison.base.run.id)} against {escape(comparison.candidate.run.id)}"
    notes = [sides, lengths(comparison), "intervals at 95 %", "~ undecided", "! counts for the exit code"]
    yield f"<sub>{'; '.join(filter(None, notes))}</sub>\n"


def _background(comparison: Comparison) -> Iterator[str]:
    changed = [
        f"- {escape(each.name)}: {escape(each.base or 'not set')} → {escape(each.candidate or 'not set')}"
        for each in comparison.changes[:MAX_ROWS]
    ]
    if changed:
        yield _folded("what else changed", "\n".join(changed) + "\n")
    notes = [f"- {_prose(text)}" for text in comparison.warnings[:MAX_ROWS]]
    if notes:
        yield _folded("notes", "\n".join(notes) + "\n")


def _not_compared(comparison: Comparison) -> Iterator[str]:
    told = [
        f"- {escape(line_label(comparison, pair))}: {_prose('; '.join(pair.reasons))}"
        for pair in comparison.pairs
        if pair.reasons
    ]
    told += [f"- {_prose(text)}" for text in comparison.unpaired]
    if told:
        yield "Not compared:\n"
        yield "\n".join(told[:MAX_ROWS]) + "\n"


def _table(found: Sequence[VerdictLine]) -> str:
    """A table of changes, cut at MAX_ROWS with the number of those left out."""
    rows = [
        "| prompt | metric | base | candidate | change | at 95 % | verdict |",
        "|---|---|--:|--:|--:|---|---|",
    ]
    for line in found[:MAX_ROWS]:
        values = f"{line.base} | {line.candidate} {line.unit} | {line.change} | {line.interval}"
        mark = f"{_MARKS[line.verdict]}{' !' if line.is_alarm else ''}"
        rows.append(f"| {escape(line.where)} | {METRICS[line.metric].short_title} | {values} | {mark} |")
    if len(found) > MAX_ROWS:
        rows.append(f"\n{len(found) - MAX_ROWS} more rows are left out.")
    return "\n".join(rows) + "\n"


def _folded(summary: str, body: str) -> str:
    return f"<details><summary>{summary}</summary>\n\n{body}\n</details>\n"


def _prose(text: str) -> str:
    return escape(text, longest=MAX_SENTENCE)
