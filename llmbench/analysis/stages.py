"""Stages of requests as metrics: ``stage.<name>`` is the time of one, ``share.<name>`` its share of the request.

Both are computed per request, so that the shares of a request add up to its whole; ``unexplained`` is what no stage
covers. Which stages there are is known from the measurements only.
"""

from collections.abc import Callable

from llmbench.analysis.bandwidth import BANDWIDTH, Decoding
from llmbench.analysis.metrics import METRICS, Metric
from llmbench.schema.measurement import Measurement
from llmbench.schema.run import Run
from llmbench.schema.units import NS_PER_S, Direction, Unit, seconds_between

UNEXPLAINED = "unexplained"


def stage_metrics(run: Run) -> tuple[str, ...]:
    """Return the names of a run's stage metrics, in the order of the stages; none where requests have no stages."""
    found = dict.fromkeys(
        stage.name for launch in run.launches for m in launch.measurements for stage in m.stages
    )
    named = (*found, UNEXPLAINED) if found else ()
    return tuple(f"{kind}.{name}" for kind in ("stage", "share") for name in named)


def row_metric(name: str) -> Metric[Measurement] | Metric[Decoding]:
    """Return the metric of a row by its name, one of a stage included; raises KeyError where there is none."""
    return BANDWIDTH if name == BANDWIDTH.name else request_metric(name)


def request_metric(name: str) -> Metric[Measurement]:
    """Return the metric of a request by its name, one of a stage included; raises KeyError where there is none."""
    if name in METRICS:
        return METRICS[name]
    kind, _, stage = name.partition(".")
    if kind == "stage":
        return Metric(
            name=name,
            title=stage.replace("_", " "),
            unit=Unit.MILLISECONDS,
            direction=Direction.LOWER,
            definition=f"time of the stage {stage}" if stage != UNEXPLAINED else "request - its stages",
            of=_time_of(stage),
        )
    if kind == "share":
        time_of = _time_of(stage)
        return Metric(
            name=name,
            title=f"share of {stage.replace('_', ' ')}",
            unit=Unit.PERCENT,
            direction=Direction.LOWER,
            definition=f"stage.{stage} / request",
            of=lambda m: None if (time_s := time_of(m)) is None else time_s / _whole(m),
        )
    raise KeyError(name)


def _whole(m: Measurement) -> float:
    return seconds_between(m.start_ns, m.end_ns)


def _time_of(name: str) -> Callable[[Measurement], float | None]:
    """The function of a stage's seconds; ``None`` for a request that has no such stage, or took no time at all."""

    def time_of(m: Measurement) -> float | None:
        durations = [stage.duration_ns for stage in m.stages if name in (stage.name, UNEXPLAINED)]
        if not durations or m.end_ns <= m.start_ns:
            return None
        total_s = sum(durations) / NS_PER_S
        return _whole(m) - total_s if name == UNEXPLAINED else total_s

    return time_of
