"""The table of a report on a terminal: readable at 80 and at 40 columns, and without a terminal.

A narrow screen drops whole columns, the least important first; numbers are never broken.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console, JustifyMethod
from rich.segment import Segments
from rich.table import Table
from rich.text import Text

from llmbench.analysis.metrics import METRICS, NEVER_DROPPED, SCREEN_METRICS, present
from llmbench.analysis.placement_proof import Effect
from llmbench.analysis.report import Report, Row
from llmbench.render.sentences.remarks import bandwidth_sentences, placement_sentence, remarks
from llmbench.render.text import counted, load_time, margin, number_text, plain, row_label
from llmbench.schema.units import format_bytes

_PRIORITIES = {"margin": 50, "out": 60, **{name: METRICS[name].priority for name in SCREEN_METRICS}}
_DROPPED_FIRST = sorted(
    (key for key, priority in _PRIORITIES.items() if priority < NEVER_DROPPED), key=_PRIORITIES.__getitem__
)
_PADDING = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column as text: *key* names it, *head* has one line or two."""

    key: str
    head: str
    cells: tuple[str, ...]
    is_text: bool = False

    @property
    def width(self) -> int:
        """Characters of its widest line."""
        return max(len(line) for cell in (self.head, *self.cells) for line in cell.split("\n"))


def units_of(names: Iterable[str]) -> str:
    """What metrics are in, by their heads: ``first, second in ms; next in ms/token``."""
    heads: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        heads.setdefault(METRICS[name].unit.value, []).append(METRICS[name].short_title)
    return "; ".join(f"{', '.join(found)} in {unit}" for unit, found in heads.items())


def render_report(report: Report, console: Console) -> None:
    """Print a report: what was measured, its table, and what to mind."""
    for line in _titles(report):
        print_line(console, line, style="bold")
    for alarm in report.alarms:
        print_line(console, alarm, style="bold red")
    columns = _fitting(report, console)
    if report.rows:
        print_table(columns, console)
    else:
        print_line(console, "nothing that counts was measured", style="bold red")
    for line in _notes(report, [column.key for column in columns]):
        print_line(console, line, style="dim")


def print_line(console: Console, text: str, *, style: str = "", is_whole: bool = False) -> None:
    """Print a line of text that may hold anything, in characters that the console has.

    A line that *is_whole* is not wrapped, so that it can be copied.
    """
    shown = plain(text)
    if console.options.ascii_only:
        shown = shown.encode("ascii", "backslashreplace").decode()
    console.print(Text(shown, style=style), soft_wrap=is_whole)


