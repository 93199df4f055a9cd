"""llm_bench's CSV and JSON as runs.

That tool tells the first token's time and the average of the others; so an imported request has two token
events, the second of which contains all later tokens, and no second and no next token. Its reports have one
launch, and say neither on what machine nor by which engine they were made, nor whether another process disturbed
them; the run has no version, then.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from llmbench.analysis.layouts import LLM_BENCH_COLUMNS, LLM_BENCH_PEAKS, LLM_BENCH_TIMES
from llmbench.errors import InputError
from llmbench.files.strict_json import JsonError, parse_json
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.measurement import Measurement, Memory
from llmbench.schema.run import EffectiveSettings, Environment, Launch, Outcome, Provenance, Run, Topology
from llmbench.schema.units import BYTES_PER_MIB
from llmbench.store.importers.consistency import (
    LLM_BENCH_ALIKE,
    check_alike,
    check_row,
    doubts,
    is_whole,
)
from llmbench.store.importers.table import (
    MOST_PASSES,
    CsvLine,
    as_number,
    check_columns,
    check_unique,
    measurement_of,
    ns,
)

_AVERAGE = "avg"
_SUMMARY_ROWS = frozenset({_AVERAGE, "mini", "median"})
_REQUIRED = ("iteration", "input_size", "output_size", "1st_latency(ms)", "2nd_avg_latency(ms)", "prompt_idx")
_MEMORY = re.compile(r"(?:initial|compile_max|max)(?:_increase)?_(?:rss|sys|uss|shared)_mem\([KMG]?i?B\)")
_FROM_JSON = LLM_BENCH_TIMES | {name: f"{name}(MiB)" for name in LLM_BENCH_PEAKS}


def is_llm_bench_header(columns: Iterable[str]) -> bool:
    """Whether these columns are llm_bench's."""
    return "1st_latency(ms)" in columns


def read_llm_bench_csv(path: Path, columns: list[str], lines: Iterable[CsvLine]) -> Run:
    """A run from llm_bench's CSV, or from ours in its layout; see the module."""
    check_columns(
        path,
        columns,
        required=_REQUIRED,
        is_known=lambda name: name in LLM_BENCH_COLUMNS or bool(_MEMORY.fullmatch(name)),
    )
    return _run(path, "llm_bench CSV", _requests(lines))


def read_json(path: Path, text: str) -> Run:
    """A run from llm_bench's JSON, or from ours in its layout; see the module."""
    return _run(path, "llm_bench JSON", _json_lines(path, text))


def _requests(lines: Iterable[CsvLine]) -> Iterator[CsvLine]:
    """The rows of requests and of their averages; other summaries and the prose below them are left out."""
    for line in lines:
        iteration = line.cells["iteration"]
        is_prose = not any(cell for name, cell in line.cells.items() if name != "iteration")
        if is_prose or (iteration in _SUMMARY_ROWS and iteration != _AVERAGE):
            continue
        if line.text("chat_idx"):
            line.refuse(
                "chat_idx", "a chat's turns cannot be distinguished by their length; only prompts are read"
            )
        yield line


