"""What a row of the metrics is, and how rows of a kind are made."""

import enum
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from llmbench.schema.measurement import Measurement
from llmbench.schema.units import NS_PER_S, Direction, Unit

_Source = TypeVar("_Source")

NEVER_DROPPED = 100
"""The priority of a column that every screen shows, however narrow."""


class Scope(enum.Enum):
    """What a metric has one value for; its function takes a Measurement, a Launch, all requests of one, or a Run."""

    REQUEST = "request"
    LAUNCH = "launch"
    LOAD = "load"
    RUN = "run"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric(Generic[_Source]):
    """One number of a request, a launch or a run, and how reports show and judge it.

    *title* is its name in words if none is given, *head* its short title; without a head it is on no screen. Narrow
    screens drop the lowest *priority* first. *llm_bench* is that tool's name for it. *threshold* is the share of its
    value below which a change does not matter.
    *made_of* are the fields of a measurement it is computed from, where they are optional: no request has the metric if
    none has one of them.
    A metric that *is_compared* has a verdict in comparisons; those that are *is_primary* decide the exit code first.
    One that *is_phase* is a part of the wait for an answer, and is plotted.
    """

    name: str
    title: str = ""
    unit: Unit
    direction: Direction
    definition: str
    of: Callable[[_Source], float | None]
    scope: Scope = Scope.REQUEST
    made_of: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    head: str = ""
    priority: int = 0
    llm_bench: str = ""
    threshold: float = 0.03
    is_compared: bool = False
    is_primary: bool = False
    is_phase: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "title", self.title or self.name.replace("_", " "))
        if self.is_compared and self.direction is not Direction.LOWER:
            raise ValueError(f"{self.name}: verdicts take metrics that are better lower")
        if self.is_primary and not self.is_compared:
            raise ValueError(f"{self.name}: a primary metric is compared")

    @property
    def short_title(self) -> str:
        """What a table's head calls it."""
        return self.head or self.name

    @property
    def column(self) -> str:
        """Its CSV column: the name and, where that does not say it, the unit."""
        return f"{self.name}{self.unit.suffix}"


latency = functools.partial(Metric, unit=Unit.MILLISECONDS, direction=Direction.LOWER)
per_token = functools.partial(Metric, unit=Unit.MILLISECONDS_PER_TOKEN, direction=Direction.LOWER)
percentage = functools.partial(Metric, unit=Unit.PERCENT, direction=Direction.HIGHER)
rate = functools.partial(Metric, unit=Unit.TOKENS_PER_SECOND, direction=Direction.HIGHER)


def recorded_time(field: str) -> Callable[[Measurement], float | None]:
    """Return the function of a time that is recorded with each request, in seconds."""

    def time(m: Measurement) -> float | None:
        """Return the seconds; ``None`` where the time was not recorded."""
        found_ns: int | None = getattr(m, field)
        return None if found_ns is None else found_ns / NS_PER_S

    return time


def score(name: str) -> Callable[[Measurement], float | None]:
    """Return the function of a score that the workload records with each request."""
    return lambda m: m.scores.get(name)
