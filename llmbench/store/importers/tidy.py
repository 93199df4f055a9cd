"""The tidy CSV as a run, its launches and their verdicts kept.

An instant is rebuilt for each metric that needs one; what lies between them is one event of several tokens.
"""

import collections
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from llmbench.analysis.layouts import CELL_COLUMNS, IMAGE_COLUMNS, METRIC_COLUMNS, TIDY_COLUMNS
from llmbench.analysis.metrics.table import LAUNCH_METRICS, METRICS
from llmbench.errors import InputError
from llmbench.files.strict_json import JsonError, parse_json
from llmbench.schema.config import GENERATION, Prompt, PropertyValue, RunConfig, weight_format_of
from llmbench.schema.limits import ResourceLimits
from llmbench.schema.measurement import Measurement, Memory
from llmbench.schema.run import (
    EffectiveSettings,
    Environment,
    Launch,
    ModelCache,
    Outcome,
    Provenance,
    Run,
    Split,
    Topology,
)
from llmbench.schema.units import BYTES_PER_MIB, Nanoseconds
from llmbench.store.importers.consistency import check_alike, check_instants, check_pass
from llmbench.store.importers.table import (
    MOST_REQUEST_MS,
    CsvLine,
    check_columns,
    check_unique,
    measurement_of,
    ns,
)

_METRICS_READ = ("first_token", "second_token", "next_token", "tpot", "e2e")
"""The metrics that a request's instants are rebuilt from."""

_OF_CELL = CELL_COLUMNS[: CELL_COLUMNS.index("prompt_set")]
_OF_LAUNCH = ("cell", "launch_outcome", *(metric.column for metric in LAUNCH_METRICS.values()), "model_cache")

OPTIONAL = frozenset(("model_cache", "cpu_quota", *IMAGE_COLUMNS, *METRIC_COLUMNS)) - {
    METRICS[name].column for name in _METRICS_READ
}
"""Columns that a file of an earlier version may lack. The bandwidth is not taken in: it needs the model."""


def is_tidy_header(columns: Iterable[str]) -> bool:
    """Whether these columns are the tidy layout's."""
    return "launch_outcome" in columns


def read_tidy_csv(path: Path, columns: list[str], lines: Iterable[CsvLine]) -> Run:
    """A run from a tidy CSV."""
    check_columns(
        path,
        columns,
        required=[name for name in TIDY_COLUMNS if name not in OPTIONAL],
        is_known=TIDY_COLUMNS.__contains__,
    )
    kept = list(lines)
    if not kept:
        raise InputError(f"{path} contains no request")
    first = kept[0]
    other = next((line for line in kept if line.cells["run"] != first.cells["run"]), None)
    if other:
        raise InputError(
            f"{other.where}: a second run; a file may contain one", hint="split it by the column run"
        )
    cells = _by(kept, "cell")
    if list(cells) != list(range(len(cells))):
        raise InputError(f"{path}: configurations are {', '.join(map(str, cells))}; they were counted from 0")
    for found in cells.values():
        check_alike(found, _OF_CELL, "configuration")
    for found in _by(kept, "launch").values():
        check_alike(found, _OF_LAUNCH, "launch of that number")
    origins = tuple(_provenance(found[0]) for found in cells.values())
    launches = tuple(
        _launch(found, _prompts(cells[found[0].count("cell")])) for found in _by(kept, "launch").values()
    )
    check_unique(kept, ("launch", "iteration", "prompt_set", "prompt", "prompt_sha256"))
    return Run(
        id=first.text("run"),
        started_at=first.text("run_started_at"),
        version=first.text("llmbench"),
        cells=tuple(_config(found) for found in cells.values()),
        environment=_environment(first),
        provenance=origins[0],
        origins=() if len(set(origins)) == 1 else origins,
        launches=launches,
        is_complete=all(map(_is_whole, cells.values())),
        source=f"tidy CSV {path.name}",
    )


def _by(lines: Iterable[CsvLine], name: str) -> dict[int, list[CsvLine]]:
    groups: dict[int, list[CsvLine]] = {}
    for line in lines:
        groups.setdefault(line.count(name), []).append(line)
    return dict(sorted(groups.items()))


