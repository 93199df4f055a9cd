"""The gap before every output token by its position, and how latency grows with the context."""

import collections
import itertools
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from llmbench.analysis import stats
from llmbench.analysis.evaluation import EvaluatedRequest, Evaluation
from llmbench.analysis.output_agreement import CellPrompt
from llmbench.schema.config import Prompt
from llmbench.schema.run import Run
from llmbench.schema.units import NS_PER_S

FIRST_STABLE = 3
"""The first token of a slope: the second is slower after a long input, and has a metric of its own."""


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
class GapProfile:
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

    @property
    def interval(self) -> tuple[float, float] | None:
        """Student's t interval over launches; ``None`` below three of them."""
        return stats.mean_interval(tuple(self.by_launch.values()))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Waits:
    """The waits of one request before the tokens that have these numbers, seconds a token."""

    location: CellPrompt
    launch: int
    input_tokens: int
    tokens: Sequence[int]
    seconds: Sequence[float]


def gap_profiles(evaluation: Evaluation) -> tuple[GapProfile, ...]:
    """The gaps of every prompt whose requests count and tell when each token came."""
    groups: dict[CellPrompt, list[_Waits]] = collections.defaultdict(list)
    for waits in _all_waits(evaluation):
        groups[waits.location].append(waits)
    return tuple(_profile(evaluation.run, groups[location]) for location in sorted(groups))


def slopes(evaluation: Evaluation) -> tuple[Slope | None, ...]:
    """For each cell the slope of its gaps with the context; ``None`` where there are fewer than two contexts."""
    cells: dict[int, list[_Waits]] = collections.defaultdict(list)
    for waits in _all_waits(evaluation):
        cells[waits.location[0]].append(waits)
    return tuple(_slope(cell, cells[cell]) for cell in range(len(evaluation.run.cells)))


def _all_waits(evaluation: Evaluation) -> Iterator[_Waits]:
    for judged in evaluation.requests:
        if (
            judged.is_counted
            and judged.measurement.has_token_times
            and len(judged.measurement.longest.at_ns) > 1
        ):
            yield _waits(judged)


def _waits(judged: EvaluatedRequest) -> _Waits:
    sequence = judged.measurement.longest
    counts = sequence.counts or (1,) * len(sequence.at_ns)
    between = zip(sequence.at_ns, sequence.at_ns[1:], counts[1:], strict=False)
    return _Waits(
        location=(judged.launch.cell, judged.measurement.prompt),
        launch=judged.launch.index,
        input_tokens=sequence.input_tokens,
        tokens=tuple(itertools.accumulate(counts))[1:],
        seconds=[(later - earlier) / NS_PER_S / count for earlier, later, count in between],
    )


def _profile(run: Run, requests: Sequence[_Waits]) -> GapProfile:
    cell, prompt = requests[0].location
    input_tokens = statistics.median_low([waits.input_tokens for waits in requests])
    found = _by_token(requests)
    return GapProfile(
        cell=cell,
        prompt=run.cells[cell].prompts[prompt],
        input_tokens=input_tokens,
        gaps=tuple(_gap(token, input_tokens + token - 1, found[token]) for token in sorted(found)),
    )


def _by_token(requests: Iterable[_Waits]) -> dict[int, list[float]]:
    """The waits before each token in all requests."""
    found: dict[int, list[float]] = collections.defaultdict(list)
    for waits in requests:
        for token, seconds in zip(waits.tokens, waits.seconds, strict=True):
            found[token].append(seconds)
    return found


def _gap(token: int, context: int, values: Sequence[float]) -> Gap:
    low, median, high = (
        statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [*values] * 3
    )
    return Gap(token=token, context=context, median=median, low=low, high=high, n=len(values))


def _slope(cell: int, requests: Sequence[_Waits]) -> Slope | None:
    launches: dict[int, list[_Waits]] = collections.defaultdict(list)
    for waits in requests:
        launches[waits.launch].append(waits)
    points = {launch: _points(launches[launch]) for launch in sorted(launches)}
    points = {launch: found for launch, found in points.items() if len({x for x, _ in found}) > 1}
    if not points:
        return None
    contexts = [context for found in points.values() for context, _ in found]
    by_launch = {
        launch: statistics.linear_regression(*zip(*points[launch], strict=True)).slope for launch in points
    }
    return Slope(cell=cell, shortest=min(contexts), longest=max(contexts), by_launch=by_launch)


def _points(requests: Iterable[_Waits]) -> list[tuple[int, float]]:
    prompts: dict[int, list[_Waits]] = collections.defaultdict(list)
    for waits in requests:
        prompts[waits.location[1]].append(waits)
    return [
        (alike[0].input_tokens + token - 1, statistics.median(values))
        for alike in prompts.values()
        for token, values in _by_token(alike).items()
        if token >= FIRST_STABLE
    ]
