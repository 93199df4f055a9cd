"""What a report shows of a measurement: name, title, unit, direction, and one function each.

Instants are ``s``, when the token ids are handed to the engine, and ``t1..tn``, when the output tokens of
one sequence became available; in a batch, of the sequence that ends last. Values are seconds, tokens a second
or bytes; ``None`` is a value that does not exist, never 0.
"""

import bisect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from llmbench.schema.measurement import Measurement, Sequence
from llmbench.schema.run import Launch
from llmbench.schema.units import NS_PER_S, Direction, Unit

_Source = TypeVar("_Source")


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric(Generic[_Source]):
    """One number of a measurement (or a launch), and the words that explain it in every report."""

    name: str
    title: str
    unit: Unit
    direction: Direction
    definition: str
    of: Callable[[_Source], float | None]


def _shown(m: Measurement) -> Sequence | None:
    """The sequence that ends last; ``None`` if no token came out."""
    sequences = m.sequences
    sequence = sequences[0] if len(sequences) == 1 else m.longest
    return sequence if sequence.at_ns else None


def first_token(m: Measurement) -> float | None:
    """Seconds until the first token, tokenization outside."""
    sequence = _shown(m)
    return None if sequence is None else (sequence.at_ns[0] - m.start_ns) / NS_PER_S


def second_token(m: Measurement) -> float | None:
    """Seconds from the first token to the second, that one gap.

    ``None`` if there is none, or if the first event held both.
    """
    sequence = _shown(m)
    if sequence is None or len(sequence.at_ns) < 2 or not m.has_token_times:
        return None
    if sequence.counts and sequence.counts[0] > 1:
        return None
    return (sequence.at_ns[1] - sequence.at_ns[0]) / NS_PER_S


def next_token(m: Measurement) -> float | None:
    """Seconds a token after the second event, the mean of those gaps; ``None`` if nothing followed it."""
    sequence = _shown(m)
    if sequence is None or len(sequence.at_ns) < 3 or not m.has_token_times:
        return None
    at = sequence.at_ns
    tokens = sum(sequence.counts[2:]) if sequence.counts else len(at) - 2
    return (at[-1] - at[1]) / NS_PER_S / tokens


def time_per_output_token(m: Measurement) -> float | None:
    """Seconds a token after the first event; ``None`` if nothing followed it."""
    sequence = _shown(m)
    if sequence is None or len(sequence.at_ns) < 2:
        return None
    at = sequence.at_ns
    tokens = sum(sequence.counts[1:]) if sequence.counts else len(at) - 1
    return (at[-1] - at[0]) / NS_PER_S / tokens


def end_to_end(m: Measurement) -> float | None:
    """Seconds until the last token."""
    sequence = _shown(m)
    return None if sequence is None else (sequence.at_ns[-1] - m.start_ns) / NS_PER_S


def prefill_rate(m: Measurement) -> float | None:
    """Input tokens of all sequences a second, until the first token."""
    wait = first_token(m)
    return sum(s.input_tokens for s in m.sequences) / wait if wait else None


def decode_rate(m: Measurement) -> float | None:
    """Tokens a second that all sequences together gave after the first instant.

    Counted, not multiplied: a throughput times the batch size counts twice what is a total already.
    """
    live = [s for s in m.sequences if s.at_ns]
    if not live:
        return None
    start = min(s.at_ns[0] for s in live)
    wait = max(s.at_ns[-1] for s in live) - start
    return sum(_tokens_after(s, start) for s in live) * NS_PER_S / wait if wait else None


def _tokens_after(sequence: Sequence, instant_ns: int) -> int:
    """Tokens of a sequence that came later than an instant."""
    begin = bisect.bisect_right(sequence.at_ns, instant_ns)
    return sum(sequence.counts[begin:]) if sequence.counts else len(sequence.at_ns) - begin


def tokens_per_step(m: Measurement) -> float | None:
    """Tokens a step after the first event, where a step may give several; ``None`` where each gives one.

    One of them is the model's own, the others were guessed ahead and accepted.
    """
    sequence = _shown(m)
    if sequence is None or not m.later_steps:
        return None
    first = sequence.counts[0] if sequence.counts else 1
    return (sequence.output_tokens - first) / m.later_steps


def first_callback(m: Measurement) -> float | None:
    """Seconds until a streamer was first called with text; ``None`` where nothing was streamed."""
    return (m.callback_ns[0] - m.start_ns) / NS_PER_S if m.callback_ns else None


def first_infer(m: Measurement) -> float | None:
    """Seconds of the first forward pass; ``None`` where the backend shows none (prompt lookup says 0)."""
    return m.infer_ns[0] / NS_PER_S if any(m.infer_ns) else None


