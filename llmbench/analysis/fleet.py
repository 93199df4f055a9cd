"""Hosts side by side: each summarized by itself, then compared; a host is a block, never a launch among launches.

Launches of one host have more in common than launches of two. Pooled, they would narrow an interval by what they
share, and call differences between machines a change. So each host gives one value, and intervals are over hosts.
"""

import dataclasses
import itertools
import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from llmbench.analysis import stats
from llmbench.analysis.comparison.change import decide
from llmbench.analysis.comparison.compare import SIDES, Comparison
from llmbench.analysis.comparison.rule import Rule, Verdict
from llmbench.analysis.metrics.table import HEADLINES
from llmbench.analysis.report import Report, Row, distinguish
from llmbench.analysis.stats import Ratio, Summary
from llmbench.schema.config import RunConfig
from llmbench.schema.fleet import COPIES

OUTLIER_DEVIATIONS, LEAST_HOSTS = 3.5, 4
"""How many median absolute deviations make an outlier (Iglewicz and Hoaglin, 1993), and of how many hosts at least."""

_LEAST_DEVIATION = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class HostResult:
    """What one host measured.

    *fingerprint* and *problems* are those of its probe, empty where there is none. *report* is ``None`` where it
    measured nothing that can be read, *comparison* where it did not compare two sides. *state* says how it ended.
    """

    host: str
    report: Report | None = None
    comparison: Comparison | None = None
    fingerprint: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    state: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetLine:
    """One metric of one prompt and configuration over hosts.

    *location* is the number of the configuration among those of all hosts, and of the prompt; *settings* are what sets
    the configuration apart, *rows* where each host's figures are from. *values* has each host's summary, *outliers* the
    hosts far from the median of all, as a share of it. *between* and *within* are the standard deviations of hosts, and
    of launches on one host, as shares; ``None`` where unknown.
    """

    location: tuple[int, int]
    metric: str
    settings: Mapping[str, str]
    rows: Mapping[str, Row]
    values: Mapping[str, Summary]
    outliers: Mapping[str, float]
    between: float | None
    within: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetChange:
    """One metric's change from A to B over hosts: each host's ratio, and the geometric mean with its interval."""

    metric: str
    ratios: Mapping[str, float]
    ratio: Ratio
    verdict: Verdict

    @property
    def slower(self) -> int:
        """How many hosts are slower at all."""
        return sum(ratio > 1 for ratio in self.ratios.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetReport:
    """All hosts of a fleet run; *differences* has, by host, what of its fingerprint is not as on most hosts."""

    hosts: tuple[HostResult, ...]
    lines: tuple[FleetLine, ...]
    changes: tuple[FleetChange, ...]
    differences: Mapping[str, Mapping[str, str]]
    alarms: tuple[str, ...]

    @property
    def is_regressed(self) -> bool:
        """Whether the hosts together are slower."""
        return any(change.verdict is Verdict.REGRESSED for change in self.changes)


def summarize_fleet(hosts: Sequence[HostResult], names: Sequence[str] = HEADLINES) -> FleetReport:
    """Return the hosts side by side."""
    return FleetReport(
        hosts=tuple(hosts),
        lines=tuple(_lines(hosts, names)),
        changes=fleet_changes({each.host: each.comparison for each in hosts if each.comparison is not None}),
        differences=_differences(hosts),
        alarms=tuple(_alarms(hosts)),
    )


def _lines(hosts: Sequence[HostResult], names: Sequence[str]) -> Iterator[FleetLine]:
    measured = {each.host: each.report for each in hosts if each.report is not None}
    cells = _distinct_cells(measured.values())
    is_ab = len(cells) == len(SIDES) and any(each.comparison is not None for each in hosts)
    settings = [{"side": name} for name in SIDES] if is_ab else distinguish(cells)
    rows = {
        host: {(cells.index(_unplaced(row.config)), row.prompt.index): row for row in report.rows}
        for host, report in measured.items()
    }
    for location in sorted({location for found in rows.values() for location in found}):
        for name in names:
            there = {host: found[location] for host, found in rows.items() if location in found}
            values = {host: row.summaries[name] for host, row in there.items() if name in row.summaries}
            if values:
                groups = [
                    [math.log(value) for value in there[host].medians[name].values() if value > 0]
                    for host in values
                ]
                yield FleetLine(
                    location=location,
                    metric=name,
                    settings=settings[location[0]],
                    rows={host: there[host] for host in values},
                    values=values,
                    outliers=find_outliers({host: found.median for host, found in values.items()}),
                    between=deviation_between(groups),
                    within=stats.pooled_deviation([group for group in groups if group]),
                )


def _distinct_cells(reports: Iterable[Report]) -> list[RunConfig]:
    """Each configuration once: the first of every host, then the second, as a sweep is shared out."""
    found: list[RunConfig] = []
    for cells in itertools.zip_longest(*(report.run.cells for report in reports)):
        for cell in cells:
            if cell is not None and _unplaced(cell) not in found:
                found.append(_unplaced(cell))
    return found


def _unplaced(config: RunConfig) -> RunConfig:
    """A configuration that does not depend on where the host keeps its copy of the model."""
    return dataclasses.replace(config, model=config.model.rpartition(COPIES)[2])


def find_outliers(values: Mapping[str, float]) -> dict[str, float]:
    """Return the hosts far from the median of all, with their distance as a share; among three none can be found."""
    if len(values) < LEAST_HOSTS or min(values.values()) <= 0:
        return {}
    center = statistics.median(values.values())
    logs = {host: math.log(value / center) for host, value in values.items()}
    deviation = max(_LEAST_DEVIATION, stats.MAD_SCALE * statistics.median(map(abs, logs.values())))
    return {host: math.expm1(log) for host, log in logs.items() if abs(log) > OUTLIER_DEVIATIONS * deviation}


def deviation_between(groups: Sequence[Sequence[float]]) -> float | None:
    """Return the standard deviation of hosts beyond what their launches explain (one-way random effects, moments)."""
    filled = [group for group in groups if group]
    if len(filled) < 2:
        return None
    within = stats.pooled_deviation(filled)
    means = [statistics.fmean(group) for group in filled]
    explained = (within or 0.0) ** 2 * statistics.fmean(1 / len(group) for group in filled)
    return math.sqrt(max(0.0, statistics.variance(means) - explained))


def fleet_changes(comparisons: Mapping[str, Comparison], rule: Rule | None = None) -> tuple[FleetChange, ...]:
    """Return the verdict over hosts for each metric that decides: one value per host, the mean over its prompts."""
    rule = rule or Rule()
    found: dict[str, dict[str, float]] = {}
    for host, comparison in comparisons.items():
        for change in comparison.primary:
            found.setdefault(change.metric, {})[host] = change.ratio.ratio
    confidence = 1 - (1 - stats.CONFIDENCE) / max(1, len(found))
    return tuple(_change(name, ratios, rule, confidence) for name, ratios in found.items())


def _change(name: str, ratios: Mapping[str, float], rule: Rule, confidence: float) -> FleetChange:
    logs = [math.log(ratio) for ratio in ratios.values()]
    ratio = stats.paired_ratio([0.0] * len(logs), logs, confidence=confidence)
    return FleetChange(
        metric=name, ratios=ratios, ratio=ratio, verdict=decide(ratio, rule.threshold_of(name).share)
    )


def _differences(hosts: Sequence[HostResult]) -> dict[str, dict[str, str]]:
    """What of each host's fingerprint is not the commonest value."""
    names = dict.fromkeys(name for each in hosts for name in each.fingerprint)
    usual = {
        name: statistics.mode(each.fingerprint.get(name, "n/a") for each in hosts if each.fingerprint)
        for name in names
    }
    return {
        each.host: {
            name: each.fingerprint.get(name, "n/a")
            for name in names
            if each.fingerprint and each.fingerprint.get(name, "n/a") != usual[name]
        }
        for each in hosts
    }


def _alarms(hosts: Sequence[HostResult]) -> Iterator[str]:
    """What must be known with the figures: hosts without any, and hosts that measured another model."""
    for each in hosts:
        if each.report is None:
            yield f"{each.host}: nothing was measured ({each.state or 'no run file'})"
        elif not each.report.run.is_complete:
            yield f"{each.host}: the run is not complete ({each.state or 'it goes on'})"
    models = {
        each.host: each.report.run.provenance.content_sha256 for each in hosts if each.report is not None
    }
    if len(set(models.values())) > 1:
        usual = statistics.mode(models.values())
        yield f"{', '.join(host for host, model in models.items() if model != usual)}: another model than on most hosts"
