import dataclasses
import math
import random
from collections.abc import Callable, Mapping, Sequence

import pytest

from llmbench.analysis import stability
from llmbench.analysis.evaluation import evaluate
from llmbench.analysis.report import summarize_run
from llmbench.analysis.stability import Stability
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.measurement import Conditions, Measurement
from llmbench.schema.run import Launch, Outcome, Run

Build = Callable[..., Measurement]
BuildRun = Callable[..., Run]
Judge = Callable[..., Stability]
PROMPT = Prompt(set="s", index=0, tokens=32)
NOISY = Conditions(wall_s=1.0, cpus=1, worker_s=0.5, interference_s=0.5)

RISING = tuple(100 * 1.03**i for i in range(6))
LEVEL = (101, 99, 100.5, 99.5, 100.2, 100)


@pytest.fixture
def run_with(request_of: Build, launch_of: Callable[..., Launch], run_of: BuildRun) -> BuildRun:
    """Builds a run from the first tokens in ms of each launch, the warm-ups first; two gaps of a tenth of that."""

    def build(*launches: Sequence[float], warmups: int = 1, **fields: object) -> Run:
        config = RunConfig(
            model="m",
            prompts=(PROMPT,),
            output_tokens=3,
            warmups=warmups,
            iterations=len(launches[0]) - warmups,
            **fields,  # type: ignore[arg-type]
        )
        made = [
            launch_of(
                [
                    request_of([ms, ms * 1.1, ms * 1.2], launch=index, iteration=i, is_warmup=i < warmups)
                    for i, ms in enumerate(firsts)
                ],
                index=index,
            )
            for index, firsts in enumerate(launches)
        ]
        return run_of(made, cells=(config,))

    return build


@pytest.fixture
def judged(run_with: BuildRun) -> Judge:
    """The stability of the one prompt of such a run."""

    def judge(*launches: Sequence[float], **fields: object) -> Stability:
        (found,) = stability.judge_stability(evaluate(run_with(*launches, **fields)))
        return found

    return judge


def altered(run: Run, location: int, **fields: object) -> Run:
    """The run with one request of its first launch changed."""
    first, *others = run.launches
    requests = list(first.measurements)
    requests[location] = dataclasses.replace(requests[location], **fields)  # type: ignore[arg-type]
    return dataclasses.replace(
        run, launches=(dataclasses.replace(first, measurements=tuple(requests)), *others)
    )


def test_what_does_not_change_is_steady(judged: Judge) -> None:
    """Six iterations within 1 % and a warm-up of twice the time: steady, and the one was enough."""
    got = judged((200, *LEVEL))

    assert (True, {}, 1, 1) == (got.is_stable, got.drifts, got.needed, got.warmups)
    assert not got.is_late


def test_a_drift_is_told_with_its_size(judged: Judge) -> None:
    """3 % an iteration, five times: 1.03^5 - 1 in all, in both metrics; warm-ups cannot be told then."""
    got = judged((99, *RISING), (99, *RISING))

    assert got.is_stable is False
    assert {"first_token", "tpot"} == set(got.drifts)
    assert got.drifts["first_token"] == pytest.approx(1.03**5 - 1)
    assert got.needed is None


def test_a_trend_too_small_to_matter_is_steady(judged: Judge) -> None:
    """From 100 to 102 without a step back is a trend, but neither 5 % nor 3 %."""
    got = judged((100, *(100 + 0.4 * i for i in range(6))))

    assert (True, {}) == (got.is_stable, got.drifts)


def test_a_change_that_may_be_chance_is_neither(judged: Judge) -> None:
    """Noise of 20 % hides whether anything drifts: nothing is claimed."""
    got = judged((100, 80, 120, 90, 110, 130, 100))

    assert (None, {}) == (got.is_stable, got.drifts)


@pytest.mark.parametrize("firsts", [(200, 100, 104), (200, 100, 104, 108, 112)])
def test_too_few_iterations_tell_nothing(judged: Judge, firsts: Sequence[float]) -> None:
    """Even four that rise without a step back are 2 of 24 orders, more than 5 %; and one warm-up more is no worse."""
    assert judged(firsts).is_stable is None


def test_too_few_for_so_many_rows(run_with: BuildRun) -> None:
    """One launch of six decides 18 metrics at 2/720 each, not the 20 of ten prompts."""
    run = run_with((200, *LEVEL))
    prompts = tuple(Prompt(set="s", index=i, tokens=32) for i in range(10))
    launch = run.launches[0]
    requests = tuple(
        dataclasses.replace(m, prompt=number) for m in launch.measurements for number in range(10)
    )

    def found(count: int) -> set[bool | None]:
        cells = (dataclasses.replace(run.cells[0], prompts=prompts[:count]),)
        kept = tuple(m for m in requests if m.prompt < count)
        cut = dataclasses.replace(
            run, cells=cells, launches=(dataclasses.replace(launch, measurements=kept),)
        )
        return {each.is_stable for each in stability.judge_stability(evaluate(cut))}

    assert ({True}, {None}) == (found(9), found(10))


@pytest.mark.parametrize(
    ("firsts", "warmups", "needed"),
    [
        ((200, *LEVEL), 1, 1),
        ((100, *LEVEL), 1, 0),
        ((200, 180, *LEVEL), 3, 2),
        ((200, 180, 150, *LEVEL), 1, 3),
        ((180, 150, *LEVEL), 0, 2),
        (LEVEL, 0, 0),
    ],
)
def test_warm_ups_that_would_have_done(
    judged: Judge, firsts: Sequence[float], warmups: int, needed: int
) -> None:
    """The first iteration that is as fast as the second half, whether it was measured or not."""
    got = judged(firsts, warmups=warmups)

    assert needed == got.needed
    assert (needed > warmups) is got.is_late
    assert got.is_stable is not got.is_late


