import math
import random
import statistics

import pytest
import scipy.stats

from llmbench.analysis import trend


def by_place(*values: float) -> dict[int, float]:
    """Values at the places 1, 2, 3 ..."""
    return dict(enumerate(values, start=1))


def seeded(seed: int) -> random.Random:
    """A stream of numbers that is the same in every run."""
    return random.Random(seed)  # noqa: S311  a simulation, not a secret


def drawn(source: random.Random, *, count: int, noise: float, drift: float = 0.0) -> dict[int, float]:
    """A launch of so many iterations: a level of its own, log-normal noise, and a drift from first to last."""
    level = source.gauss(0, 0.1)
    return by_place(
        *(
            math.exp(level + source.gauss(0, noise) + math.log1p(drift) * i / (count - 1))
            for i in range(count)
        )
    )


def test_five_values_that_rise() -> None:
    """Each 10 % above the one before: 1.1^4 - 1 in all, and 2 of the 120 orders are as extreme."""
    got = trend.find_trend([by_place(1, 1.1, 1.21, 1.331, 1.4641)])

    assert got is not None
    assert pytest.approx(0.4641) == got.change
    assert pytest.approx(2 / 120) == got.p == got.least_p


def test_two_against_each_other() -> None:
    """One series rises and one falls as much: no change, and every order is as extreme."""
    got = trend.find_trend([by_place(1, 2, 4), by_place(4, 2, 1)])

    assert got is not None
    assert (pytest.approx(0.0), 1.0) == (got.change, got.p)
    assert pytest.approx(2 / 36) == got.least_p


def test_series_may_lie_anywhere() -> None:
    """A series at a thousand times the level of the other changes neither the score nor the change."""
    one = trend.find_trend([by_place(1, 2, 4), by_place(1, 2, 4)])

    assert one == trend.find_trend([by_place(1, 2, 4), by_place(1024, 2048, 4096)])


def test_a_gap_is_no_shorter_way() -> None:
    """Doubling from place 1 to 2 and again to 3, with place 2 left out: still four times."""
    got = trend.find_trend([{1: 1.0, 3: 4.0}])

    assert got is not None
    assert pytest.approx(3.0) == got.change


@pytest.mark.parametrize("series", [[], [{}], [{1: 5.0}], [{1: 5.0}, {2: 6.0}]])
def test_without_two_values_there_is_no_trend(series: list[dict[int, float]]) -> None:
    """Values of different series are never set against each other."""
    assert trend.find_trend(series) is None


def test_values_all_the_same_show_nothing() -> None:
    """Ties count for neither side."""
    got = trend.find_trend([by_place(*[0.2] * 6)])

    assert got is not None
    assert (0.0, 1.0) == (got.change, got.p)


@pytest.mark.parametrize("seed", range(5))
def test_one_series_agrees_with_scipy(seed: int) -> None:
    """The exact p-value is that of Kendall's tau, the slope that of Theil and Sen, on the logarithms."""
    source = seeded(seed)
    values = [math.exp(source.gauss(0, 1)) for _ in range(9)]

    got = trend.find_trend([dict(enumerate(values))])

    assert got is not None
    assert pytest.approx(scipy.stats.kendalltau(range(9), values, method="exact").pvalue) == got.p
    slope = scipy.stats.theilslopes([math.log(value) for value in values], range(9)).slope
    assert pytest.approx(math.expm1(slope * 8)) == got.change


