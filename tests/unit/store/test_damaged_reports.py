"""One wrong row in a CSV: refused by its line, flagged, or without any effect on a figure. Never a silent number."""

import contextlib
import csv
import io
from collections.abc import Callable
from pathlib import Path

import pytest

from llmbench.analysis.evaluation import evaluate
from llmbench.analysis.report import summarize_run
from llmbench.errors import InputError
from llmbench.render.csv import tidy_csv
from llmbench.schema.run import Run
from llmbench.store import importers
from tests.builders import story_of

pytestmark = pytest.mark.fault(48, "one wrong row of a report that is imported")

REAL = (Path(__file__).parents[2] / "data" / "llm_bench" / "report.csv").read_text()
TEXTS = {"llm-bench": (REAL, 5), "tidy": (tidy_csv(evaluate(story_of())), 5)}
"""Each layout, and the line of a measured request in it."""

VALUES: dict[str, Callable[[str], str]] = {
    "text": lambda _: "abc",
    "nothing": lambda _: "",
    "negative": lambda cell: f"-{cell or 1}",
    "infinite": lambda _: "inf",
    "no number": lambda _: "nan",
    "decimal comma": lambda cell: cell.replace(".", ","),
    "underscore": lambda cell: f"{cell[:1]}_{cell[1:]}",
    "other digits": lambda _: "\N{ARABIC-INDIC DIGIT ONE}\N{ARABIC-INDIC DIGIT TWO}",
    "hexadecimal": lambda _: "0x10",
    "a thousand times": lambda cell: _scaled(cell, 1e3),
    "a thousandth": lambda cell: _scaled(cell, 1e-3),
    "zero": lambda _: "0",
    "of the line before": lambda cell: cell,
}
LATENCIES = ("first_token", "second_token", "next_token", "tpot", "e2e")
FREE = {"result_md5", "reasons"}
"""Columns of any text."""

OPTIONAL = {("nothing", "next_token_ms")}
"""An empty cell that is no damage: the second and the next tokens may have come at once."""


def _scaled(cell: str, factor: float) -> str:
    try:
        return str(float(cell) * factor) if cell else cell
    except ValueError:
        return cell


def figures(run: Run) -> list[object]:
    """The latencies that a report of it shows."""
    return [
        (row.prompt.label, row.measured, row.invalid, [row.summaries.get(name) for name in LATENCIES])
        for row in summarize_run(run).rows
    ]


def is_flagged(run: Run, good: Run) -> bool:
    """Whether a reader sees that something is wrong: a note, requests that are missing, or one that is invalid."""
    invalid, before = (sum(row.invalid for row in summarize_run(each).rows) for each in (run, good))
    return bool(run.launches[0].effective.notes) or not run.is_complete or invalid > before


@pytest.fixture
def read(tmp_path: Path) -> Callable[[str], Run]:
    """Imports a text."""
    path = tmp_path / "x.csv"

    def imported(content: str) -> Run:
        path.write_bytes(content.encode())
        return importers.read_report(path)

    return imported


def rows_of(text: str) -> list[list[str]]:
    """Its cells."""
    return list(csv.reader(io.StringIO(text, newline="")))


