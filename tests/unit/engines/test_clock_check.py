import dataclasses

import pytest

from llmbench.engines.base import Counters, Generation
from llmbench.engines.clock_check import suspicions
from llmbench.schema.measurement import Sequence
from llmbench.schema.units import ns_from_ms


def _generation(*, at_ms: tuple[float, ...] = (200, 300, 400), **changes: object) -> Generation:
    """A request that starts at 1,000 ms; the engine's own account agrees with its instants."""
    sequence = Sequence(
        input_tokens=3, at_ns=tuple(ns_from_ms(1000 + at) for at in at_ms), token_ids=(7,) * len(at_ms)
    )
    generation = Generation(
        start_ns=ns_from_ms(1000),
        end_ns=ns_from_ms(1000 + at_ms[-1] + 1),
        sequences=(sequence,),
        counters=Counters(first_token_s=0.2, gaps_s=0.2, call_s=0.401, tokens=3),
    )
    return dataclasses.replace(generation, **changes)  # type: ignore[arg-type]


def test_clocks_that_agree_leave_no_suspicion() -> None:
    """Within 2 % or 10 ms, whichever is more, they tell one story; an engine that keeps none is not doubted."""
    near = Counters(first_token_s=0.197, gaps_s=0.2, call_s=0.405, tokens=3)

    assert () == suspicions(_generation())
    assert () == suspicions(_generation(counters=near))
    assert () == suspicions(_generation(counters=None))


@pytest.mark.parametrize(
    ("counters", "output"),
    [
        (
            Counters(first_token_s=0.25, gaps_s=0.15),
            "first token: the engine reports 250 ms, our clock 200 ms",
        ),
        (
            Counters(first_token_s=200.0),
            "first token: the engine reports 2e+05 ms, our clock 200 ms: has it changed its unit?",
        ),
        (
            Counters(first_token_s=0.2, gaps_s=0.0002),
            "first and later tokens together: the engine reports 200.2 ms, our clock 400 ms",
        ),
        (Counters(call_s=0.5), "the whole call: the engine reports 500 ms, our clock 401 ms"),
        (Counters(tokens=4), "the engine counted 4 tokens, 3 came out"),
    ],
)
def test_a_disagreement_says_which_clock_said_what(counters: Counters, output: str) -> None:
    """Each counter is held against the instants, and a factor of a thousand is told as what it is."""
    assert (output,) == suspicions(_generation(counters=counters))


def test_a_call_that_went_on_after_its_last_token_is_told() -> None:
    """The time after the last token belongs to no metric, so it must be next to nothing."""
    late = _generation(counters=None, end_ns=ns_from_ms(1000 + 450))

    assert ("the last token came after 400 ms, the call took 450 ms",) == suspicions(late)


def test_instants_outside_the_call_are_another_clock() -> None:
    """A token cannot come before the request nor after its end, by more than a millisecond."""
    output = "the engine's token times lie outside its call: from"
    early = suspicions(_generation(start_ns=ns_from_ms(1000 + 202), counters=None))
    late = suspicions(_generation(end_ns=ns_from_ms(1000 + 398), counters=None))

    assert f"{output} -2 ms to 198 ms after it began, and it took 199 ms on our clock" in early
    assert f"{output} 200 ms to 400 ms after it began, and it took 398 ms on our clock" in late


def test_callbacks_are_held_against_the_tokens() -> None:
    """They run forward, inside the call, and never before the first token."""

    def seen(*at_ms: float) -> tuple[str, ...]:
        return suspicions(_generation(callback_ns=tuple(ns_from_ms(1000 + at) for at in at_ms)))

    assert () == seen(201, 301, 400.5)
    assert ("the callbacks run backwards",) == seen(301, 300)
    assert ("callbacks lie outside the call on our clock",) == seen(201, 500)
    assert ("the first callback came 50.0 ms before the engine's first token",) == seen(150, 301)


def test_callbacks_are_no_more_than_the_tokens_and_the_end() -> None:
    """Three tokens: four callbacks at most, for several tokens may share one and none has two."""
    four = tuple(ns_from_ms(1000 + at) for at in (201, 301, 400, 400.5))

    assert () == suspicions(_generation(callback_ns=four))
    assert (
        "5 callbacks came for 3 tokens; at most one per token and one at the end are possible",
    ) == suspicions(_generation(callback_ns=(*four, four[-1])))


def test_forward_passes_fit_into_the_time_of_their_tokens() -> None:
    """A pass ends before its token is there, and all of them before the call does."""

    def passes(*infer_ms: float) -> tuple[str, ...]:
        return suspicions(_generation(infer_ns=tuple(ns_from_ms(taken) for taken in infer_ms)))

    assert () == passes(198, 95, 95)
    assert () == passes(203, 98, 98)
    assert (
        "the first forward pass: 230 ms by the engine, and the first token took 200 ms on our clock",
    ) == passes(230, 80, 80)
    assert (
        "all forward passes together: 450 ms by the engine, and the call took 401 ms on our clock",
    ) == passes(150, 150, 150)


def test_one_token_over_and_over_is_no_text() -> None:
    """Sixteen times the same token is degenerate; fifteen may be chance, and one that differs is text."""

    def made(*token_ids: int) -> tuple[str, ...]:
        sequence = Sequence(
            input_tokens=3,
            at_ns=tuple(ns_from_ms(1000 + 10 * step) for step in range(1, len(token_ids) + 1)),
            token_ids=token_ids,
        )
        end_ns = sequence.at_ns[-1]
        return suspicions(_generation(sequences=(sequence,), end_ns=end_ns, counters=None))

    assert ("degenerate output: token 7 and nothing else, 16 times",) == made(*[7] * 16)
    assert () == made(*[7] * 15)
    assert () == made(*[7] * 16, 8)


def test_nothing_at_all_is_the_only_suspicion() -> None:
    """Without a token there is nothing to compare."""
    empty = Sequence(input_tokens=3, at_ns=())

    assert ("no token came out",) == suspicions(_generation(sequences=(empty,)))
