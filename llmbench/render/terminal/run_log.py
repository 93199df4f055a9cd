"""Lines of text while a run goes on: effective settings, one line per request, and llm_bench's own lines.

People's scripts read the lines of llm_bench, so they are word for word as that tool prints them.
"""

import re
import statistics
from collections.abc import Container, Iterator, Sequence

from llmbench.analysis.attention import describe_attention
from llmbench.analysis.evaluation import EvaluatedRequest, Evaluation
from llmbench.analysis.metrics.table import METRICS
from llmbench.machine.interference import Interference
from llmbench.render.text import number_text
from llmbench.schema.config import RunConfig
from llmbench.schema.measurement import Measurement
from llmbench.schema.run import EffectiveSettings, Pinning, Split
from llmbench.schema.settings.any_workload import COMPILER
from llmbench.schema.tasks import RAG
from llmbench.schema.units import Unit, counted, format_list

NOTE = "NOTE: "
"""How a line begins that is always shown."""

_EFFECTIVE = (
    ("nstream", "NUM_STREAMS"),
    ("nireq", "OPTIMAL_NUMBER_OF_INFER_REQUESTS"),
    ("threads", "INFERENCE_NUM_THREADS"),
    ("inference precision", "INFERENCE_PRECISION_HINT"),
    ("KV cache", "KV_CACHE_PRECISION"),
    ("performance hint", "PERFORMANCE_HINT"),
    ("execution mode", "EXECUTION_MODE_HINT"),
    ("weights as", "DTYPE"),
    ("torch.compile", COMPILER),
)


def effective_lines(effective: EffectiveSettings, config: RunConfig) -> tuple[str, ...]:
    """Return what the engine uses, as it reports it after loading; what it does not report is left out."""
    properties = effective.properties
    engine = [f"{label}={properties[key]}" for label, key in _EFFECTIVE if properties.get(key)]
    way = []
    if effective.attention:
        way.append(f"attention={describe_attention(effective)}")
    if "MODEL_DISTRIBUTION_POLICY" in properties:
        way.append(f"distribution policy={properties['MODEL_DISTRIBUTION_POLICY'] or 'none'}")
    if effective.scheduler:
        cached = effective.scheduler.get("enable_prefix_caching") == "true"
        way.append(f"prefix caching={'ON' if cached else 'off'}")
        way.append(f"max batched tokens={effective.scheduler.get('max_num_batched_tokens', 'unknown')}")
        way.append(f"max sequences={effective.scheduler.get('max_num_seqs', 'unknown')}")
    ending = "up to" if config.stop_at_eos else "exactly"
    count = (
        f"{ending} {counted(config.output_tokens, 'output token')}; "
        if config.task_info.is_generating
        else ""
    )
    permuted = "permuted each iteration" if config.prompts[0].is_permuted else "the same each iteration"
    permuted = "with another question each iteration" if config.task == RAG else permuted
    order = "; all iterations of one prompt, then the next one" if config.is_subsequent else ""
    requested = f"{count}prompts {permuted}{order}"
    lines = [", ".join(part) for part in (engine, way) if part]
    return (
        *(f"effective: {line}" for line in lines),
        *(f"{NOTE}{note}" for note in effective.notes),
        requested,
    )


def pinning_lines(pinned: Pinning, split: Split | None) -> tuple[str, ...]:
    """Return where a launch is pinned, and what tensor parallelism comes to there."""
    found = []
    if pinned.cpus:
        policy = f"; memory policy {pinned.memory}" if pinned.memory else ""
        found.append(
            f"pinned to: CPUs {format_list(pinned.cpus)} of socket {format_list(pinned.sockets)}{policy}"
        )
    if split is not None and split.is_effective:
        threads = f"threads {split.without} without the policy, {split.with_policy} with it"
        found.append(f"tensor parallelism: {threads}: split over {counted(split.parts, 'socket')}")
    return (*found, *(f"{NOTE}{warning}" for warning in pinned.warnings))


def _iteration_label(measurement: Measurement, config: RunConfig) -> str:
    """``warm-up``, or the measured iteration's number, which goes on from launch to launch."""
    if measurement.is_warmup:
        return "warm-up"
    return str(measurement.launch * config.iterations + measurement.iteration - config.warmups + 1)


def _ms(seconds: float | None, digits: int = 2) -> str:
    """Seconds as milliseconds with their unit; ``NA`` where there is no value."""
    return "NA" if seconds is None else f"{seconds * 1e3:.{digits}f} ms"


