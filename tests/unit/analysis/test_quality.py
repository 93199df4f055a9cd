"""Losses against a base: means over tokens, intervals over blocks, limits, and the Pareto front."""

import dataclasses
import math

import pytest

from llmbench.analysis.quality import QualityLimits, QualityRow, pareto_front, qualities, quality_rows
from llmbench.analysis.report import summarize_run
from llmbench.schema.measurement import Stage
from llmbench.schema.run import Launch
from tests import builders

READ = (Stage(name="read", duration_ns=1),)


def _block(number: int, kld: list[float], same_top: list[float], *, prompt: int = 0) -> object:
    nll = [1.0 + each for each in kld]
    return builders.request_of(
        iteration=number,
        prompt=prompt,
        stages=READ,
        token_scores={"kld": kld, "nll": nll, "base_nll": [1.0] * len(kld), "same_top": same_top},
    )


def _run(*launches: list[object]) -> object:
    return builders.run_of(
        launches=tuple(
            builders.launch_of(blocks, index=index, cell=index)  # type: ignore[arg-type]
            for index, blocks in enumerate(launches)
        )
    )


def test_figures_are_means_over_tokens_with_intervals_over_blocks() -> None:
    """Block means 0.1, 0.2, 0.3: mean 0.2, t(2, 97.5 %) = 4.3027, error 0.1 / sqrt(3): 0.2 +- 0.2484."""
    blocks = [_block(i, [i / 10, i / 10], [1.0, 0.0]) for i in (1, 2, 3)]

    (found,) = qualities(_run(blocks))  # type: ignore[arg-type]

    assert (3, 6, 0.3, 0.3) == (found.blocks, found.tokens, found.kld_p99, found.kld_max)
    assert 0.2 == pytest.approx(found.kld.value)
    assert (0.2 - 0.24841, 0.2 + 0.24841) == pytest.approx((found.kld.low, found.kld.high), abs=1e-4)
    assert (0.5, 0.5, 0.5) == (found.same_top.value, found.same_top.low, found.same_top.high)
    assert 0.2 == pytest.approx(found.log_ratio.value)
    assert (math.exp(1.2), math.exp(1.0)) == pytest.approx((found.perplexity, found.base_perplexity))


def test_two_blocks_have_no_interval_and_one_text_can_be_taken_alone() -> None:
    """Below three blocks the ends are not known; blocks of another text are left out where one is named."""
    blocks = [_block(0, [0.1], [1.0]), _block(0, [0.3], [1.0], prompt=1)]

    (both,), (second,) = qualities(_run(blocks)), qualities(_run(blocks), text=1)  # type: ignore[arg-type]

    assert (None, None) == (both.kld.low, both.kld.high)
    assert (0.2, 0.3) == pytest.approx((both.kld.value, second.kld.value))


def test_limits_name_what_is_not_kept() -> None:
    """A mean above --max-kld, and a share below --min-same-top, are a sentence each; at the limit there is none."""
    (found,) = qualities(_run([_block(0, [0.25, 0.25], [1.0, 0.0])]))  # type: ignore[arg-type]

    assert () == QualityLimits(max_kld=0.25, min_same_top=0.5).faults(found)
    assert (
        "KL divergence 0.25 nats is above --max-kld 0.2",
        "same top token 50.0% is below --min-same-top 0.51",
    ) == QualityLimits(max_kld=0.2, min_same_top=0.51).faults(found)


def test_front_has_what_nothing_beats_in_both() -> None:
    """(2, 2) is beaten by (1, 2); equal points, and those that differ by less than a tenth, do not beat each other."""
    assert (True, False, True, True) == pareto_front([(1, 2), (2, 2), (3, 1), (3.2, 0.95)])


def test_a_tenth_more_loss_does_not_save_a_slower_point() -> None:
    """What is half as fast and a hundredth better is beaten."""
    assert (True, False) == pareto_front([(1, 1.0), (2, 0.99)])


def test_a_row_that_was_not_measured_or_is_not_valid_is_on_no_front() -> None:
    """A row without quality says so; neither it nor a faulty one has a point."""
    (found,) = qualities(_run([_block(0, [0.25], [1.0])]))  # type: ignore[arg-type]

    lost, worse = quality_rows([{"a": "1"}, {"a": "2"}], [None, found], QualityLimits(max_kld=0.1))

    assert ("not measured",) == lost.faults
    assert (None, None, False, False) == (lost.point, worse.point, lost.is_on_front, worse.is_on_front)


def _guessed(*ids: tuple[int, ...]) -> QualityRow:
    """The row of prompt lookup whose greedy tokens are these in two iterations; without it they are 1 to 4."""
    lookup = dataclasses.replace(builders.run_of().cells[0], max_ngram_size=3, output_tokens=4)
    plain = lookup.without_speculation

    def launch(cell: int, tokens: tuple[tuple[int, ...], ...]) -> Launch:
        requests = [
            dataclasses.replace(
                request,
                requested_tokens=4,
                sequences=(dataclasses.replace(request.sequences[0], token_ids=each),),
            )
            for iteration, each in enumerate(tokens)
            for request in (builders.request_of([10, 20, 30, 40], iteration=iteration),)
        ]
        return builders.launch_of(requests, index=cell, cell=cell)

    run = builders.run_of([launch(0, ((1, 2, 3, 4),) * 2), launch(1, ids)], cells=(plain, lookup))
    rows = quality_rows([{}, {}], [None, None], QualityLimits(), latency=summarize_run(run))
    assert rows[0].tokens is None
    return rows[1]


def test_what_guesses_ahead_is_compared_with_greedy_tokens_without_it() -> None:
    """The same in both iterations, or from the third token on in one of the two."""
    same, other = _guessed((1, 2, 3, 4), (1, 2, 3, 4)).tokens, _guessed((1, 2, 3, 4), (1, 2, 9, 4)).tokens

    assert same is not None
    assert (2, None) == (same.variants, same.first)
    assert other is not None
    assert other.first is not None
    assert (1, 3) == (len(other.partings), other.first.token)
