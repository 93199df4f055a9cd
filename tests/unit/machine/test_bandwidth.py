import os
import threading

import pytest

from llmbench.machine import bandwidth, topology
from llmbench.machine.topology import Cache
from llmbench.schema.run import Cpu, Topology

SMT = Topology(
    cpus=tuple(Cpu(number=n, socket=n % 2, core=n % 4) for n in range(8)),
    allowed=(1, 2, 3, 4, 5, 6),
)


@pytest.mark.parametrize(("socket", "cpus"), [(None, (1, 2, 3, 4)), (0, (2, 4)), (1, (1, 3))])
def test_one_thread_a_core_that_this_process_may_use(socket: int | None, cpus: tuple[int, ...]) -> None:
    """Core 0 is reached by CPU 4, its second thread, because CPU 0 is not allowed."""
    assert cpus == tuple(sorted(bandwidth._one_cpu_a_core(SMT, socket)))


def test_the_arrays_are_weighed_against_the_last_caches_in_reach() -> None:
    """Two L3 of 32 that hold CPUs 0 and 1, not the third of CPU 9; L2 and instructions do not count."""
    caches = (
        Cache(level=2, kind="Unified", size_bytes=7, cpus=(0,)),
        Cache(level=4, kind="Instruction", size_bytes=9, cpus=(0,)),
        *(Cache(level=3, kind="Unified", size_bytes=32, cpus=(n,)) for n in (0, 1, 9)),
    )

    assert 64 == bandwidth._last_cache_bytes(caches, (0, 1))


@pytest.mark.parametrize(
    ("cache_bytes", "available_bytes", "array_bytes"),
    [
        (100 << 20, 1 << 40, 400 << 20),
        (1 << 20, 1 << 40, 32 << 20),
        (100 << 20, 4800 << 20, 100 << 20),
    ],
)
def test_arrays_are_four_times_the_caches_if_memory_bears_it(
    cache_bytes: int, available_bytes: int, array_bytes: int
) -> None:
    """Two threads: four caches, at least 16 MiB a thread, and three arrays at most a sixteenth of memory."""
    assert array_bytes == bandwidth._array_bytes(cache_bytes, 2, available_bytes)


def test_a_rate_that_may_be_the_caches_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of a pebibyte cannot be left behind on any machine, least of all with a sliver of its memory."""
    monkeypatch.setattr(bandwidth, "_MEMORY_SHARE", 1 << 12)
    seen = topology.read_topology()
    huge = Cache(level=3, kind="Unified", size_bytes=1 << 50, cpus=seen.allowed)
    one = Topology(cpus=seen.cpus, allowed=seen.allowed[:1])

    assert not bandwidth.measure_bandwidth(one, (huge,), window_s=0.001, windows=1).is_beyond_caches


def test_memory_gives_something_and_the_process_stays_where_it_was() -> None:
    """A real measurement on small arrays: a rate between a hundredth and a hundred times 10 GB/s."""
    seen = topology.read_topology()
    before = os.sched_getaffinity(0)
    found = bandwidth.measure_bandwidth(seen, (), window_s=0.02, windows=2)

    assert found.is_beyond_caches
    assert 1e8 < found.bytes_per_s < 1e12 * len(found.cpus)
    assert found.array_bytes % 8 == 0
    assert before == os.sched_getaffinity(0)


def test_a_thread_that_fails_ends_the_others() -> None:
    """Arrays of an impossible size: the error comes out, and nobody waits for the one that failed."""
    before = set(threading.enumerate())
    with pytest.raises(Exception, match=r"allocate|array|Barrier|^$"):
        bandwidth._rates(topology.read_topology().allowed, 1 << 60, window_s=0.01, windows=1)

    assert set(threading.enumerate()) <= before
