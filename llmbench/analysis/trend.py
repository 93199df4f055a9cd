"""Floats only: whether values change with their order, by a trend or by a slow start. Knows no file, unit or table.

Several series are several independent repetitions of the same sequence, such as launches; only values of one
series are compared, so that series may differ from each other. Like ratios, changes
are looked at on logarithms.
"""

import functools
import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from llmbench.analysis import stats
from llmbench.analysis.t_distribution import NORMAL, t_cdf

MOST_POINTS = 48
"""A longer series is tested on medians of this many groups of neighbours; the number of pairs grows as the square."""

EXACT_PAIRS = 300
"""From this many pairs on the normal distribution stands in for the exact one (Kendall: from ten values on)."""

_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """How values change with their order: *change* from the first to the last, as a share, and its p-value.

    *least_p* is the p-value of a perfect trend of as many values: where that is large, nothing can be shown.
    """

    change: float
    p: float
    least_p: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Excess:
    """How much larger one value is than those it is compared with, as a share, with its one-sided p-value."""

    change: float
    p: float


def find_trend(series: Sequence[Mapping[int, float]]) -> Trend | None:
    """The trend of *series*, each values above 0 by their place; ``None`` where no series has two.

    The test is Mann's and Kendall's, stratified: the signs of all differences inside the series are added up (Mann,
    Econometrica 13, 1945; Kendall, Rank Correlation Methods, 1975; Hirsch and Slack, Water Resources Research 20,
    1984). The change is the median of all slopes inside the series, times the longest way from first to last (Theil
    1950, Sen 1968; of several series Hirsch, Slack and Smith 1982). Ties count for neither side.
    """
    groups = [_thinned(each) for each in series if len(each) > 1]
    if not groups:
        return None
    pairs = [pair for points in groups for pair in itertools.combinations(points, 2)]
    score = sum((later[1] > earlier[1]) - (later[1] < earlier[1]) for earlier, later in pairs)
    slope = statistics.median((later[1] - earlier[1]) / (later[0] - earlier[0]) for earlier, later in pairs)
    span = max(max(each) - min(each) for each in series if each)
    sizes = tuple(sorted(map(len, groups)))
    return Trend(
        change=math.expm1(slope * span), p=_p_value(score, sizes), least_p=_p_value(len(pairs), sizes)
    )


def _thinned(values: Mapping[int, float]) -> list[tuple[float, float]]:
    """Place and logarithm of each value; of a long series the medians of neighbours."""
    locations = sorted(values)
    logs = [math.log(values[location]) for location in locations]
    if len(logs) <= MOST_POINTS:
        return [(float(location), log) for location, log in zip(locations, logs, strict=True)]
    cuts = [len(logs) * i // MOST_POINTS for i in range(MOST_POINTS + 1)]
    return [
        (statistics.fmean(locations[low:high]), statistics.median(logs[low:high]))
        for low, high in itertools.pairwise(cuts)
    ]


def _p_value(score: int, sizes: tuple[int, ...]) -> float:
    """The chance of a score as far from 0 where nothing changes; exact for few values, else normal."""
    pairs = sum(math.comb(size, 2) for size in sizes)
    if pairs <= EXACT_PAIRS:
        discordant = (pairs - abs(score)) // 2
        return min(1.0, 2 * sum(_chances(sizes)[: discordant + 1]))
    variance = sum(size * (size - 1) * (2 * size + 5) for size in sizes) / 18
    z = max(0, abs(score) - 1) / math.sqrt(variance)
    return 2 * NORMAL.cdf(-z)


@functools.lru_cache(maxsize=64)
def _chances(sizes: tuple[int, ...]) -> tuple[float, ...]:
    """The chances of 0, 1, 2 ... discordant pairs in random orders of this many values, without ties.

    The value put in as k-th stands before 0 to k - 1 of those that are there, each with the same chance.
    """
    chances = [1.0]
    for size in sizes:
        for k in range(2, size + 1):
            padded = [*chances, *[0.0] * (k - 1)]
            chances = [sum(padded[max(0, i - k + 1) : i + 1]) / k for i in range(len(padded))]
    return tuple(chances)


def testable(least_p: Sequence[float], *, error: float) -> tuple[bool, ...]:
    """Which tests can be decided at all, given the least p-value that each can have, so that as many as can are.

    They share *error* among themselves alone (Tarone, Biometrics 46, 1990).
    """
    for count in range(1, len(least_p) + 1):
        fitting = tuple(p * count <= error + _ROUNDING for p in least_p)
        if sum(fitting) <= count:
            return fitting
    return ()


def find_excess(
    series: Sequence[Mapping[int, float]], location: int, against: Sequence[int]
) -> Excess | None:
    """How much larger the value at *location* is than those at the places *against*, over all series.

    ``None`` where no series has it and two of the others, or all together have fewer than two degrees of freedom. The
    change is that of the series in the middle; the test takes the mean over the series, with the spread that those
    *against* have in all of them (Student's t for one further observation).
    """
    having = [each for each in series if location in each]
    logs = [[math.log(each[other]) for other in against if other in each] for each in having]
    used = [
        (math.log(each[location]), tail) for each, tail in zip(having, logs, strict=True) if len(tail) > 1
    ]
    tails = [tail for _, tail in used]
    freedom = sum(len(tail) - 1 for tail in tails)
    spread = stats.pooled_deviation(tails)
    if spread is None or freedom < 2:
        return None
    excesses = [value - statistics.fmean(tail) for value, tail in used]
    mean = statistics.fmean(excesses)
    error = spread * math.sqrt(sum(1 + 1 / len(tail) for tail in tails)) / len(tails)
    p = t_cdf(freedom, -mean / error) if error else float(mean <= _ROUNDING)
    return Excess(change=math.expm1(statistics.median(excesses)), p=p)
