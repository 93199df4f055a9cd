"""Tables and lines on a terminal: readable at 80 and at 40 columns, and where the console has ASCII only.

A narrow screen drops whole columns, the least important first; numbers are never broken.
"""

import os
import re
import textwrap
from collections.abc import Callable, Sequence

from rich import box
from rich.console import Console, JustifyMethod
from rich.segment import Segments
from rich.table import Table as RichTable
from rich.text import Text

from llmbench.analysis.metrics.base import NEVER_DROPPED
from llmbench.render.table import Cell, Column, Table
from llmbench.render.text import plain

_PADDING, _LEAST = 2, 4
_STYLES = {"good": "green", "bad": "red", "warn": "yellow", "dim": "dim"}
_ASCII = str.maketrans(
    {"±": "+-", "\N{MULTIPLICATION SIGN}": "x"} | dict(zip("▁▂▃▄▅▆▇█", "_.-:=+*#", strict=True))
)


def print_line(console: Console, text: str, *, style: str = "", is_whole: bool = False) -> None:
    """Print a line of text that may contain anything, in characters that the console has.

    A line that *is_whole* is not wrapped, so that it can be copied.
    """
    console.print(Text(_printable(text, console), style=style), soft_wrap=is_whole)


def print_facts(console: Console, text: str, *, style: str = "") -> None:
    """Print facts with commas or semicolons between them, and break a long line at these."""
    glued = re.sub(r"(?<![,;]) ", "\N{NO-BREAK SPACE}", _printable(text, console))
    for line in textwrap.wrap(glued, console.width, break_long_words=False, break_on_hyphens=False):
        console.print(Text(line.replace("\N{NO-BREAK SPACE}", " "), style=style))


def _printable(text: str, console: Console) -> str:
    shown = plain(text)
    if console.options.ascii_only:
        return shown.translate(_ASCII).encode("ascii", "backslashreplace").decode()
    return shown


def print_table(table: Table, console: Console) -> Table:
    """Print the columns that the console holds, and return what was printed; lines are not wrapped.

    Where names are too long even when they are cut, rows have numbers, and their names follow.
    """
    shown = fit(table, console.width)
    columns, keys = _columns(shown, console), list[str]()
    if columns is None:
        numbered, keys = _numbered(shown)
        columns = _columns(numbered, console) or _texts(numbered)
    else:
        numbered = shown
    _print(numbered, columns, console)
    for key in keys:
        print_line(console, key, style="dim")
    return shown


def _columns(table: Table, console: Console) -> list[list[str]] | None:
    """Return head and cells of each column as the console holds them; ``None`` where rows cannot be told apart."""
    whole = [
        ["\n".join(_printable(line, console) for line in head.split("\n"))]
        + [_printable(cell, console) for cell in cells]
        for head, *cells in _texts(table)
    ]
    found = _cut(whole, [column.is_text for column in table.columns], console)
    is_apart = all(len(set(cut[1:])) == len(set(texts[1:])) for cut, texts in zip(found, whole, strict=True))
    has_names = bool(table.columns) and table.columns[0].is_text
    return found if not has_names or (is_apart and _width(found) <= console.width) else None


def _numbered(table: Table) -> tuple[Table, list[str]]:
    """Return the table with a number in place of the names before its figures, and what each number is."""
    count = next((i for i, column in enumerate(table.columns) if not column.is_text), len(table.columns))
    heads = [column.head.replace("\n", " ") for column in table.columns[:count]]
    names = [tuple(cell.text for cell in row[:count]) for row in table.rows]
    numbers = {name: str(number) for number, name in enumerate(dict.fromkeys(names), start=1)}
    rows = tuple(
        (Cell(numbers[name], tone=row[0].tone), *row[count:])
        for name, row in zip(names, table.rows, strict=True)
    )
    keys = [
        f"{number}: {', '.join(' '.join(pair) for pair in zip(heads, name, strict=True))}"
        for name, number in numbers.items()
    ]
    return Table((Column("#", is_text=True), *table.columns[count:]), rows), keys


