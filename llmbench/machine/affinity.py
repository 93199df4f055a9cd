"""Affinity: how to pin a process to sockets, nodes or CPUs, checked against what it may use."""

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from llmbench.errors import InputError, MachineError
from llmbench.machine import procfs
from llmbench.machine.topology import Node, parse_list, read_nodes
from llmbench.schema.run import Topology
from llmbench.schema.units import counted, format_list

_PIN = "import os, sys; os.sched_setaffinity(0, map(int, sys.argv[1].split(','))); os.execvp(sys.argv[2], sys.argv[2:])"
"""Runs a command on some CPUs only, as taskset does, which not every machine has."""
_OPTIONS = {"bind": "--membind", "interleave": "--interleave"}


@dataclass(frozen=True, slots=True, kw_only=True)
class AffinityRequest:
    """Where a process is to run: on *sockets*, or *nodes*, or *cpus*; and on which nodes its memory is to be.

    Everything empty leaves the process where it is.
    """

    sockets: tuple[int, ...] = ()
    nodes: tuple[int, ...] = ()
    cpus: tuple[int, ...] = ()
    membind: tuple[int, ...] = ()
    interleave: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if sum(map(bool, (self.sockets, self.nodes, self.cpus))) > 1:
            raise InputError("sockets, NUMA nodes and cores exclude each other", hint="give one of them")
        if self.membind and self.interleave:
            raise InputError("--membind and --interleave exclude each other", hint="give one of them")


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryNodes:
    """The machine's nodes, those this process may take memory from, and the path of numactl, ``None`` without it."""

    nodes: tuple[Node, ...]
    allowed: tuple[int, ...]
    numactl: str | None

    @classmethod
    def read(cls, root: Path = Path("/")) -> "MemoryNodes":
        """As the kernel's files below *root* and ``PATH`` tell."""
        allowed = parse_list(procfs.read_field(root / "proc/self/status", "Mems_allowed_list") or "")
        return cls(nodes=read_nodes(root / "sys"), allowed=allowed, numactl=shutil.which("numactl"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """CPUs a process is pinned to, the nodes its memory is bound to (none: it is not), and how that is done.

    *prefix* is before the process's command. *memory* is the policy that it brings, as the kernel writes it
    (``bind:0``, ``interleave:0-1``). *warnings* say what is not as it could be.
    """

    cpus: tuple[int, ...] = ()
    nodes: tuple[int, ...] = ()
    prefix: tuple[str, ...] = ()
    memory: str | None = None
    warnings: tuple[str, ...] = ()


def bind(requested: AffinityRequest, topology: Topology, memory: MemoryNodes) -> Binding:
    """Return how to pin a process as requested.

    Raises ``MachineError`` where the machine has less than was requested, or this process may use less.
    """
    cpus = _cpus(requested, topology)
    nodes, warnings = _memory(requested, topology, memory, cpus)
    policy = ("interleave" if requested.interleave else "bind") if nodes else None
    if not cpus and not policy:
        return Binding()
    if memory.numactl:
        threads = (f"--physcpubind={format_list(cpus)}",) if cpus else ()
        pages = (f"{_OPTIONS[policy]}={format_list(nodes)}",) if policy else ()
        prefix = (memory.numactl, *threads, *pages, "--")
    else:
        prefix = (sys.executable, "-I", "-S", "-c", _PIN, ",".join(map(str, cpus)))
    policy_text = f"{policy}:{format_list(nodes)}" if policy else None
    return Binding(cpus=cpus, nodes=nodes, prefix=prefix, memory=policy_text, warnings=warnings)


def _cpus(requested: AffinityRequest, topology: Topology) -> tuple[int, ...]:
    if requested.cpus:
        return _listed_cpus(requested.cpus, topology)
    if requested.sockets:
        _check_known("socket", requested.sockets, topology.sockets)
        wanted = [cpu for cpu in topology.cpus if cpu.socket in requested.sockets]
        what = f"socket {format_list(requested.sockets)}"
    else:
        _check_known("NUMA node with CPUs", requested.nodes, topology.nodes)
        wanted = [cpu for cpu in topology.cpus if cpu.node in requested.nodes]
        what = f"node {format_list(requested.nodes)}"
    usable = [cpu for cpu in wanted if cpu.number in set(topology.allowed)]
    cores, all_cores = len({cpu.core for cpu in usable}), len({cpu.core for cpu in wanted})
    if cores < all_cores:
        raise MachineError(
            f"{what} has {counted(all_cores, 'core')}, and this process may use {cores} of them",
            hint=f"it may use the CPUs {format_list(topology.allowed)}: choose from those with --cores, "
            "or widen the cpuset of the container or job",
        )
    return tuple(cpu.number for cpu in usable)


def _listed_cpus(requested: tuple[int, ...], topology: Topology) -> tuple[int, ...]:
    missing = sorted(set(requested) - set(topology.allowed))
    if missing:
        online = {cpu.number for cpu in topology.cpus}
        why = "this process may not use" if set(missing) <= online else "this machine does not have online"
        raise MachineError(
            f"cores {format_list(requested)} were requested; {why} {format_list(missing)}",
            hint=f"CPUs that may be used: {format_list(topology.allowed)}",
        )
    return tuple(sorted(set(requested)))


def _check_known(what: str, requested: Sequence[int], known: Sequence[int]) -> None:
    missing = sorted(set(requested) - set(known))
    if missing:
        seen = format_list(known) or "none"
        raise MachineError(
            f"{what} {format_list(missing)} was requested; this machine has {len(known)} ({seen})",
            hint="llmbench doctor draws sockets, nodes and cores",
        )


def _memory(
    requested: AffinityRequest, topology: Topology, memory: MemoryNodes, cpus: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    explicit = requested.membind or requested.interleave
    if explicit:
        _check_explicit(explicit, memory)
        return explicit, ()
    local = tuple(sorted({c.node for c in topology.cpus if c.number in set(cpus) and c.node is not None}))
    if not cpus or len(memory.nodes) < 2:
        return (), ()
    reason = _why_not(local, memory)
    if reason:
        return (), (f"memory is not bound to node {format_list(local) or '(unknown)'}: {reason}",)
    return local, ()


def _why_not(local: tuple[int, ...], memory: MemoryNodes) -> str | None:
    """Why memory cannot be bound to the nodes of the chosen CPUs; ``None`` where it can."""
    empty = [node.number for node in memory.nodes if node.number in local and node.memory_bytes == 0]
    if not local:
        return "the kernel does not report which node these CPUs belong to"
    if empty:
        return f"node {format_list(empty)} has no memory"
    if not set(local) <= set(memory.allowed):
        return f"this process may take memory from node {format_list(memory.allowed) or 'none'} only"
    return (
        None
        if memory.numactl
        else "numactl is not installed (package numactl); threads are pinned by affinity"
    )


def _check_explicit(nodes: tuple[int, ...], memory: MemoryNodes) -> None:
    """Raise ``MachineError`` where memory cannot be bound as requested: there is no silent fallback."""
    _check_known("NUMA node", nodes, tuple(node.number for node in memory.nodes))
    beyond = sorted(set(nodes) - set(memory.allowed))
    empty = [node.number for node in memory.nodes if node.number in nodes and node.memory_bytes == 0]
    if beyond:
        raise MachineError(
            f"memory on node {format_list(beyond)} was requested; this process may use "
            f"node {format_list(memory.allowed) or 'none'}",
            hint="widen cpuset.mems of the container or job, or leave memory where it is",
        )
    if empty:
        raise MachineError(f"memory on node {format_list(empty)} was requested; it has none")
    if not memory.numactl:
        raise MachineError("memory cannot be bound without numactl", hint="install it (package numactl)")
