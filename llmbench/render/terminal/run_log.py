"""Lines of text: what is in force, and the two lines a request that people's scripts read from llm_bench."""

from llmbench.analysis import metrics
from llmbench.schema.config import RunConfig
from llmbench.schema.measurement import Measurement
from llmbench.schema.run import EffectiveSettings, Pinning, Split
from llmbench.schema.settings import COMPILER
from llmbench.schema.units import format_list

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
    """What the engine said it uses, read back after loading; only what it said."""
    properties = effective.properties
    engine = [f"{label}={properties[key]}" for label, key in _EFFECTIVE if properties.get(key)]
    way = []
    if effective.attention:
        way.append(f"attention={effective.attention}")
    if "MODEL_DISTRIBUTION_POLICY" in properties:
        way.append(f"distribution policy={properties['MODEL_DISTRIBUTION_POLICY'] or 'none'}")
    if effective.scheduler:
        cached = effective.scheduler.get("enable_prefix_caching") == "true"
        way.append(f"prefix caching={'ON' if cached else 'off'}")
        way.append(f"tokens a step={effective.scheduler.get('max_num_batched_tokens', 'unknown')}")
        way.append(f"sequences a step={effective.scheduler.get('max_num_seqs', 'unknown')}")
    ending = "up to" if config.stop_at_eos else "exactly"
    permuted = "permuted each iteration" if config.prompts[0].is_permuted else "the same each iteration"
    order = "; all iterations of one prompt, then the next one" if config.is_subsequent else ""
    requested = f"{ending} {config.output_tokens} output tokens; prompts {permuted}{order}"
    lines = [", ".join(part) for part in (engine, way) if part]
    return (
        *(f"in force: {line}" for line in lines),
        *(f"NOTE: {note}" for note in effective.notes),
        requested,
    )


def pinning_lines(pinned: Pinning, split: Split | None) -> tuple[str, ...]:
    """Where a launch is held, and what tensor parallelism comes to there."""
    found = []
    if pinned.cpus:
        policy = f"; memory policy {pinned.memory}" if pinned.memory else ""
        found.append(
            f"held to: CPUs {format_list(pinned.cpus)} of socket {format_list(pinned.sockets)}{policy}"
        )
    if split is not None:
        what = f"split over {split.parts} sockets" if split.is_effective else "NOTHING IS SPLIT"
        threads = f"threads {split.without} without the policy, {split.with_policy} with it"
        found.append(f"tensor parallelism: {threads}: {what}")
    return (*found, *(f"NOTE: {warning}" for warning in pinned.warnings))


def _iteration_label(measurement: Measurement, config: RunConfig) -> str:
    """``warm-up``, or the measured iteration's number, which goes on from launch to launch."""
    if measurement.is_warmup:
        return "warm-up"
    return str(measurement.launch * config.iterations + measurement.iteration - config.warmups + 1)


def _ms(seconds: float | None, digits: int = 2) -> str:
    """Seconds as milliseconds with their unit; ``NA`` where there is no value."""
    return "NA" if seconds is None else f"{seconds * 1e3:.{digits}f} ms"


def request_lines(measurement: Measurement, config: RunConfig) -> tuple[str, str]:
    """The two familiar lines of one request, in llm_bench's words and units."""
    m = measurement
    prefix = f"[ INFO ] [{_iteration_label(m, config)}][{config.prompts[m.prompt].label}]"
    first, other = metrics.METRICS["first_token"].of(m), metrics.METRICS["tpot"].of(m)
    e2e = metrics.METRICS["e2e"].of(m)
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
