"""Racing: candidates measured in the same blocks, those that are clearly worse than the leader left out.

All are compared inside blocks, so that a drift of the machine falls on all alike (F-Race: Birattari et al., GECCO
2002). The leader of many noisy candidates is better than it is by chance: what the race says of it proves nothing, and
a comparison on fresh launches follows.
"""

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from llmbench.analysis import stats
from llmbench.analysis.comparison.change import sample
from llmbench.analysis.report import summarize_run
from llmbench.analysis.stages import request_metric
from llmbench.analysis.t_distribution import t_cdf, t_quantile
from llmbench.schema.run import Launch, Run
from llmbench.schema.units import Direction

DEFAULT = 0
"""The cell of the default, which stays in the race to its end."""

LEAST_BLOCKS_TO_DROP = 3
DROP_ERROR = 0.05
"""The one-sided error at which a candidate is worse than the leader, from three blocks on."""

BOUND_ERROR = 0.05
"""The error of what any candidate may gain at most, for all of them together."""

FAR_BEHIND = 1.5
"""A candidate that takes this many times as long as the leader is dropped at once."""

Times = Mapping[int, Mapping[int, float]]
"""Logarithms of times by cell and block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A race so far: the cells still in it, the best first, and the mean time of each over the default's.

    A cell without a valid launch has no ratio.
    """

    left: tuple[int, ...]
    ratios: Mapping[int, float]

    def better_than_default(self, share: float) -> tuple[int, ...]:
        """Return the cells that take less than the default by this share, dropped or not, the best first."""
        better = (cell for cell, ratio in self.ratios.items() if ratio < 1 - share)
        return tuple(sorted(better, key=lambda cell: self.ratios[cell]))


def times_of(run: Run, metric: str) -> dict[int, dict[int, float]]:
    """Return the logarithm of each cell's time in each block, the mean over its prompts; valid requests only.

    Of a metric that is to be high, such as a rate, it is that of its inverse.
    """
    sign = 1 if request_metric(metric).direction is Direction.LOWER else -1
    report = summarize_run(run, (metric,))
    found = {}
    for cell in range(len(run.cells)):
        rows = [row for row in report.rows if row.cell == cell]
        times = sample(rows, metric, run.blocks) if rows else None
        if times is not None:
            found[cell] = {block: sign * log for block, log in times.logs.items()}
    return found


def large_cells(run: Run, limit_bytes: float | None) -> frozenset[int]:
    """Return the candidates whose peak memory (that of the server under load) is above a limit; never the default."""
    if limit_bytes is None:
        return frozenset()
    servers = [
        (launch.cell, float(launch.window.server.peak_bytes))
        for launch in run.launches
        if launch.window and launch.window.server and launch.window.server.peak_bytes
    ]
    found = servers or _peaks(run)
    return frozenset(cell for cell, peak_bytes in found if cell != DEFAULT and peak_bytes > limit_bytes)


def _peaks(run: Run) -> list[tuple[int, float]]:
    rows = ((row.cell, row.summaries.get("memory")) for row in summarize_run(run, ("memory",)).rows)
    return [(cell, memory.median) for cell, memory in rows if memory is not None]


def cells_to_come(run: Run, times: Times) -> frozenset[int]:
    """Return the cells without a valid launch that may still get one: fewer than three were made, and none failed."""
    by_cell: dict[int, list[Launch]] = {}
    for launch in run.launches:
        by_cell.setdefault(launch.cell, []).append(launch)
    return frozenset(
        cell
        for cell, launches in by_cell.items()
        if cell not in times
        and len(launches) < LEAST_BLOCKS_TO_DROP
        and all(launch.is_finished for launch in launches)
    )


def judge_race(times: Times) -> Standing:
    """Return which candidates go on: all but those that are clearly slower than the leader; the default always.

    As long as the default has no valid launch, nothing can be compared, and all go on.
    """
    if DEFAULT not in times:
        return Standing(left=tuple(times), ratios={})
    ratios = {
        cell: math.exp(statistics.fmean(found))
        for cell in times
        if (found := _differences(times, cell, DEFAULT))
    }
    order = sorted(ratios, key=lambda cell: ratios[cell])
    leader = order[0] if order else DEFAULT
    left = [cell for cell in order if cell in {leader, DEFAULT} or not _is_behind(times, cell, leader)]
    return Standing(left=tuple(left), ratios=ratios)


def largest_gain(times: Times) -> float | None:
    """Return how many times as fast as the default any candidate may be at most, at 95 % for all of them together.

    *times* are those of a whole race, of the candidates that were dropped too. Bonferroni's bound, with one spread of
    the differences for all: a candidate that was dropped after one block has none of its own. ``None`` where no
    candidate has two blocks.
    """
    found = [each for cell in times if cell != DEFAULT and (each := _differences(times, cell, DEFAULT))]
    spread = stats.pooled_deviation(found)
    if spread is None:
        return None
    freedom = sum(len(each) - 1 for each in found)
    reach = t_quantile(freedom, 1 - 2 * BOUND_ERROR / len(found)) * spread
    return math.exp(-min(statistics.fmean(each) - reach / math.sqrt(len(each)) for each in found))


def _differences(times: Times, cell: int, other: int) -> list[float]:
    shared = times.get(cell, {}).keys() & times.get(other, {}).keys()
    return [times[cell][block] - times[other][block] for block in sorted(shared)]


def _is_behind(times: Times, cell: int, leader: int) -> bool:
    found = _differences(times, cell, leader)
    if not found:
        return False
    mean = statistics.fmean(found)
    if mean > math.log(FAR_BEHIND):
        return True
    if len(found) < LEAST_BLOCKS_TO_DROP or mean <= 0:
        return False
    error = statistics.stdev(found) / math.sqrt(len(found))
    return error == 0 or t_cdf(len(found) - 1, -mean / error) < DROP_ERROR
