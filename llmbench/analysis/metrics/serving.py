"""Metrics of a server under load: rates in the window of a launch, goodput, errors, percentiles over its requests.

Each metric has one value per launch, and is a row of the table below. Rates count what happened in the window, in
whichever part of the load: in a stable load as many requests end in it as begin. Percentiles and shares are those of
the measured requests.
"""

import dataclasses
import functools
import itertools
from collections.abc import Mapping

from llmbench.analysis import stats
from llmbench.analysis.metrics.base import NEVER_DROPPED, Metric, Scope
from llmbench.analysis.metrics.table import METRICS, SCREEN_METRICS, find_metric
from llmbench.errors import InputError
from llmbench.schema.measurement import Measurement
from llmbench.schema.units import NS_PER_S, Direction, Unit

GAPS = "itl"
"""What the gaps between all tokens of all requests are called in the names of percentiles."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LaunchLoad:
    """The requests of one launch: all of them, those that are measured, and those of them that count.

    *limits* are what a request must keep to be good, in seconds by metric; empty where none was stated.
    """

    begin_ns: int
    end_ns: int
    requests: tuple[Measurement, ...]
    measured: tuple[Measurement, ...]
    counted: tuple[Measurement, ...]
    limits: Mapping[str, float]

    @property
    def window_s(self) -> float:
        """The length of the window in seconds."""
        return (self.end_ns - self.begin_ns) / NS_PER_S

    def is_inside(self, instant_ns: int) -> bool:
        """Return whether an instant lies in the window."""
        return self.begin_ns <= instant_ns < self.end_ns

    @property
    def completed(self) -> list[Measurement]:
        """The requests that ended in the window, without an error."""
        return [m for m in self.requests if m.error is None and self.is_inside(m.end_ns)]

    def a_second(self, count: float) -> float | None:
        """Return a number of things in the window per second; ``None`` where it has no length."""
        return count / self.window_s if self.window_s > 0 else None


def read_goodput(text: str) -> dict[str, float]:
    """Return the limits of ``ttft:200,tpot:50,e2e:3000`` in seconds, by metric; milliseconds are written.

    Raises:
        InputError: a metric that is no latency of a request, or a number that is none.
    """
    limits: dict[str, float] = {}
    for part in filter(None, text.replace(" ", ",").split(",")):
        name, _, number = part.partition(":")
        metric = find_metric(_SPELLINGS.get(name, name))
        try:
            milliseconds = float(number)
        except ValueError:
            milliseconds = 0.0
        if metric not in LIMITED or not 0 < milliseconds < 1e12:
            raise InputError(
                f"--goodput {part}: a latency and a limit in ms are needed",
                hint="write ttft:200,tpot:50,e2e:3000",
            )
        limits[str(metric)] = milliseconds / 1e3
    return limits


LIMITED = ("first_token", "first_token_sent", "tpot", "next_token", "e2e")
"""The metrics that a goodput may limit."""

_SPELLINGS = {
    "e2el": "e2e",
    "request_latency": "e2e",
    "time_to_first_token": "ttft",
    "inter_token_latency": "tpot",
}
"""How vLLM and aiperf spell them; aiperf's inter-token latency is the mean of a request, which is our tpot."""


def is_good(m: Measurement, limits: Mapping[str, float]) -> bool:
    """Return whether a request was completed and kept every limit; one token has no time per later token to keep."""
    values = {name: METRICS[name].of(m) for name in limits}
    kept = (value is None or value <= limits[name] for name, value in values.items())
    return m.error is None and bool(m.output_tokens) and all(kept)


def _output_throughput(load: LaunchLoad) -> float | None:
    tokens = sum(
        event.count
        for m in load.requests
        for sequence in m.sequences
        for event in sequence.events
        if load.is_inside(event.at_ns)
    )
    return load.a_second(tokens)


def _goodput(load: LaunchLoad) -> float | None:
    if not load.limits:
        return None
    return load.a_second(sum(is_good(m, load.limits) for m in load.completed))


def _good_share(load: LaunchLoad) -> float | None:
    if not load.limits or not load.measured:
        return None
    return sum(is_good(m, load.limits) for m in load.measured) / len(load.measured)


def _error_share(load: LaunchLoad) -> float | None:
    return sum(m.error is not None for m in load.measured) / len(load.measured) if load.measured else None


def _user_rate(load: LaunchLoad) -> float | None:
    found = stats.median_of(METRICS["tpot"].of(m) or None for m in load.counted)
    return 1 / found if found else None