def next_infer(m: Measurement) -> float | None:
    """Seconds a forward pass after the first, their mean."""
    if len(m.infer_ns) < 2 or not any(m.infer_ns):
        return None
    return sum(m.infer_ns[1:]) / NS_PER_S / (len(m.infer_ns) - 1)


def tokenize(m: Measurement) -> float | None:
    """Seconds from text to token ids."""
    return None if m.tokenize_ns is None else m.tokenize_ns / NS_PER_S


def detokenize(m: Measurement) -> float | None:
    """Seconds from token ids to text."""
    return None if m.detokenize_ns is None else m.detokenize_ns / NS_PER_S


def memory(m: Measurement) -> float | None:
    """Bytes: the worker's own high-water mark, reset between load and generation."""
    return None if m.memory is None else float(m.memory.peak_bytes)


def energy(m: Measurement) -> float | None:
    """Joules that all CPU packages took during the request; ``None`` where their counters cannot be read."""
    return m.energy_j


def energy_per_token(m: Measurement) -> float | None:
    """Joules for each output token of all sequences, the input's work included."""
    tokens = sum(sequence.output_tokens for sequence in m.sequences)
    return None if m.energy_j is None or not tokens else m.energy_j / tokens


def _latency(
    name: str, title: str, definition: str, of: Callable[[Measurement], float | None]
) -> Metric[Measurement]:
    """A metric in milliseconds; one per token where its name says so."""
    per_token = name in {"next_token", "tpot"}
    return Metric(
        name=name,
        title=title,
        unit=Unit.MILLISECONDS_PER_TOKEN if per_token else Unit.MILLISECONDS,
        direction=Direction.LOWER,
        definition=definition,
        of=of,
    )


def _rate(
    name: str, title: str, definition: str, of: Callable[[Measurement], float | None]
) -> Metric[Measurement]:
    """A metric in tokens a second."""
    return Metric(
        name=name,
        title=title,
        unit=Unit.TOKENS_PER_SECOND,
        direction=Direction.HIGHER,
        definition=definition,
        of=of,
    )


_ALL = (
    _latency("first_token", "first token", "t1 - s, tokenization outside", first_token),
    _latency("second_token", "second token", "t2 - t1, that one gap", second_token),
    _latency("next_token", "next tokens", "mean of the gaps t3-t2 ... tn-t(n-1)", next_token),
    _latency("tpot", "time per output token", "(tn - t1) / (n - 1)", time_per_output_token),
    _latency("e2e", "end to end", "tn - s", end_to_end),
    _latency("first_infer", "first inference", "the first forward pass alone", first_infer),
    _latency("next_infer", "next inferences", "mean of the later forward passes", next_infer),
    _latency("tokenize", "tokenize", "text to token ids", tokenize),
    _latency("detokenize", "detokenize", "token ids to text", detokenize),
    _latency("first_callback", "first callback", "first call of the streamer - s", first_callback),
    _rate("prefill_rate", "prefill rate", "input tokens / first_token", prefill_rate),
    _rate("decode_rate", "decode rate", "tokens of all sequences after t1 / (tn - t1)", decode_rate),
    Metric(
        name="tokens_per_step",
        title="tokens a step",
        unit=Unit.TOKENS_PER_STEP,
        direction=Direction.HIGHER,
        definition="tokens after t1 / steps after t1; one is the model's own, the others were guessed and accepted",
        of=tokens_per_step,
    ),
    Metric(
        name="memory",
        title="peak memory",
        unit=Unit.MEBIBYTES,
        direction=Direction.LOWER,
        definition="the worker's own high-water mark while it generates",
        of=memory,
    ),
    Metric(
        name="energy",
        title="energy",
        unit=Unit.JOULES,
        direction=Direction.LOWER,
        definition="what all CPU packages took during the request, neighbours included",
        of=energy,
    ),
    Metric(
        name="energy_per_token",
        title="energy per token",
        unit=Unit.MILLIJOULES_PER_TOKEN,
        direction=Direction.LOWER,
        definition="energy / output tokens of all sequences",
        of=energy_per_token,
    ),
)

METRICS: dict[str, Metric[Measurement]] = {metric.name: metric for metric in _ALL}
"""Every metric of a measurement, by name, in the order of the reports."""

LOAD: Metric[Launch] = Metric(
    name="load",
    title="load",
    unit=Unit.MILLISECONDS,
    direction=Direction.LOWER,
    definition="read + compile, in the launch",
    of=lambda launch: launch.load_s,
)
"""The one metric that belongs to a launch."""

FIRST_TOKEN_SHARE = 0.05
OTHER_SHARE = 0.03


def default_share(metric: str) -> float:
    """The share of a metric's value below which its change does not matter: first tokens vary more than others."""
    return FIRST_TOKEN_SHARE if metric == "first_token" else OTHER_SHARE
