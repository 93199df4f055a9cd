"""CSV: any table as a file, and the four files there are, in llm_bench's layout and in the tidy one."""

import csv
import io
import re
from collections.abc import Iterable
from pathlib import Path

from llmbench.analysis.comparison.compare import Comparison
from llmbench.analysis.evaluation import Evaluation
from llmbench.analysis.report import Report
from llmbench.analysis.tidy_layout import TIDY_COLUMNS
from llmbench.files.atomic import write_atomically
from llmbench.render import tidy
from llmbench.render.llm_bench import llm_bench_table
from llmbench.render.table import Cell, Table, TableValue

_RUNNABLE = re.compile(r"'*[=+\-@\x00-\x1f\x7f]")


def neutral(text: str) -> str:
    """Text that no spreadsheet takes for a formula: an apostrophe before what would start one.

    Undone by taking one apostrophe away from what starts with apostrophes and such a character.
    """
    return f"'{text}" if _RUNNABLE.match(text) else text


def csv_text(table: Table) -> str:
    """Return a table as CSV: the names of its columns, and the values of its cells; texts are neutral."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(table.names())
    writer.writerows(map(_value, row) for row in table.rows)
    return buffer.getvalue()


def _value(cell: Cell) -> TableValue:
    value = cell.text if cell.value is None else cell.value
    return neutral(value) if isinstance(value, str) else value


def llm_bench_csv(evaluation: Evaluation) -> str:
    """Return a run in llm_bench's layout."""
    return csv_text(llm_bench_table(evaluation))


def tidy_csv(*evaluations: Evaluation) -> str:
    """Return a row a request, warm-ups and invalid ones included and marked."""
    return csv_text(Table.of_records(TIDY_COLUMNS, (row for each in evaluations for row in tidy.rows(each))))


def summary_csv(*reports: Report) -> str:
    """Return a row for each prompt and metric."""
    records = (row for report in reports for row in tidy.summary_rows(report))
    return csv_text(Table.of_records(tidy.SUMMARY_COLUMNS, records))


def comparison_csv(comparisons: Iterable[Comparison]) -> str:
    """Return a row a change of every comparison, the means over prompts included."""
    records = (record for each in comparisons for record in tidy.comparison_records(each))
    return csv_text(Table.of_records(tidy.COMPARISON_COLUMNS, records))


def write_llm_bench_csv(evaluation: Evaluation, path: Path) -> None:
    """Write a run in llm_bench's layout, in place of the file at *path*; raises OutputError."""
    write_atomically(path, llm_bench_csv(evaluation))
