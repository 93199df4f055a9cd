import math

import numpy as np
import pytest

from llmbench.analysis import stats
from llmbench.analysis.comparison.change import decide
from llmbench.analysis.comparison.rule import Verdict
from llmbench.analysis.fleet import deviation_between, find_outliers, fleet_changes
from tests.builders import comparison_of

HOSTS, LAUNCHES, RUNS = 8, 5, 400
HOST_SPREAD, LAUNCH_SPREAD = 0.04, 0.01


def test_an_outlier_is_far_from_the_median_of_all() -> None:
    """Median 100, deviations 0 to 1 %: 112 is one, by 12 %; 103 is not, for 3.5 times the least deviation is 3.5 %."""
    found = find_outliers({"a": 100.0, "b": 100.5, "c": 99.5, "d": 103.0, "e": 100.0, "f": 112.0})

    assert ["f"] == list(found)
    assert found["f"] == pytest.approx(112 / 100.25 - 1)


def test_among_three_hosts_nobody_can_say_which_is_odd() -> None:
    """Two may be wrong as well as one."""
    assert {} == find_outliers({"a": 100.0, "b": 100.0, "c": 200.0})


def test_the_deviation_between_hosts_is_what_launches_do_not_explain() -> None:
    """By hand: means 1 and 3, variance 2; launches have variance 2 each, of two 1 is explained: the root of 1."""
    assert deviation_between([[0.0, 2.0], [2.0, 4.0]]) == pytest.approx(1.0)
    assert deviation_between([[0.0, 2.0], [0.0, 2.0]]) == 0.0
    assert deviation_between([[1.0, 2.0]]) is None


def test_each_host_gives_one_value() -> None:
    """Three hosts with the same regression: the ratio is theirs, and all are slower."""
    changes = fleet_changes({host: comparison_of("regressed") for host in "abc"})

    assert changes
    for change in changes:
        (ratio,) = set(change.ratios.values())
        assert change.ratio.ratio == pytest.approx(ratio)
        assert (change.slower == 3) is (ratio > 1)


def test_pooling_would_raise_false_alarms_and_hosts_as_blocks_do_not() -> None:
    """Hosts answer a change each in its own way, up and down, and on average there is none.

    8 hosts whose true ratios vary by 4 %, 5 pairs of launches each with a noise of 1 %. Pooled pairs find a change
    far too often; one value per host does at the 5 % that a 95 % interval allows. The threshold is 0 here, so that
    only the intervals decide.
    """
    random = np.random.default_rng(1)
    truth = random.normal(0, HOST_SPREAD, (RUNS, HOSTS, 1))
    pairs = truth + random.normal(0, LAUNCH_SPREAD, (RUNS, HOSTS, LAUNCHES))
    pooled = [_verdict(logs.ravel()) for logs in pairs]
    blocked = [_verdict(logs) for logs in pairs.mean(axis=2)]

    assert sum(verdict is not Verdict.INCONCLUSIVE for verdict in pooled) > RUNS / 4
    assert sum(verdict is not Verdict.INCONCLUSIVE for verdict in blocked) <= 0.08 * RUNS


def test_a_change_of_all_hosts_is_found() -> None:
    """+10 % on each of 8 hosts, which vary by 4 %: found in at least 19 of 20 fleets."""
    random = np.random.default_rng(2)
    logs = math.log(1.1) + random.normal(0, HOST_SPREAD, (RUNS, HOSTS))

    assert sum(_verdict(each) is Verdict.REGRESSED for each in logs) >= 0.95 * RUNS


def _verdict(logs: np.ndarray) -> Verdict:
    return decide(stats.paired_ratio([0.0] * len(logs), [float(log) for log in logs]), 0.0)
