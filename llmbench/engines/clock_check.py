"""Whether the engine's counters, the callbacks it made, and our own clock agree."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from llmbench.engines.base import Generation
from llmbench.schema.units import NS_PER_S, seconds_between

TOLERANCE = 0.02
"""Two clocks may differ by this share of what they measured."""

SLACK_S = 0.01
"""... or by so much, whichever is more: SDPA starts its own clock 2.4 ms after our call, and who returns from a call
beside other processes may wait a slice of the scheduler's for the CPU."""

OUTSIDE_NS = 1_000_000
"""An instant may lie so far outside the call it belongs to."""

REPEATED_TOKENS = 16
"""An output of at least this many tokens that are all the same one is no text."""


def suspicions(generation: Generation) -> tuple[str, ...]:
    """Return what makes a measurement doubtful, each with its source; empty where all agree."""
    if not any(sequence.at_ns for sequence in generation.sequences):
        return ("no token came out",)
    return (
        *generation.suspicions,
        *_outside(generation),
        *_callbacks(generation),
        *_passes(generation),
        *_disagreements(generation),
        *_degenerate(generation),
    )


def _outside(generation: Generation) -> Iterator[str]:
    """Token instants outside the call they belong to: the engine's clock is not ours, then."""
    instants = [at for sequence in generation.sequences for at in sequence.at_ns]
    if _is_outside(instants, generation):
        begin, end = (seconds_between(generation.start_ns, at) for at in (min(instants), max(instants)))
        elapsed = seconds_between(generation.start_ns, generation.end_ns)
        yield (
            f"the engine's token times lie outside its call: from {_ms(begin)} to {_ms(end)} after it began, "
            f"and it took {_ms(elapsed)} on our clock"
        )


def _is_outside(instants: Sequence[int], generation: Generation) -> bool:
    begin, end = generation.start_ns - OUTSIDE_NS, generation.end_ns + OUTSIDE_NS
    return min(instants) < begin or max(instants) > end


def _callbacks(generation: Generation) -> Iterator[str]:
    """Callbacks that run backwards, lie outside the call, or come before a first token was there."""
    seen = generation.callback_ns
    if not seen:
        return
    if any(later < earlier for earlier, later in pairwise(seen)):
        yield "the callbacks run backwards"
    if _is_outside(seen, generation):
        yield "callbacks lie outside the call on our clock"
    first = min(sequence.at_ns[0] for sequence in generation.sequences if sequence.at_ns)
    if seen[0] < first - OUTSIDE_NS:
        early = seconds_between(seen[0], first)
        yield f"the first callback came {early * 1e3:.1f} ms before the engine's first token"
    tokens = sum(len(sequence.token_ids) for sequence in generation.sequences)
    if len(seen) > tokens + 1:
        yield f"{len(seen)} callbacks came for {tokens} tokens; at most one per token and one at the end are possible"


def _passes(generation: Generation) -> Iterator[str]:
    passes_s = [found / NS_PER_S for found in generation.infer_ns]
    if not passes_s:
        return
    first = min(sequence.at_ns[0] for sequence in generation.sequences if sequence.at_ns)
    reported = (
        ("the first forward pass", passes_s[0], "the first token", first),
        ("all forward passes together", sum(passes_s), "the call", generation.end_ns),
    )
    for what, engine_s, limit, at_ns in reported:
        ours_s = seconds_between(generation.start_ns, at_ns)
        if engine_s > ours_s and not _agree(engine_s, ours_s):
            yield f"{what}: {_ms(engine_s)} by the engine, and {limit} took {_ms(ours_s)} on our clock"


def _disagreements(generation: Generation) -> Iterator[str]:
    """Where the engine's counters and the instants disagree on the first token, the gaps, the call or the tokens."""
    reported = generation.counters
    last = max(sequence.at_ns[-1] for sequence in generation.sequences if sequence.at_ns)
    first = min(sequence.at_ns[0] for sequence in generation.sequences if sequence.at_ns)
    call_s = seconds_between(generation.start_ns, generation.end_ns)
    e2e_s = seconds_between(generation.start_ns, last)
    if not _agree(e2e_s, call_s):
        yield f"the last token came after {_ms(e2e_s)}, the call took {_ms(call_s)}"
    if reported is None:
        return
    first_s = seconds_between(generation.start_ns, first)
    if reported.first_token_s is not None:
        yield from _compare("first token", reported.first_token_s, first_s)
        if reported.gaps_s is not None:
            yield from _compare(
                "first and later tokens together", reported.first_token_s + reported.gaps_s, e2e_s
            )
    if reported.call_s is not None:
        yield from _compare("the whole call", reported.call_s, call_s)
    out = sum(sequence.output_tokens for sequence in generation.sequences)
    if reported.tokens is not None and reported.tokens != out:
        yield f"the engine counted {reported.tokens} tokens, {out} came out"


def _compare(what: str, engine_s: float, ours_s: float) -> Iterator[str]:
    """One sentence where two clocks disagree; a factor of about a thousand is a unit taken for another."""
    if _agree(engine_s, ours_s):
        return
    ratio = engine_s / ours_s if ours_s and engine_s else 1.0
    is_unit = any(abs(ratio / factor - 1) < 0.2 for factor in (1e-6, 1e-3, 1e3, 1e6))
    unit = ": has it changed its unit?" if is_unit else ""
    yield f"{what}: the engine reports {_ms(engine_s)}, our clock {_ms(ours_s)}{unit}"


def _agree(one_s: float, other_s: float) -> bool:
    return abs(one_s - other_s) <= max(TOLERANCE * max(one_s, other_s), SLACK_S)


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.4g} ms"


def _degenerate(generation: Generation) -> Iterator[str]:
    """Sequences that are one token over and over: what broken weights give where no logits can be seen."""
    for sequence in generation.sequences:
        ids = sequence.token_ids
        if len(ids) >= REPEATED_TOKENS and len(set(ids)) == 1:
            yield f"degenerate output: token {ids[0]} and nothing else, {len(ids)} times"
            return
