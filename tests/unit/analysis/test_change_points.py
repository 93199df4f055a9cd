"""Rates by simulation at a launch-to-launch noise of 1.5 %: false alarms, steps found, drifts found."""

import numpy as np
import pytest

from llmbench.analysis.change_points import LEAST_VALUES, find_change_points

NOISE = 0.015
SERIES = 300


def _found(level: np.ndarray, *, seed: int) -> list[tuple[int, ...]]:
    """The changes found in many noisy series of this level."""
    noise = np.random.default_rng(seed).normal(0, NOISE, (SERIES, len(level)))
    return [find_change_points(series) for series in (level + noise).tolist()]


def _share(found: list[tuple[int, ...]]) -> float:
    return sum(map(bool, found)) / len(found)


@pytest.mark.parametrize("length", [10, 20, 60])
def test_a_flat_series_has_at_most_five_false_alarms_in_a_hundred(length: int) -> None:
    """In the whole series, not at each place."""
    assert 0.05 >= _share(_found(np.zeros(length), seed=1))


@pytest.mark.parametrize("length", [20, 60])
def test_a_step_of_five_percent_is_found_where_it_is(length: int) -> None:
    """In 95 of 100 series; in most of them at the very run, else next to it."""
    middle = length // 2
    found = _found(np.where(np.arange(length) < middle, 0.0, np.log(1.05)), seed=2)

    near = [any(abs(at - middle) <= 1 for at in each) for each in found]
    assert 0.95 <= sum(near) / len(near)


def test_a_step_is_found_from_three_runs_after_it() -> None:
    """Of sixty runs the last three are slower by 5 %."""
    assert 0.9 <= _share(_found(np.where(np.arange(60) < 57, 0.0, np.log(1.05)), seed=3))


def test_a_drift_in_steps_of_one_percent_is_found() -> None:
    """Ten of them, six runs apart, none visible by itself: what is found only rises."""
    found = _found(np.log(1.01) * (np.arange(60) // 6), seed=4)

    assert 0.99 <= _share(found)


def test_one_run_that_stands_out_is_no_change() -> None:
    """Ten times the noise, alone."""
    level = np.where(np.arange(40) == 20, 0.15, 0.0)

    assert 0.07 >= _share(_found(level, seed=5))


def test_a_series_without_noise_shows_its_exact_step() -> None:
    """Simulated runs do not vary at all."""
    assert (6,) == find_change_points([0.0] * 6 + [0.01] * 6)
    assert () == find_change_points([0.0] * 12)


def test_a_short_series_shows_nothing() -> None:
    """Its noise is not known."""
    assert () == find_change_points([0.0] * 3 + [1.0] * (LEAST_VALUES - 4))
