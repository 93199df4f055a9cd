"""Where the threads of a process ran, and on which nodes its pages are."""

import re
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from llmbench.machine import procfs
from llmbench.machine.interference import busy_by_cpu
from llmbench.machine.programs import TICK_S
from llmbench.schema.measurement import Placement, SocketWork
from llmbench.schema.run import Topology

_UTIME, _STIME, _PROCESSOR = 11, 12, 36
"""Fields 14, 15 and 39 of proc_pid_stat(5), counted from the state, which follows the name in parentheses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thread:
    """One thread since it began: CPU seconds, the CPU it was last seen on, its moves between CPUs.

    *migrations* is ``None`` on a kernel built without scheduler statistics.
    """

    cpu_s: float
    cpu: int
    migrations: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacementWatch:
    """This process and the CPUs it may use at one instant, read outside the timed region.

    *engine_threads* is how many threads the engine says it uses; ``None`` takes one per core.
    """

    topology: Topology
    engine_threads: int | None
    root: Path
    wall_s: float
    worker_s: float
    busy_s: dict[int, float]
    threads: dict[int, Thread]

    @classmethod
    def start(cls, topology: Topology, *, engine_threads: int | None = None, root: Path = Path("/")) -> Self:
        """What the kernel's files below *root* tell now."""
        return cls(
            topology=topology,
            engine_threads=engine_threads,
            root=root,
            busy_s=busy_by_cpu((root / "proc/stat").read_bytes(), frozenset(topology.allowed)),
            threads=read_threads(root),
            worker_s=time.process_time(),
            wall_s=time.perf_counter(),
        )

    def stop(self, *, with_pages: bool = False) -> Placement:
        """Where this process ran since then.

        The pages are counted only on request: that walks the page table, milliseconds a gigabyte.
        """
        after = PlacementWatch.start(self.topology, engine_threads=self.engine_threads, root=self.root)
        worked = {tid: _since(self.threads.get(tid), thread) for tid, thread in after.threads.items()}
        moves = [thread.migrations for thread in worked.values() if thread.migrations is not None]
        return Placement(
            wall_s=after.wall_s - self.wall_s,
            worker_s=after.worker_s - self.worker_s,
            sockets=tuple(self._work(socket, after, worked.values()) for socket in self._sockets()),
            migrations=sum(moves) if moves else None,
            pages=read_pages(self.root) if with_pages else {},
        )

    def _sockets(self) -> tuple[int, ...]:
        allowed = set(self.topology.allowed)
        return tuple(sorted({cpu.socket for cpu in self.topology.cpus if cpu.number in allowed}))

    def _work(self, socket: int, after: "PlacementWatch", threads: Collection[Thread]) -> SocketWork:
        allowed = set(self.topology.allowed)
        cpus = [cpu for cpu in self.topology.cpus if cpu.socket == socket and cpu.number in allowed]
        numbers = {cpu.number for cpu in cpus}
        expected = len({cpu.core for cpu in cpus})
        if self.engine_threads is not None:
            expected = min(len(cpus), -(-self.engine_threads // len(self._sockets())))
        here = [thread for thread in threads if thread.cpu in numbers and thread.cpu_s > 0]
        return SocketWork(
            socket=socket,
            cpus=len(cpus),
            expected_cpus=expected,
            busy_s=sum(after.busy_s.get(n, 0.0) - self.busy_s.get(n, 0.0) for n in numbers),
            thread_s=sum(thread.cpu_s for thread in here),
            unmigrated_s=sum(thread.cpu_s for thread in here if thread.migrations == 0),
            threads=len(here),
        )


def _since(before: Thread | None, after: Thread) -> Thread:
    """What a thread did between two readings; one that was not there began at zero."""
    if before is None:
        return after
    migrations = None
    if before.migrations is not None and after.migrations is not None:
        migrations = after.migrations - before.migrations
    return Thread(cpu_s=after.cpu_s - before.cpu_s, cpu=after.cpu, migrations=migrations)


def read_threads(root: Path = Path("/"), pid: int | str = "self") -> dict[int, Thread]:
    """The threads of a process by their number; one that ends meanwhile is left out."""
    found: dict[int, Thread] = {}
    for task in (root / f"proc/{pid}/task").iterdir():
        raw = procfs.read_text(task / "stat")
        if raw is None:
            continue
        fields = raw.rpartition(")")[2].split()
        found[int(task.name)] = Thread(
            cpu_s=(int(fields[_UTIME]) + int(fields[_STIME])) * TICK_S,
            cpu=int(fields[_PROCESSOR]),
            migrations=_migrations(procfs.read_text(task / "sched")),
        )
    return found


def _migrations(raw: str | None) -> int | None:
    found = re.search(r"^se\.nr_migrations\s*:\s*(\d+)", raw or "", re.MULTILINE)
    return int(found[1]) if found else None


def read_policy(root: Path = Path("/"), pid: int | str = "self") -> str | None:
    """The memory policy of a process as the kernel writes it, ``default`` or ``bind:0-1``; ``None`` without NUMA."""
    fields = (procfs.read_first_line(root / f"proc/{pid}/numa_maps") or "").split(maxsplit=2)
    return fields[1] if len(fields) > 1 else None


def read_pages(root: Path = Path("/"), pid: int | str = "self") -> dict[int, int]:
    """Bytes a process has on each NUMA node, mapped files included; empty on a kernel without NUMA.

    Each line of ``numa_maps`` counts pages of its own size as ``N0=12 N1=7``.
    """
    found: dict[int, int] = {}
    for line in (procfs.read_text(root / f"proc/{pid}/numa_maps") or "").splitlines():
        size = re.search(r" kernelpagesize_kB=(\d+)", line)
        for node, count in re.findall(r" N(\d+)=(\d+)", line):
            page_bytes = int(size[1]) * 1024 if size else 4096
            found[int(node)] = found.get(int(node), 0) + int(count) * page_bytes
    return found
