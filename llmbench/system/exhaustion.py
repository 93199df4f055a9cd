"""Want of memory: how much there is before a model is loaded, and whether the kernel ended something for want of it."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from llmbench.system import cgroup, kernel
from llmbench.units import format_bytes


def available_bytes(root: Path = Path("/")) -> int | None:
    """Memory that a new process can have: the machine's, or what is left of the group's limit; ``None`` if unknown."""
    told = re.search(r"^MemAvailable:\s+(\d+) kB", kernel.read(root / "proc/meminfo") or "", re.MULTILINE)
    of_machine = int(told[1]) * 1024 if told else None
    of_group = cgroup.read(root).memory_free_bytes
    return min((found for found in (of_machine, of_group) if found is not None), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kills:
    """How many processes the kernel has ended for want of memory; ``None`` where it does not count."""

    of_group: int | None
    of_machine: int | None
    root: Path

    @classmethod
    def count(cls, root: Path = Path("/")) -> Self:
        """The counters now: those of this process's control group, and the machine's (``/proc/vmstat``)."""
        told = re.search(r"^oom_kill (\d+)$", kernel.read(root / "proc/vmstat") or "", re.MULTILINE)
        of_machine = int(told[1]) if told else None
        return cls(of_group=cgroup.read(root).oom_kills, of_machine=of_machine, root=root)

    def since(self) -> str | None:
        """What the kernel ended since this count, as a sentence; ``None`` where it ended nothing."""
        now = Kills.count(self.root)
        if (now.of_group or 0) > (self.of_group or 0):
            limits = cgroup.read(self.root)
            peak, limit = limits.memory_peak_bytes, limits.memory_bytes
            held = f"; it held up to {format_bytes(peak)} of {format_bytes(limit)}" if peak and limit else ""
            return f"out of memory: the kernel ended a process of this control group{held}"
        if (now.of_machine or 0) > (self.of_machine or 0):
            return "out of memory: the kernel ended a process of this machine"
        return None
