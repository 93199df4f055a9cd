"""Whether what a run measured was stable over its iterations, and how many warm-ups would have done."""

import collections
import dataclasses
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llmbench.analysis import stats, trend
from llmbench.analysis.evaluation import SIZES, EvaluatedRequest, Evaluation
from llmbench.analysis.metrics.table import METRICS
from llmbench.analysis.trend import Trend
from llmbench.schema.config import Prompt
from llmbench.schema.measurement import Measurement
from llmbench.schema.run import Run

JUDGED = tuple(name for name, metric in METRICS.items() if metric.is_primary)
"""The metrics that are looked at."""

_READERS: Mapping[str, Callable[[Measurement], Any]] = {
    **SIZES,
    "iteration": operator.attrgetter("iteration"),
    "is_warmup": operator.attrgetter("is_warmup"),
}

ERROR = 0.05
"""The chance of a false alarm allowed to all rows of a run together: once for drifts, once for slow starts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stability:
    """How stable the requests for one prompt were under one configuration (*cell* is its index).

    *drifts* has, by metric, the change from the first measured iteration to the last as a share, where there is a
    trend and it is large enough to matter. *is_stable* is false then and where there were too few warm-ups, and true
    where no metric changes by as much; ``None`` is what so few or so noisy iterations do not tell. *needed* is how
    many warm-ups would have done of which *warmups* were made: the first iteration that is not slower than the second
    half of the measured ones. ``None`` where it cannot be told, as where that half itself drifts.
    """

    cell: int
    prompt: Prompt
    warmups: int
    needed: int | None = None
    is_stable: bool | None = None
    drifts: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_late(self) -> bool:
        """Whether iterations were measured that should have been warm-ups."""
        return self.needed is not None and self.needed > self.warmups


@dataclass(frozen=True, slots=True, kw_only=True)
class _Track:
    """A metric of one prompt: *series* has for each launch its values by iteration, warm-ups among them.

    *measured* are the iterations that are none, in order; *needed* is the number of warm-ups found, if any.
    """

    metric: str
    series: Sequence[Mapping[int, float]]
    measured: Sequence[int]
    needed: int | None = None

    @property
    def tail(self) -> Sequence[int]:
        """The second half of the measured iterations, which is taken to be stable."""
        return self.measured[len(self.measured) // 2 :]

    @property
    def matters(self) -> float:
        """The share above which a change matters."""
        return METRICS[self.metric].threshold

    @property
    def is_late(self) -> bool:
        """Whether a measured iteration should have been a warm-up."""
        return self.needed is not None and self.needed > self.measured[0]

    def with_needed(self) -> "_Track":
        """With the first iteration before the tail that is as fast as the tail; with none where noise hides it."""
        for location in range(self.tail[0]):
            found = trend.find_excess(self.series, location, self.tail)
            if found is not None and found.change <= self.matters:
                return dataclasses.replace(self, needed=location)
            if found is None or found.p > ERROR:
                break
        return self

    def late_p(self) -> float:
        """The p-value of a first measured iteration that is no slower than the tail; 1 where nothing is known."""
        found = trend.find_excess(self.series, self.measured[0], self.tail)
        return 1.0 if found is None else found.p

    def find_trend(self) -> Trend | None:
        """The trend over the measured iterations, those left out that should have been warm-ups."""
        first = max(self.measured[0], self.needed or 0)
        return trend.find_trend(
            [{p: value for p, value in each.items() if p >= first} for each in self.series]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Course:
    """What became of a track over the iterations; *is_stable* is ``None`` where that cannot be told."""

    track: _Track
    is_stable: bool | None = None
    change: float = 0.0


def judge_stability(evaluation: Evaluation) -> tuple[Stability, ...]:
    """The stability of each prompt of each configuration that has measured requests, in that order.

    Only what is alike is set against each other: a prompt whose requests have other numbers of tokens is not judged,
    nor the time of a token where something guesses ahead, which is luckier with some variants of a prompt.
    """
    run, groups = evaluation.run, evaluation.groups()
    columns = evaluation.columns(_READERS) | evaluation.metrics(JUDGED)
    tracks = [(key, track) for key, group in groups.items() for track in _tracks(run, key, group, columns)]
    settled = _with_needed([track for _, track in tracks])
    courses = _courses(settled)
    found: dict[tuple[int, int], list[_Course]] = {key: [] for key in groups}
    for (key, _), course in zip(tracks, courses, strict=True):
        found[key].append(course)
    return tuple(_judge_row(run, key, found[key]) for key in groups)


def _tracks(
    run: Run, key: tuple[int, int], group: Sequence[EvaluatedRequest], columns: Mapping[str, Sequence[Any]]
) -> Iterator[_Track]:
    config = run.cells[key[0]]
    iterations = columns["iteration"]
    measured = sorted({iterations[each.number] for each in group if not columns["is_warmup"][each.number]})
    by_launch: dict[int, list[int]] = collections.defaultdict(list)
    for judged in group:
        if not judged.reasons:
            by_launch[judged.launch.index].append(judged.number)
    valid = [index for indices in by_launch.values() for index in indices]
    are_alike = all(len({columns[name][index] for index in valid}) == 1 for name in SIZES)
    if not are_alike or measured[0] != config.warmups:
        return
    for name in filter(columns.__contains__, JUDGED):
        values = columns[name]
        found = [{iterations[i]: values[i] for i in each if values[i]} for each in by_launch.values()]
        series = tuple(filter(None, found))
        if series and not (name == "tpot" and config.is_speculative):
            yield _Track(metric=name, series=series, measured=measured)


def _with_needed(tracks: Sequence[_Track]) -> list[_Track]:
    """The tracks with the warm-ups needed; more than were made only where that holds after Holm's correction."""
    found = [track.with_needed() for track in tracks]
    adjusted = stats.holm([track.late_p() for track in tracks])
    return [
        track if late.is_late and p > ERROR else late
        for track, late, p in zip(tracks, found, adjusted, strict=True)
    ]


def _courses(tracks: Sequence[_Track]) -> list[_Course]:
    """What became of each track; its trend must hold after Holm's correction among those that can be decided."""
    trends = [track.find_trend() for track in tracks]
    decidable = trend.testable([found.least_p if found else 1.0 for found in trends], error=ERROR)
    known = [found for found, can_be in zip(trends, decidable, strict=True) if found and can_be]
    adjusted = iter(stats.holm([found.p for found in known]))
    return [
        _course(track, found, next(adjusted)) if found and can_be else _Course(track=track)
        for track, found, can_be in zip(tracks, trends, decidable, strict=True)
    ]


def _course(track: _Track, found: Trend, p: float) -> _Course:
    """Stable where the change does not matter, a drift where it does and is significant, else unknown."""
    if abs(found.change) <= track.matters:
        return _Course(track=track, is_stable=True)
    return _Course(track=track, is_stable=False if p <= ERROR else None, change=found.change)


def _judge_row(run: Run, key: tuple[int, int], courses: Sequence[_Course]) -> Stability:
    config = run.cells[key[0]]
    drifts = {course.track.metric: course.change for course in courses if course.is_stable is False}
    counts = [course.track.needed for course in courses]
    known = [count for count in counts if count is not None]
    needed = max(known) if known and len(known) == len(counts) and not drifts else None
    is_known = bool(courses) and not config.is_speculative and all(course.is_stable for course in courses)
    is_late = needed is not None and needed > config.warmups
    return Stability(
        cell=key[0],
        prompt=config.prompts[key[1]],
        warmups=config.warmups,
        needed=needed,
        is_stable=False if drifts or is_late else True if is_known else None,
        drifts=drifts,
    )
