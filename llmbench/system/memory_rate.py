"""What a triad got from this machine's memory, kept in the user's cache folder for runs to be compared with.

A run never measures it: that would take seconds of all cores before every run.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import platform
import tempfile
from collections.abc import Mapping
from pathlib import Path

import msgspec

from llmbench.files.cache import cache_folder
from llmbench.run import Environment, MemoryRate, Topology
from llmbench.system.bandwidth import Bandwidth
from llmbench.system.topology import Cache

WHOLE = "all"
"""The name of what all CPUs get together, among sockets by their numbers."""


def file_of(cpu_model: str, topology: Topology, memory_bytes: int) -> Path:
    """Where the rate of a machine is kept: by host, CPU, memory in GiB, and the CPUs that may be used."""
    cpus = [dataclasses.astuple(cpu) for cpu in topology.cpus]
    named = [platform.node(), cpu_model, round(memory_bytes / 2**30), cpus, topology.allowed]
    return (
        cache_folder() / "bandwidth" / f"{hashlib.sha256(json.dumps(named).encode()).hexdigest()[:24]}.json"
    )


def load(file: Path) -> MemoryRate | None:
    """The rate that a file holds; ``None`` where there is none, or none that can be."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=MemoryRate)
    except (OSError, ValueError):
        return None


def keep(
    here: Environment, measured: Mapping[str, Bandwidth], *, measured_at: str, is_quiet: bool
) -> MemoryRate | None:
    """The rate that is kept from now on.

    What was measured beside busy neighbours is too low, and replaces what is kept only where it is higher. A folder
    that cannot be written keeps nothing, and ``None`` is what it kept before.
    """
    rate = MemoryRate(
        measured_at=measured_at,
        bytes_per_s=measured[WHOLE].bytes_per_s,
        sockets={int(name): each.bytes_per_s for name, each in measured.items() if name != WHOLE},
        is_beyond_caches=all(each.is_beyond_caches for each in measured.values()),
    )
    file = file_of(here.cpu_model, here.topology, here.memory_bytes)
    known = load(file)
    if known is not None and not is_quiet and known.bytes_per_s >= rate.bytes_per_s:
        return known
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=".bandwidth.", dir=file.parent)
        with os.fdopen(handle, "wb") as opened:
            opened.write(msgspec.json.encode(rate))
        Path(temporary).replace(file)
        return rate
    return known


def last_caches(topology: Topology, caches: tuple[Cache, ...]) -> dict[int, int]:
    """Bytes of each socket's caches of the last level, those of CPUs that may be used; empty where not told."""
    socket_of = {cpu.number: cpu.socket for cpu in topology.cpus if cpu.number in topology.allowed}
    shared = [cache for cache in caches if cache.kind != "Instruction"]
    last = max((cache.level for cache in shared), default=0)
    found: dict[int, int] = {}
    for cache in shared:
        sockets = {socket_of[cpu] for cpu in cache.cpus if cpu in socket_of}
        if cache.level == last and len(sockets) == 1:
            (socket,) = sockets
            found[socket] = found.get(socket, 0) + cache.size_bytes
    return found
