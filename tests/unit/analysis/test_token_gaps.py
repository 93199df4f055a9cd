from collections.abc import Callable

import pytest

from llmbench.analysis import token_gaps
from llmbench.analysis.evaluation import evaluate
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.measurement import Conditions, Measurement
from llmbench.schema.run import Launch, Outcome, Run

Build = Callable[..., Measurement]
BuildLaunch = Callable[..., Launch]
BuildRun = Callable[..., Run]
NOISY = Conditions(wall_s=1.0, cpus=1, worker_s=0.5, interference_s=0.5)


def test_a_gap_is_told_by_its_token_and_its_context(
    request_of: Build, launch_of: BuildLaunch, run_of: BuildRun
) -> None:
    """32 tokens in, tokens at 100, 115 and 125 ms: the second waits 15 ms behind 33, the third 10 ms behind 34."""
    (profile,) = token_gaps.gap_profiles(evaluate(run_of([launch_of([request_of([100, 115, 125])])])))

    assert 32 == profile.input_tokens
    assert [(2, 33), (3, 34)] == [(gap.token, gap.context) for gap in profile.gaps]
    assert pytest.approx([0.015, 0.010]) == [gap.median for gap in profile.gaps]


def test_the_middle_half_of_the_requests(request_of: Build, launch_of: BuildLaunch, run_of: BuildRun) -> None:
    """Gaps of 10, 20, 30, 40 and 50 ms: the median is 30, half of them lie from 20 to 40."""
    requests = [request_of([100, 100 + gap]) for gap in (50, 10, 30, 20, 40)]

    gap = token_gaps.gap_profiles(evaluate(run_of([launch_of(requests)])))[0].gaps[0]

    assert pytest.approx([0.02, 0.03, 0.04]) == [gap.low, gap.median, gap.high]
    assert 5 == gap.n


def test_tokens_of_one_event_share_its_wait(
    request_of: Build, launch_of: BuildLaunch, run_of: BuildRun
) -> None:
    """A speculative step of three tokens after 30 ms is 10 ms each, told at the last of them."""
    request = request_of([100, 130], counts=(1, 3), requested_tokens=4)

    (gap,) = token_gaps.gap_profiles(evaluate(run_of([launch_of([request])])))[0].gaps

    assert (4, 35) == (gap.token, gap.context)
    assert pytest.approx(0.010) == gap.median


def test_only_what_counts_is_taken(request_of: Build, launch_of: BuildLaunch, run_of: BuildRun) -> None:
    """Warm-ups, invalid requests, cut launches and reports without token times leave no gap."""
    run = run_of(
        [
            launch_of(
                [
                    request_of([100, 900], is_warmup=True),
                    request_of([100, 900], conditions=NOISY),
                    request_of([100, 900], has_token_times=False),
                    request_of([100, 110]),
                ]
            ),
            launch_of([request_of([100, 900])], index=1, outcome=Outcome.ABORTED),
        ],
    )

    (gap,) = token_gaps.gap_profiles(evaluate(run))[0].gaps

    assert 1 == gap.n
    assert pytest.approx(0.010) == gap.median


def test_one_token_has_no_gap(request_of: Build, launch_of: BuildLaunch, run_of: BuildRun) -> None:
    """Nothing follows the only token: no profile and no slope."""
    run = run_of([launch_of([request_of([100])])])

    assert () == token_gaps.gap_profiles(evaluate(run))
    assert (None,) == token_gaps.slopes(evaluate(run))


def test_the_slope_is_each_launchs_own_line(
    request_of: Build, launch_of: BuildLaunch, run_of: BuildRun
) -> None:
    """Gaps of 10 ms behind 102 tokens and 12 ms behind 302: 2 ms in 200 tokens is 10 us; launch 1 has 20 us.

    The second token, slow as it may be, is no part of it.
    """
    prompts = tuple(Prompt(set="s", index=i, tokens=n) for i, n in enumerate((100, 300)))
    config = RunConfig(model="m", prompts=prompts, output_tokens=3)
    launches = [
        launch_of(
            [
                request_of([50, 90, 100], prompt=0, input_tokens=100, launch=index),
                request_of([50, 190, 200 + more], prompt=1, input_tokens=300, launch=index),
            ],
            index=index,
        )
        for index, more in enumerate((2, 4))
    ]

    (slope,) = token_gaps.slopes(evaluate(run_of(launches, cells=(config,))))

    assert slope is not None
    assert pytest.approx({0: 10e-6, 1: 20e-6}) == slope.by_launch
    assert pytest.approx(15e-6) == slope.median
    assert (102, 302) == (slope.shortest, slope.longest)


def test_a_slope_needs_two_contexts(request_of: Build, launch_of: BuildLaunch, run_of: BuildRun) -> None:
    """Three tokens of one prompt have one steady gap: no line goes through one point."""
    assert (None,) == token_gaps.slopes(evaluate(run_of([launch_of([request_of([100, 115, 125])])])))


def test_a_slope_stands_on_medians(request_of: Build, launch_of: BuildLaunch, run_of: BuildRun) -> None:
    """One disturbed request of three does not bend the line: 10 ms, then 11 ms behind one token more."""
    requests = [
        request_of([100, 110, 120, 131]),
        request_of([100, 110, 120, 131]),
        request_of([100, 110, 920, 921]),
    ]

    (slope,) = token_gaps.slopes(evaluate(run_of([launch_of(requests)])))

    assert slope is not None
    assert pytest.approx(1e-3) == slope.median
