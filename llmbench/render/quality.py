"""Quality beside latency as a table: a row per configuration, and which of them nothing beats in both."""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from string import ascii_uppercase

from llmbench.analysis.metrics.base import NEVER_DROPPED
from llmbench.analysis.metrics.table import present
from llmbench.analysis.output_agreement import Agreement
from llmbench.analysis.quality import BESIDE, Quality, QualityReport, QualityRow
from llmbench.analysis.stages import row_metric
from llmbench.render.table import (
    EMPTY,
    Cell,
    Column,
    Table,
    TableColumn,
    count_cell,
    estimate,
    metric_column,
    quantity,
    text_column,
)
from llmbench.render.text import change
from llmbench.schema.units import Unit

_SAME_TOP = Column("same top", name="same_top", full="same likeliest token", unit="%", priority=40)
_PERPLEXITY = Column("perplexity", name="log_ratio", full="perplexity / base's perplexity", priority=20)


def quality_table(rows: Sequence[QualityRow]) -> Table:
    """Return what each configuration loses against the base, and what it takes; ``*`` marks the Pareto front."""
    found = [row.quality for row in rows]
    columns: list[TableColumn] = [
        (Column("", name="mark", is_text=True), [_mark(index, row) for index, row in enumerate(rows)]),
        *(
            (Column(name, is_text=True), [Cell(row.settings[name], tone="name") for row in rows])
            for name in rows[0].settings
        ),
        (Column("KLD", name="kld", full="mean KL divergence", unit="nats"), map(_loss, rows)),
        (
            Column("99 %", name="kld_p99", unit="nats", priority=10),
            [_nats(each, "kld_p99") for each in found],
        ),
        (Column("max", name="kld_max", unit="nats", priority=5), [_nats(each, "kld_max") for each in found]),
        (_SAME_TOP, map(_same_top, found)),
        (_PERPLEXITY, map(_perplexity, found)),
        *_tokens(rows),
        *(_beside(name, rows) for name in present(BESIDE, (row.beside for row in rows))),
        (
            Column("IR", name="file_bytes", full="size of the IR", unit="MiB", priority=15),
            [quantity(row.file_bytes, Unit.MEBIBYTES) for row in rows],
        ),
    ]
    return Table.of_columns(columns, note_priority=30)


def text_table(report: QualityReport) -> Table:
    """Return the loss of each configuration for each text, where several were read; else no rows."""
    entries = [
        (name, index, found)
        for name, of_rows in report.by_text.items()
        for index, found in enumerate(of_rows)
        if found is not None
    ]
    return Table.of_columns(
        [
            text_column("text", (name for name, _, _ in entries)),
            (Column("", name="mark", is_text=True), [Cell(point_letter(index)) for _, index, _ in entries]),
            (Column("KLD", name="kld", unit="nats"), [_estimate(found) for _, _, found in entries]),
            (Column("same top", name="same_top", unit="%"), [_same_top(found) for _, _, found in entries]),
            (
                Column("perplexity", name="log_ratio", priority=20),
                [_perplexity(each) for *_, each in entries],
            ),
            (Column("blocks", priority=10), [count_cell(found.blocks) for _, _, found in entries]),
        ]
    )


def _mark(index: int, row: QualityRow) -> Cell:
    front = "*" if row.is_on_front else ""
    return Cell(f"{point_letter(index)}{front}", tone="good" if front else "")


def point_letter(index: int) -> str:
    """Return the letter of a configuration in the table and in the plot."""
    return ascii_uppercase[index % len(ascii_uppercase)]


def _nats(found: Quality | None, name: str) -> Cell:
    if found is None:
        return EMPTY
    value: float = getattr(found, name)
    return Cell(f"{value:.2g}" if value < 10 else f"{value:.0f}", value=value)


def _loss(row: QualityRow) -> Cell:
    if row.quality is None:
        return EMPTY
    found = _estimate(row.quality)
    if not row.faults:
        return found
    return dataclasses.replace(found, text=f"{found.text}!", title="; ".join(row.faults), tone="bad")


def _estimate(found: Quality) -> Cell:
    reach = "" if found.kld.high is None else f"±{max(found.kld.high - found.kld.value, 0):.1g}"
    return Cell(f"{found.kld.value:.2g}", value=found.kld.value, note=reach)


def _same_top(found: Quality | None) -> Cell:
    return EMPTY if found is None else Cell(f"{found.same_top.value * 100:.1f}", value=found.same_top.value)


def _perplexity(found: Quality | None) -> Cell:
    if found is None:
        return EMPTY
    ratio = found.log_ratio
    reach = "" if ratio.high is None else f"±{(ratio.high - ratio.value) * 100:.1f} %"
    return Cell(change(math.exp(ratio.value)), value=ratio.value, note=reach)


def _tokens(rows: Sequence[QualityRow]) -> Iterator[TableColumn]:
    """Whether what guesses ahead left the greedy tokens as they are; no column where nothing guesses."""
    if any(row.tokens is not None for row in rows):
        column = Column("tokens", name="tokens", full="greedy tokens", is_text=True, priority=38)
        yield column, [_agreement(row.tokens) for row in rows]


def _agreement(found: Agreement | None) -> Cell:
    if found is None:
        return Cell()
    if not found.variants:
        return EMPTY
    if found.first is None:
        return Cell("same", title=f"in all {found.variants} compared")
    first = f" from {found.first.token}" if found.first.token else ""
    share = f"{len(found.partings)} of {found.variants}"
    return Cell(f"{share} differ{first}", title="the first token that differs from the same without guessing")


def _beside(name: str, rows: Sequence[QualityRow]) -> TableColumn:
    unit = row_metric(name).unit
    return metric_column(name, _BESIDE_PRIORITY[name]), [estimate(row.beside.get(name), unit) for row in rows]


_BESIDE_PRIORITY = {"first_token": 35, "next_token": NEVER_DROPPED, "memory": 25}