def _is_whole(lines: Iterable[CsvLine]) -> bool:
    """Whether the finished launches of a cell have every request, where an iteration goes over all prompts."""
    kept = list(lines)
    prompts = len({_key(line) for line in kept})
    for found in _by(kept, "launch").values():
        each = collections.Counter(line.count("iteration") for line in found)
        is_over_all = prompts == 1 or max(each.values()) > 1
        is_finished = found[0].text("launch_outcome") == Outcome.FINISHED.value
        if is_finished and is_over_all and len(found) != prompts * (max(each) + 1):
            return False
    return True


def _key(line: CsvLine) -> str:
    return ":".join(line.cells[name] for name in ("prompt_set", "prompt", "prompt_sha256"))


def _prompts(lines: Iterable[CsvLine]) -> dict[str, Prompt]:
    found: dict[str, Prompt] = {}
    for line in lines:
        if _key(line) not in found:
            found[_key(line)] = Prompt(
                set=line.text("prompt_set"),
                index=line.count("prompt"),
                tokens=max(1, line.count("input_tokens")),
                recorded_sha256=line.text("prompt_sha256"),
            )
    return found


def _config(lines: Sequence[CsvLine]) -> RunConfig:
    """The configuration of a cell; its counts are those of the rows."""
    first = lines[0]
    iterations = {(line.is_true("is_warmup"), line.count("iteration")) for line in lines}
    warmups = sum(is_warmup for is_warmup, _ in iterations)
    return RunConfig(
        model=first.text("model"),
        prompts=tuple(_prompts(lines).values()),
        weight_format=weight_format_of(first.text("model"), first.text("weight_format")),
        engine=first.text("engine"),
        device=first.text("device"),
        attention=first.text("attention"),
        properties=_properties(first),
        output_tokens=first.count("asked_tokens"),
        iterations=max(1, len(iterations) - warmups),
        warmups=warmups,
        launches=len({line.cells["launch"] for line in lines}),
        batch_size=first.count("batch_size"),
        apply_chat_template=first.is_true("apply_chat_template"),
        stop_at_eos=first.is_true("stop_at_eos"),
        threads=first.count("threads") if first.cells["threads"] else None,
        sockets=_numbers(first, "sockets"),
        numa_nodes=_numbers(first, "numa_nodes"),
        cores=_numbers(first, "cores"),
        membind=_numbers(first, "membind"),
        interleave=_numbers(first, "interleave"),
        **_generation(first),
    )


def _numbers(line: CsvLine, name: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in line.text(name).split(",") if part)
    except ValueError:
        line.refuse(name, "numbers with commas were expected")


def _generation(line: CsvLine) -> dict[str, Any]:
    """What else the row's configuration says of how tokens were made, a JSON object of its own fields."""
    try:
        found = parse_json(line.text("generation") or "{}")
    except JsonError:
        found = None
    if not isinstance(found, dict) or not found.keys() <= set(GENERATION):
        line.refuse("generation", "a JSON object was expected")
    return {name: tuple(value) if isinstance(value, list) else value for name, value in found.items()}


def _properties(line: CsvLine) -> Mapping[str, PropertyValue]:
    try:
        found = parse_json(line.text("properties") or "{}")
    except JsonError:
        found = None
    if not isinstance(found, dict) or not all(
        isinstance(value, str | int | float | bool) for value in found.values()
    ):
        line.refuse("properties", "a JSON object was expected")
    return found


def _environment(line: CsvLine) -> Environment:
    versions = {"openvino": line.text("openvino"), "openvino-genai": line.text("openvino_genai")}
    quota = line.amount("cpu_quota")
    return Environment(
        cpu_model=line.text("cpu"),
        topology=Topology(cpus=(), allowed=()),
        memory_bytes=0,
        kernel=line.text("kernel"),
        versions={name: version for name, version in versions.items() if version},
        variables={},
        limits=None if quota is None else ResourceLimits(cpu_quota=quota),
    )


def _provenance(line: CsvLine) -> Provenance:
    return Provenance(
        path=line.text("model"),
        known=bool(line.text("source_id")),
        source=line.text("source") or None,
        source_id=line.text("source_id") or None,
        revision=line.text("revision") or None,
        weight_format=line.text("weight_format") or None,
        content_sha256=line.text("ir_sha256") or None,
    )