def print_table(columns: Sequence[Column], console: Console, *, styles: Sequence[str] = ()) -> None:
    """Print columns as they are, with a style a row; they are not wrapped, whatever the width."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), collapse_padding=True, show_edge=False)
    for column in columns:
        justify: JustifyMethod = "left" if column.is_text else "right"
        table.add_column(Text(column.head), justify=justify, no_wrap=True)
    for index, cells in enumerate(zip(*(column.cells for column in columns), strict=True)):
        table.add_row(*(Text(cell) for cell in cells), style=styles[index] if styles else "")
    options = console.options.update(width=max(console.width, width(columns)))
    console.print(Segments(console.render(table, options)), crop=False, end="")


def width(columns: Sequence[Column]) -> int:
    """Characters that columns take beside each other."""
    return sum(column.width + _PADDING for column in columns) - _PADDING


def sign(console: Console) -> str:
    """The sign of a margin that the console can print."""
    return "+-" if console.options.ascii_only else "±"


def _titles(report: Report) -> Iterator[str]:
    run, config = report.run, report.run.cells[0]
    engine = config.engine if run.version else ""
    varied = report.distinctions[0]
    weights = "" if "weight_format" in varied else run.provenance.weight_format or ""
    parts = [run.model, engine, config.device, weights]
    yield ", ".join(part for part in parts if part)
    finished = max((row.launches for row in report.rows), default=0)
    counts = [
        counted(finished, "launch", "launches"),
        f"{counted(config.iterations, 'iteration')} after {counted(config.warmups, 'warm-up')}",
    ]
    if "output_tokens" not in varied:
        counts.append(counted(config.output_tokens, "output token"))
    if config.batch_size > 1 and "batch_size" not in varied:
        counts.append(f"batch of {config.batch_size}")
    yield ", ".join(counts)


def _fitting(report: Report, console: Console) -> list[Column]:
    dropped: set[str] = set()
    columns = _columns(report, dropped, sign(console))
    for key in _DROPPED_FIRST:
        if width(columns) <= console.width:
            break
        dropped.add(key)
        columns = _columns(report, dropped, sign(console))
    return columns


def _columns(report: Report, dropped: set[str], plus_minus: str) -> list[Column]:
    rows = report.rows
    columns = [Column(key="prompt", head="prompt", cells=tuple(map(row_label, rows)), is_text=True)]
    for name in report.distinctions[0]:
        cells = tuple(plain(report.distinctions[row.cell][name]) for row in rows)
        columns.append(Column(key=name, head=plain(name), cells=cells, is_text=True))
    if any(effect is Effect.INEFFECTIVE for effect in report.effects):
        marks = tuple(effect.value if (effect := report.effects[row.cell]) else "" for row in rows)
        columns.append(Column(key="tensor_parallel", head="tensor\nparallel", cells=marks, is_text=True))
    columns.append(Column(key="in", head="in", cells=tuple(str(row.input_tokens) for row in rows)))
    if len({row.output_tokens for row in rows}) > 1:
        columns.append(Column(key="out", head="out", cells=tuple(str(row.output_tokens) for row in rows)))
    shown = present(SCREEN_METRICS, (row.summaries for row in rows))
    columns += [_metric_column(name, rows, "" if "margin" in dropped else plus_minus) for name in shown]
    return [column for column in columns if column.key not in dropped]


def _metric_column(name: str, rows: Sequence[Row], plus_minus: str) -> Column:
    """A metric of every row with its margin, if one is wanted, the signs below each other."""
    unit = METRICS[name].unit
    values = [
        number_text(row.summaries[name].median if name in row.summaries else None, unit) for row in rows
    ]
    margins = [
        margin(row.summaries[name], sign=plus_minus) if plus_minus and name in row.summaries else ""
        for row in rows
    ]
    width = max((len(text) for text in margins), default=0)
    cells = tuple(
        f"{value} {text:<{width}}" if width else value for value, text in zip(values, margins, strict=True)
    )
    return Column(key=name, head=f"{METRICS[name].short_title}\n{unit.value}", cells=cells)


def _notes(report: Report, shown: Sequence[str]) -> Iterator[str]:
    yield from _load_and_memory(report)
    yield from bandwidth_sentences(report)
    yield from _placements(report)
    summaries = [summary for row in report.rows for summary in row.summaries.values()]
    if any(summary.has_interval for summary in summaries):
        several = any(row.launches > 1 for row in report.rows)
        over = "launches" if several else "the iterations of one launch"
        yield f"margins: intervals at 95 % over {over}"
    warnings = dict.fromkeys(warning for summary in summaries for warning in summary.warnings)
    yield from (f"no margin: {warning}" for warning in warnings)
    yield from (f"note: {warning}" for warning in report.warnings if warning not in report.alarms)
    yield from (f"note: {row_label(row)}: {warning}" for row in report.rows for warning in row.warnings)
    for remark in remarks(report):
        yield f"note: {remark.text}" if remark.is_doubt else remark.text
    definitions = [
        f"{METRICS[name].head} = {METRICS[name].definition}" for name in SCREEN_METRICS if name in shown
    ]
    if definitions:
        yield f"s: token ids handed over, t1..tn: tokens available. {'; '.join(definitions)}"


def _placements(report: Report) -> Iterator[str]:
    for proof, apart in zip(report.proofs, report.distinctions, strict=True):
        if proof is not None and len(proof.machine.sockets) > 1:
            where = ", ".join(f"{name}={value}" for name, value in apart.items())
            yield f"{where}: {placement_sentence(proof)}" if where else placement_sentence(proof)


def _load_and_memory(report: Report) -> Iterator[str]:
    found = []
    loads = [
        ", ".join(load_time(load.median, state) for state, load in by_state.items())
        for by_state in report.load
        if by_state
    ]
    if loads:
        found.append(f"load: {' / '.join(loads)}")
    memory = [row.summaries["memory"].median for row in report.rows if "memory" in row.summaries]
    if memory:
        found.append(f"peak memory while generating: {format_bytes(round(max(memory)))}")
    if found:
        yield "; ".join(found)