def _print(table: Table, columns: list[list[str]], console: Console) -> None:
    rich = RichTable(
        box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), collapse_padding=True, show_edge=False
    )
    for column, (head, *_) in zip(table.columns, columns, strict=True):
        justify: JustifyMethod = "left" if column.is_text else "right"
        rich.add_column(Text(head), justify=justify, no_wrap=True)
    for index, row in enumerate(table.rows, start=1):
        rich.add_row(
            *(
                Text(texts[index], style=_STYLES.get(cell.tone, ""))
                for texts, cell in zip(columns, row, strict=True)
            )
        )
    options = console.options.update(width=max(console.width, _width(columns)))
    console.print(Segments(console.render(rich, options)), crop=False, end="")


def print_hidden(table: Table, shown: Table, console: Console) -> None:
    """Print which columns of a table were dropped, and whether its margins were."""
    hidden = [
        column.head.replace("\n", " ")
        for column in table.columns
        if not column.is_detail and column.key not in shown.names()
    ]
    if _has_notes(table) and not _has_notes(shown):
        hidden.append("±")
    if hidden:
        print_line(console, f"hidden: {', '.join(hidden)} (widen the terminal)", style="dim")


def _has_notes(table: Table) -> bool:
    return any(cell.note for row in table.rows for cell in row)


def fit(table: Table, width: int) -> Table:
    """Return the table without what *width* characters cannot hold, the lowest priority dropped first."""
    found = table.where(lambda column: not column.is_detail)
    steps = {column.priority for column in found.columns} | {found.note_priority}
    for step in sorted(steps - {NEVER_DROPPED}):
        if _width(_texts(found)) <= width:
            return found
        if step == found.note_priority:
            found = found.without_notes()
        found = found.where(lambda column, step=step: column.priority != step)  # type: ignore[misc]
    if _width(_texts(found)) > width and table.note_priority == NEVER_DROPPED:
        without = table.without_notes()
        return found if without == table else fit(without, width)
    return found


def table_width(table: Table) -> int:
    """Return the characters that a whole table takes."""
    return _width(_texts(table))


def _texts(table: Table) -> list[list[str]]:
    return [
        [_head(column), *_cells(column, [row[index] for row in table.rows])]
        for index, column in enumerate(table.columns)
    ]


def _cut(columns: list[list[str]], is_text: Sequence[bool], console: Console) -> list[list[str]]:
    """Shorten the widest columns of words by what the console cannot hold; what differs still differs if it can."""
    widths = [_width([texts]) * words for texts, words in zip(columns, is_text, strict=True)]
    excess = _width(columns) - console.width
    while excess > 0 and max(widths, default=0) > _LEAST:
        widths[widths.index(max(widths))] -= 1
        excess -= 1
    sign = "..." if console.options.ascii_only else "…"

    return [
        _shortened(texts, width, sign) if words else texts
        for texts, width, words in zip(columns, widths, is_text, strict=True)
    ]


def _shortened(texts: Sequence[str], width: int, sign: str) -> list[str]:
    """Return head and cells of a column in *width* characters: their begin, both ends, or where they differ."""
    room, (head, *cells) = width - len(sign), texts
    same = os.path.commonprefix([cell for cell in cells if len(cell) > width])  # noqa: RUF071  of texts
    differ = max(0, len(same) - room // 2)
    cuts: tuple[Callable[[str], str], ...] = (
        lambda text: text[:room] + sign,
        lambda text: text[: room // 2] + sign + text[room // 2 - room :],
        lambda text: sign + text[differ:][:room],
    )
    shown = "\n".join(line if len(line) <= width else cuts[0](line) for line in head.split("\n"))
    for cut in cuts:
        found = [cell if len(cell) <= width else cut(cell) for cell in cells]
        if len(set(found)) == len(set(cells)):
            return [shown, *found]
    return [shown, *found]


def _head(column: Column) -> str:
    return f"{column.head}\n{column.unit}" if column.unit else column.head


def _cells(column: Column, cells: Sequence[Cell]) -> list[str]:
    """Return texts with their notes; those behind numbers are below each other."""
    width = 0 if column.is_text else max((len(cell.note) for cell in cells), default=0)
    return [f"{cell.text} {cell.note:<{width}}" if cell.note or width else cell.text for cell in cells]


def _width(columns: Sequence[Sequence[str]]) -> int:
    lines = ([line for text in column for line in text.split("\n")] for column in columns)
    return sum(max(map(len, found)) + _PADDING for found in lines) - _PADDING