def test_the_normal_joins_the_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two series of ten: the approximation is within half a percent of the exact p-value."""
    source = seeded(3)
    series = [drawn(source, count=10, noise=0.02, drift=0.03) for _ in range(2)]
    exact = trend.find_trend(series)
    monkeypatch.setattr(trend, "EXACT_PAIRS", 0)
    normal = trend.find_trend(series)

    assert exact is not None
    assert normal is not None
    assert exact.p == pytest.approx(normal.p, abs=0.005)


def test_a_long_series_is_thinned() -> None:
    """10,000 values that grow by 20 % in all: the change is found within a tenth of it."""
    source = seeded(5)

    got = trend.find_trend([drawn(source, count=10_000, noise=0.05, drift=0.2)])

    assert got is not None
    assert got.change == pytest.approx(0.2, abs=0.02)
    assert got.p < 1e-6


@pytest.mark.parametrize(("launches", "count"), [(1, 6), (2, 6), (3, 10), (5, 6), (2, 100)])
@pytest.mark.slow
def test_false_alarms_of_the_trend(launches: int, count: int) -> None:
    """Where nothing changes, at most 6.5 % of the tests say at 5 % that it does."""
    source = seeded(launches * 100 + count)
    found = [
        trend.find_trend([drawn(source, count=count, noise=0.03) for _ in range(launches)])
        for _ in range(500)
    ]

    assert statistics.fmean(each is not None and each.p <= 0.05 for each in found) <= 0.065


def test_a_drift_is_found() -> None:
    """10 % from the first of ten iterations to the last, noise 2 %, three launches: found at least 19 times in 20."""
    source = seeded(7)
    found = [
        trend.find_trend([drawn(source, count=10, noise=0.02, drift=0.1) for _ in range(3)])
        for _ in range(200)
    ]

    assert statistics.fmean(each is not None and each.p <= 0.05 for each in found) >= 0.95
    assert statistics.median(each.change for each in found if each) == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize(
    ("least", "decidable"),
    [
        ([], ()),
        ([0.04], (True,)),
        ([0.06], (False,)),
        ([0.001, 0.2, 0.001], (True, False, True)),
        ([2 / 720] * 18, (True,) * 18),
        ([2 / 720] * 19, (False,) * 19),
    ],
)
def test_what_can_be_decided(least: list[float], decidable: tuple[bool, ...]) -> None:
    """Tests share the error with those alone that could ever use their part: 18 of 2/720 make 5 %, 19 do not."""
    assert decidable == trend.testable(least, error=0.05)


def test_one_value_above_three() -> None:
    """10 % of logarithm above three with a spread of 2 %: t = 0.1 / (0.02 sqrt(4/3)) = 4.33 on 2 degrees."""
    got = trend.find_excess(
        [by_place(math.exp(0.1), 1, math.exp(0.02), math.exp(-0.02))], 1, against=(2, 3, 4)
    )

    assert got is not None
    t = 0.1 / (0.02 * math.sqrt(4 / 3))
    assert pytest.approx(math.expm1(0.1)) == got.change
    assert pytest.approx(0.5 - t / (2 * math.sqrt(2 + t**2))) == got.p


def test_one_launch_of_three_is_not_the_middle() -> None:
    """Only one of three series starts at twice its level: the change is that of the middle, none."""
    tail = (1.0, math.exp(0.02), math.exp(-0.02))

    got = trend.find_excess([by_place(first, *tail) for first in (2, 1, 1)], 1, against=(2, 3, 4))

    assert got is not None
    assert pytest.approx(0.0) == got.change


@pytest.mark.parametrize(
    "series", [[], [by_place(2, 1)], [by_place(2, 1, 1)], [{2: 1.0, 3: 1.0, 4: 1.0}], [{1: 2.0, 2: 1.0}] * 3]
)
def test_too_few_to_hold_a_value_against(series: list[dict[int, float]]) -> None:
    """Two degrees of freedom are the least: three values in one series, or two in each of two."""
    assert trend.find_excess(series, 1, against=(2, 3, 4)) is None


@pytest.mark.parametrize(("first", "p"), [(2.0, 0.0), (1.0, 1.0), (0.5, 1.0)])
def test_without_noise_it_is_larger_or_it_is_not(first: float, p: float) -> None:
    """Told latencies do not vary at all."""
    got = trend.find_excess([by_place(first, 1, 1, 1)], 1, against=(2, 3, 4))

    assert got is not None
    assert p == got.p


@pytest.mark.parametrize(("launches", "count"), [(1, 6), (2, 6), (5, 10)])
@pytest.mark.slow
def test_false_alarms_of_the_excess(launches: int, count: int) -> None:
    """The first of values that are all alike is called larger in at most 6.5 % of the cases at 5 %."""
    source = seeded(launches * 100 + count)
    tail = range(count // 2 + 1, count + 1)
    found = [
        trend.find_excess([drawn(source, count=count, noise=0.05) for _ in range(launches)], 1, against=tail)
        for _ in range(3000)
    ]

    assert statistics.fmean(each is not None and each.p <= 0.05 for each in found) <= 0.065