def _json_lines(path: Path, text: str) -> Iterator[CsvLine]:
    """The results of llm_bench's JSON as rows under its CSV's names; its -1 is a missing value."""
    content = _parse_json(path, text)
    try:
        perfdata, metadata = content["perfdata"], content["metadata"]
        shared = {name: _as_cell(metadata.get(name)) for name in LLM_BENCH_COLUMNS if name in metadata}
        shared["pretrain_time(s)"] = _as_cell(perfdata.get("compile_time"))
        results: list[dict[str, Any]] = [dict(result) for result in perfdata["results"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{path} is not an llm_bench JSON: it needs metadata and perfdata with results",
            hint="give the run file instead of a report made from it",
        ) from error
    for index, result in enumerate(results):
        cells = {_FROM_JSON.get(name, name): _as_cell(value) for name, value in result.items()}
        where = f"{path}: result {index}"
        absent = [name for name in _REQUIRED if name not in cells]
        if absent:
            raise InputError(f"{where} has no {', '.join(absent)}")
        yield CsvLine(where, shared | cells)


def _as_cell(value: object) -> str:
    return "" if value in (None, -1) else str(value)


def _parse_json(path: Path, text: str) -> dict[str, Any]:
    try:
        content = parse_json(text)
    except JsonError as error:
        raise InputError(f"{path} is damaged JSON: {error}") from error
    return content if isinstance(content, dict) else {}


def _run(path: Path, kind: str, lines: Iterable[CsvLine]) -> Run:
    """One launch of all requests; warm-ups (iteration 0) are dropped."""
    rows = list(lines)
    kept = [line for line in rows if line.cells["iteration"] not in _SUMMARY_ROWS]
    measured = [line for line in kept if line.count("iteration") > 0]
    averages = [line for line in rows if line.cells["iteration"] == _AVERAGE]
    if not measured:
        raise InputError(f"{path} contains no request beyond the warm-up")
    first = kept[0]
    check_alike(kept, LLM_BENCH_ALIKE, "configuration")
    positions: dict[int, int] = {}
    for line in measured:
        positions.setdefault(line.count("prompt_idx"), len(positions))
    inputs = {line.count("prompt_idx"): _per_sequence(line, "input_size") for line in reversed(measured)}
    config = RunConfig(
        model=first.text("model") or path.stem,
        prompts=tuple(Prompt(set=kind, index=index, tokens=max(1, inputs[index])) for index in positions),
        device=first.text("device").upper() or "CPU",
        output_tokens=max(1, *(_per_sequence(line, "output_size") for line in measured)),
        iterations=max(line.count("iteration") for line in measured),
        batch_size=max(1, first.count("batch_size", 1)),
        num_beams=max(1, first.count("num_beams", 1)),
    )
    launch = Launch(
        index=0,
        cell=0,
        started_at=first.text("start"),
        load_s=first.amount("pretrain_time(s)"),
        load_memory=_memory(first, "compile_max"),
        effective=EffectiveSettings(notes=tuple(doubts(measured, averages))),
        outcome=Outcome.FINISHED,
        measurements=tuple(_llm_bench_request(line, positions) for line in measured),
    )
    # the launches of a run of ours follow each other without a number: they began at other times
    check_unique(kept, ("iteration", "prompt_idx", *(["start"] if "start" in first.cells else [])))
    provenance = Provenance(path=config.model, weight_format=first.text("precision") or None)
    return Run(
        id=path.stem,
        started_at=launch.started_at,
        version="",
        cells=(config,),
        environment=_environment(),
        provenance=provenance,
        launches=(launch,),
        is_complete=is_whole(measured),
        source=f"{kind} {path.name}",
    )


def _environment(cpu: str = "", kernel: str = "", versions: Mapping[str, str] | None = None) -> Environment:
    """What a report tells of its machine; a name that it does not report is empty."""
    return Environment(
        cpu_model=cpu,
        topology=Topology(cpus=(), allowed=()),
        memory_bytes=0,
        kernel=kernel,
        versions=versions or {},
        variables={},
    )


def _per_sequence(line: CsvLine, name: str) -> int:
    """A size of one sequence, where the report has the total of the batch."""
    return round(line.count(name) / max(1, line.count("batch_size", 1)))


def _llm_bench_request(line: CsvLine, positions: Mapping[int, int]) -> Measurement:
    tokens = _per_sequence(line, "output_size")
    first, other = line.latency("1st_latency(ms)"), line.latency("2nd_avg_latency(ms)")
    check_row(line, first, other, tokens)
    gaps = [] if first is None else [first] if other is None or tokens < 2 else [first, other * (tokens - 1)]
    counts = [1, tokens - 1][: len(gaps)]
    passes = line.count("infer_count", 0, most=MOST_PASSES)
    first_pass, other_pass = line.amount("1st_infer_latency(ms)"), line.amount("2nd_infer_avg_latency(ms)")
    return measurement_of(
        line,
        prompt=positions[line.count("prompt_idx")],
        iteration=line.count("iteration"),
        gaps_ms=gaps,
        counts=counts,
        infer_ms=[first_pass, *[other_pass or 0.0] * (passes - 1)] if first_pass else [],
        input_tokens=_per_sequence(line, "input_size"),
        started_at=line.text("start"),
        ended_at=line.text("end"),
        requested_tokens=tokens,
        tokenize_ns=ns(line.amount("tokenization_time")),
        detokenize_ns=ns(line.amount("detokenization_time")),
        memory=_memory(line, "max"),
        has_token_times=len(gaps) < 2,
        suspicions=() if sum(counts) == tokens else ("token times are missing in the report",),
    )


def _memory(line: CsvLine, phase: str) -> Memory | None:
    """The marks of a phase; ``None`` where the report has none in MiB."""
    peak, system = line.amount(f"{phase}_rss_mem(MiB)"), line.amount(f"{phase}_sys_mem(MiB)")
    if peak is None or system is None:
        return None
    return Memory(
        initial_bytes=_bytes(peak - _increase(line, f"{phase}_increase_rss_mem(MiB)")),
        peak_bytes=_bytes(peak),
        initial_system_bytes=_bytes(system - _increase(line, f"{phase}_increase_sys_mem(MiB)")),
        system_bytes=_bytes(system),
    )


def _increase(line: CsvLine, name: str) -> float:
    """How far a mark rose; memory may fall as well."""
    value = as_number(line.cells.get(name) or "0")
    if value is None or not math.isfinite(value):
        line.refuse(name, "a number was expected")
    return value


def _bytes(mebibytes: float) -> int:
    """Bytes."""
    return round(mebibytes * BYTES_PER_MIB)
