"""GenAI's raw metrics of one request as sequences of token events.

In one ``raw_metrics`` object ``m_new_token_times`` are milliseconds on the clock of ``time.perf_counter``; its
durations are microseconds (seen with GenAI 2026.4.1; a test holds both against our clock). There is one entry a
step, and ``m_batch_sizes`` has the tokens that all sequences together got in it.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from llmbench.engines.base import Counters, EngineRequest
from llmbench.schema import measurement
from llmbench.schema.measurement import Finish
from llmbench.schema.units import Nanoseconds, counted, ns_from_ms

_US_PER_S = 1e6
_UNKNOWN_STEPS = "the engine's steps do not show which token belongs to which sequence"


def read_counters(raw: Any, tokens: int) -> Counters:
    """The engine's own account of the time: its first token, the gaps after it, the whole call, the tokens."""
    return Counters(
        first_token_s=sum(raw.m_times_to_first_token[:1]) / _US_PER_S or None,
        gaps_s=sum(_gaps(raw)) / _US_PER_S,
        call_s=sum(raw.generate_durations) / _US_PER_S or None,
        tokens=tokens,
    )


def _gaps(raw: Any) -> Sequence[float]:
    """The durations between steps; GenAI 2025.3 and 2025.4 repeat those of one sequence, twice or three times."""
    found = [float(each) for each in raw.m_durations]
    count = len(raw.m_new_token_times) - 1
    copies = len(found) // count if count > 0 and set(raw.m_batch_sizes) == {1} else 1
    return found[:count] if copies > 1 and found == found[:count] * copies else found


def read_sequences(
    request: EngineRequest, result: Any, *, is_search: bool
) -> tuple[tuple[measurement.Sequence, ...], tuple[str, ...]]:
    """Each sequence with the steps it lived through, and what is wrong with them.

    Under beam search (*is_search*) a step advances all beams by one token, and which of them wins is known only at
    the end; an event is a step then.
    """
    raw = result.perf_metrics.raw_metrics
    instants = [ns_from_ms(at) for at in raw.m_new_token_times]
    sizes = [int(size) for size in raw.m_batch_sizes]
    made = [tuple(int(token) for token in tokens) for tokens in result.tokens]
    steps, counts = _steps([len(tokens) for tokens in made], sizes, is_search=is_search)
    sequences = tuple(
        measurement.Sequence(
            input_tokens=len(ids),
            at_ns=tuple(instants[begin:end]),
            counts=counts,
            token_ids=tokens,
            finish=Finish.LENGTH if "LENGTH" in str(reason) else Finish.STOP,
        )
        for ids, tokens, reason, (begin, end) in zip(
            request.input_ids, made, _finish_reasons(result, request, made), steps, strict=True
        )
    )
    doubts = _doubts(instants, sizes, made, steps, is_search=is_search)
    # a beam's score is the sum of what its tokens were chosen by; nothing else of the logits is reported
    return sequences, (*doubts, *["non-finite scores"] * any(math.isnan(score) for score in result.scores))


def _finish_reasons(result: Any, request: EngineRequest, made: Sequence[Sequence[int]]) -> Sequence[object]:
    """Why each sequence ended; releases before 2026.4 do not report it, and there what is shorter was stopped."""
    reported: Sequence[object] | None = getattr(result, "finish_reasons", None)
    if reported is not None:
        return reported
    return ["LENGTH" if len(ids) == request.output_tokens else "STOP" for ids in made]


def _steps(
    lengths: Sequence[int], sizes: Sequence[int], *, is_search: bool
) -> tuple[list[tuple[int, int]], tuple[int, ...]]:
    """The first step and the one after the last of each sequence; and the tokens of each step where they vary."""
    if len(lengths) == 1:
        varies = not is_search and set(sizes) != {1}
        return [(0, len(sizes))], tuple(sizes) if varies else ()
    laid = lay_out(lengths, sizes)
    return laid or [(0, length) for length in lengths], ()


def lay_out(lengths: Sequence[int], sizes: Sequence[int]) -> list[tuple[int, int]] | None:
    """Which steps each sequence of a batch lived through, first come first served; ``None`` if they do not fit.

    A live sequence gets one token per step. One that had to wait for the others' prefill begins later.
    """
    starts: list[int] = []
    for step, size in enumerate(sizes):
        live = sum(step < start + length for start, length in zip(starts, lengths, strict=False))
        waiting = min(size - live, len(lengths) - len(starts))
        if waiting < 0:
            return None
        starts += [step] * waiting
        if live + waiting != size:
            return None
    ends = [start + length for start, length in zip(starts, lengths, strict=False)]
    is_whole = len(ends) == len(lengths) and max(ends, default=0) <= len(sizes)
    return list(zip(starts, ends, strict=True)) if is_whole else None


def _doubts(
    instants: Sequence[Nanoseconds],
    sizes: Sequence[int],
    made: Sequence[tuple[int, ...]],
    steps: Sequence[tuple[int, int]],
    *,
    is_search: bool,
) -> tuple[str, ...]:
    doubts = []
    if len(instants) != len(sizes):
        doubts.append(
            f"the engine reports {counted(len(instants), 'instant')} for {counted(len(sizes), 'step')}"
        )
    total = sum(map(len, made))
    if not is_search and sum(sizes) != total:
        doubts.append(f"the engine's steps add up to {counted(sum(sizes), 'token')}, {total} came out")
    elif len(made) > 1 and lay_out([len(tokens) for tokens in made], sizes) != list(steps):
        doubts.append(_UNKNOWN_STEPS)
    if any(later < earlier for earlier, later in pairwise(instants)):
        doubts.append("the engine's token times run backwards")
    return tuple(doubts)
