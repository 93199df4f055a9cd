"""The gap before every output token by its position, and how latency grows with the context."""

import collections
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from llmbench import report
from llmbench.config import Prompt
from llmbench.measurement import Measurement
from llmbench.report import Judged
from llmbench.run import Run
from llmbench.units import NS_PER_S

FIRST_STEADY = 3
"""The first token of a slope: the second is slower after a long input, and has a metric of its own."""

_Place = tuple[int, int]
"""A cell and a prompt of it, by index."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """The wait before output token number *token* (the first is 1), in seconds a token over *n* requests.

    *context* is how many tokens stood before it, input and output. *low* and *high* hold the middle half of the
    requests. Where an event held several tokens, its wait is shared out among them and stands at the last.
    """

    token: int
    context: int
    median: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The gaps of one prompt under one configuration, second token first; over all requests that count."""

    cell: int
    prompt: Prompt
    input_tokens: int
    gaps: tuple[Gap, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Slope:
    """How much longer a token takes for each token of context: seconds a token, a token.

    *by_launch* has the least-squares line of each launch through the medians of its gaps, from the third token on.
    *shortest* and *longest* are the contexts it stands on.
    """

    cell: int
    shortest: int
    longest: int
    by_launch: Mapping[int, float] = field(repr=False)

    @property
    def median(self) -> float:
        """The slope of the launch in the middle."""
        return statistics.median(self.by_launch.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """The wait before one token of one request."""

    place: _Place
    launch: int
    token: int
    context: int
    seconds: float


def profiles(run: Run) -> tuple[Profile, ...]:
    """The gaps of every prompt whose requests count and tell when each token came."""
    groups: dict[_Place, list[_Seen]] = collections.defaultdict(list)
    for seen in _all_seen(run):
        groups[seen.place].append(seen)
    return tuple(_profile(run, groups[place]) for place in sorted(groups))


def slopes(run: Run) -> tuple[Slope | None, ...]:
    """For each cell the slope of its gaps with the context; ``None`` where there are fewer than two contexts."""
    cells: dict[int, list[_Seen]] = collections.defaultdict(list)
    for seen in _all_seen(run):
        if seen.token >= FIRST_STEADY:
            cells[seen.place[0]].append(seen)
    return tuple(_slope(cell, cells[cell]) for cell in range(len(run.cells)))


def _all_seen(run: Run) -> Iterator[_Seen]:
    """Every wait of the requests that count."""
    for judged in report.judge(run):
        if judged.counts and judged.measurement.has_token_times:
            yield from _seen(judged)


def _seen(judged: Judged) -> Iterator[_Seen]:
    """The waits of one request, of the sequence that ends last."""
    m: Measurement = judged.measurement
    longest = m.longest
    done = 0
    before_ns: int | None = None
    for event in longest.events:
        done += event.count
        if before_ns is not None:
            yield _Seen(
                place=(judged.launch.cell, m.prompt),
                launch=judged.launch.index,
                token=done,
                context=longest.input_tokens + done - 1,
                seconds=(event.at_ns - before_ns) / NS_PER_S / event.count,
            )
        before_ns = event.at_ns


def _profile(run: Run, seen: Sequence[_Seen]) -> Profile:
    """The gaps of one prompt by token."""
    cell, prompt = seen[0].place
    tokens: dict[int, list[_Seen]] = collections.defaultdict(list)
    for each in seen:
        tokens[each.token].append(each)
    gaps = tuple(_gap(tokens[token]) for token in sorted(tokens))
    return Profile(
        cell=cell,
        prompt=run.cells[cell].prompts[prompt],
        input_tokens=gaps[0].context - gaps[0].token + 1,
        gaps=gaps,
    )


def _gap(seen: Sequence[_Seen]) -> Gap:
    """One token's waits in all requests."""
    values = [each.seconds for each in seen]
    low, median, high = (
        statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    )
    return Gap(
        token=seen[0].token,
        context=statistics.median_low([each.context for each in seen]),
        median=median,
        low=low,
        high=high,
        n=len(values),
    )


def _slope(cell: int, seen: Sequence[_Seen]) -> Slope | None:
    """The slope of each launch that has at least two contexts."""
    launches: dict[int, list[_Seen]] = collections.defaultdict(list)
    for each in seen:
        launches[each.launch].append(each)
    found = {launch: _line(launches[launch]) for launch in sorted(launches)}
    by_launch = {launch: slope for launch, slope in found.items() if slope is not None}
    if not by_launch:
        return None
    contexts = [each.context for each in seen]
    return Slope(cell=cell, shortest=min(contexts), longest=max(contexts), by_launch=by_launch)


def _line(seen: Iterable[_Seen]) -> float | None:
    """The least-squares slope through the medians of like gaps; ``None`` for a single context."""
    points: dict[tuple[_Place, int], list[float]] = collections.defaultdict(list)
    contexts: dict[tuple[_Place, int], int] = {}
    for each in seen:
        points[each.place, each.token].append(each.seconds)
        contexts[each.place, each.token] = each.context
    if len(set(contexts.values())) < 2:
        return None
    medians = [statistics.median(points[key]) for key in contexts]
    return statistics.linear_regression(list(contexts.values()), medians).slope
