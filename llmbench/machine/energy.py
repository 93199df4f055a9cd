"""What the CPU packages took from the socket while a request ran, from the kernel's powercap counters (RAPL).

They count the whole package, other processes included, and neither memory nor fans. Most kernels let only root read
them.
"""

import functools
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from llmbench.machine import procfs

MOST_WATTS = 500.0
"""No package draws more on average: the largest of both makers are rated for as much."""

_ZONES = "sys/class/powercap"
_JOULES = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Meter:
    """One reading of the counter of every package in microjoules, taken outside the timed region.

    *read_at* is in seconds on the clock of ``time.perf_counter``. *counters* is ``None`` where the machine has no
    such counters, or one of them cannot be read: without it the sum would be too low.
    """

    root: Path
    read_at: float
    counters: Mapping[Path, int] | None

    @classmethod
    def start(cls, root: Path = Path("/")) -> Self:
        """A reading now of the counters below *root*."""
        found = {zone: procfs.read_number(procfs.read_text(zone / "energy_uj")) for zone in _packages(root)}
        known = {zone: count for zone, count in found.items() if count is not None and count >= 0}
        is_whole = bool(found) and len(known) == len(found)
        return cls(root=root, read_at=time.perf_counter(), counters=known if is_whole else None)

    def stop(self) -> float | None:
        """Joules of all packages between this reading and now; ``None`` where they are not known."""
        after = type(self).start(self.root)
        if self.counters is None or after.counters is None:
            return None
        wall_s = after.read_at - self.read_at
        spent = [
            _spent_j(before, after.counters[zone], range_uj=_range_uj(zone), wall_s=wall_s)
            for zone, before in self.counters.items()
        ]
        return sum(joules for joules in spent if joules is not None) if None not in spent else None


def _spent_j(before_uj: int, after_uj: int, *, range_uj: int | None, wall_s: float) -> float | None:
    """Joules of one package; a counter that went back began again after *range_uj*.

    ``None`` where it may have begun again once more without being noticed: where even that would be no more than
    `MOST_WATTS`, or where its range is unknown.
    """
    if range_uj is None:
        return None if after_uj < before_uj else (after_uj - before_uj) * _JOULES
    spent_uj = after_uj - before_uj + (range_uj if after_uj < before_uj else 0)
    is_ambiguous = (spent_uj + range_uj) * _JOULES <= MOST_WATTS * wall_s
    return None if is_ambiguous else spent_uj * _JOULES


@functools.cache
def _packages(root: Path) -> tuple[Path, ...]:
    """The zones of whole packages; not their parts, nor that of the whole board. Looked for once per process."""
    zones = sorted((root / _ZONES).glob("intel-rapl:*"))
    return tuple(zone for zone in zones if (procfs.read_text(zone / "name") or "").startswith("package"))


@functools.cache
def _range_uj(zone: Path) -> int | None:
    """What a counter reaches before it begins again at 0; ``None`` where it is unknown."""
    return procfs.read_number(procfs.read_text(zone / "max_energy_range_uj"))
