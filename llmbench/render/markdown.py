"""Comparisons for a pull-request comment or a job summary: what moved is shown, what did not is folded."""

import dataclasses
import html
import re
from collections.abc import Iterable, Iterator, Sequence

from llmbench.analysis.attention import attention_alarms
from llmbench.analysis.comparison.compare import Comparison
from llmbench.analysis.comparison.rule import Verdict
from llmbench.analysis.report import Report
from llmbench.render.sentences.card import card_lines, verdict_line
from llmbench.render.sentences.remarks import agreement_remark
from llmbench.render.sentences.verdict import (
    VerdictLine,
    lengths,
    line_label,
    next_steps,
    sentence,
    side_lines,
    verdict_lines,
)
from llmbench.render.stages import stage_table
from llmbench.render.table import Cell, Column, Table
from llmbench.render.text import plain, setting_text
from llmbench.render.views import comparison_table, run_table, settings_columns

MAX_ROWS = 500
"""Rows of one table at most; fewer where a comment would be too long."""

COMMENT_BYTES = 65_000
"""GitHub takes 65,536 characters in a comment."""

_ROWS = (MAX_ROWS, 200, 100, 50, 20, 10, 5, 2, 1)
_ELSEWHERE = "All are in the files of --csv, --json and --html"
MAX_CELL = 100
MAX_SENTENCE = 300
MAX_VERDICT = 1500
MAX_COMMAND = 5000
_SPECIAL = re.compile(r"[\\`*_\[\]|~#@]")


def comparison_markdown(comparisons: Sequence[Comparison]) -> str:
    """The comparisons one below the other, short enough for a comment: rows that decide come first, the rest is cut."""
    for most in _ROWS:
        text = _below_each_other(comparisons, most)
        if len(text.encode()) <= COMMENT_BYTES:
            return text
    cut = text.encode()[:COMMENT_BYTES].decode(errors="ignore").rpartition("\n### ")[0]
    return f"{cut}\n{_ELSEWHERE}: comparisons are left out here.\n" if cut else text


def _below_each_other(comparisons: Sequence[Comparison], most: int) -> str:
    """Join the comparisons up to the first that makes the text too long for a comment."""
    text = ""
    for comparison in comparisons:
        text += ("\n" if text else "") + "\n".join(_blocks(comparison, most))
        if len(text.encode()) > COMMENT_BYTES:
            break
    return text


def _by_weight(line: VerdictLine) -> int:
    """Alarms first, then what regressed or is undecided, then what improved."""
    return (not line.is_alarm) + (line.verdict not in {Verdict.REGRESSED, Verdict.INCONCLUSIVE})


def report_markdown(report: Report) -> str:
    """Return a run: its model, its table, and its warnings folded."""
    tables = (run_table(report.shown_rows, settings_columns(report)), stage_table(report))
    table = "\n".join(table_markdown(each) for each in tables if each.rows)
    notes = [f"- {_prose(text)}" for text in report.warnings]
    titles = (
        f"**{escape(title, longest=MAX_SENTENCE)}**\n"
        for title in (*card_lines(report), *attention_alarms(report.run))
    )
    verdict = f"{escape(verdict_line(report), longest=MAX_VERDICT)}\n"
    return "\n".join(
        [*titles, table, verdict, *([_folded("notes", "\n".join(notes) + "\n")] if notes else [])]
    )


def escape(text: str, *, longest: int = MAX_CELL) -> str:
    """Text that Markdown and HTML show as it is, mentions and references included; long text is cut."""
    shown = plain(text)
    shown = shown if len(shown) <= longest else f"{shown[: longest - 1]}…"
    return _SPECIAL.sub(lambda match: f"&#{ord(match[0])};", html.escape(shown, quote=False))


