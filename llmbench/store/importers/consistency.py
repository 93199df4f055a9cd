"""Whether the rows of a report agree with each other: a file that was edited or cut shows it here.

One wrong row is refused by its line. What no single row can be blamed for is a note on the run: a report without some
of its requests, averages that are not those of its rows.
"""

import collections
import math
import statistics
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from llmbench.errors import InputError
from llmbench.schema.units import format_number
from llmbench.store.importers.table import CsvLine

UNIT_SLIP = 50.0
"""How far latencies may be from adding up, as a factor, before their units are doubted."""

SECONDS_SLIP = 500.0
"""How many times as long as a latency the unexplained time may be: seconds in place of ms make it 1,000 times."""

LLM_BENCH_ALIKE = ("model", "framework", "device", "precision", "num_beams", "batch_size")
"""Columns that are the same in all rows of llm_bench's report."""

_NUMBERS = (
    *("initial_sys_mem(MiB)", "initial_rss_mem(MiB)", "compile_max_rss_mem(MiB)", "compile_max_sys_mem(MiB)"),
    *("pretrain_time(s)", "latency(ms)"),
)
_AVERAGED = ("1st_latency(ms)", "2nd_avg_latency(ms)")
_ROUNDING = 1e-3


def check_alike(lines: Iterable[CsvLine], names: Iterable[str], what: str) -> None:
    """Refuse a row that differs from the first in one of the columns that identify *what* they are rows of."""
    first, *others = lines
    expected = [(name, first.cells.get(name)) for name in names]
    for line in others:
        for name, value in expected:
            if line.cells.get(name) != value:
                raise InputError(
                    f"{line.where}: a second {what}, {name} {line.text(name)!r} after {first.text(name)!r}; "
                    f"these rows are read with one",
                    hint="give the run file, or the tidy CSV that report csv makes of it",
                )


def check_row(line: CsvLine, first: float | None, other: float | None, tokens: int) -> None:
    """Refuse a row with a value that nothing else reads and that cannot be, or whose times do not go together."""
    for name in _NUMBERS:
        line.amount(name)
    check_instants(line, "start", "end")
    whole, each = line.amount("generation_time(s)"), line.amount("latency(ms)")
    if whole is not None and first is not None:
        _check_sum(line, first, (other or 0.0) * (tokens - 1), whole * 1e3)
    check_pass(line, "1st_infer_latency(ms)", first)
    check_pass(line, "2nd_infer_avg_latency(ms)", other)
    if whole is not None and each is not None and tokens and not _is_near(each * tokens, whole * 1e3):
        line.refuse("latency(ms)", "it is far from generation_time(s) per token; were units mixed?")


def check_pass(line: CsvLine, name: str, latency_ms: float | None) -> None:
    """Refuse the time of a forward pass that is far from the latency it is most of."""
    found = line.amount(name)
    if found and latency_ms and not 1 / SECONDS_SLIP < found / latency_ms < UNIT_SLIP:
        line.refuse(name, "it is far from the latency beside it; were units mixed?")


def _check_sum(line: CsvLine, first_ms: float, later_ms: float, whole_ms: float) -> None:
    """Refuse latencies that are far from adding up to the generation's time, as seconds in place of ms do."""
    parts = (first_ms, whole_ms - later_ms), (later_ms, whole_ms - first_ms)
    is_small = any(part and left > SECONDS_SLIP * part for part, left in parts)
    if is_small or not _is_near(first_ms + later_ms, whole_ms):
        line.refuse("generation_time(s)", "it is far from the sum of the latencies in ms; were units mixed?")


def _is_near(one_ms: float, other_ms: float) -> bool:
    return 1 / UNIT_SLIP < one_ms / other_ms < UNIT_SLIP


def check_instants(line: CsvLine, start: str, end: str) -> None:
    """Refuse what is no instant, and an end before its start, as of a line that was cut."""
    started, ended = _instant(line, start), _instant(line, end)
    if started is not None and ended is not None and ended < started:
        line.refuse(end, f"it is before {start}; was the line cut?")


def _instant(line: CsvLine, name: str) -> datetime | None:
    text = line.text(name)
    try:
        return datetime.fromisoformat(text).replace(tzinfo=None) if text else None
    except ValueError:
        line.refuse(name, "an instant such as 2026-11-22T12:19:21.882210 was expected")


def is_whole(lines: Sequence[CsvLine]) -> bool:
    """Whether every prompt has each of the iterations."""
    prompts = {line.count("prompt_idx") for line in lines}
    return len(lines) == len(prompts) * max(line.count("iteration") for line in lines)


def doubts(measured: Sequence[CsvLine], averages: Sequence[CsvLine]) -> Iterator[str]:
    """What does not fit: prompts of several lengths, and *averages* in the file that are not those of its rows."""
    by_prompt: dict[int, list[CsvLine]] = collections.defaultdict(list)
    for line in measured:
        by_prompt[line.count("prompt_idx")].append(line)
    for prompt, rows in by_prompt.items():
        sizes = sorted({row.count("input_size") for row in rows})
        if len(sizes) > 1:
            yield f"prompt {prompt} has rows of {' and '.join(map(str, sizes))} input tokens"
    for line in averages:
        for name in _AVERAGED:
            stated, found = line.number(name), _mean(by_prompt.get(line.count("prompt_idx"), []), name)
            if stated and found and not math.isclose(stated, found, rel_tol=_ROUNDING):
                yield (
                    f"{line.where}: the file's average of {name} is {format_number(stated)}, its rows have "
                    f"{format_number(found)}: rows were changed, lost, or left out of the average"
                )


def _mean(lines: Sequence[CsvLine], name: str) -> float | None:
    known = [value for line in lines if (value := line.number(name)) is not None]
    return statistics.fmean(known) if known else None
