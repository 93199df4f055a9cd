import math
import random

import numpy as np
import pytest

from llmbench.analysis import stats
from llmbench.analysis.comparison.change import decide
from llmbench.analysis.comparison.rule import Rule, Threshold, Verdict
from llmbench.analysis.noise.calibration import Calibration, CalibrationSession, NoiseSeries
from llmbench.analysis.noise.estimate import estimate_noise
from llmbench.analysis.noise.false_alarms import MOST_SLOWDOWN, _Simulator, false_alarms

METRICS = ("first_token", "tpot")


def calibrated(spread: float, *, shifts: tuple[float, ...] = (0.0,), launches: int = 20) -> Calibration:
    """Sessions of two prompts whose launches vary by *spread*, each session shifted as a whole; seeded."""
    draw = random.Random(7)  # noqa: S311  a seeded stream, not a secret
    sessions = tuple(
        CalibrationSession(
            run=f"run{number}",
            started_at="2026-01-01",
            software={},
            blocks=tuple(range(launches)),
            series=tuple(
                NoiseSeries(
                    prompt=prompt,
                    label=prompt,
                    metric=metric,
                    logs=tuple(shift + draw.gauss(0, spread) for _ in range(launches)),
                )
                for prompt in "pq"
                for metric in METRICS
            ),
        )
        for number, shift in enumerate(shifts)
    )
    return Calibration(named={}, prompts=("p", "q"), sessions=sessions)


def rule(share: float) -> Rule:
    """A rule with one threshold for all."""
    return Rule(thresholds=dict.fromkeys(METRICS, Threshold(share=share)))


def test_a_quiet_machine_has_no_false_alarms() -> None:
    """Noise of 0.5 % against thresholds of 3 and 5 %."""
    got = false_alarms(calibrated(0.005), 5)

    assert (5, 0.0, None) == (got.launches, got.within, got.across)


def test_without_thresholds_the_error_is_what_the_rule_allows() -> None:
    """One-sided, half of the 5 % that both directions share, and no more; noise alone decides."""
    got = false_alarms(calibrated(0.05), 5, rule(0.0))

    assert 0.005 < got.within < 0.05


def test_sessions_that_differ_make_false_alarms() -> None:
    """Sessions 10 % apart: what is tested inside one is fine, and across them cries wolf."""
    got = false_alarms(calibrated(0.005, shifts=(0.0, 0.1, -0.1)), 5)

    assert 0.0 == got.within
    assert got.across is not None
    assert got.across > 0.2


def test_the_same_calibration_gives_the_same_answer() -> None:
    """Seeded."""
    known = calibrated(0.05)

    assert false_alarms(known, 3, rule(0.01)) == false_alarms(known, 3, rule(0.01))


@pytest.mark.parametrize("launches", [2, 10])
def test_the_threshold_keeps_alarms_rare_on_a_noisy_machine(launches: int) -> None:
    """Noise of 10 % and the usual thresholds: still within what the rule allows."""
    assert false_alarms(calibrated(0.1), launches).within < 0.05


@pytest.mark.parametrize(
    "spread", [0.021, *(pytest.param(spread, marks=pytest.mark.slow) for spread in (0.01, 0.05))]
)
def test_a_gate_fails_four_times_in_five_at_the_slowdown_it_states(spread: float) -> None:
    """Fresh draws, judged one by one by the statistics and the rule of `report compare`: 80 % within 4 errors."""
    known = calibrated(spread)
    stated = false_alarms(known, 5).detectable
    noises = [each for each in estimate_noise(known) if each.prompt is not None]

    assert list(METRICS) == list(stated)
    for metric, slowdown in stated.items():
        assert slowdown is not None
        assert slowdown > Rule().thresholds[metric].share
        simulator = _Simulator(known, noises, launches=5, rule=Rule(), seed=1)
        assert pytest.approx(0.8, abs=4 * (0.16 / 300) ** 0.5) == power(simulator, metric, slowdown, 300)


def power(simulator: _Simulator, metric: str, slowdown: float, draws: int) -> float:
    """The share of comparisons with an alarm where one metric is slower: rows after Holm, means by themselves."""
    sides = simulator.sides(across=False)[:draws]
    sides[:, 1] += np.array([[math.log1p(slowdown) * (name == metric)] for name in simulator.metrics])
    thresholds = [Rule().thresholds[name].share for name in simulator.metrics]
    found = 0
    for base, candidate in sides.tolist():
        ratios = [stats.welch_ratio(*pair) for pair in zip(base, candidate, strict=True)]
        errors = [ratio.p or 0.0 for ratio in ratios]
        errors[:4] = stats.holm(errors[:4])
        allowed = [Rule().row_error] * 4 + [Rule().mean_error(1)] * 2
        found += any(
            decide(ratio, threshold) is Verdict.REGRESSED and error <= most
            for ratio, threshold, error, most in zip(ratios, thresholds, errors, allowed, strict=True)
        )
    return found / draws


def test_without_noise_a_gate_sees_what_its_threshold_allows() -> None:
    """5 % of the first token, 3 % of the others, and not less."""
    stated = false_alarms(calibrated(0.0), 5).detectable

    assert pytest.approx([0.05, 0.03], abs=1e-3) == list(stated.values())


def test_a_machine_too_noisy_for_a_gate_sees_nothing() -> None:
    """Two launches that differ by a factor of three."""
    assert {None} == set(false_alarms(calibrated(1.1), 2).detectable.values())
    assert MOST_SLOWDOWN > 1
