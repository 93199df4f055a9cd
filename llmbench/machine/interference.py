"""CPU use of other processes and of the hypervisor: around a request by two cheap readings, or watched for a while."""

import functools
import os
import resource
import signal
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from llmbench.machine import procfs
from llmbench.machine.covariates import read_settings
from llmbench.machine.group_counters import GroupCounters
from llmbench.machine.programs import TICK_S, ProgramTimes, busiest_programs, read_programs
from llmbench.machine.topology import parse_list
from llmbench.schema.limits import NOT_LIMITED, TRACER
from llmbench.schema.measurement import Conditions

_CLOCK_NOISE_S = 1e-3
"""Two clocks are never read at the same instant."""
_STEP_S = 0.1
"""Below this the wall clock is only being steered: time daemons slew by at most half a millisecond a second."""
_TRIES = 3
_BUSY = (0, 1, 2, 5, 6, 7)
"""user, nice, system, irq, softirq and steal in proc(5); guest is part of user, idle and iowait not busy."""
_STEAL = 7
_MOST_CPUS = 1 << 16
_WORTH_NAMING = 0.05
_STOPS: list[None] = []
"""One for each time this process was continued: a signal's handler has nowhere else to put it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One reading of clocks and counters, taken outside the timed region.

    Seconds, each from an origin of its own: *wall_s*, *asleep_s* (boot time less monotonic time, which grows only
    in suspend) and *real_s* (the wall clock less monotonic time), *worker_s* of all threads of this process, *busy_s*
    summed over *cpus* and second threads of their cores, *outside_s* over the rest of the machine. *major_faults* are
    this process's pages read from disk or swap, *stops* the times it was stopped and continued since `count_stops`.
    *settings* are those of `read_settings`. *programs* are read before the clocks, and after them at the end.
    """

    cpus: frozenset[int]
    root: Path
    wall_s: float
    asleep_s: float
    real_s: float
    worker_s: float
    busy_s: float
    steal_s: float
    outside_s: float | None
    throttle_events: int
    groups: GroupCounters
    major_faults: int
    stops: int
    settings: Mapping[str, str]
    programs: ProgramTimes

    @classmethod
    def start(cls, cpus: Collection[int] | None = None, root: Path = Path("/")) -> Self:
        """A reading now over *cpus* (by default those this process may use), of files below *root*."""
        watched = frozenset(os.sched_getaffinity(0) if cpus is None else cpus)
        return cls._read(watched, root, programs=read_programs(root))

    @classmethod
    def _read(cls, watched: frozenset[int], root: Path, *, programs: ProgramTimes) -> Self:
        counters = _throttle_counters(root, watched)
        groups = GroupCounters.read(root)
        busy_s, steal_s, outside_s = _busy_and_steal(root, _with_siblings(root, watched))
        return cls(
            cpus=watched,
            root=root,
            programs=programs,
            busy_s=busy_s,
            steal_s=steal_s,
            outside_s=outside_s,
            throttle_events=sum(int(path.read_bytes()) for path in counters),
            groups=groups,
            major_faults=resource.getrusage(resource.RUSAGE_SELF).ru_majflt,
            stops=len(_STOPS),
            settings=read_settings(root),
            asleep_s=_ahead(time.CLOCK_BOOTTIME),
            real_s=_ahead(time.CLOCK_REALTIME),
            worker_s=time.process_time(),
            wall_s=time.perf_counter(),
        )

    def stop(self, expected: Mapping[str, str] | None = None) -> Conditions:
        """Return the conditions between this reading and now.

        *expected* are the settings that the measurements of a launch share; those of this reading by default.
        """
        after = Probe._read(self.cpus, self.root, programs={})
        wall_s = after.wall_s - self.wall_s
        throttling = self.groups.until(after.groups)
        counters = throttling.counters
        worker_s = after.worker_s - self.worker_s
        asleep_s = after.asleep_s - self.asleep_s
        clock_step_s = after.real_s - self.real_s - asleep_s
        return Conditions(
            wall_s=wall_s,
            cpus=len(self.cpus),
            worker_s=worker_s,
            interference_s=max(0.0, after.busy_s - self.busy_s - worker_s),
            suspended_s=asleep_s if asleep_s > _CLOCK_NOISE_S else 0.0,
            throttle_events=after.throttle_events - self.throttle_events,
            clock_step_s=clock_step_s if abs(clock_step_s) > _STEP_S else 0.0,
            changes=tuple(
                _changes(self.settings if expected is None else expected, self.settings, after.settings)
            ),
            cpu_quota=throttling.quota,
            quota_periods=counters.periods if counters else None,
            throttled_periods=counters.throttled if counters else None,
            throttled_s=counters.seconds if counters else None,
            memory_limit_hits=throttling.limit_hits,
            memory_stall_s=throttling.stall_s,
            major_faults=after.major_faults - self.major_faults,
            stops=after.stops - self.stops,
            frozen_s=throttling.frozen_s,
            outside_s=None
            if after.outside_s is None
            else max(after.outside_s - (self.outside_s or 0.0), 0.0),
            steal_s=after.steal_s - self.steal_s,
            programs=busiest_programs(
                self.programs, read_programs(self.root), _with_siblings(self.root, self.cpus), wall_s
            ),
        )


