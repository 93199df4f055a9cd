"""Floats only: summaries, intervals and tests. Knows no file, unit or table.

Ratios are estimated on logarithms, where a change of 10 % weighs the same for 5 ms and for 500 ms. Several
launches are treated as what they are, independent draws; what happened inside a launch is not.
"""

import bisect
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from llmbench.analysis.t_distribution import NORMAL, noncentral_t_cdf, t_cdf, t_quantile
from llmbench.schema.units import counted

CONFIDENCE = 0.95
POWER = 0.8
MAX_LAUNCHES = 1000
PERCENTILE_NEEDS = {90: 64, 95: 130, 99: 662}
"""How many values a percentile needs, by percentile."""

MAD_SCALE = 1.4826
"""Standard deviations in a median absolute deviation of a normal distribution."""

_ROUNDING = 1e-12
"""Differences of logarithms below this are rounding errors, not data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A centre of *n* values or launches, its interval (infinite where unknown), and what to mind."""

    n: int
    median: float
    low: float = -math.inf
    high: float = math.inf
    warnings: tuple[str, ...] = ()

    @property
    def has_interval(self) -> bool:
        """Whether the interval is finite."""
        return math.isfinite(self.low) and math.isfinite(self.high)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """Candidate over base, with its interval and two-sided p-value.

    *log_error* is the standard error of the ratio's logarithm on *freedom* degrees, *spread* the standard
    deviation of one launch's logarithm (of one pair's difference, where launches are paired). They and *p*
    are ``None`` where fewer than two launches per side say nothing about them.
    """

    ratio: float
    low: float = 0.0
    high: float = math.inf
    p: float | None = None
    log_error: float | None = None
    freedom: float | None = None
    spread: float | None = None

    @property
    def has_interval(self) -> bool:
        """Whether the interval is finite."""
        return math.isfinite(self.high)


def summarize_values(values: Sequence[float], *, confidence: float = CONFIDENCE) -> Summary:
    """The median and its order-statistic interval; assumes nothing of the distribution.

    The k-th value from either end is taken for the largest k whose binomial tail is within the error allowed
    (Conover, Practical Nonparametric Statistics, 3.2). Six values are the least for 95 %.
    """
    ordered = sorted(values)
    n = len(ordered)
    rank = _tail_rank(n, (1 - confidence) / 2)
    if rank == 0:
        needed = math.ceil(1 - math.log2(1 - confidence))
        warning = f"needs {counted(needed, 'value')} for an interval at {confidence * 100:g} %"
        return Summary(n=n, median=statistics.median(ordered), warnings=(warning,))
    return Summary(n=n, median=statistics.median(ordered), low=ordered[rank - 1], high=ordered[n - rank])


def _tail_rank(n: int, tail: float) -> int:
    """The largest k with P(Binomial(n, 1/2) < k) within *tail*, 0 if there is none; normal above 1000."""
    if n > 1000:
        return math.floor((n + 1) / 2 + NORMAL.inv_cdf(tail) * math.sqrt(n) / 2)
    allowed = tail * 2.0**n
    rank = below = 0
    while below + math.comb(n, rank) <= allowed:
        below += math.comb(n, rank)
        rank += 1
    return rank


def summarize_launches(medians: Sequence[float], *, confidence: float = CONFIDENCE) -> Summary:
    """The geometric mean of launch medians, and Student's t interval of their logarithms.

    One launch has no interval, and neither have values without a logarithm; the warning says so.
    """
    if min(medians) <= 0:
        return Summary(
            n=len(medians), median=statistics.median(medians), warnings=("a value of 0 has no interval",)
        )
    logs = [math.log(value) for value in medians]
    center = statistics.fmean(logs)
    if len(logs) < 2:
        return Summary(n=1, median=medians[0], warnings=("one launch has no interval between launches",))
    margin = t_quantile(len(logs) - 1, confidence) * math.sqrt(_variance(logs) / len(logs))
    return Summary(
        n=len(logs),
        median=math.exp(center),
        low=math.exp(center - margin),
        high=math.exp(center + margin),
    )


def median_of(values: Iterable[float | None]) -> float | None:
    """The median of the values that exist; ``None`` where none does."""
    found = [value for value in values if value is not None]
    return statistics.median(found) if found else None


def mean_interval(values: Sequence[float], *, confidence: float = CONFIDENCE) -> tuple[float, float] | None:
    """Student's t interval of a mean; ``None`` below three values, whose interval says nothing."""
    if len(values) < 3:
        return None
    center = statistics.fmean(values)
    margin = t_quantile(len(values) - 1, confidence) * math.sqrt(_variance(values) / len(values))
    return center - margin, center + margin


def percentile(values: Sequence[float], percent: int) -> float | None:
    """The smallest value that *percent* of the values do not exceed; ``None`` where too few carry it."""
    if len(values) < PERCENTILE_NEEDS[percent]:
        return None
    return sorted(values)[math.ceil(len(values) * percent / 100) - 1]


