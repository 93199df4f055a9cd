"""Files of rows as text, and rows whose cells say where they stand when they are wrong."""

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, NoReturn

from llmbench.errors import InputError
from llmbench.schema import measurement
from llmbench.schema.measurement import Measurement
from llmbench.schema.units import NS_PER_MS, Nanoseconds, format_bytes

MAX_BYTES = 256 << 20
MOST_SEQUENCES = 1 << 16
"""Sequences in a request beyond which a number is a slip."""

MOST_PASSES = 1 << 20
"""Forward passes of a request beyond which a number is a slip."""

LEAST_MS, MOST_MS = 1e-3, 3.6e6
"""Latencies of a token below a microsecond or above an hour are a slip of the unit."""

MOST_REQUEST_MS = 24 * MOST_MS
_TOO_LARGE = 1e15
"""Milliseconds or MiB that nothing can have taken."""
_NEUTRALISED = re.compile(r"'+[=+\-@\x00-\x1f\x7f]")


def cell_text(path: Path) -> str:
    """The file's text; refused are what cannot be read, what is too large, and what is no text."""
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise InputError(f"{path} has {format_bytes(size)}; at most {format_bytes(MAX_BYTES)} are read")
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(
            f"{path} cannot be read: {error.strerror}",
            hint="llmbench report history lists the runs there are",
        ) from error
    except UnicodeDecodeError as error:
        hint = "save it as UTF-8"
        raise InputError(f"{path} is not UTF-8 text: byte {error.start}", hint=hint) from error
    if not text.strip():
        raise InputError(f"{path} is empty")
    return text


def as_number(cell: str) -> float | None:
    """The number of a cell; ``None`` where it is none, as Python's own ``1_000`` or digits of other scripts are."""
    try:
        return float(cell) if cell.isascii() and "_" not in cell else None
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class CsvLine:
    """One row, and where it stands: its cells are read as text, as counts, or as positive numbers."""

    where: str
    cells: Mapping[str, str]

    def refuse(self, name: str, allowed: str) -> NoReturn:
        """The error that names row and column."""
        raise InputError(f"{self.where}: {name} is {self.cells[name]!r}; {allowed}")

    def text(self, name: str) -> str:
        """The cell as it was before it was made harmless to a spreadsheet."""
        cell = self.cells.get(name) or ""
        return cell[1:] if _NEUTRALISED.match(cell) else cell

    def number(self, name: str) -> float | None:
        """A positive finite number; ``None`` where the cell is empty or says NA."""
        cell = (self.cells.get(name) or "").strip()
        if cell in {"", "NA"}:
            return None
        value = as_number(cell)
        if value is None:
            self.refuse(name, "a number was expected")
        if not 0 < value < _TOO_LARGE:
            self.refuse(name, "a positive number was expected, or NA")
        return value

    def latency(self, name: str, most_ms: float = MOST_MS) -> float | None:
        """A number of milliseconds that a request can have taken; another unit gives others."""
        value = self.number(name)
        if value is not None and not LEAST_MS <= value <= most_ms:
            self.refuse(name, f"{LEAST_MS:g} to {most_ms:g} ms were expected; is it in another unit?")
        return value

    def amount(self, name: str) -> float | None:
        """A finite number from 0; ``None`` where the cell is empty, says NA, or 0, which means nobody looked."""
        is_zero = as_number(self.cells.get(name) or "0") == 0
        return None if is_zero else self.number(name)

    def count(self, name: str, default: int | None = None, *, most: int = 2**53) -> int:
        """A whole number from 0, below *most*."""
        cell = (self.cells.get(name) or "").strip()
        if not cell and default is not None:
            return default
        value = as_number(cell)
        if value is None or not 0 <= value < most or value != int(value):
            self.refuse(name, "a whole number was expected" + (f", below {most}" if most < 2**53 else ""))
        return int(value)

    def is_true(self, name: str) -> bool:
        """A truth value as Python writes it."""
        if self.cells[name] not in {"True", "False"}:
            self.refuse(name, "True or False was expected")
        return self.cells[name] == "True"


