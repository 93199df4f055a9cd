import dataclasses
import io
from collections.abc import Callable, Iterator

import pytest
from rich.console import Console

from llmbench.analysis.report import summarize_run
from llmbench.render import views
from llmbench.render.csv import csv_text
from llmbench.render.html.document import Page, Section, render
from llmbench.render.markdown import table_markdown
from llmbench.render.table import Cell, Column, Table
from llmbench.render.terminal.table import fit, print_table
from llmbench.schema.run import Run

TABLE = Table(
    (
        Column("who", is_text=True),
        Column("first", name="first_token", full="first token", unit="ms", priority=2),
        Column("size", priority=1),
        Column("why", is_text=True, is_detail=True),
    ),
    (
        (Cell("P0"), Cell("1.5", value=1.5, note="±3 %"), Cell("7", value=7), Cell("=1+1")),
        (Cell("P1"), Cell("20", value=20.25, note="±12 %"), Cell("n/a"), Cell("", full="unknown")),
    ),
)


def terminal(table: Table, *, width: int = 80) -> str:
    """What a console of that width shows."""
    out = io.StringIO()
    print_table(table, Console(file=out, width=width))
    return out.getvalue()


def html(table: Table) -> str:
    """The page that holds a table."""
    section = Section(name="s", title="t", blocks=(table,))
    return render(Page(title="t", lead=(), badges=(), sections=(section,)))


def latex(table: Table) -> Iterator[str]:
    """Another format, in one function: what a new module beside `markdown` would hold."""
    yield " & ".join(column.full or column.head for column in table.columns) + r" \\"
    for row in table.rows:
        yield " & ".join(cell.full or cell.text for cell in row) + r" \\"


def test_a_terminal_has_notes_below_each_other_and_no_details() -> None:
    """Margins are padded to the same width; the column for pages is not there."""
    lines = [line.split("  ") for line in terminal(TABLE).splitlines()]

    assert "1.5 ±3 %" in terminal(TABLE)
    assert "20 ±12 %" in terminal(TABLE)
    assert all("why" not in line for line in lines)


def test_markdown_has_alignment_and_escapes() -> None:
    """Numbers to the right; what Markdown would read is shown."""
    table = dataclasses.replace(TABLE, rows=((Cell("a|b", tone="bad"), *TABLE.rows[0][1:]),), fold="more")

    assert table_markdown(table) == (
        "<details><summary>more</summary>\n\n| who | first (ms) | size |\n|---|--:|--:|\n"
        "| **a&#124;b** | 1.5 ±3 % | 7 |\n\n</details>\n"
    )


def test_csv_has_values_and_runs_nothing() -> None:
    """Names of columns, numbers unrounded, and no formula for a spreadsheet."""
    assert csv_text(TABLE) == "who,first_token,size,why\nP0,1.5,7,'=1+1\nP1,20.25,n/a,\n"


def test_a_page_has_full_texts() -> None:
    """A page has room for a full head, details, and the full text of a cell; narrow windows show the short ones."""
    text = html(TABLE)

    assert (
        '>first token</span><abbr class="short" title="first token">first</abbr><small>ms</small></th>'
        in text
    )
    assert "unknown</" in text


@pytest.mark.parametrize(
    ("width", "kept"),
    [(80, ["who", "first_token", "size"]), (17, ["who", "first_token"]), (10, ["who"])],
)
def test_the_lowest_priority_is_dropped_first(width: int, kept: list[str]) -> None:
    """Who 3, first 8 (20 ±12 %), size 4, two between: 19 characters; without size 13; without first 3."""
    assert kept == list(fit(TABLE, width).names())


def test_notes_are_dropped_where_columns_do_not_suffice() -> None:
    """Of columns that must stay the margins go: who, 20 and two between."""
    must = dataclasses.replace(TABLE.columns[1], priority=100)
    table = dataclasses.replace(TABLE, columns=(TABLE.columns[0], must, *TABLE.columns[2:]))

    shown = fit(table, 10)

    assert ("who", "first_token") == shown.names()
    assert all(not cell.note for row in shown.rows for cell in row)


def test_words_are_cut_where_columns_that_must_stay_are_too_wide() -> None:
    """The widest first, heads included; numbers stay whole."""
    columns = (
        Column("KV_CACHE_PRECISION", is_text=True),
        Column("who", is_text=True),
        Column("next", unit="ms"),
    )
    table = Table(columns, ((Cell("u8"), Cell("a name of many words"), Cell("12.345", value=12.345)),))

    lines = terminal(table, width=30).splitlines()

    assert max(map(len, lines)) <= 30
    assert ["KV_CACHE_…", "who", "ms"] == lines[1].split()
    assert "a name of…" in lines[-1]
    assert "12.345" in lines[-1]


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (("image decoding", "in the first call"), ["image d…", "in the …"]),
        (("PRECISION=bf16", "PRECISION=f32"), ["PRE…bf16", "PRE…=f32"]),
        (("20260101T030410Z-a-9e38d0", "20260101T030420Z-a-9e38d0"), ["…30410Z-", "…30420Z-"]),
        (("w=1, lanes=1, on, x", "w=1, lanes=2, on, x"), ["…es=1, o", "…es=2, o"]),
    ],
)
def test_rows_that_differ_still_differ_where_they_are_cut(names: tuple[str, ...], shown: list[str]) -> None:
    """At the end, in the middle or at the begin, whichever keeps them apart."""
    columns = (Column("setting", is_text=True), Column("next", unit="ms"))
    table = Table(columns, tuple((Cell(name), Cell("12.345")) for name in names))

    body = terminal(table, width=16).splitlines()[3:]

    assert shown == [line[:8].rstrip() for line in body]
    assert len(names) == sum("12.345" in line for line in body)


def test_rows_that_no_cut_keeps_apart_have_numbers() -> None:
    """A name in two columns, of which one row shares the other part with each: both follow the table whole."""
    columns = (Column("metric", is_text=True), Column("setting", is_text=True), Column("next", unit="ms"))
    names = ("a=1, lanes=1, on, x", "b=1, lanes=2, on, x", "b=1, lanes=1, on, x", "b=1, lanes=1, on, x")
    table = Table(columns, tuple((Cell("first"), Cell(name), Cell("12.345")) for name in names))

    _, _, _, *lines = terminal(table, width=24).splitlines()

    assert ["1", "2", "3", "3"] == [line.split()[0] for line in lines[:4]]
    assert "3: metric first, setting b=1, lanes=1, on, x" in " ".join(map(str.strip, lines))


def test_a_long_name_of_a_row_is_broken_before_it_covers_figures() -> None:
    """The style of a name does not undo that of a long cell."""
    name = "weight_format=fp16, INFERENCE_PRECISION_HINT=default, KV_CACHE_PRECISION=u8"
    page = html(Table((Column("run", is_text=True),), ((Cell(name, tone="name"),),)))

    assert 'class="text long name"' in page
    assert "white-space" not in page.partition("td.name {")[2].partition("}")[0]


@pytest.mark.parametrize("write", [terminal, html, table_markdown, csv_text, lambda t: "\n".join(latex(t))])
def test_every_format_writes_every_view(story_of: Callable[..., Run], write: Callable[[Table], str]) -> None:
    """The table of a run, 32 and 512 tokens in, in each format, one added here included."""
    rows = summarize_run(story_of()).rows

    text = write(views.run_table(rows, {}))

    assert all(found in text for found in ("P0", "P1", "512"))