def _blocks(comparison: Comparison, most: int) -> Iterator[str]:
    yield f"### llmbench: {comparison.verdict.value}\n"
    yield f"{escape(sentence(comparison), longest=MAX_VERDICT)}\n"
    found = verdict_lines(comparison)
    moved = sorted((line for line in found if line.verdict is not Verdict.UNCHANGED), key=_by_weight)
    still = [line for line in found if line.verdict is Verdict.UNCHANGED]
    if moved:
        yield table_markdown(comparison_table(moved, comparison.sides, is_compact=True), most)
    for step in next_steps(comparison):
        yield _command(step.strip()) if step.startswith(" ") else f"{_prose(step)}\n"
    yield from _not_compared(comparison, most)
    if still:
        table = comparison_table(still, comparison.sides, is_compact=True)
        yield table_markdown(dataclasses.replace(table, fold=f"{len(still)} unchanged"), most)
    remark = agreement_remark(comparison)
    if remark:
        yield f"{_prose(remark.text)}\n"
    yield from _background(comparison, most)
    sides = f"{escape(comparison.base.run.id)} against {escape(comparison.candidate.run.id)}"
    notes = [
        sides,
        *map(_prose, side_lines(comparison)),
        _prose(lengths(comparison)),
        "intervals at 95 %",
        "~ undecided",
        "! counts for the exit code",
    ]
    yield f"<sub>{'; '.join(filter(None, notes))}</sub>\n"


def _command(text: str) -> str:
    """Return a command to type, in a fence that is longer than any in it; one too long for a comment is not there."""
    if len(text) > MAX_COMMAND:
        return "The command is too long for a comment; llmbench report compare prints it.\n"
    fence = "`" * max([3, *(len(found) + 1 for found in re.findall("`+", text))])
    return f"{fence}\n{plain(text)}\n{fence}\n"


def _background(comparison: Comparison, most: int) -> Iterator[str]:
    changed = [
        f"- {escape(each.name)}: {escape(setting_text(each.base))} → {escape(setting_text(each.candidate))}"
        for each in comparison.changes[:most]
    ]
    if changed:
        yield _folded("what else changed", "\n".join(changed) + "\n")
    notes = [f"- {_prose(text)}" for text in comparison.warnings[:most]]
    if notes:
        yield _folded("notes", "\n".join(notes) + "\n")


def _not_compared(comparison: Comparison, most: int) -> Iterator[str]:
    lines = [
        f"- {escape(line_label(comparison, pair))}: {_prose('; '.join(pair.reasons))}"
        for pair in comparison.pairs
        if pair.reasons
    ]
    lines += [f"- {_prose(text)}" for text in comparison.unpaired]
    if lines:
        yield "Not compared:\n"
        yield "\n".join(lines[:most]) + "\n"


def table_markdown(table: Table, most: int = MAX_ROWS) -> str:
    """Return a table in Markdown, cut at *most* rows with the number of those left out, folded where it has a fold."""
    shown = table.where(lambda column: not column.is_detail)
    lines = [
        _cells([_head(column) for column in shown.columns]),
        f"|{'|'.join('---' if column.is_text else '--:' for column in shown.columns)}|",
        *(_cells(map(_cell, row, shown.columns)) for row in shown.rows[:most]),
    ]
    if len(shown.rows) > most:
        lines.append(f"\n{len(shown.rows) - most} more rows are left out. {_ELSEWHERE}.")
    text = "\n".join(lines) + "\n"
    return _folded(table.fold, text) if table.fold else text


def _cells(texts: Iterable[str]) -> str:
    return f"| {' | '.join(texts)} |"


def _head(column: Column) -> str:
    text = escape(column.head.replace("\n", " "))
    return f"{text} ({column.unit})" if column.unit else text


def _cell(cell: Cell, column: Column) -> str:
    """Return the text of a cell; a lone ``~`` strikes nothing through, and a word in the tone of alarm is bold."""
    text = cell.text if cell.text == "~" else escape(cell.text)
    shown = f"**{text}**" if column.is_text and cell.tone == "bad" else text
    return f"{shown} {escape(cell.note)}" if cell.note else shown


def _folded(summary: str, body: str) -> str:
    return f"<details><summary>{summary}</summary>\n\n{body}\n</details>\n"


def _prose(text: str) -> str:
    return escape(text, longest=MAX_SENTENCE)
