"""Memory bandwidth: measured with a STREAM-like sum of two arrays by one thread per core, and kept for the machine."""

import contextlib
import dataclasses
import hashlib
import json
import os
import platform
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import msgspec

from llmbench.files import atomic
from llmbench.files.cache import cache_folder
from llmbench.machine.topology import Cache
from llmbench.schema.run import Environment, MemoryRate, Topology

ARRAYS = 3
_ELEMENT_BYTES = 8
_CACHE_MULTIPLE = 4
_LEAST_BYTES = 16 << 20
_MEMORY_SHARE = 16
_PATIENCE_S = 120.0
WHOLE = "all"
"""The name of what all CPUs get together, among sockets by their numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bandwidth:
    """Bytes per second between *cpus* and memory, the best of several windows, as STREAM reports it.

    Counted are two reads and one write an element (``a = b + c``, the bandwidth of STREAM's add and triad) and not
    the read that a write costs on most processors. *array_bytes* is one of the three arrays, all threads
    together; *is_beyond_caches* is false where memory did not suffice to make it four times the last cache, so
    that some of it may come from there.
    """

    bytes_per_s: float
    cpus: tuple[int, ...]
    array_bytes: int
    is_beyond_caches: bool


def measure_bandwidth(
    topology: Topology,
    caches: Sequence[Cache],
    socket: int | None = None,
    *,
    window_s: float = 0.25,
    windows: int = 3,
) -> Bandwidth:
    """Return the bandwidth of one socket, or of all that this process may use; it takes a second.

    Each thread is pinned to a core and touches its part of the arrays first, so memory is near it.
    """
    import psutil

    cpus = _one_cpu_a_core(topology, socket)
    cache_bytes = _last_cache_bytes(caches, cpus)
    array_bytes = _array_bytes(cache_bytes, len(cpus), int(psutil.virtual_memory().available))
    elements = array_bytes // _ELEMENT_BYTES // len(cpus)
    rates = _rates(cpus, elements, window_s=window_s, windows=windows)
    return Bandwidth(
        bytes_per_s=max(rates),
        cpus=cpus,
        array_bytes=elements * _ELEMENT_BYTES * len(cpus),
        is_beyond_caches=array_bytes >= _CACHE_MULTIPLE * cache_bytes,
    )


def _one_cpu_a_core(topology: Topology, socket: int | None) -> tuple[int, ...]:
    cores: dict[int, int] = {}
    allowed = set(topology.allowed)
    for cpu in topology.cpus:
        if cpu.number in allowed and socket in (None, cpu.socket):
            cores.setdefault(cpu.core, cpu.number)
    return tuple(cores.values())


def _last_cache_bytes(caches: Sequence[Cache], cpus: Collection[int]) -> int:
    """Size of the last-level caches that some of *cpus* share; 0 where the kernel does not report."""
    return sum(cache.size_bytes for cache in _last_level([c for c in caches if set(c.cpus) & set(cpus)]))


def _last_level(caches: Sequence[Cache]) -> list[Cache]:
    data = [cache for cache in caches if cache.kind != "Instruction"]
    last = max((cache.level for cache in data), default=0)
    return [cache for cache in data if cache.level == last]


def _array_bytes(cache_bytes: int, threads: int, available_bytes: int) -> int:
    """Size of one array: beyond the caches, enough for each thread, and no more than memory bears."""
    wanted = max(_CACHE_MULTIPLE * cache_bytes, _LEAST_BYTES * threads)
    return min(wanted, available_bytes // _MEMORY_SHARE // ARRAYS)


def _rates(cpus: Sequence[int], elements: int, *, window_s: float, windows: int) -> list[float]:
    """Bytes per second of all threads together, window by window."""
    barrier = threading.Barrier(len(cpus), timeout=_PATIENCE_S)

    def work(cpu: int) -> list[float]:
        """Return the bytes per second of one CPU, window by window; raise BrokenBarrierError where another failed."""
        with contextlib.ExitStack() as undo:
            undo.callback(barrier.abort)
            os.sched_setaffinity(0, {cpu})
            rates = _add(elements, barrier, window_s=window_s, windows=windows)
            undo.pop_all()
        return rates

    with ThreadPoolExecutor(len(cpus)) as pool:
        rates = list(pool.map(work, cpus))
    return [sum(window) for window in zip(*rates, strict=True)]


def _add(elements: int, barrier: threading.Barrier, *, window_s: float, windows: int) -> list[float]:
    """Bytes per second of one thread, window by window; the threads begin each together."""
    import numpy as np

    total, left, right = (np.full(elements, value) for value in (0.0, 1.0, 2.0))
    rates: list[float] = []
    for _ in range(windows):
        barrier.wait()
        start = time.perf_counter()
        passes, now = 0, start
        while now - start < window_s:
            np.add(left, right, out=total)
            passes, now = passes + 1, time.perf_counter()
        rates.append(passes * total.nbytes * ARRAYS / (now - start))
    return rates


def bandwidth_file(cpu_model: str, topology: Topology, memory_bytes: int) -> Path:
    """Where the rate of a machine is kept: by host, CPU, memory in GiB, and the CPUs that may be used."""
    cpus = [dataclasses.astuple(cpu) for cpu in topology.cpus]
    named = [platform.node(), cpu_model, round(memory_bytes / 2**30), cpus, topology.allowed]
    return (
        cache_folder() / "bandwidth" / f"{hashlib.sha256(json.dumps(named).encode()).hexdigest()[:24]}.json"
    )


def load_bandwidth(file: Path) -> MemoryRate | None:
    """The rate that a file holds; ``None`` where there is none, or none that can be."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=MemoryRate)
    except (OSError, ValueError):
        return None


def keep_bandwidth(
    here: Environment, measured: Mapping[str, Bandwidth], *, measured_at: str, is_quiet: bool
) -> MemoryRate | None:
    """Return the rate that is kept from now on.

    What was measured beside other busy processes is too low, and replaces what is kept only where it is higher. A
    folder that cannot be written keeps nothing, and ``None`` is what it kept before.
    """
    rate = MemoryRate(
        measured_at=measured_at,
        bytes_per_s=measured[WHOLE].bytes_per_s,
        sockets={int(name): each.bytes_per_s for name, each in measured.items() if name != WHOLE},
        is_beyond_caches=all(each.is_beyond_caches for each in measured.values()),
    )
    file = bandwidth_file(here.cpu_model, here.topology, here.memory_bytes)
    known = load_bandwidth(file)
    if known is not None and not is_quiet and known.bytes_per_s >= rate.bytes_per_s:
        return known
    with contextlib.suppress(OSError):
        atomic.cache_file(file, msgspec.json.encode(rate))
        return rate
    return known


def last_caches(topology: Topology, caches: tuple[Cache, ...]) -> dict[int, int]:
    """Return the bytes of each socket's last-level caches, of the CPUs that may be used; empty where unknown."""
    socket_of = {cpu.number: cpu.socket for cpu in topology.cpus if cpu.number in topology.allowed}
    found: dict[int, int] = {}
    for cache in _last_level(caches):
        sockets = {socket_of[cpu] for cpu in cache.cpus if cpu in socket_of}
        if len(sockets) == 1:
            (socket,) = sockets
            found[socket] = found.get(socket, 0) + cache.size_bytes
    return found
