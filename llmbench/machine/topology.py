"""Sockets, nodes and cores of the machine, read from the text of sysfs."""

import os
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from llmbench.errors import InputError, MachineError
from llmbench.machine import procfs
from llmbench.schema.run import Cpu, Topology

_CPUS = "devices/system/cpu"
_NODES = "devices/system/node"
_MOST = 1 << 16
_SCALE = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One NUMA node: its CPUs (none where it is memory only), its memory, its distance to each node."""

    number: int
    cpus: tuple[int, ...]
    memory_bytes: int | None = None
    distances: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cache:
    """One cache and the CPUs that share it; *kind* is ``Data``, ``Instruction`` or ``Unified``."""

    level: int
    kind: str
    size_bytes: int
    cpus: tuple[int, ...]


def parse_list(text: str) -> tuple[int, ...]:
    """Numbers of a list as the kernel writes it, ``0,2-3``, ascending; anything else is an ``InputError``."""
    numbers: set[int] = set()
    for part in filter(None, (p.strip() for p in text.split(","))):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise InputError(f"{text.strip()!r} is not a list of numbers", hint="write it like 0,2-3")
        low, high = procfs.read_number(first), procfs.read_number(last or first)
        if low is None or high is None or high < low or high >= _MOST:
            raise InputError(
                f"{part!r} is not a range of CPU numbers", hint=f"lowest first, below {_MOST}, like 0-27"
            )
        numbers.update(range(low, high + 1))
    return tuple(sorted(numbers))


def read_topology(root: Path = Path("/sys"), allowed: Collection[int] | None = None) -> Topology:
    """The online CPUs below *root*, and which of them *allowed* (by default this process's affinity) leaves.

    Sockets are numbered 0, 1, … in the order of their hardware numbers, which on some machines have gaps.
    A core goes by the lowest CPU that sits on it, because hardware core numbers repeat on some machines.
    Raises ``MachineError`` where the tree shows no CPU.
    """
    online = _online(root)
    packages = {number: _package(root, number) for number in online}
    ranks = {package: rank for rank, package in enumerate(sorted(set(packages.values())))}
    node_of = {cpu: node.number for node in read_nodes(root) for cpu in node.cpus}
    cpus = tuple(
        Cpu(
            number=number,
            socket=ranks[packages[number]],
            core=_core(root, number, online),
            node=node_of.get(number),
        )
        for number in online
    )
    usable = os.sched_getaffinity(0) if allowed is None else set(allowed)
    return Topology(cpus=cpus, allowed=tuple(number for number in online if number in usable))


def read_nodes(root: Path = Path("/sys")) -> tuple[Node, ...]:
    """The online NUMA nodes below *root*, ascending; empty on a kernel without NUMA."""
    folder = root / _NODES
    numbers = sorted(int(path.name[4:]) for path in folder.glob("node*") if path.name[4:].isdecimal())
    return tuple(
        Node(
            number=number,
            cpus=parse_list(procfs.read_text(folder / f"node{number}/cpulist") or ""),
            memory_bytes=_node_memory(folder / f"node{number}/meminfo"),
            distances=_distances(procfs.read_text(folder / f"node{number}/distance") or ""),
        )
        for number in numbers
    )


def read_caches(root: Path = Path("/sys")) -> tuple[Cache, ...]:
    """The distinct caches of the online CPUs, by level; empty where the kernel does not report."""
    found: dict[tuple[int, str, tuple[int, ...]], Cache] = {}
    for number in _online(root):
        for index in (root / _CPUS / f"cpu{number}/cache").glob("index*"):
            cache = _cache(index)
            if cache is not None:
                found.setdefault((cache.level, cache.kind, cache.cpus), cache)
    return tuple(found[key] for key in sorted(found))


def _cache(folder: Path) -> Cache | None:
    """The cache of one index folder; ``None`` where level, size or sharers are unknown."""
    level, size, shared = (procfs.read_text(folder / name) for name in ("level", "size", "shared_cpu_list"))
    if not (level and size and shared):
        return None
    number, depth = procfs.read_number(size.rstrip("".join(_SCALE))), procfs.read_number(level)
    if number is None or depth is None:
        return None
    kind = procfs.read_text(folder / "type") or "Unified"
    return Cache(
        level=depth, kind=kind, size_bytes=number * _SCALE.get(size[-1:], 1), cpus=parse_list(shared)
    )


def _online(root: Path) -> tuple[int, ...]:
    folder = root / _CPUS
    raw = procfs.read_text(folder / "online")
    if raw is not None:
        online = parse_list(raw)
    else:
        names = (path.name[3:] for path in folder.glob("cpu[0-9]*"))
        online = tuple(sorted(int(name) for name in names if name.isdecimal()))
    if not online:
        raise MachineError(f"no CPU is listed in {folder}", hint="is /sys mounted in this container?")
    return online


def _package(root: Path, number: int) -> int:
    """The hardware's number of the socket; 0 where there is none, -1 where the kernel does not know it."""
    return (
        procfs.read_number(procfs.read_text(root / _CPUS / f"cpu{number}/topology/physical_package_id")) or 0
    )


def _core(root: Path, number: int, online: Collection[int]) -> int:
    folder = root / _CPUS / f"cpu{number}/topology"
    siblings = (
        procfs.read_text(folder / "core_cpus_list")
        or procfs.read_text(folder / "thread_siblings_list")
        or str(number)
    )
    return min((cpu for cpu in parse_list(siblings) if cpu in online), default=number)


def _distances(raw: str) -> tuple[int, ...]:
    """The distance to each node; empty where the kernel does not report."""
    found = [procfs.read_number(part) for part in raw.split()]
    return tuple(part for part in found if part is not None) if None not in found else ()


def _node_memory(path: Path) -> int | None:
    """``MemTotal`` of a node in bytes; ``None`` where the kernel does not report."""
    for line in (procfs.read_text(path) or "").splitlines():
        found = re.search(r"MemTotal:\s+(\d{1,19}) kB", line)
        if found:
            return int(found[1]) * 1024
    return None
