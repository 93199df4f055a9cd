"""Stages of requests as metrics: their time, their share of the whole, how often they ran and the time of one call.

Stages cover what is waited for: everything before the first token where a request has a token timeline, the request
where it has none. All are computed per request, so that the shares of a request add up to its whole; ``unexplained`` is
what no stage covers. Which stages there are is known from the measurements only.
"""

import collections
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from llmbench.analysis.bandwidth import BANDWIDTH
from llmbench.analysis.metrics.base import Metric
from llmbench.analysis.metrics.pipeline import audio
from llmbench.analysis.metrics.serving import LOAD_METRICS
from llmbench.analysis.metrics.table import METRICS, find_metric
from llmbench.analysis.metrics.text import first_token
from llmbench.schema.measurement import Measurement, Stage, StageSource
from llmbench.schema.run import Run
from llmbench.schema.units import NS_PER_S, Direction, Unit, seconds_between

UNEXPLAINED = "unexplained"

LEAST_OF_WHOLE = 0.01
"""A change of a stage matters from this share of the whole on, however large it is beside the stage itself."""

LEAST_SHARE = 0.05
"""A stage below this share of the whole on both sides is judged only where it has a threshold of its own."""

_OfStages = Callable[[Measurement, list[Stage]], float | None]


@dataclass(frozen=True, slots=True)
class _Kind:
    """A figure of a stage: how its metric is called, what it is, and its function of the stage's parts."""

    title: str
    definition: str
    unit: Unit
    of: _OfStages


def whole_s(m: Measurement) -> float | None:
    """Return the seconds that the stages of a request cover; ``None`` where nothing was waited for."""
    found = first_token(m) if m.sequences else seconds_between(m.start_ns, m.end_ns)
    return found or None


def _total_s(_: Measurement, stages: list[Stage]) -> float:
    return sum(stage.duration_ns for stage in stages) / NS_PER_S


def _calls(_: Measurement, stages: list[Stage]) -> float:
    return sum(stage.count for stage in stages)


_KINDS = {
    "stage": _Kind("{}", "time of the stage {}", Unit.MILLISECONDS, _total_s),
    "share": _Kind(
        "share of {}",
        "stage.{} / the whole that the stages cover",
        Unit.PERCENT,
        lambda m, stages: _total_s(m, stages) / (whole_s(m) or 1.0),
    ),
    "calls": _Kind("calls of {}", "how often the stage {} ran in a request", Unit.CALLS, _calls),
    "call": _Kind(
        "one call of {}",
        "stage.{} / calls",
        Unit.MILLISECONDS,
        lambda m, stages: _total_s(m, stages) / _calls(m, stages),
    ),
    "pace": _Kind(
        "{} per second of audio",
        "stage.{} / duration of the audio",
        Unit.MILLISECONDS_PER_SECOND,
        lambda m, stages: _total_s(m, stages) / duration if (duration := audio(m)) else None,
    ),
}
_REPEATED = ("calls", "call")
"""The kinds that only a stage with several calls in a request has."""


def stage_sources(run: Run) -> Mapping[str, frozenset[StageSource]]:
    """Return by name, in order, who timed each stage of a run; empty where requests have no stages."""
    found: dict[str, frozenset[StageSource]] = {}
    for stage in _stages(run):
        found[stage.name] = found.get(stage.name, frozenset()) | {stage.source}
    return found


def _stages(run: Run) -> Iterator[Stage]:
    return (stage for launch in run.launches for m in launch.measurements for stage in m.stages)


def stage_metrics(run: Run) -> tuple[str, ...]:
    """Return the names of a run's stage metrics, in the order of the stages; none where requests have no stages."""
    measurements = [m for launch in run.launches for m in launch.measurements if m.stages]
    found = tuple(dict.fromkeys(stage.name for m in measurements for stage in m.stages))
    repeated: set[str] = set().union(*map(_repeated, measurements))
    named = (*found, UNEXPLAINED) if found else ()
    every = [f"{kind}.{name}" for kind in ("stage", "share") for name in named]
    spoken = any(map(audio, measurements))
    every += [f"pace.{name}" for name in found if spoken]
    return (*every, *(f"{kind}.{name}" for kind in _REPEATED for name in found if name in repeated))


def _repeated(m: Measurement) -> set[str]:
    """The stages that ran more than once in a request."""
    if len(m.stages) < 2:
        return {stage.name for stage in m.stages if stage.count > 1}
    calls: collections.Counter[str] = collections.Counter()
    for stage in m.stages:
        calls[stage.name] += stage.count
    return {name for name, count in calls.items() if count > 1}


def call_times(measurements: Iterable[Measurement], name: str) -> list[float]:
    """Return the seconds of every call of a stage, for those of which each call was timed."""
    stages = (stage for m in measurements for stage in m.stages if stage.name == name)
    return [stage.duration_ns / NS_PER_S for stage in stages if stage.count == 1]


def stage_times(run: Run) -> tuple[str, ...]:
    """Return the names of the metrics of a run's stages that a comparison judges: their times."""
    return tuple(f"stage.{name}" for name in stage_sources(run))


def stage_of(metric: str) -> str | None:
    """Return the stage whose time a metric is; ``None`` where it is another."""
    kind, _, stage = metric.partition(".")
    return stage if kind == "stage" and stage else None


def row_metric(name: str) -> Metric[Any]:
    """Return the metric of a row by its name, one of a stage included; raises KeyError where there is none."""
    return BANDWIDTH if name == BANDWIDTH.name else request_metric(name)


def named_metric(name: str) -> str | None:
    """Return the metric that a name or an alias stands for, one of a stage included; ``None`` if none does."""
    kind, _, stage = name.partition(".")
    is_known = (kind in _KINDS and stage) or name in LOAD_METRICS
    return name if is_known else find_metric(name)


@functools.cache
def request_metric(name: str) -> Metric[Any]:
    """Return the metric of requests by its name, that of a stage or a load included; raises KeyError without one."""
    if name in METRICS or name in LOAD_METRICS:
        return METRICS.get(name) or LOAD_METRICS[name]
    prefix, _, stage = name.partition(".")
    kind, words = _KINDS[prefix], stage.replace("_", " ")
    is_rest = prefix == "stage" and stage == UNEXPLAINED
    return Metric(
        name=name,
        title=kind.title.format(words),
        head=kind.title.format(words),
        unit=kind.unit,
        direction=Direction.LOWER,
        definition="the whole - its stages" if is_rest else kind.definition.format(stage),
        of=_rest(kind.of) if stage == UNEXPLAINED else _figure(stage, kind.of),
    )


def _figure(name: str, of: _OfStages) -> Callable[[Measurement], float | None]:
    """The function of a stage's figure; ``None`` for a request that has no such stage, or took no time at all."""

    def figure(m: Measurement) -> float | None:
        """Return the figure of the stage in a request, in the unit of its kind."""
        parts = [stage for stage in m.stages if stage.name == name]
        return of(m, parts) if parts and whole_s(m) else None

    return figure


def _rest(of: _OfStages) -> Callable[[Measurement], float | None]:
    """The function of what no stage covers, as if it were a stage; ``None`` for a request without stages."""

    def rest(m: Measurement) -> float | None:
        """Return the seconds that no stage covers, or their share of the whole."""
        whole = whole_s(m)
        if not m.stages or whole is None:
            return None
        left_s = whole - _total_s(m, list(m.stages))
        return left_s if of is _total_s else left_s / whole

    return rest
