"""The records of llm_bench's reports, in that tool's names and units, for both forms it writes.

Correct where it is not: warm-ups are out of every average, and the memory columns are filled. Warm-ups are
iteration 0; the iterations of later launches go on with the numbers.
"""

import dataclasses
import hashlib
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from llmbench.analysis import placement_proof, report, validity
from llmbench.analysis.metrics import METRICS
from llmbench.analysis.validity import JudgedMeasurement
from llmbench.schema.config import RunConfig
from llmbench.schema.measurement import Measurement, Memory
from llmbench.schema.run import Launch, Outcome, Run
from llmbench.schema.units import BYTES_PER_MIB

LLM_BENCH_DIGITS = 5
"""Decimals of every value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryColumns:
    """MiB: the high-water marks of a phase, and how far they rose."""

    max_rss: float | None = None
    max_sys: float | None = None
    max_increase_rss: float | None = None
    max_increase_sys: float | None = None

    @classmethod
    def of(cls, memory: Memory | None) -> "MemoryColumns":
        """From bytes; all ``None`` where nobody looked."""
        if memory is None:
            return cls()
        return cls(
            max_rss=_mib(memory.peak_bytes),
            max_sys=_mib(memory.system_bytes),
            max_increase_rss=_mib(memory.peak_bytes - memory.initial_bytes),
            max_increase_sys=_mib(memory.system_bytes - memory.initial_system_bytes),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One request, or one summary of a prompt's requests (*iteration* is then its name).

    Times are milliseconds, *generation_time* seconds; *latency* is per output token of one sequence. Sizes are
    totals of the batch. *chat_idx* is a chat's turn. ``None`` is what does not exist.
    """

    cell: int
    iteration: int | str
    prompt_idx: int
    input_size: float | None
    infer_count: float | None
    output_size: float | None
    generation_time: float | None
    latency: float | None
    first_latency: float | None
    second_avg_latency: float | None
    first_infer_latency: float | None
    second_infer_avg_latency: float | None
    tokenization_time: float | None
    detokenization_time: float | None
    memory: MemoryColumns
    batch_size: int
    result_md5: tuple[str, ...]
    start: str
    end: str
    counts: bool
    chat_idx: int | None = None


_AVERAGED = (
    "input_size",
    "infer_count",
    "output_size",
    "generation_time",
    "latency",
    "first_latency",
    "second_avg_latency",
    "first_infer_latency",
    "second_infer_avg_latency",
    "tokenization_time",
    "detokenization_time",
)
_SUMMARIES: tuple[tuple[str, Callable[[Sequence[float]], float]], ...] = (
    ("avg", statistics.fmean),
    ("mini", min),
    ("median", lambda values: float(statistics.median(values))),
)


def llm_bench_records(run: Run) -> tuple[Record, ...]:
    """One record a request of the launches that finished, in the order they were made."""
    offsets: dict[int, int] = {}
    past: dict[int, int] = {}
    for launch in run.launches:
        if launch.outcome is Outcome.FINISHED:
            offsets[launch.index] = past.get(launch.cell, 0)
            past[launch.cell] = offsets[launch.index] + run.config_of(launch).iterations
    return tuple(
        _record(judged, offsets[judged.launch.index])
        for judged in validity.judge_run(run)
        if judged.launch.index in offsets
    )


def summaries(found: Sequence[Record]) -> Iterator[Record]:
    """For each prompt its average, least and median over the requests that count, warm-ups out."""
    groups: dict[tuple[int, int, int], list[Record]] = {}
    for record in found:
        if record.iteration != 0:
            groups.setdefault((record.cell, record.prompt_idx, record.chat_idx or 0), []).append(record)
    for _, group in sorted(groups.items(), key=lambda item: item[0]):
        for name, summarize in _SUMMARIES:
            yield _summary(group, name, summarize)


def averages(found: Sequence[Record]) -> dict[str, float]:
    """The averages over all requests that count, by name; what does not exist has no name here."""
    names = _AVERAGED[3:]
    means = {name: _over(found, name, statistics.fmean) for name in names}
    return {name: round(value, LLM_BENCH_DIGITS) for name, value in means.items() if value is not None}


