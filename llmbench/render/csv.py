"""CSV: any table as a file, and the four files there are, in llm_bench's layout and in the tidy one."""

import csv
import functools
import re
from collections.abc import Iterable, Mapping, Sequence

from llmbench.analysis.comparison.compare import Comparison
from llmbench.analysis.evaluation import Evaluation
from llmbench.analysis.layouts import LLM_BENCH_COLUMNS, TIDY_COLUMNS
from llmbench.analysis.report import Report
from llmbench.render import tidy
from llmbench.render.llm_bench import llm_bench_rows
from llmbench.render.table import Cell, Table, TableValue
from llmbench.render.text import plain

_LINE_END = "\r\n"
_RUNNABLE = re.compile(r"'*[=+\-@\x00-\x1f\x7f]")


@functools.lru_cache(maxsize=256)
def _safe(text: str) -> str:
    """Text that steers no terminal and runs in no spreadsheet; a line feed or a tab stands in quotes as it is."""
    return neutral(plain(text, kept="\n\t"))


def neutral(text: str) -> str:
    """Text that no spreadsheet takes for a formula: an apostrophe before what would start one.

    Undone by taking one apostrophe away from what starts with apostrophes and such a character.
    """
    return f"'{text}" if _RUNNABLE.match(text) else text


def csv_text(table: Table) -> str:
    """Return a table as CSV: the names of its columns, and the values of its cells; texts are neutral."""
    return _text(table.names(), ([_value(cell) for cell in row] for row in table.rows))


def _value(cell: Cell) -> TableValue:
    return cell.text if cell.value is None else cell.value


def _records_text(names: Sequence[str], records: Iterable[Mapping[str, TableValue]]) -> str:
    """Records as CSV; a name that a record does not have is an empty field."""
    return _text(names, ([record.get(name) for name in names] for record in records))


def _text(names: Sequence[str], rows: Iterable[Sequence[TableValue]]) -> str:
    lines = _Lines()
    writer = csv.writer(lines, lineterminator=_LINE_END)
    writer.writerow(names)
    writer.writerows([_safe(value) if isinstance(value, str) else value for value in row] for row in rows)
    return "".join(lines.written)


class _Lines:
    """Takes a writer's lines, which end in CR LF so that it quotes a cell with a carriage return; LF is kept."""

    def __init__(self) -> None:
        self.written: list[str] = []

    def write(self, line: str) -> None:
        """Take a line."""
        self.written.append(line.removesuffix(_LINE_END) + "\n")


def llm_bench_csv(evaluation: Evaluation) -> str:
    """Return a run in llm_bench's layout."""
    return _records_text(LLM_BENCH_COLUMNS, llm_bench_rows(evaluation))


def tidy_csv(*evaluations: Evaluation) -> str:
    """Return a row per request, warm-ups and invalid ones included and marked."""
    return _records_text(TIDY_COLUMNS, (row for each in evaluations for row in tidy.rows(each)))


def summary_csv(*reports: Report) -> str:
    """Return a row for each prompt and metric."""
    records = (row for report in reports for row in tidy.summary_rows(report))
    return _records_text(tidy.SUMMARY_COLUMNS, records)


def comparison_csv(comparisons: Iterable[Comparison]) -> str:
    """Return a row per change of every comparison, the means over prompts included."""
    records = (record for each in comparisons for record in tidy.comparison_records(each))
    return _records_text(tidy.COMPARISON_COLUMNS, records)
