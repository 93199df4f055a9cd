"""Launches that make a verdict doubtful: outliers, and drifts from the first launch to the last.

Named, never dropped: which launches count is fixed before anybody looks at latencies.
"""

import math
import statistics
from collections.abc import Iterator, Sequence

from llmbench.analysis import stats
from llmbench.analysis.comparison import change
from llmbench.analysis.report import Report, Row
from llmbench.analysis.stages import request_metric
from llmbench.analysis.t_distribution import t_cdf

OUTLIER = 6.0
"""Standard deviations, estimated by the median absolute deviation, beyond which a launch is an outlier."""

DRIFT_ERROR = 0.01
"""The chance that launches without a drift are said to have one."""

UNIT_FACTOR = 100.0
"""A ratio beyond which two reports are more likely in other units than so much faster or slower."""

FEWEST_LAUNCHES = 5


def anomalies(base: Report, candidate: Report, names: Sequence[str]) -> tuple[str, ...]:
    """Return a sentence on each anomaly of the primary metrics' means, configuration by configuration."""
    found: list[str] = []
    for side, report in zip(names, (base, candidate), strict=True):
        for cell in range(len(report.run.cells)):
            rows = [row for row in report.rows if row.cell == cell and row.launches]
            for metric in report.run.workload.primary_metrics:
                found += (f"{side}: {text}" for text in _of_rows(rows, metric))
    return (*dict.fromkeys(found), *_unit_doubts(base, candidate))


def _of_rows(rows: Sequence[Row], metric: str) -> Iterator[str]:
    sample = change.sample(rows, metric) if rows else None
    if sample is None or len(sample.logs) < FEWEST_LAUNCHES:
        return
    title, least = request_metric(metric).title, math.log1p(request_metric(metric).threshold)
    logs = sample.logs
    center = statistics.median(logs.values())
    spread = stats.MAD_SCALE * statistics.median(abs(value - center) for value in logs.values())
    outliers = [i for i, value in logs.items() if abs(value - center) > max(OUTLIER * spread, least)]
    for index in outliers:
        yield f"launch {index + 1} is an outlier: {title} {_percent(logs[index] - center)} from the median launch"
    drift = None if outliers else _drift(list(logs.values()))
    if drift is not None and abs(drift) > least:
        yield f"{title} drifts by {_percent(drift)} from the first launch to the last"


def _drift(values: Sequence[float]) -> float | None:
    """The rise of the line through values in order; ``None`` where chance explains it (t-test of the correlation)."""
    steps = range(len(values))
    if max(values) == min(values):
        return None
    r = statistics.correlation(steps, values)
    freedom = len(values) - 2
    t = abs(r) * math.sqrt(freedom / (1 - r * r)) if abs(r) < 1 else math.inf
    if 2 * t_cdf(freedom, -t) > DRIFT_ERROR:
        return None
    return statistics.linear_regression(steps, values).slope * (len(values) - 1)


def _unit_doubts(base: Report, candidate: Report) -> Iterator[str]:
    for metric in base.run.workload.primary_metrics:
        sides = [
            [row.summaries[metric].median for row in report.rows if metric in row.summaries]
            for report in (base, candidate)
        ]
        if all(sides) and all(min(values) > 0 for values in sides):
            factor = statistics.median(sides[1]) / statistics.median(sides[0])
            if not 1 / UNIT_FACTOR < factor < UNIT_FACTOR:
                yield f"{request_metric(metric).title} differs by a factor of {max(factor, 1 / factor):.0f}: same unit?"


def _percent(log: float) -> str:
    return f"{100 * math.expm1(log):+.0f} %"
