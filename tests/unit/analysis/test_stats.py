import math
import random
import statistics
from collections.abc import Callable

import pytest
import scipy.stats

from llmbench.analysis import stats
from llmbench.analysis.stats import Ratio


def seeded(seed: int) -> random.Random:
    """A stream of numbers that is the same each time."""
    return random.Random(seed)  # noqa: S311  a simulation, not a secret


def test_needs_six_values_for_95_percent() -> None:
    """Fewer than six values give an infinite interval and say why."""
    got = stats.summarize_values([1.0, 2.0, 3.0, 4.0, 5.0])

    assert 3.0 == got.median
    assert (-math.inf, math.inf) == (got.low, got.high)
    assert not got.has_interval
    assert ("needs 6 values for an interval at 95 %",) == got.warnings


def test_six_values_span_their_interval() -> None:
    """Six values: 2 / 2^6 = 3.1 % lie outside the smallest and the largest."""
    got = stats.summarize_values([6.0, 1.0, 5.0, 2.0, 4.0, 3.0])

    assert (6, 3.5, 1.0, 6.0, ()) == (got.n, got.median, got.low, got.high, got.warnings)
    assert got.has_interval


@pytest.mark.parametrize(
    ("n", "rank"), [(6, 1), (8, 1), (9, 2), (12, 3), (20, 6), (25, 8), (100, 40), (1000, 469)]
)
def test_ranks_are_those_of_the_tables(n: int, rank: int) -> None:
    """The ranks of 95 % intervals of a median, as printed tables have them (n 25: 8th and 18th)."""
    got = stats.summarize_values([float(i) for i in range(1, n + 1)])

    assert (float(rank), float(n + 1 - rank)) == (got.low, got.high)


def test_large_samples_take_the_normal_ranks() -> None:
    """1001 values: 502 - 1.96 * sqrt(1001)/2 - 1 = 469 and 1001 + 1 - 469 or one wider, as scipy says."""
    got = stats.summarize_values([float(i) for i in range(1, 1002)])
    exact = scipy.stats.binom.ppf(0.025, 1001, 0.5)

    assert abs(got.low - exact) <= 1
    assert 1002.0 == got.low + got.high


def test_launches_are_summarised_on_logarithms() -> None:
    """Medians 1, e^0.2, e^0.4: mean 0.2, sd 0.2, t(2) 4.3027, so 0.2 ± 4.3027 * 0.2 / sqrt(3)."""
    got = stats.summarize_launches([1.0, math.exp(0.2), math.exp(0.4)])

    assert pytest.approx(math.exp(0.2)) == got.median
    assert pytest.approx([math.exp(0.2 - 0.49683), math.exp(0.2 + 0.49683)], rel=1e-4) == [got.low, got.high]


def test_one_launch_has_no_interval_between_launches() -> None:
    """One launch says nothing about the next."""
    got = stats.summarize_launches([2.0])

    assert (1, 2.0, False) == (got.n, got.median, got.has_interval)
    assert ("one launch has no interval between launches",) == got.warnings


def test_zero_has_no_logarithm() -> None:
    """A median of 0 is kept, without an interval."""
    got = stats.summarize_launches([0.0, 1.0, 2.0])

    assert (1.0, False) == (got.median, got.has_interval)


def test_equal_launches_have_an_interval_of_no_width() -> None:
    """Three times the same: the interval is the value."""
    got = stats.summarize_launches([0.1, 0.1, 0.1])

    assert pytest.approx([0.1, 0.1, 0.1]) == [got.low, got.median, got.high]


@pytest.mark.parametrize(("percent", "needs"), [(90, 64), (95, 130), (99, 662)])
def test_percentiles_only_where_the_data_carry_them(percent: int, needs: int) -> None:
    """One value short there is none; with enough it is a value that was seen."""
    values = [float(i) for i in range(1, needs + 1)]

    assert stats.percentile(values[1:], percent) is None
    assert stats.percentile(values, percent) == math.ceil(needs * percent / 100)


