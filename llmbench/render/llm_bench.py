"""The records of llm_bench's reports, in that tool's names and units, for both forms it writes.

Correct where it is not: warm-ups are out of every average, and the memory columns are filled. Warm-ups are
iteration 0; the iterations of later launches go on with the numbers.
"""

import dataclasses
import hashlib
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from llmbench.analysis import placement_proof, report
from llmbench.analysis.attention import attention_mark
from llmbench.analysis.evaluation import EvaluatedRequest, Evaluation
from llmbench.analysis.layouts import LLM_BENCH_PEAKS, LLM_BENCH_TIMES
from llmbench.render.table import TableValue
from llmbench.schema.measurement import Measurement, Memory
from llmbench.schema.run import Launch, Run
from llmbench.schema.units import BYTES_PER_MIB

LLM_BENCH_DIGITS = 5
"""Decimals of every value."""


_COUNTS = ("input_size", "infer_count", "output_size")
_MAY_BE_NA = frozenset(name for name in LLM_BENCH_TIMES if name.startswith(("first_", "second_")))


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One request, or one summary of a prompt's requests (*iteration* is then its name).

    *values* have the names of the JSON: times in milliseconds, ``generation_time`` in seconds, ``latency`` per output
    token of one sequence, sizes as totals of the batch, memory in MiB. *chat_idx* is a chat's turn. ``None`` is what
    does not exist.
    """

    cell: int
    iteration: int | str
    prompt_idx: int
    chat_idx: int | None
    values: Mapping[str, float | None]
    batch_size: int
    result_md5: tuple[str, ...]
    start: str
    end: str
    counts: bool


_SUMMARIES: tuple[tuple[str, Callable[[Sequence[float]], float]], ...] = (
    ("avg", statistics.fmean),
    ("mini", min),
    ("median", lambda values: float(statistics.median(values))),
)


def llm_bench_records(evaluation: Evaluation) -> tuple[Record, ...]:
    """One record a request of the launches that finished, in the order they were made."""
    run = evaluation.run
    offsets: dict[int, int] = {}
    past: dict[int, int] = {}
    for launch in run.launches:
        if launch.is_finished:
            offsets[launch.index] = past.get(launch.cell, 0)
            past[launch.cell] = offsets[launch.index] + run.config_of(launch).iterations
    return tuple(
        _record(judged, offsets[judged.launch.index])
        for judged in evaluation.requests
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
    means = {name: _over(found, name, statistics.fmean) for name in LLM_BENCH_TIMES}
    return {name: round(value, LLM_BENCH_DIGITS) for name, value in means.items() if value is not None}


def first_launch(run: Run, cell: int = 0) -> Launch | None:
    """The launch of a configuration whose load time and memory the reports show; ``None`` where none finished."""
    return next((launch for launch in run.finished if launch.cell == cell), None)


def model_name(evaluation: Evaluation, cell: int) -> str:
    """The model by name, and what sets the configuration apart from the run's others.

    The name is that of its source; where that is unknown, of its folder, above ``pytorch/dldt/INT8`` if it is there.
    """
    run = evaluation.run
    path = Path(run.cells[cell].model)
    parts = path.parts
    origin = run.origin_of(cell)
    name = parts[parts.index("pytorch") - 1] if "pytorch" in parts[1:] else path.name
    if origin.known and origin.source_id and not run.cells[cell].engine_info.is_simulated:
        name = Path(origin.source_id).name
    apart = report.distinguish(run.cells)[cell]
    marks = [
        *(f"{key}={value}" for key, value in apart.items()),
        *placement_proof.mark(evaluation.effects[cell]),
        *attention_mark(run, cell),
    ]
    return f"{name} [{', '.join(marks)}]" if marks else name


def _record(judged: EvaluatedRequest, offset: int) -> Record:
    """One request in llm_bench's names; *offset* is the number of iterations before its launch."""
    m = judged.measurement
    generation_time = judged.value("e2e")
    samples = sum(each.count for each in m.outputs if each.kind == "audio")
    total = samples or sum(sequence.output_tokens for sequence in m.sequences)
    rows = m.batch_size or 1
    a_token = generation_time / total * rows if generation_time is not None and total else None
    return Record(
        cell=judged.launch.cell,
        iteration=0 if m.is_warmup else offset + m.iteration - judged.config.warmups + 1,
        prompt_idx=judged.prompt.index,
        chat_idx=judged.prompt.turn,
        values={
            "input_size": sum(sequence.input_tokens for sequence in m.sequences)
            or (samples and len((judged.prompt.text or "").split())),
            "infer_count": _infer_count(m),
            "output_size": total,
            "generation_time": generation_time,
            "latency": _ms(a_token),
            "first_latency": _ms(judged.value("first_token")),
            "second_avg_latency": _ms(judged.value("tpot")),
            "first_infer_latency": _ms(judged.value("first_infer")),
            "second_infer_avg_latency": _ms(judged.value("next_infer")),
            "tokenization_time": _ms(judged.value("tokenize")),
            "detokenization_time": _ms(judged.value("detokenize")),
            **_peaks(m.memory),
        },
        batch_size=rows,
        result_md5=tuple(
            hashlib.md5(s.text.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()
            for s in m.sequences
            if s.text is not None
        ),
        start=m.started_at,
        end=m.ended_at,
        counts=judged.is_counted,
    )


def _infer_count(m: Measurement) -> int:
    """Forward passes: those seen, or as many as there were token events, or tokens where no events are known."""
    if m.infer_ns:
        return len(m.infer_ns)
    return len(m.longest.at_ns) if m.has_token_times else m.output_tokens


def _peaks(memory: Memory | None) -> dict[str, float | None]:
    """The high-water marks of a phase, and how far they rose."""
    if memory is None:
        return dict.fromkeys(LLM_BENCH_PEAKS)
    rises = memory.peak_bytes - memory.initial_bytes, memory.system_bytes - memory.initial_system_bytes
    return dict(
        zip(LLM_BENCH_PEAKS, map(_mib, (memory.peak_bytes, memory.system_bytes, *rises)), strict=True)
    )


def _summary(group: Sequence[Record], name: str, summarize: Callable[[Sequence[float]], float]) -> Record:
    """One summary of a prompt's records; it has the text's hash of the first, and no instants."""
    values = {key: _over(group, key, summarize) for key in group[0].values}
    return dataclasses.replace(group[0], iteration=name, values=values, start="", end="")


def _over(found: Sequence[Record], name: str, summarize: Callable[[Sequence[float]], float]) -> float | None:
    """A summary of one value over the records that count; ``None`` where none has it."""
    present = [value for record in found if record.counts and (value := record.values[name]) is not None]
    return summarize(present) if present else None


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1e3


def _mib(size: int) -> float:
    return size / BYTES_PER_MIB


def llm_bench_rows(evaluation: Evaluation) -> list[dict[str, TableValue]]:
    """Return a run under llm_bench's 34 columns: a row per request, then three summary rows per prompt."""
    run = evaluation.run
    found = llm_bench_records(evaluation)
    cells = [_cell_columns(evaluation, cell) for cell in range(len(run.cells))]
    rows = [cells[record.cell] | _record_columns(record) for record in found]
    first_rows = {record.cell: number for number, record in reversed(list(enumerate(found)))}
    for cell, number in first_rows.items():
        rows[number] |= _launch_columns(run, cell)
    rows += [cells[record.cell] | _record_columns(record) for record in summaries(found)]
    return rows


def llm_bench_content(evaluation: Evaluation) -> dict[str, object]:
    """Return a run as the values of llm_bench's JSON; warm-ups are listed, and out of ``results_averaged``.

    Of a sweep every result says which configuration it is of; what is there once is that of the first one.
    """
    run = evaluation.run
    records = llm_bench_records(evaluation)
    launch = first_launch(run)
    means = averages([record for record in records if record.iteration != 0 and record.cell == 0])
    batch_size = run.cells[0].batch_size
    throughput = _throughput(means.get("second_avg_latency"), batch_size)
    cells = [_cell(evaluation, cell) for cell in range(len(run.cells))]
    return {
        "metadata": {**_cell_columns(evaluation, 0), "batch_size": batch_size},
        "perfdata": {
            "compile_time": launch.load_s if launch else None,
            "results": [_json_record(record) | cells[record.cell] for record in records],
            **_load_memory(launch),
            "results_averaged": {
                **means,
                **({"second_token_throughput": throughput} if throughput else {}),
            },
        },
    }


def _cell_columns(evaluation: Evaluation, cell: int) -> dict[str, TableValue]:
    run = evaluation.run
    config = run.cells[cell]
    return {
        "model": model_name(evaluation, cell),
        "framework": config.engine_info.framework,
        "device": config.device.lower(),
        "precision": run.origin_of(cell).weight_format or "",
        "num_beams": config.num_beams,
    }


def _record_columns(record: Record) -> dict[str, TableValue]:
    values = record.values
    return {
        "iteration": record.iteration,
        **{name: values[name] for name in _COUNTS},
        **{
            column: "NA" if values[name] is None and name in _MAY_BE_NA else _rounded(values[name])
            for name, column in LLM_BENCH_TIMES.items()
        },
        **_memory_columns("", values),
        "prompt_idx": record.prompt_idx,
        "chat_idx": record.chat_idx,
        "batch_size": record.batch_size,
        "result_md5": str(list(record.result_md5)),
        "start": record.start,
        "end": record.end,
    }


def _launch_columns(run: Run, cell: int) -> dict[str, TableValue]:
    """Return what is on a configuration's first row only: load time and memory before generation."""
    launch = first_launch(run, cell)
    return {} if launch is None else {"pretrain_time(s)": _rounded(launch.load_s), **_load_memory(launch)}


def _load_memory(launch: Launch | None) -> dict[str, TableValue]:
    """Return memory before generation under llm_bench's names; ``None`` where it was not measured."""
    memory = launch.load_memory if launch else None
    return {
        "initial_sys_mem(MiB)": _rounded(_mib(memory.initial_system_bytes) if memory else None),
        "initial_rss_mem(MiB)": _rounded(_mib(memory.initial_bytes) if memory else None),
        **_memory_columns("compile_", _peaks(memory)),
    }


def _memory_columns(phase: str, values: Mapping[str, float | None]) -> dict[str, TableValue]:
    return {f"{phase}{name}(MiB)": _rounded(values[name]) for name in LLM_BENCH_PEAKS}


def _json_record(record: Record) -> dict[str, object]:
    values = record.values
    throughput = _throughput(values["second_avg_latency"], record.batch_size)
    return {
        "iteration": record.iteration,
        **{name: values[name] for name in _COUNTS},
        **{name: _rounded(values[name]) for name in LLM_BENCH_TIMES},
        "prompt_idx": record.prompt_idx,
        "chat_idx": "" if record.chat_idx is None else record.chat_idx,
        "result_md5": list(record.result_md5),
        "start": record.start,
        "end": record.end,
        **{name: _rounded(value) for name in LLM_BENCH_PEAKS if (value := values[name]) is not None},
        **({"second_token_throughput": throughput} if throughput else {}),
    }


def _cell(evaluation: Evaluation, cell: int) -> dict[str, object]:
    """Of which configuration of a sweep a result is; llm_bench has none."""
    if len(evaluation.run.cells) == 1:
        return {}
    columns = _cell_columns(evaluation, cell)
    batch_size = evaluation.run.cells[cell].batch_size
    return {"model": columns["model"], "precision": columns["precision"], "batch_size": batch_size}


def _throughput(latency_ms: float | None, batch_size: int) -> float | None:
    return round(batch_size * 1e3 / latency_ms, LLM_BENCH_DIGITS) if latency_ms else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, LLM_BENCH_DIGITS)
