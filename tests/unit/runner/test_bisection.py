"""The version that changed is found by a noisy oracle, and what cannot be said is not said."""

import numpy as np
import pytest

from llmbench.analysis import stats
from llmbench.analysis.comparison.change import Change, decide
from llmbench.analysis.comparison.rule import Verdict
from llmbench.errors import InputError
from llmbench.runner.bisection import Bisected, BudgetUsedError, bisect_versions, first_measurable

VERSIONS = ("v1", "v2", "v3", "v4", "v5", "v6")
NOISE, BLOCKS = 0.02, 6


class Machine:
    """Interleaved comparisons of versions with given levels; the noise of launches is 2 %."""

    def __init__(self, levels: dict[str, float], seed: int, *, broken: frozenset[str] = frozenset()) -> None:
        self._levels, self._broken = levels, broken
        self._random = np.random.default_rng(seed)

    def compare(self, base: str, candidate: str, blocks: int) -> Change | None:
        """The paired ratio."""
        if candidate in self._broken:
            return None
        sides = [np.log(self._levels[v]) + self._random.normal(0, NOISE, blocks) for v in (base, candidate)]
        ratio = stats.paired_ratio(*map(list, sides))
        return Change(
            metric="tpot",
            base=1.0,
            candidate=ratio.ratio,
            launches=(blocks, blocks),
            ratio=ratio,
            threshold=0.03,
            verdict=decide(ratio, 0.03),
        )


def _levels(*values: float) -> dict[str, float]:
    return dict(zip(VERSIONS, values, strict=True))


def _bisect(levels: dict[str, float], *, seed: int = 1, broken: frozenset[str] = frozenset()) -> Bisected:
    return bisect_versions(VERSIONS, Machine(levels, seed, broken=broken).compare, blocks=BLOCKS)


@pytest.mark.parametrize("slow_from", [2, 3, 4, 5, 6])
def test_an_injected_slow_version_is_found_among_six(slow_from: int) -> None:
    """Slower by 12 % from that version on: in 49 of 50 searches, with the interval around the truth in most."""
    levels = _levels(*(1.12 if number >= slow_from else 1.0 for number in range(1, 7)))
    found = [_bisect(levels, seed=seed) for seed in range(50)]

    right = [each for each in found if each.since == f"v{slow_from}" and each.is_one_step]
    assert 0.98 <= len(right) / len(found)
    covering = [each for each in right if each.step and each.step.ratio.low < 1.12 < each.step.ratio.high]
    assert 0.85 <= len(covering) / len(right)
    assert {"v1", "v2", "v3", "v4", "v5"} >= {each.before for each in right if each.before}


def test_versions_that_do_not_differ_show_no_change() -> None:
    """In at most five searches of a hundred."""
    found = [_bisect(_levels(*[1.0] * 6), seed=seed) for seed in range(100)]

    assert 5 >= sum(each.since is not None for each in found)
    assert {Verdict.UNCHANGED} == {each.whole.verdict for each in found if each.since is None}


def test_a_version_that_became_faster_is_found_too() -> None:
    """The whole is an improvement."""
    found = _bisect(_levels(1.0, 1.0, 0.85, 0.85, 0.85, 0.85))

    assert ("v3", "v2", Verdict.IMPROVED) == (found.since, found.before, found.whole.verdict)


def test_versions_that_cannot_be_measured_are_left_out_and_named() -> None:
    """The newest and one in the middle are broken; the change is that of the first measurable one after it."""
    found = _bisect(_levels(1.0, 1.0, 1.0, 1.2, 1.2, 1.2), broken=frozenset({"v6", "v3"}))

    assert ("v4", "v2", {"v6", "v3"}) == (found.since, found.before, set(found.unmeasurable))


def test_a_change_in_several_steps_is_not_blamed_on_one_version() -> None:
    """Five steps of 4 %: no version alone accounts for half."""
    found = _bisect(_levels(*(1.04**number for number in range(6))))

    assert not found.is_one_step


def test_without_two_measurable_versions_nothing_is_found() -> None:
    """All but the oldest are broken."""
    with pytest.raises(InputError, match="no two versions could be measured"):
        _bisect(_levels(*[1.0] * 6), broken=frozenset(VERSIONS[1:]))


@pytest.mark.parametrize(
    ("levels", "span"), [((1.0, 1.0, 1.0, 1.12, 1.12, 1.12), ("v3", "v6")), ((1.0,) * 6, None)]
)
def test_a_budget_that_ends_leaves_the_span_that_is_left(
    levels: tuple[float, ...], span: tuple[str, str] | None
) -> None:
    """After the ends and one in the middle (v3, which is not slower): later than v3; undecided ends stay undecided."""
    machine, calls = Machine(_levels(*levels), 5), 0

    def compare(base: str, candidate: str, blocks: int) -> Change | None:
        nonlocal calls
        calls += 1
        if calls > (2 if span else 1):
            raise BudgetUsedError
        return machine.compare(base, candidate, blocks if span else 2)

    found = bisect_versions(VERSIONS, compare, blocks=BLOCKS)

    assert span is None or found.is_used
    assert (span or (None, None)) == (found.before, found.since)


@pytest.mark.parametrize(
    ("first", "newest", "trials"),
    [(0, 127, 1), (1, 127, 9), (64, 127, 9), (127, 127, 9), (64, 125, 11), (128, 127, 128)],
)
def test_the_oldest_measurable_version_is_found_by_halving(first: int, newest: int, trials: int) -> None:
    """Of 128 versions, of which some at either end cannot be measured; each trial makes an environment."""
    tried: list[str] = []

    def is_measurable(version: str) -> bool:
        tried.append(version)
        return first <= int(version) <= newest

    found = first_measurable([str(number) for number in range(128)], is_measurable)

    assert found == (first if first < 128 else None)
    assert len(tried) <= trials
