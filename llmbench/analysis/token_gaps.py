"""The gap before every output token by its position, and how latency grows with the context."""

import collections
import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from llmbench.analysis import stats
from llmbench.analysis.evaluation import Evaluation
from llmbench.schema.config import Prompt
from llmbench.schema.measurement import Sequence as TokenSequence
from llmbench.schema.run import Run
from llmbench.schema.units import NS_PER_S

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FIRST_STABLE = 3
"""The first token of a slope: the second is slower after a long input, and has a metric of its own."""

_Point = tuple[int, float]
"""Tokens before a token, and the wait for it in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """The wait before output token number *token* (the first is 1), in seconds per token over *n* requests.

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
    """How much longer a token takes for each token of context: seconds per token, a token.

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


def gap_profiles(evaluation: Evaluation) -> tuple[GapProfile, ...]:
    """The gaps of every prompt whose requests count and tell when each token came."""
    found = _sequences(evaluation)
    locations = sorted({(cell, prompt) for cell, prompt, _ in found})
    return tuple(
        _profile(
            evaluation.run, location, [each for key in found if key[:2] == location for each in found[key]]
        )
        for location in locations
    )


def slopes(evaluation: Evaluation) -> tuple[Slope | None, ...]:
    """For each cell the slope of its gaps with the context; ``None`` where there are fewer than two contexts."""
    cells: dict[int, dict[int, list[_Point]]] = collections.defaultdict(lambda: collections.defaultdict(list))
    for (cell, _, launch), sequences in sorted(_sequences(evaluation).items()):
        cells[cell][launch] += _points(sequences)
    return tuple(_slope(cell, cells[cell]) for cell in range(len(evaluation.run.cells)))


def _sequences(evaluation: Evaluation) -> dict[tuple[int, int, int], list[TokenSequence]]:
    """The sequences with gaps of the requests that count, by cell, prompt and launch."""
    found: dict[tuple[int, int, int], list[TokenSequence]] = collections.defaultdict(list)
    for judged in evaluation.requests:
        m = judged.measurement
        if judged.is_counted and m.has_token_times and len(m.longest.at_ns) > 1:
            found[judged.launch.cell, m.prompt, judged.launch.index].append(m.longest)
    return found


def _waits(sequences: Iterable[TokenSequence]) -> dict[int, "NDArray[np.float64]"]:
    """The waits before each token in all sequences, in seconds per token, the shortest first."""
    import numpy as np

    alike: dict[tuple[int, ...] | int, list[Collection[int]]] = collections.defaultdict(list)
    for sequence in sequences:
        alike[sequence.counts or len(sequence.at_ns)].append(sequence.at_ns)
    found: dict[int, list[NDArray[np.float64]]] = collections.defaultdict(list)
    for events, instants in alike.items():
        counts = np.array(events if isinstance(events, tuple) else (1,) * events)
        seconds = np.diff(np.array(instants, dtype=np.int64)) / NS_PER_S / counts[1:]
        for token, waits in zip(counts.cumsum()[1:].tolist(), seconds.T, strict=True):
            found[token].append(waits)
    return {token: np.sort(np.concatenate(found[token])) for token in sorted(found)}


def _quartile(waits: "NDArray[np.float64]", number: int) -> float:
    """A quartile of sorted values; between two of them it lies on the line (inclusive)."""
    below, share = divmod(number * (len(waits) - 1), 4)
    return float(waits[below] * (4 - share) + waits[min(below + 1, len(waits) - 1)] * share) / 4


def _profile(run: Run, location: tuple[int, int], sequences: Sequence[TokenSequence]) -> GapProfile:
    cell, prompt = location
    input_tokens = statistics.median_low([sequence.input_tokens for sequence in sequences])
    return GapProfile(
        cell=cell,
        prompt=run.cells[cell].prompts[prompt],
        input_tokens=input_tokens,
        gaps=tuple(
            Gap(
                token=token,
                context=input_tokens + token - 1,
                low=_quartile(waits, 1),
                median=_quartile(waits, 2),
                high=_quartile(waits, 3),
                n=len(waits),
            )
            for token, waits in _waits(sequences).items()
        ),
    )


def _slope(cell: int, launches: Mapping[int, list[_Point]]) -> Slope | None:
    points = {launch: found for launch, found in launches.items() if len({x for x, _ in found}) > 1}
    if not points:
        return None
    contexts = [context for found in points.values() for context, _ in found]
    by_launch = {
        launch: statistics.linear_regression(*zip(*points[launch], strict=True)).slope
        for launch in sorted(points)
    }
    return Slope(cell=cell, shortest=min(contexts), longest=max(contexts), by_launch=by_launch)


def _points(sequences: Sequence[TokenSequence]) -> list[_Point]:
    """Context and median wait of each token of one prompt in one launch."""
    return [
        (sequences[0].input_tokens + token - 1, _quartile(waits, 2))
        for token, waits in _waits(sequences).items()
        if token >= FIRST_STABLE
    ]
