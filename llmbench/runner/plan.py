"""Which launches a run makes and in which order, and which requests a launch makes."""

import dataclasses
import itertools
import random
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from llmbench.schema.config import RunConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedLaunch:
    """A launch to come: its number in the run, and the cell (an index into the configurations) it measures.

    *block* is the round it belongs to, in which every cell has one launch.
    """

    index: int
    cell: int
    block: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRequest:
    """A request to come: *prompt* is an index into the configuration's prompts."""

    iteration: int
    prompt: int
    is_warmup: bool


def plan_launches(
    cells: Sequence[RunConfig], *, seed: int | None = None, first_index: int = 0
) -> tuple[PlannedLaunch, ...]:
    """Return every cell's launches in rounds, one of each cell per round; shuffled inside a round by *seed*.

    Rounds keep a slow drift of the machine from falling on one cell. ``None`` keeps the order given. Launches are
    numbered from *first_index*, so that those of a confirmation differ from those of the run it confirms.
    """
    shuffle = random.Random(seed).shuffle if seed is not None else None  # noqa: S311  an order, not a secret
    order: list[tuple[int, int]] = []
    for turn in range(max(cell.launches for cell in cells)):
        block = [index for index, cell in enumerate(cells) if turn < cell.launches]
        if shuffle is not None:
            shuffle(block)
        order += [(turn, cell) for cell in block]
    return tuple(
        PlannedLaunch(index=index, cell=cell, block=turn)
        for index, (turn, cell) in enumerate(order, first_index)
    )


def with_cell_first(planned: Sequence[PlannedLaunch], cell: int) -> tuple[PlannedLaunch, ...]:
    """Return the launches with that of *cell* first in the first block, so that it is measured if one is cut."""
    first = next(launch for launch in planned if launch.cell == cell)
    return (first, *(launch for launch in planned if launch is not first))


def plan_requests(config: RunConfig) -> Iterator[PlannedRequest]:
    """A launch's requests: each iteration is one pass over the prompts, warm-ups first.

    Where prompts are subsequent, the iterations of one go before those of the next; the turns of a chat stay together.
    """
    for prompts in _parts(config):
        for iteration in range(config.iterations_per_launch):
            for prompt in prompts:
                yield PlannedRequest(iteration=iteration, prompt=prompt, is_warmup=iteration < config.warmups)


def _parts(config: RunConfig) -> Iterator[Sequence[int]]:
    if not config.is_subsequent:
        yield range(len(config.prompts))
        return
    numbered = enumerate(config.prompts)
    for _, chat in itertools.groupby(numbered, key=lambda found: (found[1].set, found[1].index)):
        yield [number for number, _ in chat]


def remaining(
    cells: Sequence[RunConfig],
    finished: Collection[tuple[int | None, int]],
    *,
    next_index: int,
    seed: int | None = None,
) -> tuple[PlannedLaunch, ...]:
    """The launches still to make, numbered from *next_index*; *finished* has block and cell of each that is made.

    Each goes into the block where it is missing, for launches of one block belong together.
    """
    left = [each for each in plan_launches(cells, seed=seed) if (each.block, each.cell) not in finished]
    return tuple(dataclasses.replace(each, index=next_index + offset) for offset, each in enumerate(left))