def test_one_slow_start_of_three_is_not_the_rule(judged: Judge) -> None:
    """The launch in the middle decides; a single stumble is none of the warm-ups'."""
    steady = (200, *LEVEL)

    assert judged((200, 180, *LEVEL[1:]), steady, steady).needed == 1


def test_noise_may_hide_whether_a_warm_up_was_needed(judged: Judge) -> None:
    """40 % above the second half, which itself goes from 100 to 130: neither needed nor not."""
    assert judged((140, 80, 120, 90, 110, 130, 100)).needed is None


def test_a_slow_start_must_hold_for_all_rows_together(
    judged: Judge, request_of: Build, launch_of: Callable[..., Launch], run_of: BuildRun
) -> None:
    """8.4 % above 98, 100 and 102 is t = 3.5 on 2 degrees, p = 0.037: enough for one metric, not for each of two."""
    firsts = (400, 108.4, 100, 100, 98, 100, 102)
    config = RunConfig(model="m", prompts=(PROMPT,), output_tokens=1)
    requests = [request_of([ms], iteration=i, is_warmup=i == 0) for i, ms in enumerate(firsts)]

    (alone,) = stability.judge_stability(evaluate(run_of([launch_of(requests)], cells=(config,))))

    assert (2, None) == (alone.needed, judged(firsts).needed)


def test_what_drifts_at_its_end_tells_no_warm_ups(judged: Judge) -> None:
    """A slow start is not told where the rest of it falls all along."""
    got = judged((300, 200, *(130 - 4 * i for i in range(8))))

    assert got.needed is None
    assert got.drifts["first_token"] < 0


def test_disturbed_requests_are_left_out(run_with: BuildRun) -> None:
    """The last iteration took twice as long beside a neighbour: still steady."""
    run = altered(run_with((200, *LEVEL, 200)), -1, conditions=NOISY)

    (got,) = stability.judge_stability(evaluate(run))

    assert (True, 1) == (got.is_stable, got.needed)


def test_launches_that_did_not_finish_are_left_out(run_with: BuildRun) -> None:
    """A drift in a launch that was cut short is not told."""
    run = run_with((200, *LEVEL), (200, *RISING))
    cut = dataclasses.replace(run.launches[1], outcome=Outcome.ABORTED)

    (got,) = stability.judge_stability(evaluate(dataclasses.replace(run, launches=(run.launches[0], cut))))

    assert got.is_stable


def test_other_lengths_are_not_set_against_each_other(run_with: BuildRun) -> None:
    """Where an iteration had more tokens in, nothing is said."""
    run = run_with((200, *LEVEL))
    sequence = dataclasses.replace(run.launches[0].measurements[3].sequences[0], input_tokens=64)

    (got,) = stability.judge_stability(evaluate(altered(run, 3, sequences=(sequence,))))

    assert (None, None) == (got.is_stable, got.needed)


def test_guesses_are_not_called_steady(judged: Judge) -> None:
    """With prompt lookup a token's time depends on the variant, so only the first token is looked at."""
    got = judged((99, *RISING), (99, *RISING), max_ngram_size=3)

    assert {"first_token"} == set(got.drifts)
    assert judged((200, *LEVEL), max_ngram_size=3).is_stable is None


def test_one_output_token_has_a_first_only(
    request_of: Build, launch_of: Callable[..., Launch], run_of: BuildRun
) -> None:
    """What does not exist need not be steady."""
    config = RunConfig(model="m", prompts=(PROMPT,), output_tokens=1)
    requests = [request_of([ms], iteration=i, is_warmup=i == 0) for i, ms in enumerate((200, *LEVEL))]

    (got,) = stability.judge_stability(evaluate(run_of([launch_of(requests)], cells=(config,))))

    assert (True, 1) == (got.is_stable, got.needed)


def test_nothing_measured_is_no_row(run_of: BuildRun) -> None:
    """A run without a launch has nothing to judge."""
    assert () == stability.judge_stability(evaluate(run_of([])))


def _noisy(source: random.Random, drift: float) -> Sequence[float]:
    """A warm-up and ten iterations with a noise of 2 %."""
    return [100 * math.exp(source.gauss(0, 0.02)) * (1 + drift * max(0, i - 1) / 9) for i in range(11)]


def test_false_alarms_and_power_of_a_whole_run(judged: Judge) -> None:
    """Noise of 2 %, three launches: no alarm in 19 of 20 quiet runs, and a drift of 15 % in 19 of 20 found."""
    source = random.Random(11)  # noqa: S311  a simulation, not a secret

    def reported(drift: float) -> list[Stability]:
        return [judged(*(_noisy(source, drift) for _ in range(3))) for _ in range(100)]

    quiet, drifting = reported(0.0), reported(0.15)

    assert sum(each.is_stable is False for each in quiet) <= 6
    assert sum("first_token" in each.drifts for each in drifting) >= 95


def test_thresholds_are_those_of_a_comparison(judged: Judge) -> None:
    """4 % from first to last matters for the time of a token, not for the first."""
    got: Mapping[str, float] = judged(*[(100, *(100 * 1.04 ** (i / 5) for i in range(6)))] * 2).drifts

    assert {"tpot"} == set(got)


def test_stability_is_judged_once(story_of: Callable[..., Run]) -> None:
    """A card, its remarks and a table read it; on a large run each judgement takes a second."""
    report = summarize_run(story_of())

    assert report.stability is report.stability
    assert report.agreement is report.agreement