BASE = (math.log(100), math.log(102), math.log(98))
CANDIDATE = (math.log(110), math.log(113), math.log(109), math.log(108))


def test_welch_agrees_with_scipy() -> None:
    """Ratio, interval and p-value are those of scipy's Welch test on the same logarithms."""
    got = stats.welch_ratio(BASE, CANDIDATE)
    test = scipy.stats.ttest_ind(CANDIDATE, BASE, equal_var=False)
    interval = test.confidence_interval(0.95)

    assert pytest.approx(test.pvalue) == got.p
    assert pytest.approx([math.exp(interval.low), math.exp(interval.high)]) == [got.low, got.high]
    assert pytest.approx(test.df) == got.freedom


def test_welch_by_hand() -> None:
    """Logs 0, 0.2 and 1, 1.4: difference 1.1, error sqrt(0.02/2 + 0.08/2) = 0.22361, freedom 1.4706."""
    got = stats.welch_ratio([0.0, 0.2], [1.0, 1.4])

    assert pytest.approx(math.exp(1.1)) == got.ratio
    assert pytest.approx(0.2236068) == got.log_error
    assert pytest.approx(0.05**2 / (0.01**2 + 0.04**2)) == got.freedom
    assert pytest.approx(math.sqrt(0.05)) == got.spread


def test_paired_agrees_with_scipy() -> None:
    """Ratio, interval and p-value are those of scipy's paired test."""
    got = stats.paired_ratio(CANDIDATE[:3], BASE)
    test = scipy.stats.ttest_rel(BASE, CANDIDATE[:3])
    interval = test.confidence_interval(0.95)

    assert pytest.approx(test.pvalue) == got.p
    assert pytest.approx([math.exp(interval.low), math.exp(interval.high)]) == [got.low, got.high]


@pytest.mark.parametrize("compare", [stats.welch_ratio, stats.paired_ratio])
def test_one_launch_a_side_gives_the_ratio_alone(compare: Callable[..., Ratio]) -> None:
    """Without a second launch nothing is known about noise."""
    got = compare([math.log(100)], [math.log(110)])

    assert pytest.approx(1.1) == got.ratio
    assert (0.0, math.inf, None, False) == (got.low, got.high, got.p, got.has_interval)
    assert stats.smallest_visible(got) is None


@pytest.mark.parametrize("compare", [stats.welch_ratio, stats.paired_ratio])
@pytest.mark.parametrize(("factor", "p"), [(1.0, 1.0), (1.1, 0.0)])
def test_zero_variance_is_defined(compare: Callable[..., Ratio], factor: float, p: float) -> None:
    """Where nothing varies the interval is the ratio, and the p-value 1 or 0."""
    base = [math.log(0.1)] * 3

    got = compare(base, [value + math.log(factor) for value in base])

    assert pytest.approx([factor] * 3) == [got.low, got.ratio, got.high]
    assert p == got.p


def test_holm_by_hand() -> None:
    """Sorted 0.005, 0.01, 0.03, 0.04: times 4, 3, 2, 1, and never less than the one before."""
    assert pytest.approx((0.03, 0.06, 0.06, 0.02)) == stats.holm((0.01, 0.04, 0.03, 0.005))


def test_holm_never_exceeds_one() -> None:
    """An adjusted p-value is a probability; no rows have none."""
    assert (1.0, 1.0) == stats.holm((0.6, 0.9))
    assert () == stats.holm(())


def test_smallest_visible_by_hand() -> None:
    """Error 0.01 on 8 degrees: (2.306 + 0.8889) * 0.01 = 0.03195, so 3.2 %."""
    ratio = Ratio(ratio=1.0, low=0.9, high=1.1, p=1.0, log_error=0.01, freedom=8.0, spread=0.02)

    assert pytest.approx(math.expm1(0.03195), rel=1e-3) == stats.smallest_visible(ratio)


