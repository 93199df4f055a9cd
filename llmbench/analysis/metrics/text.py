"""Metrics of a token timeline.

Instants are ``s``, from which the times of a request count (`RunConfig.begin`), and ``t1..tn``, when the output tokens
of one sequence became available; in a batch, of the sequence that ends last. Values are seconds, tokens per second or
bytes; ``None`` is a value that does not exist, never 0.
"""

import bisect
from typing import Any

from llmbench.analysis.metrics.base import NEVER_DROPPED, Metric, latency, per_token, rate, recorded_time
from llmbench.schema.measurement import Measurement, Sequence
from llmbench.schema.units import NS_PER_S, Direction, Unit


def _shown(m: Measurement) -> Sequence | None:
    """The sequence that ends last; ``None`` if no token came out."""
    sequences = m.sequences
    sequence = sequences[0] if len(sequences) == 1 else m.longest
    return sequence if sequence.at_ns else None


def first_token(m: Measurement) -> float | None:
    """Seconds until the first token; whether tokenization is inside is a matter of the task."""
    sequence = _shown(m)
    return None if sequence is None else (sequence.at_ns[0] - m.start_ns) / NS_PER_S


def first_token_sent(m: Measurement) -> float | None:
    """Seconds from the instant at which a request was sent to its first token; ``None`` where both are the same."""
    sequence = None if m.sent_ns is None else _shown(m)
    return None if sequence is None or m.sent_ns is None else (sequence.at_ns[0] - m.sent_ns) / NS_PER_S


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
    """Seconds per token after the second event, the mean of those gaps; ``None`` if nothing followed it."""
    return _seconds_per_token(m, 2) if m.has_token_times else None


def time_per_output_token(m: Measurement) -> float | None:
    """Seconds per token after the first event; ``None`` if nothing followed it."""
    return _seconds_per_token(m, 1)


def _seconds_per_token(m: Measurement, skipped: int) -> float | None:
    """Seconds per token after so many *skipped* events; ``None`` if nothing followed them."""
    sequence = _shown(m)
    if sequence is None or len(sequence.at_ns) <= skipped:
        return None
    at = sequence.at_ns
    tokens = sum(sequence.counts[skipped:]) if sequence.counts else len(at) - skipped
    return (at[-1] - at[skipped - 1]) / NS_PER_S / tokens


def end_to_end(m: Measurement) -> float | None:
    """Seconds until the last token; until the call returned, where it makes something else."""
    sequence = _shown(m)
    if sequence is None and (m.stages or m.outputs) and not m.requested_tokens:
        return (m.end_ns - m.start_ns) / NS_PER_S
    return None if sequence is None else (sequence.at_ns[-1] - m.start_ns) / NS_PER_S


def first_infer(m: Measurement) -> float | None:
    """Seconds of the first forward pass; ``None`` where the backend shows none (prompt lookup says 0)."""
    return m.infer_ns[0] / NS_PER_S if any(m.infer_ns) else None


def next_infer(m: Measurement) -> float | None:
    """Seconds a forward pass after the first, their mean."""
    if len(m.infer_ns) < 2 or not any(m.infer_ns):
        return None
    return sum(m.infer_ns[1:]) / NS_PER_S / (len(m.infer_ns) - 1)


def first_callback(m: Measurement) -> float | None:
    """Seconds until a streamer was first called with text; ``None`` where nothing was streamed."""
    return (m.callback_ns[0] - m.start_ns) / NS_PER_S if m.callback_ns else None


def prefill_rate(m: Measurement) -> float | None:
    """Input tokens of all sequences per second, until the first token."""
    wait = first_token(m)
    return sum([s.input_tokens for s in m.sequences]) / wait if wait else None


def decode_rate(m: Measurement) -> float | None:
    """Tokens a second that all sequences together gave after the first instant.

    Counted, not multiplied: a throughput times the batch size counts twice what is a total already.
    """
    last = _shown(m)
    if last is None:
        return None
    start = last.at_ns[0]
    if len(m.sequences) > 1:
        start = min(s.at_ns[0] for s in m.sequences if s.at_ns)
        tokens = sum(_tokens_after(s, start) for s in m.sequences)
    else:
        tokens = _tokens_after(last, start)
    wait = last.at_ns[-1] - start
    return tokens * NS_PER_S / wait if wait else None