def _launch(lines: Sequence[CsvLine], prompts: Mapping[str, Prompt]) -> Launch:
    first = lines[0]
    load_ms = first.amount("load_ms")
    try:
        outcome = Outcome(first.text("launch_outcome"))
    except ValueError:
        first.refuse("launch_outcome", f"one of {', '.join(o.value for o in Outcome)} was expected")
    positions = {key: position for position, key in enumerate(prompts)}
    notes = tuple(note for note in first.text("notes").split("; ") if note)
    return Launch(
        index=first.count("launch"),
        cell=first.count("cell"),
        started_at=first.text("started_at"),
        load_s=None if load_ms is None else load_ms / 1e3,
        model_cache=_model_cache(first),
        effective=EffectiveSettings(notes=notes, split=_split(first)),
        outcome=outcome,
        measurements=tuple(_request(line, positions) for line in lines),
    )


def _model_cache(line: CsvLine) -> ModelCache | None:
    reported = line.text("model_cache")
    try:
        return ModelCache(reported) if reported else None
    except ValueError:
        line.refuse("model_cache", f"one of {', '.join(state.value for state in ModelCache)} was expected")


def _split(line: CsvLine) -> Split | None:
    """What the rows tell of tensor parallelism: whether it split anything, not over how many threads."""
    reported = line.text("tensor_parallel")
    if reported in ("", "unknown"):
        return None
    if reported not in ("effective", "ineffective"):
        line.refuse("tensor_parallel", "effective, ineffective or unknown was expected")
    return Split(without=None, with_policy=None, parts=2 if reported == "effective" else 1)


def _request(line: CsvLine, positions: Mapping[str, int]) -> Measurement:
    gaps, counts = _events(line)
    for name in METRIC_COLUMNS:
        line.amount(name)
    check_instants(line, "started_at", "ended_at")
    first_pass, other_pass = line.amount("first_infer_ms"), line.amount("next_infer_ms")
    check_pass(line, "first_infer_ms", line.number("first_token_ms"))
    check_pass(line, "next_infer_ms", line.number("tpot_ms"))
    passes = [ms for ms in (first_pass, other_pass) if ms is not None]
    reasons = tuple(reason for reason in line.text("reasons").split("; ") if reason)
    memory = line.amount("memory_MiB")
    return measurement_of(
        line,
        prompt=positions[_key(line)],
        iteration=line.count("iteration"),
        gaps_ms=gaps,
        counts=counts,
        infer_ms=passes,
        input_tokens=line.count("input_tokens"),
        launch=line.count("launch"),
        is_warmup=line.is_true("is_warmup"),
        started_at=line.text("started_at"),
        ended_at=line.text("ended_at"),
        requested_tokens=line.count("output_tokens"),
        tokenize_ns=ns(line.amount("tokenize_ms")),
        detokenize_ns=ns(line.amount("detokenize_ms")),
        memory=None if memory is None else _memory(memory),
        energy_j=line.amount("energy_J"),
        callback_ns=tuple(Nanoseconds(at) for at in [ns(line.amount("first_callback_ms"))] if at is not None),
        later_steps=_later_steps(line, sum(counts[1:])),
        has_token_times=len(gaps) < 2 or line.number("second_token_ms") is not None,
        suspicions=reasons or (() if line.is_true("is_valid") else ("marked invalid",)),
    )


def _events(line: CsvLine) -> tuple[list[float], list[int]]:
    """The gaps before up to three events, in ms, and the tokens each held."""
    tokens = line.count("output_tokens")
    first, second, following, tpot = (line.latency(METRICS[name].column) for name in _METRICS_READ[:-1])
    e2e = line.latency(METRICS[_METRICS_READ[-1]].column, MOST_REQUEST_MS)
    if first is None or e2e is None:
        return [], []
    if tpot is None:
        return ([first], [tokens]) if math.isclose(first, e2e, rel_tol=1e-3) else ([], [])
    later = round((e2e - first) / tpot)
    if second is None or following is None:
        return [first, e2e - first], [tokens - later, later]
    last = round((e2e - first - second) / following)
    return [first, second, e2e - first - second], [tokens - later, later - last, last]


def _later_steps(line: CsvLine, later_tokens: int) -> int | None:
    """Steps after the first, where a step may have given several tokens."""
    a_step = line.number("tokens_per_step")
    return None if a_step is None else round(later_tokens / a_step)


def _memory(peak_mebibytes: float) -> Memory:
    peak = round(peak_mebibytes * BYTES_PER_MIB)
    return Memory(initial_bytes=peak, peak_bytes=peak, initial_system_bytes=0, system_bytes=0)
