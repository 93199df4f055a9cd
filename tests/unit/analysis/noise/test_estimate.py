import dataclasses
import math
from collections.abc import Callable, Sequence

import pytest

from llmbench.analysis.comparison.compare import Comparison
from llmbench.analysis.noise import estimate as noise
from llmbench.analysis.noise.calibration import Calibration, CalibrationSession, NoiseSeries
from llmbench.analysis.noise.estimate import Noise, comparable_sessions, estimate_noise, footnotes

Compare = Callable[[str], Comparison]


def session(
    *series: tuple[str, str, Sequence[float]],
    blocks: Sequence[int] | None = None,
    version: str = "1",
    day: int = 1,
) -> CalibrationSession:
    """A session from (prompt, metric, logarithms by launch)."""
    return CalibrationSession(
        run=f"run{day}",
        started_at=f"2026-01-{day:02d}T03:04:00+00:00",
        software={"openvino": version},
        blocks=tuple(blocks if blocks is not None else range(len(series[0][2]))),
        series=tuple(
            NoiseSeries(
                prompt=prompt, label=prompt.upper(), metric=metric, logs=tuple(logs), iteration_sd=0.005
            )
            for prompt, metric, logs in series
        ),
    )


def calibrated(*sessions: CalibrationSession) -> Calibration:
    """A calibration of these sessions."""
    prompts = tuple(dict.fromkeys(series.prompt for series in sessions[-1].series))
    return Calibration(named={}, prompts=prompts, sessions=sessions)


def test_launch_noise_is_the_deviation_of_logarithms() -> None:
    """Logarithms -0.01, 0, 0.01: their deviation is 0.01, their centre 1 s."""
    (got,) = estimate_noise(calibrated(session(("p", "tpot", [-0.01, 0.0, 0.01]))))

    assert pytest.approx(0.01) == got.launch
    assert pytest.approx(1.0) == got.center
    assert ("P", "tpot", 0.005, None) == (got.label, got.metric, got.iteration, got.session)
    assert got.pair is None  # no block has two


def test_several_prompts_have_a_mean_of_the_primary_metrics() -> None:
    """P has -0.02, 0, 0.02 and Q has 0.02, 0, -0.02: their mean does not vary at all."""
    rows = [
        (prompt, metric, [sign * 0.02, 0.0, -sign * 0.02])
        for prompt, sign in (("p", -1), ("q", 1))
        for metric in ("first_token", "tpot", "e2e")
    ]
    found = estimate_noise(calibrated(session(*rows)))

    assert [("mean", "first_token"), ("mean", "tpot"), ("P", "first_token")] == [
        (each.label, each.metric) for each in found[:3]
    ]
    assert [0.0, 0.0] == [each.launch for each in found[:2]]
    assert pytest.approx(0.02) == found[2].launch
    assert found[:2] == noise.primary_noise(found)


def test_pairs_are_the_launches_of_a_block() -> None:
    """Blocks that drift by 1 differ by 0.01, 0.02, 0.02 inside: the root of (1 + 4 + 4) / 3 is 1.732 %."""
    logs = [0.0, 0.01, 1.02, 1.0, 2.0, 2.02]
    (got,) = estimate_noise(calibrated(session(("p", "tpot", logs), blocks=[0, 0, 1, 1, 2, 2])))

    assert pytest.approx(0.01 * math.sqrt(3)) == got.pair


def test_a_block_with_one_launch_is_no_pair() -> None:
    """The partner failed."""
    (got,) = estimate_noise(calibrated(session(("p", "tpot", [0.0, 0.01, 5.0]), blocks=[0, 0, 1])))

    assert pytest.approx(0.01) == got.pair


def test_sessions_differ_by_what_their_launches_do_not_explain() -> None:
    """Means 0 and 0.1: variance 0.005; of it 0.0002 / 2, the launches' variance over their number, is theirs."""
    low, high = [-0.01, 0.01], [0.09, 0.11]
    (got,) = estimate_noise(calibrated(session(("p", "tpot", low)), session(("p", "tpot", high), day=2)))

    assert pytest.approx(math.sqrt(0.005 - 0.0001)) == got.session
    assert pytest.approx(math.sqrt(0.0002)) == got.launch  # inside sessions only


def test_sessions_that_differ_less_than_chance_do_not_differ() -> None:
    """The variance left is never below nothing."""
    same = [-0.01, 0.01]
    (got,) = estimate_noise(calibrated(session(("p", "tpot", same)), session(("p", "tpot", same), day=2)))

    assert 0.0 == got.session