def _tokens_after(sequence: Sequence, instant_ns: int) -> int:
    begin = bisect.bisect_right(sequence.at_ns, instant_ns)
    return sum(sequence.counts[begin:]) if sequence.counts else len(sequence.at_ns) - begin


def tokens_per_step(m: Measurement) -> float | None:
    """Tokens per step after the first event, where a step may give several; ``None`` where each gives one.

    One of them is the model's own, the others were guessed ahead and accepted.
    """
    sequence = _shown(m) if m.later_steps else None
    if sequence is None or not m.later_steps:
        return None
    first = sequence.counts[0] if sequence.counts else 1
    return (sequence.output_tokens - first) / m.later_steps


LATENCY_METRICS: tuple[Metric[Any], ...] = (
    latency(
        name="first_token",
        aliases=("ttft",),
        head="first",
        priority=NEVER_DROPPED,
        llm_bench="first_latency",
        definition="t1 - s",
        of=first_token,
        threshold=0.05,  # first tokens vary more than the others
        is_compared=True,
        is_primary=True,
        is_phase=True,
    ),
    latency(
        name="second_token",
        head="second",
        priority=70,
        definition="t2 - t1, the first decode step",
        of=second_token,
        is_compared=True,
        is_phase=True,
    ),
    per_token(
        name="next_token",
        aliases=("itl",),
        title="next tokens",
        head="next",
        priority=NEVER_DROPPED,
        definition="mean of t3-t2 ... tn-t(n-1): inter-token latency (ITL)",
        of=next_token,
        is_compared=True,
        is_phase=True,
    ),
    per_token(
        name="tpot",
        title="time per output token",
        head="tpot",
        priority=40,
        llm_bench="second_avg_latency",
        definition="(tn - t1) / (n - 1)",
        of=time_per_output_token,
        is_compared=True,
        is_primary=True,
    ),
    latency(
        name="e2e",
        title="end to end",
        head="end to end",
        priority=30,
        definition="tn - s",
        of=end_to_end,
        is_compared=True,
    ),
    latency(
        name="first_token_sent",
        title="first token from the send",
        definition="t1 - the instant at which the request was sent; s is when it was due",
        made_of=("sent_ns",),
        of=first_token_sent,
    ),
)
"""How long a request takes."""

STEP_METRICS: tuple[Metric[Any], ...] = (
    latency(
        name="first_infer",
        title="first inference",
        llm_bench="first_infer_latency",
        definition="the first forward pass alone",
        made_of=("infer_ns",),
        of=first_infer,
    ),
    latency(
        name="next_infer",
        title="next inferences",
        llm_bench="second_infer_avg_latency",
        definition="mean of the later forward passes",
        made_of=("infer_ns",),
        of=next_infer,
    ),
    latency(
        name="tokenize",
        llm_bench="tokenization_time",
        definition="text to token ids",
        made_of=("tokenize_ns",),
        of=recorded_time("tokenize_ns"),
    ),
    latency(
        name="detokenize",
        llm_bench="detokenization_time",
        definition="token ids to text",
        made_of=("detokenize_ns",),
        of=recorded_time("detokenize_ns"),
    ),
)
"""What it takes beside the timeline: forward passes and the tokenizer."""

RATE_METRICS: tuple[Metric[Any], ...] = (
    latency(
        name="first_callback",
        definition="first call of the streamer - s",
        made_of=("callback_ns",),
        of=first_callback,
    ),
    rate(name="prefill_rate", definition="input tokens / first_token", of=prefill_rate),
    rate(
        name="decode_rate",
        head="decode",
        priority=NEVER_DROPPED,
        definition="tokens of all sequences after t1 / (tn - t1)",
        of=decode_rate,
    ),
)
"""Rates, and the first callback of a streamer."""

SPECULATION_METRICS: tuple[Metric[Any], ...] = (
    Metric(
        name="tokens_per_step",
        head="per step",
        priority=NEVER_DROPPED,
        unit=Unit.TOKENS_PER_STEP,
        direction=Direction.HIGHER,
        definition="tokens after t1 / steps after t1; one is the model's own, the rest were guessed and accepted",
        made_of=("later_steps",),
        of=tokens_per_step,
    ),
)
"""What guessing ahead gains."""