def welch_ratio(
    base: Sequence[float], candidate: Sequence[float], *, confidence: float = CONFIDENCE
) -> Ratio:
    """Candidate over base of two independent samples of logarithms: Welch's t (Biometrika 34, 1947).

    A side of one launch gives the ratio alone. Where no side varies at all the interval is the ratio itself.
    """
    difference = statistics.fmean(candidate) - statistics.fmean(base)
    if len(base) < 2 or len(candidate) < 2:
        return Ratio(ratio=math.exp(difference))
    shares = [_variance(side) / len(side) for side in (base, candidate)]
    freedom = _welch_freedom(shares, (len(base), len(candidate)))
    spread = math.sqrt((_variance(base) + _variance(candidate)) / 2)
    return _ratio(difference, math.sqrt(sum(shares)), freedom, spread=spread, confidence=confidence)


def paired_ratio(
    base: Sequence[float], candidate: Sequence[float], *, confidence: float = CONFIDENCE
) -> Ratio:
    """Candidate over base of logarithms that belong together one by one: the paired t."""
    differences = [after - before for before, after in zip(base, candidate, strict=True)]
    center = statistics.fmean(differences)
    if len(differences) < 2:
        return Ratio(ratio=math.exp(center))
    spread = math.sqrt(_variance(differences))
    error = spread / math.sqrt(len(differences))
    return _ratio(center, error, len(differences) - 1, spread=spread, confidence=confidence)


def _ratio(difference: float, error: float, freedom: float, *, spread: float, confidence: float) -> Ratio:
    """A ratio from a difference of logarithms and its standard error; exact where nothing varies."""
    if abs(difference) < _ROUNDING:
        difference = 0.0
    p = 2 * t_cdf(freedom, -abs(difference) / error) if error else float(difference == 0)
    margin = t_quantile(freedom, confidence) * error
    return Ratio(
        ratio=math.exp(difference),
        low=math.exp(difference - margin),
        high=math.exp(difference + margin),
        p=p,
        log_error=error,
        freedom=freedom,
        spread=spread,
    )


def _variance(values: Sequence[float]) -> float:
    """The sample variance; exactly 0 for values that are the same but for rounding."""
    if max(values) - min(values) < _ROUNDING:
        return 0.0
    center = statistics.fmean(values)
    return math.fsum([(value - center) ** 2 for value in values]) / (len(values) - 1)


def pooled_deviation(groups: Sequence[Sequence[float]]) -> float | None:
    """The standard deviation inside groups, each weighed by its degrees of freedom; ``None`` where there are none."""
    freedom = sum(len(group) - 1 for group in groups)
    if not freedom:
        return None
    squares = sum((len(group) - 1) * _variance(group) for group in groups if len(group) > 1)
    return math.sqrt(squares / freedom)


def _welch_freedom(shares: Sequence[float], sizes: Sequence[int]) -> float:
    """Degrees of freedom after Welch and Satterthwaite; all of them where nothing varies."""
    total = sum(shares)
    if not total:
        return float(sum(sizes) - 2)
    return total**2 / sum(share**2 / (size - 1) for share, size in zip(shares, sizes, strict=True))


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """p-values adjusted for their number, in order (Holm, Scandinavian Journal of Statistics 6, 1979)."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted = [1.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p_values[index]))
        adjusted[index] = largest
    return tuple(adjusted)


def smallest_visible(ratio: Ratio, *, confidence: float = CONFIDENCE) -> float | None:
    """The smallest change, as a share, that data as noisy as these show 4 times in 5; ``None`` if unknown."""
    if ratio.log_error is None or ratio.freedom is None:
        return None
    quantiles = t_quantile(ratio.freedom, confidence) + t_quantile(ratio.freedom, 2 * POWER - 1)
    return math.expm1(quantiles * ratio.log_error)


def launches_needed(
    change: float, *, threshold: float, spread: float, is_paired: bool = False, confidence: float = CONFIDENCE
) -> int | None:
    """Launches per side (or pairs) after which a true *change* is called 4 times in 5; ``None`` above 1000.

    *change* and *threshold* are shares, *spread* the standard deviation of one launch's logarithm. Called
    means: the interval excludes 1 and the ratio is beyond the threshold.
    """
    effect, bar = math.log1p(change), math.log1p(threshold)

    def power(n: int) -> float:
        error = spread * math.sqrt((1 if is_paired else 2) / n)
        freedom = n - 1 if is_paired else 2 * n - 2
        return _power(effect, bar, error, freedom=freedom, confidence=confidence)

    needed = 2 + bisect.bisect_left(range(2, MAX_LAUNCHES + 1), POWER, key=power)
    return needed if needed <= MAX_LAUNCHES else None


def _power(effect: float, bar: float, error: float, *, freedom: float, confidence: float) -> float:
    """The lesser of two chances: the interval excludes no change, and the estimate clears the bar."""
    if not error:
        return 1.0 if effect > bar else 0.0
    excluded = 1 - noncentral_t_cdf(freedom, effect / error, t_quantile(freedom, confidence))
    return min(excluded, NORMAL.cdf((effect - bar) / error))
