"""Launches in blocks, one of each configuration a block, and the rules that end a run before its last block."""

import itertools
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from llmbench.analysis.comparison.paired_run import compare_sides, finished_blocks, is_narrow
from llmbench.runner.plan import PlannedLaunch
from llmbench.schema.run import Run

LEAST_BLOCKS = 5
"""Intervals from fewer blocks are narrow by chance too often to stop at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """When to stop before the last block: after *budget_s* seconds, or when intervals reach at most *until* (a share).

    ``None`` is never. To stop at a width costs little: of intervals that may stop from five blocks on, 5 to 8 % miss
    the truth where 5 % should, and the thresholds of the rule come on top. *until* needs a run of two configurations.
    *race* returns, of what was measured so far, the cells that are measured further: with fewer than two it ends.
    The first block is made whole, or where *least* is given, of this many launches at least.
    """

    budget_s: float | None = None
    least: int | None = None
    until: float | None = None
    race: Callable[[Run], Collection[int]] | None = None

    def is_due(self, run: Callable[[], Run], elapsed_s: float, next_s: float) -> bool:
        """Return whether another block, which will take about *next_s* seconds, is too much or not needed."""
        if self.budget_s is not None and elapsed_s + next_s > self.budget_s:
            return True
        if self.until is None:
            return False
        measured = run()
        return finished_blocks(measured) >= LEAST_BLOCKS and is_narrow(compare_sides(measured), self.until)

    def is_cut(self, made: int, elapsed_s: float, next_s: float) -> bool:
        """Return whether the first block ends after *made* launches, as one more takes about *next_s* seconds."""
        return (
            self.least is not None
            and made >= self.least
            and self.budget_s is not None
            and elapsed_s + next_s > self.budget_s
        )


def launches_until(
    stop: Stop, planned: Sequence[PlannedLaunch], run: Callable[[], Run]
) -> Iterator[PlannedLaunch]:
    """Yield the launches, block by block, until it is time to stop; the first block is made by the rule of *stop*.

    The longest block so far says how long the next one takes; *run* returns what has been measured.
    """
    began = time.monotonic()
    longest_s = 0.0
    for _, block in itertools.groupby(planned, key=lambda launch: launch.block):
        block_began = time.monotonic()
        if longest_s and stop.is_due(run, block_began - began, longest_s):
            return
        left = stop.race(run()) if longest_s and stop.race is not None else None
        if left is not None and len(left) < 2:
            return
        kept = [launch for launch in block if left is None or launch.cell in left]
        for made, launch in enumerate(kept):
            elapsed_s = time.monotonic() - began
            if not longest_s and made and stop.is_cut(made, elapsed_s, elapsed_s / made):
                return
            yield launch
        longest_s = max(longest_s, time.monotonic() - block_began)
