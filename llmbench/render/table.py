"""A table as a value: every view returns one, and every output format can write each of them.

The terminal, Markdown, CSV and HTML know nothing of runs or comparisons; the views know nothing of formats.
"""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import KW_ONLY, dataclass

from llmbench.analysis.metrics.base import NEVER_DROPPED
from llmbench.analysis.stages import request_metric, row_metric
from llmbench.analysis.stats import Summary
from llmbench.render.text import margin, number_text
from llmbench.schema.units import Unit

TableValue = str | int | float | bool | None
"""What a machine reads of a cell; ``None`` is an empty one."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell: its text, a smaller *note* behind it, and a tone (``good``, ``bad``, ``warn``, ``dim``, ``name``).

    *full* is what a page shows in place of a short text, *title* what it shows on hovering. *value* is what a file
    for machines contains in place of the text.
    """

    text: str = ""
    _: KW_ONLY
    value: TableValue = None
    note: str = ""
    full: str = ""
    title: str = ""
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its head, the unit below it, and whether its cells are text, which stands to the left.

    *name* identifies it where the head does not; *full* is the head on a page. On a narrow screen columns
    of the lowest *priority* are dropped first. A *detail* is for pages only.
    """

    head: str
    _: KW_ONLY
    name: str = ""
    full: str = ""
    unit: str = ""
    is_text: bool = False
    is_detail: bool = False
    priority: int = NEVER_DROPPED

    @property
    def key(self) -> str:
        """What the column is called."""
        return self.name or self.head


@dataclass(frozen=True, slots=True)
class Table:
    """Columns and rows of cells; *fold* is the line under which a page hides it, empty where it is shown.

    Notes are dropped on a narrow screen at *note_priority*; without one only where dropped columns do not suffice.
    """

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    _: KW_ONLY
    fold: str = ""
    note_priority: int = NEVER_DROPPED

    @classmethod
    def of_columns(
        cls, columns: Iterable[tuple[Column, Iterable[Cell]]], *, note_priority: int = NEVER_DROPPED
    ) -> "Table":
        """Return the table of columns that are beside each other with their cells."""
        heads, cells = zip(*((column, tuple(cells)) for column, cells in columns), strict=True)
        return cls(heads, tuple(zip(*cells, strict=True)), note_priority=note_priority)

    def where(self, keep: Callable[[Column], bool]) -> "Table":
        """Return the table with only those columns that *keep* wants."""
        return self._with([index for index, column in enumerate(self.columns) if keep(column)])

    def _with(self, indices: Sequence[int]) -> "Table":
        return dataclasses.replace(
            self,
            columns=tuple(self.columns[index] for index in indices),
            rows=tuple(tuple(row[index] for index in indices) for row in self.rows),
        )

    def without(self, *names: str) -> "Table":
        """Return the table without some columns, by name."""
        return self.where(lambda column: column.key not in names)

    def with_first(self, *names: str) -> "Table":
        """Return the table with these columns, by name, before the others."""
        order = {name: position for position, name in enumerate(names)}
        return self._with(
            sorted(range(len(self.columns)), key=lambda index: order.get(self.columns[index].key, len(order)))
        )

    def without_notes(self) -> "Table":
        """Return the table without what is behind the texts of number columns."""
        rows = tuple(
            tuple(
                cell if column.is_text or not cell.note else dataclasses.replace(cell, note="")
                for column, cell in zip(self.columns, row, strict=True)
            )
            for row in self.rows
        )
        return dataclasses.replace(self, rows=rows)

    def names(self) -> tuple[str, ...]:
        """Return the names of the columns."""
        return tuple(column.key for column in self.columns)


EMPTY = Cell("n/a", tone="dim")
"""A value that does not exist."""


def metric_column(name: str, priority: int | None = None) -> Column:
    """Return the column of a metric, dropped by a narrow screen at its own priority if no other is given."""
    metric = row_metric(name)
    return Column(
        metric.short_title,
        name=name,
        full=metric.title,
        unit=metric.unit.value,
        priority=metric.priority if priority is None else priority,
    )


TableColumn = tuple[Column, Iterable[Cell]]
"""A column with its cells."""


def texts(values: Iterable[str]) -> list[Cell]:
    """Return cells of words."""
    return [Cell(value) for value in values]


def text_column(head: str, values: Iterable[str], priority: int = NEVER_DROPPED) -> TableColumn:
    """Return a column of words."""
    return Column(head, is_text=True, priority=priority), texts(values)


def count_cell(value: int | None) -> Cell:
    """Return the cell of a whole number."""
    return EMPTY if value is None else Cell(str(value), value=value)


def quantity(value: float | None, unit: Unit) -> Cell:
    """Return the cell of a value without an interval."""
    return EMPTY if value is None else Cell(number_text(value, unit), value=value * unit.scale)


def estimate(found: Summary | None, unit: Unit) -> Cell:
    """Return the cell of a centre with its margin; its interval, or why there is none, is shown on hovering."""
    if found is None:
        return EMPTY
    reach = "; ".join(found.warnings)
    if found.has_interval:
        reach = f"{number_text(found.low, unit)} to {number_text(found.high, unit)} {unit.value} at 95 %"
    value = found.median * unit.scale
    return Cell(number_text(found.median, unit), value=value, note=margin(found), title=reach)


def units_of(names: Iterable[str]) -> str:
    """Return the units of metrics by their heads: ``first, second in ms; next in ms/token``."""
    heads: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        heads.setdefault(request_metric(name).unit.value, []).append(request_metric(name).short_title)
    return "; ".join(f"{', '.join(found)} in {unit}" for unit, found in heads.items())