def first_launch(run: Run, cell: int = 0) -> Launch | None:
    """The launch of a configuration whose load time and memory the reports show; ``None`` where none finished."""
    finished = (launch for launch in run.launches if launch.outcome is Outcome.FINISHED)
    return next((launch for launch in finished if launch.cell == cell), None)


def model_name(run: Run, cell: int) -> str:
    """The model by name, and what sets the configuration apart from the run's others.

    The name is that of its source; where that is unknown, of its folder, above ``pytorch/dldt/INT8`` if it is there.
    """
    path = Path(run.cells[cell].model)
    parts = path.parts
    origin = run.origin_of(cell)
    name = parts[parts.index("pytorch") - 1] if "pytorch" in parts[1:] else path.name
    if origin.known and origin.source_id and not run.cells[cell].engine_info.is_simulated:
        name = Path(origin.source_id).name
    apart = report.distinguish(run.cells)[cell]
    marks = [*(f"{key}={value}" for key, value in apart.items()), *placement_proof.mark(run, cell)]
    return f"{name} [{', '.join(marks)}]" if marks else name


def framework(config: RunConfig) -> str:
    """``ov``, or ``pytorch``, as llm_bench's ``-f``."""
    return config.engine_info.framework


def _record(judged: JudgedMeasurement, offset: int) -> Record:
    """One request in llm_bench's names; *offset* is the number of iterations before its launch."""
    m = judged.measurement
    generation_time = METRICS["e2e"].of(m)
    total = sum(sequence.output_tokens for sequence in m.sequences)
    a_token = generation_time / total * m.batch_size if generation_time is not None and total else None
    return Record(
        cell=judged.launch.cell,
        iteration=0 if m.is_warmup else offset + m.iteration - judged.config.warmups + 1,
        prompt_idx=judged.prompt.index,
        chat_idx=judged.prompt.turn,
        input_size=sum(sequence.input_tokens for sequence in m.sequences),
        infer_count=_infer_count(m),
        output_size=total,
        generation_time=generation_time,
        latency=_ms(a_token),
        first_latency=_ms(METRICS["first_token"].of(m)),
        second_avg_latency=_ms(METRICS["tpot"].of(m)),
        first_infer_latency=_ms(METRICS["first_infer"].of(m)),
        second_infer_avg_latency=_ms(METRICS["next_infer"].of(m)),
        tokenization_time=_ms(METRICS["tokenize"].of(m)),
        detokenization_time=_ms(METRICS["detokenize"].of(m)),
        memory=MemoryColumns.of(m.memory),
        batch_size=m.batch_size,
        result_md5=tuple(_md5(s.text) for s in m.sequences if s.text is not None),
        start=m.started_at,
        end=m.ended_at,
        counts=judged.counts,
    )


def _infer_count(m: Measurement) -> int:
    """Forward passes: those seen, or as many as there were token events, or tokens where no events are known."""
    if m.infer_ns:
        return len(m.infer_ns)
    return len(m.longest.at_ns) if m.has_token_times else m.output_tokens


def _summary(group: Sequence[Record], name: str, summarize: Callable[[Sequence[float]], float]) -> Record:
    """One summary of a prompt's records; it has the text's hash of the first, and no instants."""
    values = {key: _over(group, key, summarize) for key in _AVERAGED}
    memory = [record.memory for record in group if record.counts] or [MemoryColumns()]
    marks = {
        f.name: _over_present([getattr(columns, f.name) for columns in memory], summarize)
        for f in dataclasses.fields(MemoryColumns)
    }
    return dataclasses.replace(
        group[0],
        iteration=name,
        memory=MemoryColumns(**marks),
        start="",
        end="",
        **values,  # type: ignore[arg-type]  # every one of them may be None
    )


def _over(found: Sequence[Record], name: str, summarize: Callable[[Sequence[float]], float]) -> float | None:
    """A summary of one value over the records that count; ``None`` where none has it."""
    return _over_present([getattr(record, name) for record in found if record.counts], summarize)


def _over_present(
    values: Sequence[float | None], summarize: Callable[[Sequence[float]], float]
) -> float | None:
    present = [value for value in values if value is not None]
    return summarize(present) if present else None


def _md5(text: str) -> str:
    """The hash by which llm_bench tells texts apart."""
    return hashlib.md5(text.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1e3


def _mib(size: int) -> float:
    return size / BYTES_PER_MIB