def request_lines(measurement: Measurement, config: RunConfig) -> tuple[str, str]:
    """Return the two lines of one request, in llm_bench's words and units."""
    m = measurement
    prefix = f"[ INFO ] [{_iteration_label(m, config)}][{config.prompts[m.prompt].label}]"
    first, other = METRICS["first_token"].of(m), METRICS["tpot"].of(m)
    e2e = METRICS["e2e"].of(m)
    a_token = e2e / m.output_tokens if e2e is not None and m.output_tokens else None
    parts = [
        f"Input token size: {m.input_tokens}",
        f"Output size: {m.output_tokens}",
        f"Infer count: {m.requested_tokens}",
        *([f"Tokenization Time: {m.tokenize_ns / 1e6:.2f}ms"] if m.tokenize_ns is not None else []),
        *([f"Detokenization Time: {m.detokenize_ns / 1e6:.2f}ms"] if m.detokenize_ns is not None else []),
        f"Generation Time: {e2e:.2f}s" if e2e is not None else "Generation Time: NA",
        f"Latency: {_ms(a_token, 4)}/token" if a_token is not None else "Latency: NA",
    ]
    other_text = f"{_ms(other)}/token" if other is not None else "NA"
    latencies = f"First token latency: {_ms(first)}, other tokens latency: {other_text}"
    size = f"len of input tokens: {m.input_tokens} * {m.batch_size}"
    return f"{prefix} {', '.join(parts)}", f"{prefix} {latencies}, {size}"


def average_lines(evaluation: Evaluation) -> Iterator[str]:
    """Yield llm_bench's last line for each configuration and prompt: means over its measured requests.

    Those that are invalid are left out where others are valid. A step of a batch gives a token of each sequence.
    """
    for group in evaluation.groups().values():
        requests = [request for request in group if request.is_measured]
        yield _average_line([request for request in requests if request.is_counted] or requests)


def _average_line(requests: Sequence[EvaluatedRequest]) -> str:
    config, prompt = requests[0].config, requests[0].prompt
    first, other = (_mean_ms(requests, name) for name in ("first_token", "tpot"))
    unit = "token" if config.batch_size == 1 else f"{config.batch_size}tokens"
    size = round(statistics.fmean(request.measurement.input_tokens for request in requests))
    parts = [
        f"Input token size: {size}",
        f"1st token latency: {'NA' if first is None else f'{first:.2f} ms/{unit}'}",
        f"2nd token latency: {'NA' if other is None else f'{other:.2f} ms/{unit}'}",
        f"2nd tokens throughput: {f'{config.batch_size * 1e3 / other:.2f} tokens/s' if other else 'NA'}",
    ]
    return f"[ INFO ] [Average] P[{prompt.index}] {', '.join(parts)}"


def _mean_ms(requests: Sequence[EvaluatedRequest], name: str) -> float | None:
    values = [value for request in requests if (value := request.value(name)) is not None]
    return statistics.fmean(values) * 1e3 if values else None


def position(config: RunConfig, *, prompt: int, iteration: int) -> str:
    """Return which request of a launch it is: ``P0 warm-up``, ``P1 iteration 3/6``."""
    label = config.prompts[prompt].label
    if iteration < config.warmups:
        number = f" {iteration + 1}/{config.warmups}" if config.warmups > 1 else ""
        return f"{label} warm-up{number}"
    return f"{label} iteration {iteration - config.warmups + 1}/{config.iterations}"


def latency_text(measurement: Measurement) -> str:
    """Return the latencies of one request: ``first 101.0 ms, next 10.00 ms, 99.1 tokens/s``; of a pipeline its own."""
    parts = []
    names = (
        ("first_token", "next_token", "decode_rate")
        if measurement.requested_tokens
        else ("e2e", "text_rate", "rtf", "frame")
    )
    for name in names:
        metric = METRICS[name]
        value = metric.of(measurement)
        if value is not None:
            head = "" if name.endswith("_rate") else f"{metric.short_title} "
            unit = "" if metric.unit is Unit.RATIO else f" {metric.unit.value.removesuffix('/token')}"
            parts.append(f"{head}{number_text(value, metric.unit)}{unit}")
    return ", ".join(parts) or "no token"


def request_line(
    measurement: Measurement,
    config: RunConfig,
    *,
    launch: str,
    reasons: Sequence[str],
    known: Container[str] = (),
) -> str:
    """Return the line of one request, with why it is not valid; *launch* is its number: ``2/5``.

    A reason of a kind that is *known* is only marked, as in the table.
    """
    where = position(config, prompt=measurement.prompt, iteration=measurement.iteration)
    invalid = f"  INVALID (!): {reasons[0]}" if reasons else ""
    if reasons and reason_kind(reasons[0]) in known:
        invalid = " !"
    return f"launch {launch}  {where:<17}  {latency_text(measurement)}{invalid}"


def reason_kind(reason: str) -> str:
    """Return a reason without figures, and without the names in brackets."""
    return re.sub(r"[\d.]+", "", reason.partition(" (")[0])


def interference_warning(load: Interference, limit: float) -> str | None:
    """Return what other processes use of the CPU time where that is above the limit of valid results."""
    if load.total <= limit:
        return None
    names = ", ".join(f"{name} {share:.0%}" for name, share in zip(load.busiest, load.shares, strict=False))
    busiest = f": {names}" if names else ""
    return (
        f"other processes use {load.total:.0%} of the CPU time{busiest}; results will be marked invalid "
        f"(limit {limit:.0%}). Stop them, or accept such results with --foreign-cpu-limit 1"
    )