def csv_lines(path: Path, text: str) -> tuple[list[str], Iterator[CsvLine]]:
    """The columns, and the rows that contain anything; a row of another length than the header is refused."""
    rows = _csv_rows(path, text)
    _, columns = next(rows)

    def lines() -> Iterator[CsvLine]:
        for where, cells in rows:
            if cells == columns:
                raise InputError(
                    f"{where}: the header a second time; a file may contain one CSV",
                    hint="split the file before this line",
                )
            if any(cells) and len(cells) != len(columns):
                raise InputError(f"{where}: {len(cells)} values under {len(columns)} columns")
            if any(cells):
                yield CsvLine(where, dict(zip(columns, cells, strict=True)))

    return columns, lines()


def _csv_rows(path: Path, text: str) -> Iterator[tuple[str, list[str]]]:
    """(where it stands, its cells) of each row."""
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        for cells in reader:
            yield f"{path}:{reader.line_num}", cells
    except csv.Error as error:
        raise InputError(f"{path}:{reader.line_num}: {error}") from error


def check_columns(
    path: Path, columns: Sequence[str], *, required: Iterable[str], is_known: Callable[[str], bool]
) -> None:
    """Refuse columns that are doubled, unknown or missing."""
    doubled = sorted({name for name in columns if columns.count(name) > 1})
    unknown = [name for name in columns if not is_known(name)]
    missing = [name for name in required if name not in columns]
    for names, what in ((doubled, "doubled"), (unknown, "unknown"), (missing, "missing")):
        if names:
            raise InputError(
                f"{path}:1: {what} columns: {', '.join(map(repr, names))}",
                hint="the columns are those that llm_bench or this tool wrote; was the file edited?",
            )


def check_unique(lines: Iterable[CsvLine], names: Sequence[str]) -> None:
    """Refuse a second row of the same request, which *names* identify."""
    first: dict[tuple[str, ...], CsvLine] = {}
    for line in lines:
        known = first.setdefault(tuple(line.cells.get(name, "").strip() for name in names), line)
        if known is not line:
            request = ", ".join(f"{name} {line.cells.get(name)}" for name in names)
            raise InputError(
                f"{line.where}: a second row of the same request ({request}); the first is {known.where}",
                hint="remove one of them: a request counts once",
            )


def measurement_of(
    line: CsvLine,
    *,
    gaps_ms: Sequence[float],
    counts: Sequence[int],
    infer_ms: Sequence[float],
    input_tokens: int,
    launch: int = 0,
    is_warmup: bool = False,
    **reported: Any,
) -> Measurement:
    """A request that starts at 0, its events after *gaps_ms*; all sequences of a batch are alike."""
    if any(gap < 0 for gap in gaps_ms) or any(count < 1 for count in counts):
        raise InputError(f"{line.where}: its latencies do not go together with its number of tokens")
    instants = tuple(Nanoseconds(round(ms * NS_PER_MS)) for ms in accumulate(gaps_ms))
    sequence = measurement.Sequence(
        input_tokens=input_tokens,
        at_ns=instants,
        counts=tuple(counts) if any(count != 1 for count in counts) else (),
    )
    return Measurement(
        launch=launch,
        is_warmup=is_warmup,
        start_ns=Nanoseconds(0),
        end_ns=instants[-1] if instants else Nanoseconds(0),
        sequences=(sequence,) * max(1, line.count("batch_size", 1, most=MOST_SEQUENCES)),
        infer_ns=tuple(round(ms * NS_PER_MS) for ms in infer_ms),
        **reported,
    )


def ns(milliseconds: float | None) -> int | None:
    """Nanoseconds."""
    return None if milliseconds is None else round(milliseconds * NS_PER_MS)
