"""What else happened on the machine while a request ran: two cheap readings, before and after it."""

import functools
import os
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from llmbench.measurement import Conditions

_CLOCK_NOISE_S = 1e-3
"""Two clocks are never read at the same instant."""
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_BUSY = (0, 1, 2, 5, 6, 7)
"""user, nice, system, irq, softirq and steal in proc(5); guest is part of user, idle and iowait not busy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One reading of clocks and counters, taken outside the timed region.

    Seconds, each from an origin of its own: *wall_s* and *asleep_s* (boot time less monotonic time, which
    grows only in suspend), *own_s* of all threads of this process, *busy_s* summed over *cpus*.
    """

    cpus: frozenset[int]
    root: Path
    wall_s: float
    asleep_s: float
    own_s: float
    busy_s: float
    throttle_events: int

    @classmethod
    def start(cls, cpus: Collection[int] | None = None, root: Path = Path("/")) -> Self:
        """A reading now over *cpus* (by default those this process may use), of files below *root*."""
        watched = frozenset(os.sched_getaffinity(0) if cpus is None else cpus)
        counters = _throttle_counters(root, watched)
        return cls(
            cpus=watched,
            root=root,
            busy_s=sum(busy_by_cpu((root / "proc/stat").read_bytes(), watched).values()),
            throttle_events=sum(int(path.read_bytes()) for path in counters),
            asleep_s=time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC),
            own_s=time.process_time(),
            wall_s=time.perf_counter(),
        )

    def stop(self) -> Conditions:
        """The conditions between this reading and now."""
        after = Probe.start(self.cpus, self.root)
        own_s = after.own_s - self.own_s
        asleep_s = after.asleep_s - self.asleep_s
        return Conditions(
            wall_s=after.wall_s - self.wall_s,
            cpus=len(self.cpus),
            own_s=own_s,
            foreign_s=max(0.0, after.busy_s - self.busy_s - own_s),
            suspended_s=asleep_s if asleep_s > _CLOCK_NOISE_S else 0.0,
            throttle_events=after.throttle_events - self.throttle_events,
        )


def busy_by_cpu(stat: bytes, cpus: Collection[int]) -> dict[int, float]:
    """Seconds since boot in which each of *cpus* was busy, from the text of ``/proc/stat``, in steps of a tick."""
    found: dict[int, float] = {}
    for line in stat.splitlines():
        if not line.startswith(b"cpu"):
            break
        name, *fields = line.split()
        if name[3:].isdigit() and int(name[3:]) in cpus:
            found[int(name[3:])] = sum(int(fields[i]) for i in _BUSY if i < len(fields)) * TICK_S
    return found


@functools.cache
def _throttle_counters(root: Path, cpus: frozenset[int]) -> tuple[Path, ...]:
    """The thermal counters that concern *cpus*, one a core and one a socket; none in a virtual machine.

    Looked for once a process: listing them takes longer than reading them.
    """
    folders = {cpu: root / f"sys/devices/system/cpu/cpu{cpu}" for cpu in sorted(cpus)}
    found: dict[tuple[str, str], Path] = {}
    for folder in folders.values():
        for kind, sharers in (("core", "core_cpus_list"), ("package", "package_cpus_list")):
            counter = folder / f"thermal_throttle/{kind}_throttle_count"
            shared = folder / "topology" / sharers
            if counter.is_file() and shared.is_file():
                found.setdefault((kind, shared.read_text()), counter)
    return tuple(found.values())
