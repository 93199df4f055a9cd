"""Who stays in a race, and how often the whole search finds what is not there: by simulation."""

import dataclasses
import math

import numpy as np
import pytest

from llmbench.analysis import stats
from llmbench.analysis.comparison.change import decide
from llmbench.analysis.comparison.rule import Verdict
from llmbench.analysis.race import (
    DEFAULT,
    Times,
    cells_to_come,
    judge_race,
    large_cells,
    largest_gain,
    times_of,
)
from llmbench.schema.load import ClientUse, LoadWindow, ServerUse
from llmbench.schema.measurement import Memory
from llmbench.schema.run import Outcome
from tests import builders

NOISE = 0.03
ROUNDS, BLOCKS = 8, 8
SEARCHES = 200


def _times(rows: dict[int, list[float]]) -> Times:
    return {
        cell: {block: math.log(value) for block, value in enumerate(values)} for cell, values in rows.items()
    }


def test_the_default_and_the_leader_stay_whatever_happens() -> None:
    """A candidate that takes twice as long is dropped after one block, and one that is slower in all three later."""
    found = judge_race(_times({0: [2.0], 1: [1.0], 2: [2.2], 3: [1.1]}))
    later = judge_race(_times({0: [2.0, 2.0, 2.0], 1: [1.0, 1.01, 1.0], 3: [1.1, 1.12, 1.09]}))

    assert (1, 3, 0) == found.left
    assert (1, 0) == later.left
    assert 0.5 == pytest.approx(later.ratios[1], rel=0.01)


def test_a_candidate_without_a_valid_launch_is_dropped() -> None:
    """It has nothing to be compared by."""
    assert (0,) == judge_race({0: {0: 0.0, 1: 0.0}, 1: {}}).left


def test_without_a_valid_launch_of_the_default_all_go_on() -> None:
    """There is nothing to compare with yet."""
    assert (1, 2) == judge_race(_times({1: [1.0], 2: [9.0]})).left


def test_a_cell_whose_launches_are_invalid_waits_for_three_and_one_that_failed_does_not() -> None:
    """Cell 0 has a time; cell 1 has two launches without one, cell 2 three, and a launch of cell 3 failed."""
    launches = [builders.launch_of(index=i, cell=cell) for i, cell in enumerate((0, 1, 1, 2, 2, 2))]
    failed = builders.launch_of(index=6, cell=3, outcome=Outcome.FAILED)

    assert {1} == cells_to_come(builders.run_of([*launches, failed]), _times({0: [1.0]}))


def test_blocks_take_a_drift_out() -> None:
    """Every block is slower than the one before; within blocks candidate 1 is always 1 % faster."""
    drift = [1.0, 1.2, 1.4, 1.6]

    found = judge_race(_times({0: drift, 1: [0.99 * value for value in drift]}))

    assert 1 == found.left[0]
    assert 0.99 == pytest.approx(found.ratios[1])


def test_a_rate_is_raced_by_its_inverse() -> None:
    """Twice the output throughput counts as half the time."""
    requests = [builders.request_of([10, 20, 30], launch=index) for index in range(2)]
    run = builders.run_of(
        [builders.launch_of([m], index=i, cell=i, block=0) for i, m in enumerate(requests)],
        cells=(builders.run_of().cells[0],) * 2,
    )

    times = times_of(run, "decode_rate")

    assert math.log(10e-3) == pytest.approx(times[0][0])


def test_candidates_above_a_limit_of_memory_are_large_but_never_the_default() -> None:
    """Cells 0 and 1 have a peak of 300 MiB, cell 2 one of 200."""
    cell = builders.run_of().cells[0]
    launches = []
    for index, mib in enumerate((300, 300, 200)):
        memory = Memory(initial_bytes=0, peak_bytes=mib << 20, initial_system_bytes=0, system_bytes=0)
        request = builders.request_of([100, 110, 120, 130], launch=index, memory=memory)
        launches.append(builders.launch_of([request], index=index, cell=index))
    run = builders.run_of(
        launches, cells=tuple(dataclasses.replace(cell, threads=count) for count in (1, 2, 3))
    )

    assert {1} == large_cells(run, 250 << 20)
    assert set() == large_cells(run, None)