_higher = functools.partial(Metric, scope=Scope.LOAD, direction=Direction.HIGHER)

_ROWS: tuple[Metric[LaunchLoad], ...] = (
    _higher(
        name="goodput",
        head="goodput",
        priority=NEVER_DROPPED,
        unit=Unit.REQUESTS_PER_SECOND,
        definition="requests that ended in the window and kept every limit / its length",
        of=_goodput,
    ),
    _higher(
        name="request_rate",
        head="requests",
        priority=75,
        unit=Unit.REQUESTS_PER_SECOND,
        definition="requests completed in the window / its length",
        of=lambda load: load.a_second(len(load.completed)),
    ),
    _higher(
        name="output_throughput",
        head="output",
        priority=70,
        unit=Unit.TOKENS_PER_SECOND,
        definition="output tokens of all requests in the window / its length",
        of=_output_throughput,
    ),
    _higher(
        name="user_rate",
        title="output tokens per second per user",
        head="per user",
        priority=35,
        unit=Unit.TOKENS_PER_SECOND,
        definition="1 / median tpot",
        of=_user_rate,
    ),
    _higher(
        name="good_share",
        title="share of good requests",
        head="good",
        priority=25,
        unit=Unit.PERCENT,
        definition="measured requests that kept every limit / measured requests",
        of=_good_share,
    ),
    Metric(
        name="error_share",
        title="errors",
        head="errors",
        priority=60,
        scope=Scope.LOAD,
        unit=Unit.PERCENT,
        direction=Direction.LOWER,
        definition="measured requests that were not completed / measured requests",
        of=_error_share,
    ),
)

_PERCENTILES = {"first_token": (90, 99), GAPS: (50, 99), "tpot": (90,), "e2e": (99,)}
"""The percentiles that a screen shows, where the sample carries them."""

_OF_ALL = frozenset(("error_share",))
"""What is known of a launch of which no request counts."""

_BASES = ("first_token", "first_token_sent", GAPS, "tpot", "e2e")


def _percentile_metric(base: str, percent: int) -> Metric[LaunchLoad]:
    title = "inter-token latency" if base == GAPS else METRICS[base].title
    head = "itl" if base == GAPS else METRICS[base].head or title
    return Metric(
        name=f"p{percent}.{base}",
        title=f"{title}, p{percent}",
        head=f"{head}\np{percent}" if percent in _PERCENTILES.get(base, ()) else "",
        priority=50 if percent == 90 else 20,
        scope=Scope.LOAD,
        unit=Unit.MILLISECONDS,
        direction=Direction.LOWER,
        definition=f"{percent} % of the {'gaps' if base == GAPS else 'measured requests'} take no longer",
        of=functools.partial(_percentile, base=base, percent=percent),
    )


def _values(load: LaunchLoad, base: str) -> list[float]:
    """The seconds that percentiles are of: the gaps between tokens, or a metric of each request."""
    if base != GAPS:
        return [value for m in load.counted if (value := METRICS[base].of(m)) is not None]
    sequences = (sequence for m in load.counted for sequence in m.sequences)
    pairs = (pair for sequence in sequences for pair in itertools.pairwise(sequence.at_ns))
    return [(after - before) / NS_PER_S for before, after in pairs]


def _percentile(load: LaunchLoad, base: str, percent: int) -> float | None:
    values = _values(load, base)
    return stats.median_of(values) if percent == 50 else stats.percentile(values, percent)


LOAD_METRICS: dict[str, Metric[LaunchLoad]] = {
    metric.name: metric
    for metric in (
        *_ROWS,
        *(
            _percentile_metric(base, percent)
            for base in _BASES
            for percent in (50, *stats.PERCENTILE_NEEDS)
            if percent > 50 or base == GAPS  # the median of a request's is the metric's own value
        ),
    )
}
"""Every metric of a load, by name, in the order of the reports."""

SHOWN_METRICS = (
    *(name for name, metric in LOAD_METRICS.items() if metric.head and "." not in name),
    *SCREEN_METRICS,
    *(name for name, metric in LOAD_METRICS.items() if metric.head and "." in name),
)
"""The metrics on a screen, in order, those of a load among them."""


def load_values(load: LaunchLoad) -> dict[str, float]:
    """Return the metrics of one launch that exist, by name."""
    names = LOAD_METRICS if load.counted else _OF_ALL
    values = {name: LOAD_METRICS[name].of(load) for name in names}
    return {name: value for name, value in values.items() if value is not None}
