import enum
import math
from types import SimpleNamespace

import pytest

from llmbench.engines.base import EngineRequest
from llmbench.engines.openvino.raw_metrics import lay_out, read_counters, read_sequences
from llmbench.schema.measurement import Finish


class Reason(enum.Enum):
    """The engine's own reasons."""

    LENGTH = 2
    STOP = 1


def _result(
    times_ms: list[float], sizes: list[int], tokens: list[list[int]], *, score: float = -1.5
) -> SimpleNamespace:
    """What the pipeline returns, as far as it is read."""
    raw = SimpleNamespace(m_new_token_times=times_ms, m_batch_sizes=sizes)
    return SimpleNamespace(
        perf_metrics=SimpleNamespace(raw_metrics=raw),
        tokens=tokens,
        scores=[score] * len(tokens),
        finish_reasons=[Reason.LENGTH] * len(tokens),
    )


def _request(rows: int = 1) -> EngineRequest:
    return EngineRequest(input_ids=((1, 2, 3),) * rows, output_tokens=3)


def test_a_step_of_one_token_is_an_event() -> None:
    """Milliseconds become nanoseconds; counts are left out where each event held one."""
    (sequence,), doubts = read_sequences(
        _request(), _result([10.0, 12.5, 14.0], [1, 1, 1], [[5, 6, 7]]), is_search=False
    )

    assert (10_000_000, 12_500_000, 14_000_000) == sequence.at_ns
    assert () == sequence.counts
    assert ((5, 6, 7), 3, Finish.LENGTH) == (sequence.token_ids, sequence.output_tokens, sequence.finish)
    assert () == doubts


def test_a_step_may_hold_several_tokens() -> None:
    """A speculative step is one event with as many tokens as were accepted."""
    (sequence,), doubts = read_sequences(
        _request(), _result([1.0, 2.0], [1, 4], [[5, 6, 7, 8, 9]]), is_search=False
    )

    assert (1, 4) == sequence.counts
    assert 5 == sequence.output_tokens
    assert () == doubts


def test_steps_that_do_not_add_up_are_a_doubt() -> None:
    """With sampling, the engine counts what it proposed: 4 tokens in steps where 3 came out."""
    _, doubts = read_sequences(_request(), _result([1.0, 2.0], [1, 3], [[5, 6, 7]]), is_search=False)

    assert ("the engine's steps add up to 4 tokens, 3 came out",) == doubts


def test_a_score_that_is_no_number_is_a_doubt() -> None:
    """Beams of a model of NaNs have plausible tokens; the sum of their probabilities tells."""
    result = _result([1.0, 2.0, 3.0], [1, 1, 1], [[5, 6, 7]], score=math.nan)

    assert ("non-finite scores",) == read_sequences(_request(), result, is_search=True)[1]


def test_a_step_of_a_search_is_an_event_whatever_wins() -> None:
    """The text that won may be shorter than the search; its steps were taken all the same."""
    (sequence,), doubts = read_sequences(
        _request(), _result([1.0, 2.0, 3.0], [1, 1, 1], [[5]]), is_search=True
    )

    assert (3, (5,)) == (sequence.output_tokens, sequence.token_ids)
    assert () == doubts


@pytest.mark.parametrize(
    ("lengths", "sizes", "expected"),
    [
        ([3, 3], [2, 2, 2], [(0, 3), (0, 3)]),
        ([1, 3], [2, 1, 1], [(0, 1), (0, 3)]),
        ([3, 3], [1, 2, 2, 1], [(0, 3), (1, 4)]),
        ([2, 2, 2], [1, 2, 2, 1], [(0, 2), (1, 3), (2, 4)]),
        ([3, 3], [2, 1, 1, 2], None),
        ([3, 3], [2, 2], None),
        ([2, 2], [1, 1], None),
        ([2, 2], [3, 1], None),
    ],
)
def test_steps_are_laid_out_first_come_first_served(
    lengths: list[int], sizes: list[int], expected: list[tuple[int, int]] | None
) -> None:
    """A sequence gets a token a step from its first on; one that waited for a prefill begins later."""
    assert expected == lay_out(lengths, sizes)


def test_a_batch_whose_steps_do_not_fit_is_a_doubt() -> None:
    """Nothing tells then which token belongs to which sequence."""
    result = _result([1.0, 2.0, 3.0, 4.0], [2, 1, 1, 2], [[1, 2, 3], [4, 5, 6]])
    _, doubts = read_sequences(_request(2), result, is_search=False)

    assert ("the engine's steps do not show which token belongs to which sequence",) == doubts


def test_counters_are_seconds() -> None:
    """The engine's microseconds; a time it does not tell is None, not 0."""
    raw = SimpleNamespace(
        m_times_to_first_token=[5e4],
        m_durations=[1e4, 2e4],
        generate_durations=[],
        m_new_token_times=[50.0, 60.0, 80.0],
        m_batch_sizes=[1, 1, 1],
    )
    counters = read_counters(raw, 3)

    assert (0.05, 0.03, None, 3) == (
        counters.first_token_s,
        counters.gaps_s,
        counters.call_s,
        counters.tokens,
    )


@pytest.mark.parametrize(
    ("sizes", "durations", "gaps_s"),
    [
        ([1, 1, 1], [1e4, 2e4] * 3, 0.03),
        ([1, 1, 1], [1e4, 2e4, 1e4, 3e4], 0.07),
        ([2, 2, 2], [5e3, 1e4] * 2, 0.03),
    ],
)
def test_gaps_of_one_sequence_that_are_repeated_count_once(
    sizes: list[int], durations: list[float], gaps_s: float
) -> None:
    """GenAI 2025.4 lists them several times; those of a batch are shares of a step, of which all count."""
    raw = SimpleNamespace(
        m_times_to_first_token=[5e4],
        m_durations=durations,
        generate_durations=[],
        m_new_token_times=[50.0, 60.0, 80.0],
        m_batch_sizes=sizes,
    )

    assert gaps_s == pytest.approx(read_counters(raw, 3).gaps_s)