def test_launches_needed_find_what_they_promise() -> None:
    """Noise 2 %, a true change of 5 %, a threshold of 3 %: the launches named find it 4 times in 5."""
    needed = stats.launches_needed(0.05, threshold=0.03, spread=0.02)
    assert needed is not None
    source = seeded(1)
    found = 0
    for _ in range(1000):
        base = [source.gauss(0, 0.02) for _ in range(needed)]
        candidate = [source.gauss(math.log(1.05), 0.02) for _ in range(needed)]
        got = stats.welch_ratio(base, candidate)
        found += got.low > 1 and got.ratio > 1.03

    assert 0.75 < found / 1000 < 0.92


def test_launches_needed_have_an_end() -> None:
    """No noise needs two launches, a change within the threshold is never called, and pairs need fewer."""
    assert stats.launches_needed(0.05, threshold=0.03, spread=0.0) == 2
    assert stats.launches_needed(0.02, threshold=0.03, spread=0.02) is None
    paired = stats.launches_needed(0.05, threshold=0.03, spread=0.05, is_paired=True)
    single = stats.launches_needed(0.05, threshold=0.03, spread=0.05)
    assert paired is not None
    assert single is not None
    assert paired < single


def _logs(source: random.Random, launches: int, shift: float = 0.0) -> list[float]:
    """Launch means of logarithms that differ by 1.5 % from launch to launch."""
    return [source.gauss(shift, 0.015) for _ in range(launches)]


@pytest.mark.parametrize("launches", [3, 5, 10])
@pytest.mark.parametrize("compare", [stats.welch_ratio, stats.paired_ratio])
@pytest.mark.slow
@pytest.mark.parametrize("tries", [1000, pytest.param(4000, marks=pytest.mark.nightly)])
def test_alarms_and_coverage_are_as_promised(
    compare: Callable[..., Ratio], launches: int, tries: int
) -> None:
    """The interval at 95 % excludes the truth in at most 6.5 % of the tries, with and without a change."""
    source = seeded(launches)
    alarms = covered = 0
    for _ in range(tries):
        same = compare(_logs(source, launches), _logs(source, launches))
        alarms += not same.low <= 1 <= same.high
        slower = compare(_logs(source, launches), _logs(source, launches, math.log(1.1)))
        covered += slower.low <= 1.1 <= slower.high

    assert alarms / tries <= 0.065
    assert covered / tries >= 0.935


def test_pooled_iterations_cry_wolf() -> None:
    """The negative control: iterations taken for replicates alarm far more often than 5 %."""
    source = seeded(7)

    def pooled(launches: int) -> list[float]:
        return [source.gauss(mean, 0.01) for mean in _logs(source, launches) for _ in range(5)]

    alarms = sum(
        not got.low <= 1 <= got.high for got in (stats.welch_ratio(pooled(5), pooled(5)) for _ in range(1000))
    )

    assert alarms / 1000 > 0.15


def test_the_interval_of_a_median_covers_it() -> None:
    """Ten values of a skewed distribution: the interval holds its median in at least 93.5 % of 4000 tries."""
    source = seeded(3)
    truth = math.log(2)
    covered = 0
    for _ in range(4000):
        got = stats.summarize_values([source.expovariate(1.0) for _ in range(10)])
        covered += got.low <= truth <= got.high

    assert covered / 4000 >= 0.935


def test_the_interval_of_launches_covers_their_centre() -> None:
    """Five launches around 100: the interval holds 100 in at least 93.5 % of 4000 tries."""
    source = seeded(4)
    tries = (stats.summarize_launches([100 * math.exp(z) for z in _logs(source, 5)]) for _ in range(4000))

    assert statistics.fmean(got.low <= 100 <= got.high for got in tries) >= 0.935


def test_the_interval_of_a_mean_needs_three_values() -> None:
    """1, 2 and 3: a deviation of 1, and Student's t of 4.3027 with two degrees of freedom."""
    assert (pytest.approx(2 - 4.3027 / 3**0.5, abs=1e-4), pytest.approx(2 + 4.3027 / 3**0.5, abs=1e-4)) == (
        stats.mean_interval([1, 2, 3])
    )
    assert stats.mean_interval([1, 2]) is None
