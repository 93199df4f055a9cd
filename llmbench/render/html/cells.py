"""Cells and columns that several tables of a page share."""

import itertools
from collections.abc import Iterable, Sequence

from llmbench.analysis.stats import Summary
from llmbench.render.html.document import Cell, Head, Table
from llmbench.render.html.series import PlotSeries
from llmbench.render.text import margin, number_text
from llmbench.schema.units import Unit

MAX_TABLE_ROWS = 2000
"""Rows of a table; what is left out is said."""

EMPTY = Cell(text="n/a", tone="dim")
"""A value that does not exist."""


def text(value: str) -> Cell:
    """A cell of words."""
    return Cell(text=value)


def count(value: int) -> Cell:
    """A cell of a whole number."""
    return Cell(text=str(value))


def value(found: float | None, unit: Unit) -> Cell:
    """A cell of a value without an interval."""
    return EMPTY if found is None else Cell(text=number_text(found, unit))


def summary(found: Summary | None, unit: Unit) -> Cell:
    """A centre with its margin; its interval, or why there is none, is told on hovering."""
    if found is None:
        return EMPTY
    reach = "; ".join(found.warnings)
    if found.has_interval:
        reach = f"{number_text(found.low, unit)} to {number_text(found.high, unit)} {unit.value} at 95 %"
    return Cell(text=number_text(found.median, unit), note=margin(found), title=reach)


def series_heads(series: Sequence[PlotSeries]) -> list[Head]:
    """A column of names where there are several series."""
    return [Head(text="run", is_text=True)] if len(series) > 1 else []


def series_cells(series: Sequence[PlotSeries], each: PlotSeries) -> list[Cell]:
    """The name of a series where there are several."""
    return [Cell(text=each.name, tone="name")] if len(series) > 1 else []


def cut(heads: Iterable[Head], rows: Iterable[tuple[Cell, ...]], total: int, *, fold: str = "") -> Table:
    """A table of at most MAX_ROWS of *total* rows; the line above it tells how many are left out."""
    if total > MAX_TABLE_ROWS:
        left = f"the first {MAX_TABLE_ROWS} of {total} rows; llmbench report csv writes all"
        fold = f"{fold}: {left}" if fold else left
    return Table(heads=tuple(heads), rows=tuple(itertools.islice(rows, MAX_TABLE_ROWS)), fold=fold)