def test_the_memory_of_a_load_is_the_servers() -> None:
    """Its client needs little: of two servers with peaks of 300 and 200 MiB the first is too large."""
    launches = [
        builders.launch_of(
            index=cell,
            cell=cell,
            window=LoadWindow(
                begin_ns=0,
                end_ns=1,
                client=ClientUse(cpu_s=0.0),
                server=ServerUse(cpu_s=1.0, peak_bytes=mib << 20),
            ),
        )
        for cell, mib in enumerate((400, 300, 200))
    ]

    assert {1} == large_cells(builders.run_of(launches), 250 << 20)


def _raced(random: np.random.Generator, levels: list[float]) -> tuple[tuple[int, ...], Times]:
    """A race: who is left, and all times; the noise of launches is 3 %."""
    left: tuple[int, ...] = tuple(range(len(levels)))
    times: dict[int, dict[int, float]] = {cell: {} for cell in left}
    for block in range(ROUNDS):
        if len(left) < 2:
            break
        for cell in left:
            times[cell][block] = math.log(levels[cell]) + random.normal(0, NOISE)
        left = judge_race({cell: times[cell] for cell in left}).left
    return left, times


def _search(random: np.random.Generator, levels: list[float]) -> tuple[int, Verdict]:
    """A race and its proof on fresh launches."""
    (best, *_), _ = _raced(random, levels)
    if best == DEFAULT:
        return best, Verdict.UNCHANGED
    sides = (math.log(levels[cell]) + random.normal(0, NOISE, BLOCKS) for cell in (DEFAULT, best))
    return best, decide(stats.paired_ratio(*map(list, sides)), 0.03)


def test_a_search_without_an_optimum_finds_one_in_less_than_five_of_a_hundred() -> None:
    """Eight candidates are all as fast as the default."""
    random = np.random.default_rng(1)
    found = [_search(random, [1.0] * 9)[1] for _ in range(SEARCHES)]

    assert 0.05 >= found.count(Verdict.IMPROVED) / SEARCHES


def test_a_search_with_an_optimum_finds_and_proves_it() -> None:
    """One of eight is 15 % faster, one 5 %, others are slower: nine times in ten."""
    random = np.random.default_rng(2)
    found = [_search(random, [1.0, 1.1, 1.0, 0.95, 0.85, 1.3, 1.0, 1.02, 2.0]) for _ in range(SEARCHES)]

    assert 0.9 <= found.count((4, Verdict.IMPROVED)) / SEARCHES


@pytest.mark.parametrize("levels", [[1.0] * 9, [1.0, 0.9, 0.95, 1.0, 1.1, 1.3, 2.0, 1.02, 0.97]])
def test_no_candidate_gains_more_than_the_bound_in_nineteen_of_twenty_races(levels: list[float]) -> None:
    """Also those that were dropped after a few blocks."""
    random = np.random.default_rng(3)
    bounds = [largest_gain(_raced(random, levels)[1]) for _ in range(SEARCHES)]

    assert 0.95 <= sum(bound is not None and bound >= 1 / min(levels) for bound in bounds) / SEARCHES
    assert 1.12 > np.median([bound for bound in bounds if bound is not None]) * min(levels)


def test_the_bound_of_a_race_is_bonferronis_with_one_spread() -> None:
    """Differences 0, 0.02 and 0.1: pooled variance 0.0002 with 1 degree, t(1, 97.5 %) = 12.7062."""
    times = {0: {0: 0.0, 1: 0.0}, 1: {0: 0.0, 1: 0.02}, 2: {0: 0.1}}

    assert math.exp(12.7062 * math.sqrt(0.0002) / math.sqrt(2) - 0.01) == pytest.approx(
        largest_gain(times), 1e-4
    )
    assert None is largest_gain({0: {0: 0.0}, 1: {0: 0.1}})


def test_what_is_better_than_the_default_is_found_though_the_leader_is_far_better() -> None:
    """Dropped for the leader, but of another kind perhaps, so that both together may be better than either."""
    found = judge_race(_times({0: [2.0] * 3, 1: [1.0, 1.01, 1.0], 2: [1.95] * 3, 3: [1.7, 1.71, 1.7]}))

    assert (1, 0) == found.left
    assert (1, 3) == found.better_than_default(0.03)
