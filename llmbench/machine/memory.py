"""Memory in bytes: of this process while it works, of the machine, and what the kernel ended for want of it."""

import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from llmbench.errors import MachineError
from llmbench.machine import cgroup, procfs
from llmbench.schema.measurement import Memory
from llmbench.schema.units import format_bytes

_STATUS = Path("/proc/self/status")
_WATCHED_S = 0.002


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPhase:
    """A phase whose memory is watched: load, or one request.

    *is_reset* is false where the kernel did not let the high-water mark be reset; the peak then spans the
    whole life of the process.
    """

    initial_bytes: int
    initial_system_bytes: int
    is_reset: bool

    @classmethod
    def start(cls) -> Self:
        """Reset the high-water mark, and remember where the phase began."""
        return cls(
            is_reset=reset_peak(), initial_bytes=resident_bytes(), initial_system_bytes=system_used_bytes()
        )

    def stop(self) -> Memory:
        """The phase's memory up to now; the phase may go on."""
        return Memory(
            initial_bytes=self.initial_bytes,
            peak_bytes=peak_bytes(),
            initial_system_bytes=self.initial_system_bytes,
            system_bytes=system_used_bytes(),
        )


class PeakWatch:
    """Looks at the high-water mark every 2 ms from a thread of its own, and resets it each time.

    What each span of time needed is known then, without gaps, for the price of a few per cent of a CPU: for requests
    that are not measured.
    """

    def __init__(self) -> None:
        self._spans: list[tuple[int, int, int]] = []
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        reset_peak()
        self._thread.start()

    def _look(self) -> None:
        start_ns = time.perf_counter_ns()
        while True:
            is_over = self._is_over.wait(_WATCHED_S)
            highest, now_ns = peak_bytes(), time.perf_counter_ns()
            reset_peak()
            self._spans.append((start_ns, now_ns, highest))
            start_ns = now_ns
            if is_over:
                return

    def stop(self) -> int:
        """Look a last time; return the most that was resident in bytes."""
        self._is_over.set()
        self._thread.join()
        return max(highest for _, _, highest in self._spans)

    def peak_between(self, start_ns: int, end_ns: int) -> int | None:
        """Return the most that was resident in a span of time; ``None`` where it was not watched."""
        found = [highest for begin, end, highest in self._spans if begin < end_ns and end > start_ns]
        return max(found, default=None)


def reset_peak(path: Path = Path("/proc/self/clear_refs")) -> bool:
    """Set the high-water mark back to what is resident now; false where the kernel does not permit it.

    proc(5): 5 written to ``clear_refs`` resets ``VmHWM``.
    """
    try:
        path.write_text("5")
    except OSError:
        return False
    return True


def peak_bytes(status: Path = _STATUS) -> int:
    """``VmHWM``: the most that was resident since the process began or `reset_peak` was called."""
    return _field(status, "VmHWM")


def resident_bytes(status: Path = _STATUS) -> int:
    """``VmRSS``: what is resident now, memory-mapped weights that were touched included."""
    return _field(status, "VmRSS")


def system_used_bytes() -> int:
    """What the whole machine has in use: total less available, so the page cache does not count."""
    import psutil

    memory = psutil.virtual_memory()
    return int(memory.total - memory.available)


def _field(status: Path, name: str) -> int:
    """A ``kB`` line of a ``status`` file in bytes; raises ``MachineError`` where there is none."""
    found = procfs.read_kib_field(status, name)
    if found is None:
        raise MachineError(f"{status} has no {name}", hint="llmbench measures on Linux, with /proc mounted")
    return found


def available_bytes(root: Path = Path("/")) -> int | None:
    """Memory that a new process can have: the machine's, or what is left of the group's limit; ``None`` if unknown."""
    of_machine = procfs.read_kib_field(root / "proc/meminfo", "MemAvailable")
    of_group = cgroup.read_limits(root).memory_free_bytes
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
        of_machine = procfs.read_number(procfs.read_field(root / "proc/vmstat", "oom_kill"))
        return cls(of_group=cgroup.read_limits(root).oom_kills, of_machine=of_machine, root=root)

    def since(self) -> str | None:
        """What the kernel ended since this count, as a sentence; ``None`` where it ended nothing."""
        now = Kills.count(self.root)
        if (now.of_group or 0) > (self.of_group or 0):
            limits = cgroup.read_limits(self.root)
            peak, limit = limits.memory_peak_bytes, limits.memory_bytes
            used = f"; it used up to {format_bytes(peak)} of {format_bytes(limit)}" if peak and limit else ""
            return f"out of memory: the kernel ended a process of this control group{used}"
        if (now.of_machine or 0) > (self.of_machine or 0):
            return "out of memory: the kernel ended a process of this machine"
        return None