def text_of(rows: list[list[str]], **options: str) -> str:
    """Cells as CSV."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n", **options).writerows(rows)  # type: ignore[arg-type]
    return out.getvalue()


@pytest.mark.parametrize("damage", VALUES)
@pytest.mark.parametrize("layout", TEXTS)
def test_no_value_of_a_measured_row_is_wrong_in_silence(
    read: Callable[[str], Run], layout: str, damage: str
) -> None:
    """Every column, one after the other: an error, a flag, or the same latencies."""
    text, line = TEXTS[layout]
    good, rows = read(text), rows_of(text)
    before = figures(good)
    silent = []
    for column, name in enumerate(rows[0]):
        changed = [list(row) for row in rows]
        changed[line - 1][column] = VALUES[damage](rows[line - 1][column])
        with contextlib.suppress(InputError):
            found = read(text_of(changed))
            is_shown = figures(found) == before or is_flagged(found, good)
            if not is_shown and name not in FREE and (damage, name) not in OPTIONAL:
                silent.append(name)

    assert [] == silent


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("1st_latency(ms)", 1e-3),
        ("1st_latency(ms)", 1e3),
        ("2nd_avg_latency(ms)", 1e-3),
        ("2nd_avg_latency(ms)", 1e3),
        ("generation_time(s)", 1e3),
        ("generation_time(s)", 1e-3),
        ("latency(ms)", 1e-3),
        ("1st_infer_latency(ms)", 1e-3),
        ("2nd_infer_avg_latency(ms)", 1e3),
    ],
)
def test_one_value_in_another_unit_is_refused(read: Callable[[str], Run], column: str, value: float) -> None:
    """Though the first token is a small part of the whole: 0.03 instead of 31.9 ms, of 443 ms."""
    rows = rows_of(REAL)
    cell = rows[0].index(column)
    rows[4][cell] = _scaled(rows[4][cell], value)

    with pytest.raises(InputError, match=r"x\.csv:5: .*were units mixed"):
        read(text_of(rows))


@pytest.mark.parametrize("layout", TEXTS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda line: line.rsplit(",", 1)[0], "values under"),
        (lambda line: f"{line},", "values under"),
        (lambda line: f"{line}\n{line}", "a second row of the same request"),
        (lambda line: line[: len(line) // 2], "values under"),
    ],
)
def test_a_line_of_another_shape_is_refused(
    read: Callable[[str], Run], layout: str, change: Callable[[str], str], message: str
) -> None:
    """A field too few or too many, a row that occurs twice, the end of a file that was cut."""
    text, number = TEXTS[layout]
    lines = text.splitlines()
    lines[number - 1] = change(lines[number - 1])

    with pytest.raises(InputError, match=message):
        read("\n".join(lines[:number]) + "\n")


@pytest.mark.parametrize("layout", TEXTS)
@pytest.mark.parametrize(
    "change",
    [
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "\ufeff" + text.replace("\n", "\r\n"),
        lambda text: text.rstrip("\n"),
        lambda text: text.replace("\n", "\n\n"),
        lambda text: text_of(rows_of(text), quoting=csv.QUOTE_ALL),
    ],
)
def test_another_way_of_writing_changes_nothing(
    read: Callable[[str], Run], layout: str, change: Callable[[str], str]
) -> None:
    """A byte order mark, line ends of Windows, no last line end, blank lines, quotes around everything."""
    text, _ = TEXTS[layout]

    assert figures(read(text)) == figures(read(change(text)))


def test_semicolons_and_decimal_commas_are_named(read: Callable[[str], Run]) -> None:
    """As a spreadsheet of another country writes them."""
    rows = [[cell.replace(".", ",") for cell in row] for row in rows_of(REAL)]

    with pytest.raises(InputError, match="its columns are separated by ';'") as caught:
        read(text_of(rows, delimiter=";"))
    assert "points in numbers" in (caught.value.hint or "")


def test_summary_rows_that_are_missing_change_nothing(read: Callable[[str], Run]) -> None:
    """The figures are those of the requests."""
    lines = [line for line in REAL.splitlines() if not line.startswith(("avg", "mini", "median"))]

    assert figures(read(REAL)) == figures(read("\n".join(lines)))


def test_averages_that_are_not_those_of_the_rows_are_named(read: Callable[[str], Run]) -> None:
    """Two values of a row are swapped, which nothing in the row itself shows: 17.8 and 31.9 ms."""
    rows = rows_of(REAL)
    first, other = rows[0].index("1st_latency(ms)"), rows[0].index("2nd_avg_latency(ms)")
    rows[4][first], rows[4][other] = rows[4][other], rows[4][first]
    warnings = summarize_run(read(text_of(rows))).warnings

    assert "x.csv:15: the file's average of 1st_latency(ms) is 32.83, its rows have 29.31" in " ".join(
        warnings
    )
    assert not any("average" in text for text in summarize_run(read(REAL)).warnings)


@pytest.mark.parametrize("layout", TEXTS)
def test_a_row_that_is_missing_is_named(read: Callable[[str], Run], layout: str) -> None:
    """Its prompt has an iteration less than the others."""
    text, number = TEXTS[layout]
    lines = text.splitlines()
    run = read("\n".join([*lines[: number - 1], *lines[number:]]))

    assert not run.is_complete
    assert "the run was cut short" in summarize_run(run).warnings
