"""The version of several that changed a latency, found with a noisy oracle: interleaved comparisons of two of them.

Each comparison is with the oldest version. A version counts as changed where its ratio is nearer to the newest one's
than to none. A comparison whose interval does not decide that is repeated with more blocks.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llmbench.analysis.comparison.change import Change
from llmbench.analysis.comparison.rule import Verdict
from llmbench.errors import InputError

Oracle = Callable[[str, str, int], Change | None]
"""Compares two versions in this many blocks; ``None`` where the second one cannot be measured."""


class BudgetUsedError(Exception):
    """Raised by an oracle that has no time for another comparison."""


_REPEATS_AT_MOST = 2
"""A comparison that does not decide is made again so often, with twice as many blocks each time."""

_MOVED = {Verdict.REGRESSED, Verdict.IMPROVED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bisected:
    """What was found: the *whole* change from the oldest to the newest version, and the version *since* which it is.

    *step* compares that version with the one *before* it on launches of its own. *since* is ``None`` where the whole
    shows no change. Where the budget *is_used* before one version was found and compared, the change lies after
    *before* and up to *since*, and there is no *step*. *is_sure* is false where a comparison on the way stayed
    undecided. *unmeasurable* are versions that were left out.
    """

    whole: Change
    since: str | None = None
    before: str | None = None
    step: Change | None = None
    is_sure: bool = True
    is_used: bool = False
    comparisons: int = 0
    unmeasurable: tuple[str, ...] = ()

    @property
    def is_one_step(self) -> bool:
        """Whether that version alone accounts for at least half of the whole change."""
        if self.step is None or self.step.verdict not in _MOVED:
            return False
        return math.log(self.step.ratio.ratio) / math.log(self.whole.ratio.ratio) >= 0.5


class _Trial:
    """The versions that can be measured, and what it took."""

    def __init__(self, versions: Sequence[str], oracle: Oracle, blocks: int) -> None:
        self.versions = list(versions)
        self.unmeasurable: list[str] = []
        self.comparisons = 0
        self.is_sure = True
        self._oracle = oracle
        self._blocks = blocks

    def compare(self, base: str, candidate: str, blocks: int | None = None) -> Change | None:
        """Compare two versions; a candidate that cannot be measured is left out from now on."""
        self.comparisons += 1
        found = self._oracle(base, candidate, blocks or self._blocks)
        if found is None:
            self.versions.remove(candidate)
            self.unmeasurable.append(candidate)
        return found

    def ends(self) -> Change:
        """Return the change over all versions, from the newest one that can be measured."""
        blocks, last = self._blocks, None
        while len(self.versions) > 1:
            try:
                found = self.compare(self.versions[0], self.versions[-1], blocks)
            except BudgetUsedError:
                if last is None:
                    raise
                return last
            if found is None:
                continue
            is_last = blocks >= self._blocks * 2**_REPEATS_AT_MOST
            if found.verdict is not Verdict.INCONCLUSIVE or is_last:
                return found
            blocks, last = blocks * 2, found
        raise InputError(
            "no two versions could be measured", hint="name others, or look at the messages above"
        )

    def has_changed(self, version: str, half: float) -> bool | None:
        """Return whether a version is nearer to the newest one's level; ``None`` where it cannot be measured."""
        blocks = self._blocks
        for repeat in range(_REPEATS_AT_MOST + 1):
            found = self.compare(self.versions[0], version, blocks)
            if found is None:
                return None
            ratio = found.ratio
            if ratio.has_interval and not ratio.low < math.exp(half) < ratio.high:
                break
            blocks *= 2
            self.is_sure = self.is_sure and repeat < _REPEATS_AT_MOST
        return math.log(ratio.ratio) / half > 1


def bisect_versions(versions: Sequence[str], oracle: Oracle, *, blocks: int) -> Bisected:
    """Return the version of *versions* (oldest first) that changed the latency, by bisection.

    The oldest one must be measurable. Raises InputError where no two are.
    """
    trial = _Trial(versions, oracle, blocks)
    whole = trial.ends()
    if whole.verdict not in _MOVED:
        return Bisected(whole=whole, comparisons=trial.comparisons, unmeasurable=tuple(trial.unmeasurable))
    half = math.log(whole.ratio.ratio) / 2
    low, high, step, is_used = 0, len(trial.versions) - 1, None, False
    try:
        while high - low > 1:
            middle = (low + high) // 2
            changed = trial.has_changed(trial.versions[middle], half)
            if changed is None:
                high -= 1
            elif changed:
                high = middle
            else:
                low = middle
        step = trial.compare(trial.versions[low], trial.versions[high])
    except BudgetUsedError:
        is_used = True
    return Bisected(
        whole=whole,
        since=trial.versions[high],
        before=trial.versions[low],
        step=step,
        is_sure=trial.is_sure,
        is_used=is_used,
        comparisons=trial.comparisons,
        unmeasurable=tuple(trial.unmeasurable),
    )


def first_measurable(versions: Sequence[str], is_measurable: Callable[[str], bool]) -> int | None:
    """Return the position of the oldest version that can be measured; ``None`` where none can.

    It is found by halving, as each trial makes an environment: what an engine once can do, later versions can too.
    """
    low, high = 0, len(versions) - 1
    if is_measurable(versions[low]):
        return low
    while high > low and not is_measurable(versions[high]):
        high -= 1
    if high == low:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_measurable(versions[middle]) else (middle, high)
    return high
