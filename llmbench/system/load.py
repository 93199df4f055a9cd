"""Who else uses the CPUs right now."""

import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from llmbench.system.conditions import TICK_S, busy_by_cpu

_STEAL = 7
_BUSIEST = 3
_WORTH_NAMING = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Shares of the CPU time of some CPUs: *foreign* is not ours, *steal* the part a hypervisor took.

    *busiest* are names of programs that used most of a twentieth of a CPU, or more.
    """

    foreign: float
    steal: float
    busiest: tuple[str, ...] = ()


def watch(cpus: Collection[int], seconds: float = 1.0, root: Path = Path("/")) -> Load:
    """The load of *cpus* over the next *seconds*."""
    before, programs, own_s, start = (
        _reading(root, cpus),
        _programs(),
        time.process_time(),
        time.perf_counter(),
    )
    time.sleep(seconds)
    after, own_s = _reading(root, cpus), time.process_time() - own_s
    total_s = (time.perf_counter() - start) * len(cpus)
    busy_s, steal_s = (late - early for late, early in zip(after, before, strict=True))
    return Load(
        foreign=min(max(0.0, busy_s - own_s) / total_s, 1.0),
        steal=min(steal_s / total_s, 1.0),
        busiest=_busiest(programs, _programs(), seconds),
    )


def _reading(root: Path, cpus: Collection[int]) -> tuple[float, float]:
    """Busy and stolen seconds of *cpus* since boot."""
    stat = (root / "proc/stat").read_bytes()
    steal = 0
    for line in stat.splitlines():
        name, *fields = line.split()
        if name.startswith(b"cpu") and name[3:].isdigit() and int(name[3:]) in cpus and len(fields) > _STEAL:
            steal += int(fields[_STEAL])
    return sum(busy_by_cpu(stat, cpus).values()), steal * TICK_S


def _programs() -> dict[tuple[int, str], float]:
    """CPU seconds of every process but this one, by number and name; names only, for arguments may hold secrets."""
    import psutil

    found: dict[tuple[int, str], float] = {}
    for process in psutil.process_iter(["name", "cpu_times"]):
        times = process.info["cpu_times"]
        if times is not None and process.pid != psutil.Process().pid:
            name = "".join(c if c.isprintable() else "?" for c in process.info["name"] or "?")
            found[process.pid, name] = times.user + times.system
    return found


def _busiest(
    before: dict[tuple[int, str], float], after: dict[tuple[int, str], float], seconds: float
) -> tuple[str, ...]:
    """Names of the programs that used most."""
    used: dict[str, float] = {}
    for key, cpu_s in after.items():
        used[key[1]] = used.get(key[1], 0.0) + cpu_s - before.get(key, cpu_s)
    names = sorted(used, key=lambda name: used[name], reverse=True)[:_BUSIEST]
    return tuple(name for name in names if used[name] > _WORTH_NAMING * seconds)
