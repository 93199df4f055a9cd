"""Latency against load, and the knee: the level beyond which more load buys little throughput and costs much latency.

The knee is where the power of the system is highest: throughput / response time (Kleinrock, ICC 1979). Below it a
doubled load nearly doubles the throughput, beyond it requests only wait longer. It is found round by round, one launch
of every level in each, so that it is known how often it came out the same.
"""

import collections
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from llmbench.analysis.report import Report, Row
from llmbench.analysis.stats import Summary

THROUGHPUT, RESPONSE = "request_rate", "e2e"


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """One level of load: requests at once, or begun per second, with the row that was measured there."""

    level: float
    row: Row

    @property
    def rate(self) -> Summary | None:
        """The requests completed per second."""
        return self.row.summaries.get(THROUGHPUT)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadCurve:
    """The levels of one configuration, ascending, and the knee among them.

    *settings* set the configuration apart from others of the run. *is_open* says whether levels are rates. *knee* is an
    index into the points, ``None`` where fewer than three were measured; *agreement* is the share of the rounds in
    which it came out so, *is_inside* whether it is no end of the curve.
    """

    settings: Mapping[str, str]
    points: tuple[CurvePoint, ...]
    is_open: bool
    knee: int | None = None
    agreement: float | None = None

    @property
    def is_inside(self) -> bool:
        """Whether a lower and a higher level were measured, too."""
        return self.knee is not None and 0 < self.knee < len(self.points) - 1


def load_curves(report: Report) -> tuple[LoadCurve, ...]:
    """Return the curves of a run: the rows that differ in nothing but the level of load; two levels at least."""
    if not report.run.workload.is_concurrent:
        return ()
    groups: dict[tuple[object, ...], list[Row]] = collections.defaultdict(list)
    for row in report.rows:
        config, apart = row.config, report.distinctions[row.cell]
        is_open = config.request_rate is not None
        level_name = "request_rate" if is_open else "concurrency"
        others = tuple(sorted((name, value) for name, value in apart.items() if name != level_name))
        groups[is_open, row.prompt.tokens, others].append(row)
    curves = (_curve(report, rows) for rows in groups.values())
    return tuple(curve for curve in curves if len(curve.points) > 1)


def _curve(report: Report, rows: Sequence[Row]) -> LoadCurve:
    is_open = rows[0].config.request_rate is not None
    level = "request_rate" if is_open else "concurrency"
    points = [
        CurvePoint(level=float(found), row=row)
        for row in rows
        if (found := getattr(row.config, level)) is not None and {THROUGHPUT, RESPONSE} <= set(row.summaries)
    ]
    points.sort(key=lambda point: point.level)
    settings = {name: value for name, value in report.distinctions[rows[0].cell].items() if name != level}
    knee, agreement = _knee(report, points)
    return LoadCurve(settings=settings, points=tuple(points), is_open=is_open, knee=knee, agreement=agreement)


def _knee(report: Report, points: Sequence[CurvePoint]) -> tuple[int | None, float | None]:
    """The level of the highest power over all launches, and the share of the rounds in which it has that, too."""
    if len(points) < 3:
        return None, None
    rows = [point.row.summaries for point in points]
    knee = _highest([_power(row[THROUGHPUT].median, row[RESPONSE].median) for row in rows])
    block_of = {launch.index: launch.block for launch in report.run.launches}
    rounds: dict[int | None, dict[int, float]] = collections.defaultdict(dict)
    for number, point in enumerate(points):
        rates, waits = point.row.medians[THROUGHPUT], point.row.medians[RESPONSE]
        for launch in rates.keys() & waits.keys():
            rounds[block_of[launch]][number] = _power(rates[launch], waits[launch])
    whole = [found for found in rounds.values() if len(found) == len(points)]
    same = sum(_highest([found[number] for number in range(len(points))]) == knee for found in whole)
    return knee, same / len(whole) if whole else None


def _power(rate: float, wait_s: float) -> float:
    return rate / wait_s if wait_s > 0 else 0.0


def _highest(values: Sequence[float]) -> int:
    return max(range(len(values)), key=lambda number: values[number])
