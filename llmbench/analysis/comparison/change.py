"""One metric, base against candidate: ratio, interval, verdict, and what these data could have shown."""

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from llmbench.analysis import stats
from llmbench.analysis.comparison.rule import Threshold, Verdict
from llmbench.analysis.metrics.serving import LOAD_METRICS
from llmbench.analysis.report import Row
from llmbench.analysis.stages import request_metric
from llmbench.analysis.stats import Ratio
from llmbench.schema.units import Direction

NEEDED_BEYOND = 0.02
"""The launches said to be needed would show a change of the threshold and this much more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A metric's change. *base* and *candidate* are centres in seconds, *threshold* a share of the base.

    *smallest_visible* is the smallest change, as a share, that these data would have shown; *needed* the
    launches per side that would show the threshold and 2 % more. Both are ``None`` where noise is unknown.
    *is_alarm* marks a regression that holds for the exit code.
    """

    metric: str
    base: float
    candidate: float
    launches: tuple[int, int]
    ratio: Ratio
    threshold: float
    verdict: Verdict
    smallest_visible: float | None = None
    needed: int | None = None
    is_alarm: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The logarithms of one side, by launch, or by the block that its launches were made in."""

    logs: Mapping[int, float]

    @property
    def center(self) -> float:
        """Their mean as seconds."""
        return math.exp(statistics.fmean(self.logs.values()))


def sample(rows: Sequence[Row], metric: str, blocks: Mapping[int, int] | None = None) -> Sample | None:
    """By launch, the mean over *rows* of the logarithms of its medians; ``None`` if no launch has them all.

    *blocks* has the block of each launch, where launches of both sides were made in turns. A launch without anything
    good, whose rate of 0 has no logarithm, stands for half of the least of its row, or where nothing was good in any
    launch, for half a request.
    """
    medians = [row.medians.get(metric, {}) for row in rows]
    if metric in LOAD_METRICS:
        medians = [_without_zeros(found, row) for found, row in zip(medians, rows, strict=True)]
    launches = set.intersection(*({i for i, value in found.items() if value > 0} for found in medians))
    blocks = blocks or {}
    logs = {
        blocks.get(i, i): statistics.fmean(math.log(found[i]) for found in medians) for i in sorted(launches)
    }
    return Sample(logs=logs) if logs else None


def _without_zeros(found: Mapping[int, float], row: Row) -> dict[int, float]:
    tokens_a_second = max(row.medians.get("output_throughput", {}).values(), default=0.0)
    one = tokens_a_second / max(row.output_tokens, 1) * row.launches / max(row.measured, 1)
    least = min((value for value in found.values() if value > 0), default=one)
    return {launch: value or least / 2 for launch, value in found.items()}


def judge_change(
    metric: str,
    base: Sample,
    candidate: Sample,
    *,
    threshold: Threshold,
    is_paired: bool = False,
    is_valid: bool = True,
) -> Change:
    """The change of a metric; where either run is not valid it is inconclusive, whatever it seems."""
    ratio, launches = _ratio(base, candidate, is_paired=is_paired)
    share = threshold.of(base.center)
    direction = request_metric(metric).direction
    verdict = decide(ratio, share, direction) if is_valid else Verdict.INCONCLUSIVE
    needed = None
    if verdict is Verdict.INCONCLUSIVE and ratio.spread is not None:
        needed = stats.launches_needed(
            share + NEEDED_BEYOND, threshold=share, spread=ratio.spread, is_paired=is_paired
        )
    return Change(
        metric=metric,
        base=base.center,
        candidate=candidate.center,
        launches=launches,
        ratio=ratio,
        threshold=share,
        verdict=verdict,
        smallest_visible=stats.smallest_visible(ratio),
        needed=needed,
    )


def _ratio(base: Sample, candidate: Sample, *, is_paired: bool) -> tuple[Ratio, tuple[int, int]]:
    if is_paired:
        both = sorted(base.logs.keys() & candidate.logs.keys())
        if both:
            pairs = [base.logs[i] for i in both], [candidate.logs[i] for i in both]
            return stats.paired_ratio(*pairs), (len(both), len(both))
    before, after = list(base.logs.values()), list(candidate.logs.values())
    return stats.welch_ratio(before, after), (len(before), len(after))


def decide(ratio: Ratio, threshold: float, direction: Direction = Direction.LOWER) -> Verdict:
    """Regressed or improved: the interval excludes 1 and the ratio is beyond the threshold."""
    if not ratio.has_interval:
        return Verdict.INCONCLUSIVE
    is_lower_better = direction is Direction.LOWER
    if ratio.low > 1 and ratio.ratio > 1 + threshold:
        return Verdict.REGRESSED if is_lower_better else Verdict.IMPROVED
    if ratio.high < 1 and ratio.ratio < 1 - threshold:
        return Verdict.IMPROVED if is_lower_better else Verdict.REGRESSED
    if ratio.low >= 1 - threshold and ratio.high <= 1 + threshold:
        return Verdict.UNCHANGED
    return Verdict.INCONCLUSIVE


def with_alarms(changes: Sequence[Change], p_values: Sequence[float], error: float) -> list[Change]:
    """The changes, regressions marked as alarms where their adjusted p-value is within *error*."""
    return [
        dataclasses.replace(change, is_alarm=change.verdict is Verdict.REGRESSED and p <= error)
        for change, p in zip(changes, p_values, strict=True)
    ]


def p_value(change: Change) -> float:
    """The two-sided p-value; 1 where nothing is known."""
    return 1.0 if change.ratio.p is None else change.ratio.p
