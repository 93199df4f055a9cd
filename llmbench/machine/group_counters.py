"""How long limits stopped this process: counters of its control groups, read before and after a request."""

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

from llmbench.machine import cgroup, procfs

_COUNT = re.compile(
    rb"^(nr_periods|nr_throttled|throttled_time|throttled_usec|frozen_usec|high|max) (\d{1,19})$",
    re.MULTILINE,
)
_STALL = re.compile(rb"^some .*total=(\d{1,19})$", re.MULTILINE)


class QuotaCounters(NamedTuple):
    """What a group counts of its CPU quota: periods with work, those in which it was stopped, and for how long.

    *seconds* are summed over CPUs.
    """

    periods: int
    throttled: int
    seconds: float

    def since(self, before: "QuotaCounters") -> "QuotaCounters":
        """Return what was counted after an earlier reading; counters that were reset count nothing."""
        return QuotaCounters(
            max(self.periods - before.periods, 0),
            max(self.throttled - before.throttled, 0),
            max(self.seconds - before.seconds, 0.0),
        )


class Throttling(NamedTuple):
    """What limits did between two readings; ``None`` where the kernel does not report it.

    *quota* is the CPU quota that stopped the process, in CPUs; ``None`` where none did.
    """

    quota: float | None
    counters: QuotaCounters | None
    limit_hits: int | None
    stall_s: float | None
    frozen_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupCounters:
    """One reading: the quota of each group of this process by its folder, memory limits met, and time stalled.

    *membership* is the text of ``/proc/self/cgroup``. *stall_s* is the time in which a task of the innermost group with
    pressure information, or of the machine, waited for memory.
    """

    membership: bytes
    quotas: Mapping[Path, QuotaCounters]
    limit_hits: int | None
    stall_s: float | None
    frozen_s: float | None

    @classmethod
    def read(cls, root: Path = Path("/")) -> Self:
        """Return the counters now; the files that have them are looked for once per control group."""
        membership = _content(root / "proc/self/cgroup")
        files = _files(root, membership)
        return cls(
            membership=membership,
            quotas={file.parent: _quota_counters(file) for file in files.quotas},
            limit_hits=sum(map(_limit_hits, files.memory)) if files.memory else None,
            stall_s=None if files.pressure is None else _stall_s(files.pressure),
            frozen_s=None if files.freezer is None else _frozen_s(files.freezer),
        )

    def until(self, after: "GroupCounters") -> Throttling:
        """Return what happened between this reading and a later one; of nested quotas, the one that stopped most."""
        counted = {
            group: late.since(self.quotas[group])
            for group, late in after.quotas.items()
            if group in self.quotas
        }
        tightest = max(counted, key=lambda group: counted[group].seconds, default=None)
        found = None if tightest is None else counted[tightest]
        has_hits = None not in (self.limit_hits, after.limit_hits)
        has_stalls = None not in (self.stall_s, after.stall_s)
        has_freezer = None not in (self.frozen_s, after.frozen_s)
        return Throttling(
            quota=cgroup.read_quota(tightest) if tightest and found and found.throttled else None,
            counters=found,
            limit_hits=max((after.limit_hits or 0) - (self.limit_hits or 0), 0) if has_hits else None,
            stall_s=max((after.stall_s or 0) - (self.stall_s or 0), 0.0) if has_stalls else None,
            frozen_s=max((after.frozen_s or 0) - (self.frozen_s or 0), 0.0) if has_freezer else None,
        )


class _Files(NamedTuple):
    """The files that are read: a ``cpu.stat`` per group, counters of groups with a memory limit, pressure, freezer."""

    quotas: tuple[Path, ...]
    memory: tuple[Path, ...]
    pressure: Path | None
    freezer: Path | None


@functools.cache
def _files(root: Path, membership: bytes) -> _Files:
    text = membership.decode(errors="replace")
    cpu = (group / "cpu.stat" for group in cgroup.group_folders(root, text, "cpu"))
    memory = (
        group / name
        for group in cgroup.group_folders(root, text, "memory")
        if cgroup.read_memory_limit(group) is not None
        for name in ("memory.events", "memory.failcnt")
    )
    unified = cgroup.group_folders(root, text, "")
    pressures = (*(group / "memory.pressure" for group in unified), root / "proc/pressure/memory")
    freezers = (group / "cgroup.stat.local" for group in unified)
    return _Files(
        quotas=tuple(file for file in cpu if b"nr_periods" in _content(file)),
        memory=tuple(filter(Path.is_file, memory)),
        pressure=next((file for file in pressures if _STALL.search(_content(file))), None),
        freezer=next((file for file in freezers if b"frozen_usec" in _content(file)), None),
    )


def _quota_counters(file: Path) -> QuotaCounters:
    """Version 1 counts nanoseconds, version 2 microseconds."""
    counts = _counts(file)
    seconds = counts.get(b"throttled_time", 0) * 1e-9 + counts.get(b"throttled_usec", 0) * 1e-6
    return QuotaCounters(counts.get(b"nr_periods", 0), counts.get(b"nr_throttled", 0), seconds)


def _limit_hits(file: Path) -> int:
    """How often an allocation met a limit: a lone number in version 1; in version 2 by the limit that it met."""
    if file.name == "memory.failcnt":
        raw = _content(file).strip()
        return int(raw) if raw.isdigit() else 0
    return sum(_counts(file).values())


def _stall_s(file: Path) -> float:
    found = _STALL.search(_content(file))
    return int(found[1]) * 1e-6 if found else 0.0


def _frozen_s(file: Path) -> float:
    """Time that a group, or one around it, was frozen: Linux 6.18 and newer."""
    return _counts(file).get(b"frozen_usec", 0) * 1e-6


def _counts(file: Path) -> dict[bytes, int]:
    return {name: int(count) for name, count in _COUNT.findall(_content(file))}


def _content(file: Path) -> bytes:
    return procfs.read_bytes(file) or b""