def test_a_release_is_no_session_change() -> None:
    """Sessions of other software are left out: what differs there may be the release."""
    old = session(("p", "tpot", [5.0, 5.1]), version="0")
    new = session(("p", "tpot", [0.0, 0.01]), day=2)

    other = session(("p", "e2e", [0.0, 0.01]), day=2)
    assert (new,) == comparable_sessions(calibrated(old, other, new))
    assert estimate_noise(calibrated(old, new))[0].session is None


def test_what_is_visible_by_hand() -> None:
    """Noise 2 %, 3 launches a side: error 0.02 * sqrt(2/3) = 1.633 %, times t(0.975, 4) + t(0.8, 4) = 3.717."""
    one = Noise(prompt="p", label="P", metric="tpot", center=1.0, launch=0.02, pair=0.02)

    assert pytest.approx(math.expm1(3.717410 * 0.0163299), rel=1e-4) == one.visible(3)
    # three blocks: error 0.02 / sqrt(3), times t(0.975, 2) + t(0.8, 2) = 4.302653 + 1.060660
    assert pytest.approx(math.expm1(5.363313 * 0.02 / math.sqrt(3)), rel=1e-4) == one.visible_in_blocks(3)
    assert dataclasses.replace(one, pair=None).visible_in_blocks(3) is None


def test_launches_needed_grow_with_the_noise_and_shrink_with_the_change() -> None:
    """About 2 * (2.8 * noise / change) ** 2; beyond a thousand nobody measures."""
    one = Noise(prompt="p", label="P", metric="tpot", center=1.0, launch=0.01)
    needed = [one.needed(change) for change in (0.01, 0.02, 0.05, 0.10)]

    assert needed == sorted(needed, key=lambda n: -(n or 0))
    assert 16 <= (needed[0] or 0) <= 18
    assert dataclasses.replace(one, launch=0.5).needed(0.01) is None


def test_two_sessions_lie_apart_by_twice_their_deviation() -> None:
    """1.96 times root 2 times 1 % is 2.77 %, as a ratio 2.81 %."""
    one = Noise(prompt="p", label="P", metric="tpot", center=1.0, launch=0.01, session=0.01)

    assert pytest.approx(0.02811, abs=1e-5) == one.between_sessions
    assert dataclasses.replace(one, session=None).between_sessions is None


ROWS = [(prompt, metric, [-0.001, 0.0, 0.001]) for prompt in "pq" for metric in ("first_token", "tpot")]


def test_a_comparison_is_told_of_the_noise(comparison_of: Compare) -> None:
    """When it was calibrated, and how launches differ there."""
    (reported,) = footnotes(calibrated(session(*ROWS, day=9)), comparison_of("unchanged"))

    assert reported.startswith(
        "calibrated on 2026-01-09: launches of one build differ by 0.1 % (first token), "
    )
    assert reported.endswith("0.1 % (time per output token)")


def test_launches_that_differ_more_than_usual_are_named(comparison_of: Compare) -> None:
    """The stories differ by 1.5 % from launch to launch, where the calibration says 0.1 %."""
    reported = footnotes(calibrated(session(*ROWS)), comparison_of("inconclusive"))

    assert any("first token: launches differ by 1.5 % here, 15 times as much" in text for text in reported)


def test_sessions_that_differ_more_than_the_threshold_are_named(comparison_of: Compare) -> None:
    """Two runs are of two sessions; a trial measured in turns is of one."""
    shifted = [(prompt, metric, [log + 0.1 for log in logs]) for prompt, metric, logs in ROWS]
    known = calibrated(session(*ROWS), session(*shifted, day=2))
    found = comparison_of("unchanged")

    assert any("two sessions differ by up to 21.7 %" in text for text in footnotes(known, found))
    assert not any(
        "sessions" in text for text in footnotes(known, dataclasses.replace(found, is_paired=True))
    )


def test_nothing_that_was_compared_has_no_notes(comparison_of: Compare) -> None:
    """Incomparable runs, or metrics that were not calibrated."""
    assert () == footnotes(calibrated(session(*ROWS)), comparison_of("incomparable"))
    other = calibrated(session(("p", "e2e", [0.0, 0.1])))
    assert () == footnotes(other, comparison_of("unchanged"))
