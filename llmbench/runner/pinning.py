"""Where a configuration's launches are to run, found before anything is loaded."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from llmbench.errors import MachineError
from llmbench.machine import placement, topology
from llmbench.machine.affinity import AffinityRequest, Binding, MemoryNodes, bind
from llmbench.schema.config import RunConfig
from llmbench.schema.run import Pinning, Topology
from llmbench.schema.units import format_list


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedPlacement:
    """Where the launches of one configuration run: how they are held there, the CPUs they may use, their sockets."""

    binding: Binding
    cpus: tuple[int, ...]
    sockets: tuple[int, ...]


def find_placement(config: RunConfig, *, root: Path = Path("/")) -> PinnedPlacement:
    """The place of a configuration on the machine whose files lie below *root*.

    Raises:
        InputError: sockets, nodes and cores requested together.
        MachineError: more than this machine has or this process may use; tensor parallelism on another device.
    """
    kind = config.device.partition(":")[0].partition(".")[0]
    if config.is_tensor_parallel and not config.engine_info.is_simulated and kind != "CPU":
        raise MachineError(
            f"tensor parallelism splits over CPU sockets; it was requested with -d {config.device}",
            hint="use -d CPU, or leave the policy out",
        )
    machine = topology.read_topology(root / "sys")
    requested = AffinityRequest(
        sockets=config.sockets,
        nodes=config.numa_nodes,
        cpus=config.cores,
        membind=config.membind,
        interleave=config.interleave,
    )
    binding = bind(requested, machine, MemoryNodes.read(root))
    cpus = binding.cpus or machine.allowed
    return PinnedPlacement(binding=binding, cpus=cpus, sockets=_sockets(machine, cpus))


def _sockets(machine: Topology, cpus: Collection[int]) -> tuple[int, ...]:
    return tuple(sorted({cpu.socket for cpu in machine.cpus if cpu.number in set(cpus)}))


def read_pinning(machine: Topology, *, root: Path = Path("/")) -> Pinning:
    """Where this process is held, its pages left out; *machine* is as this process sees it."""
    return Pinning(
        cpus=machine.allowed, sockets=_sockets(machine, machine.allowed), memory=placement.read_policy(root)
    )


def check_pinning(requested: Binding, got: Pinning) -> None:
    """Raise ``MachineError`` where a process is not held as it was requested to be."""
    if requested.cpus and set(requested.cpus) != set(got.cpus):
        raise MachineError(
            f"requested CPUs {format_list(requested.cpus)}, got {format_list(got.cpus) or 'none'}",
            hint="does a job scheduler or container move processes to CPUs of its own?",
        )
    if requested.memory and got.memory is not None and _policy(got.memory) != _policy(requested.memory):
        raise MachineError(
            f"requested memory {requested.memory}, got {got.memory}",
            hint="is numactl replaced by something that does not bind?",
        )


def _policy(reported: str) -> tuple[str, str]:
    """A memory policy's kind and nodes, without the flags that some kernels write: ``bind=static:0-1``."""
    kind, _, nodes = reported.partition(":")
    return kind.partition("=")[0], nodes


def check_threads(config: RunConfig, machine: Topology, threads: int | None) -> None:
    """Raise ``MachineError`` where several sockets were requested and the engine used threads of one of them.

    That is what it does by itself under ``LATENCY``; *threads* is ``None`` where an engine does not report.
    """
    cores = [
        len({cpu.core for cpu in machine.cpus if cpu.socket == socket and cpu.number in machine.allowed})
        for socket in config.sockets
    ]
    if len(cores) < 2 or config.is_tensor_parallel or threads is None or threads > max(cores):
        return
    raise MachineError(
        f"sockets {format_list(config.sockets)} were requested, but the engine uses the threads of one ({threads})",
        hint=f"add --tensor-parallel, or --threads {sum(cores)}",
    )


def warn_of_no_split(config: RunConfig, location: PinnedPlacement) -> str | None:
    """What a person must know before measuring: tensor parallelism was requested, and there is one socket.

    ``None`` where that is not so.
    """
    if not config.is_tensor_parallel or len(location.sockets) > 1:
        return None
    return (
        f"1 socket seen (socket {format_list(location.sockets)}, CPUs {format_list(location.cpus)}), so tensor "
        "parallelism splits nothing here; the engine accepts the policy in silence and works without it"
    )
