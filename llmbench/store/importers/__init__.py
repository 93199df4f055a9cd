"""llm_bench's CSV and JSON, and both CSV layouts of our own, as runs."""

from pathlib import Path

from llmbench.errors import InputError
from llmbench.schema.run import Run
from llmbench.store.importers import llm_bench, tidy
from llmbench.store.importers.table import cell_text, csv_lines


def read_report(path: Path) -> Run:
    """The run that a report contains, its format found by looking at it.

    Raises InputError: no report, an unknown or doubled column, or a value that cannot be, with its row.
    """
    text = cell_text(path)
    if text.lstrip().startswith("{"):
        return llm_bench.read_json(path, text)
    columns, lines = csv_lines(path, text)
    if llm_bench.is_llm_bench_header(columns):
        return llm_bench.read_llm_bench_csv(path, columns, lines)
    if tidy.is_tidy_header(columns):
        return tidy.read_tidy_csv(path, columns, lines)
    if {"metric", "median"} <= set(columns):
        raise InputError(
            f"{path} is a summary without requests", hint="give the run file, or a CSV without --summary"
        )
    separator = next((mark for mark in (";", "\t", "|") if columns and columns[0].count(mark) > 1), None)
    if separator is not None:
        raise InputError(
            f"{path} is not a report: its columns are separated by {separator!r}",
            hint="save it with commas between columns, and points in numbers",
        )
    raise InputError(
        f"{path} is not a report: its first line has none of the columns known",
        hint="give a run file (.jsonl), a CSV of report csv or run -r, or llm_bench's CSV or JSON",
    )