def count_stops() -> None:
    """Count from now on how often this process is stopped and continued, as ``cpulimit`` does many times per second."""
    signal.signal(signal.SIGCONT, lambda *_: _STOPS.append(None))
    signal.siginterrupt(signal.SIGCONT, False)


def _ahead(clock: int) -> float:
    """Seconds by which a clock is ahead of the monotonic one; being halted between two readings only adds to it."""
    return min(-time.clock_gettime(time.CLOCK_MONOTONIC) + time.clock_gettime(clock) for _ in range(_TRIES))


def _changes(expected: Mapping[str, str], *readings: Mapping[str, str]) -> Iterator[str]:
    """What was not as it should be, in any of the readings: an engine may set back afterwards what another changed."""
    for what, then in expected.items():
        found = dict.fromkeys(reading.get(what, then) for reading in readings if what != TRACER)
        yield from (f"the {what} changed from {then} to {now}" for now in found if now != then)
    tracers = {reading[TRACER] for reading in readings if reading.get(TRACER, NOT_LIMITED) != NOT_LIMITED}
    yield from (f"{each} traced this process (ptrace)" for each in sorted(tracers))


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
    """The thermal counters that concern *cpus*, one per core and one per socket; none in a virtual machine.

    Looked for once per process: listing them takes longer than reading them.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Interference:
    """Shares of the CPU time of some CPUs: *total* is that of other processes, *steal* the part a hypervisor took.

    *busiest* are names of programs that used most of a twentieth of a CPU, or more, and *shares* their shares.
    """

    total: float
    steal: float
    busiest: tuple[str, ...] = ()
    shares: tuple[float, ...] = ()


def watch_interference(cpus: Collection[int], seconds: float = 1.0, root: Path = Path("/")) -> Interference:
    """The load of *cpus* over the next *seconds*."""
    programs_start, programs = time.perf_counter(), read_programs()
    before, worker_s, start = _busy_and_steal(root, cpus), time.process_time(), time.perf_counter()
    time.sleep(seconds)
    after, worker_s = _busy_and_steal(root, cpus), time.process_time() - worker_s
    total_s = (time.perf_counter() - start) * len(cpus)
    busy_s, steal_s = (late - early for late, early in zip(after[:2], before[:2], strict=True))
    programs_s = time.perf_counter() - programs_start
    used = busiest_programs(programs, read_programs(), cpus, programs_s)
    busiest = {name: spent for name, spent in used.items() if spent > _WORTH_NAMING * seconds}
    total = min(max(0.0, busy_s - worker_s) / total_s, 1.0)
    shares = [spent / (programs_s * len(cpus)) for spent in busiest.values()]
    # a process that moved counts for the CPU it ran on last, so that shares may come to more than there was
    scale = min(1.0, total / sum(shares)) if shares else 1.0
    return Interference(
        total=total,
        steal=min(steal_s / total_s, 1.0),
        busiest=tuple(busiest),
        shares=tuple(share * scale for share in shares),
    )


def _busy_and_steal(root: Path, cpus: Collection[int]) -> tuple[float, float, float | None]:
    """Seconds in which *cpus* were busy, those stolen of them, and those of other CPUs; ``None`` without others."""
    stat = (root / "proc/stat").read_bytes()
    steal = 0
    for line in stat.splitlines():
        name, *fields = line.split()
        if name.startswith(b"cpu") and name[3:].isdigit() and int(name[3:]) in cpus and len(fields) > _STEAL:
            steal += int(fields[_STEAL])
    every = busy_by_cpu(stat, range(_MOST_CPUS))
    outside = [seconds for cpu, seconds in every.items() if cpu not in cpus]
    busy_s = sum(seconds for cpu, seconds in every.items() if cpu in cpus)
    return busy_s, steal * TICK_S, sum(outside) if outside else None


@functools.cache
def _with_siblings(root: Path, cpus: frozenset[int]) -> frozenset[int]:
    """CPUs and the others on their cores, which share its units: work there slows them, though they look idle."""
    names = (root / f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list" for cpu in cpus)
    return cpus.union(*(parse_list(procfs.read_text(name) or "") for name in names))
