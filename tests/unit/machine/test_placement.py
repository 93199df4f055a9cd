import os
import threading
import time
from pathlib import Path

import pytest

from llmbench.machine import placement, topology
from llmbench.machine.interference import TICK_S
from llmbench.machine.placement import PlacementWatch
from llmbench.schema.measurement import Placement, SocketWork, total_placement
from llmbench.schema.run import Cpu, Topology
from tests import machines

TWO = Topology(
    cpus=(Cpu(number=0, socket=0, core=0, node=0), Cpu(number=1, socket=1, core=1, node=1)), allowed=(0, 1)
)
SECOND = round(1 / TICK_S)


def _stat(name: str, ticks: int, cpu: int) -> str:
    """A task's stat line: *ticks* of user time, last seen on *cpu*; the other fields are 0."""
    fields = ["0"] * 50
    fields[0], fields[11], fields[12], fields[36] = "R", str(ticks), "0", str(cpu)
    return f"7 ({name}) {' '.join(fields)}\n"


def _machine(root: Path, busy_s: tuple[int, int], threads: dict[int, tuple[int, int, int]]) -> Path:
    """Two CPUs that were busy for some seconds, and threads of (seconds, CPU, migrations)."""
    machines.write(root, {"proc/stat": "".join(f"cpu{n} {s * SECOND} 0 0 0\n" for n, s in enumerate(busy_s))})
    for tid, (seconds, cpu, moves) in threads.items():
        task = f"proc/self/task/{tid}"
        files = {f"{task}/stat": _stat("a) b (c", seconds * SECOND, cpu)}
        files[f"{task}/sched"] = f"x (7)\nse.nr_migrations   :   {moves}\nnr_switches : 5\n"
        machines.write(root, files)
    return root


def _work(socket: int, busy_s: float, unmigrated_s: float = 0.0) -> SocketWork:
    return SocketWork(socket=socket, cpus=1, expected_cpus=1, busy_s=busy_s, unmigrated_s=unmigrated_s)


def _placement(worker_s: float, *sockets: SocketWork, migrations: int | None = 0) -> Placement:
    return Placement(wall_s=10.0, worker_s=worker_s, sockets=sockets, migrations=migrations)


def test_time_goes_to_the_socket_a_thread_was_last_seen_on(tmp_path: Path) -> None:
    """Thread 1 did 4 s on CPU 0 and stayed, thread 2 did 3 s and moved to CPU 1, thread 3 was idle."""
    root = _machine(tmp_path, (10, 20), {1: (1, 0, 5), 2: (1, 0, 0), 3: (2, 1, 0)})
    watch = PlacementWatch.start(TWO, root=root)
    _machine(tmp_path, (14, 24), {1: (5, 0, 5), 2: (4, 1, 2), 3: (2, 1, 0)})
    first, second = watch.stop().sockets

    assert (pytest.approx(4.0), pytest.approx(4.0)) == (first.busy_s, second.busy_s)
    assert (1, pytest.approx(4.0), pytest.approx(4.0)) == (first.threads, first.thread_s, first.unmigrated_s)
    assert (1, pytest.approx(3.0), 0) == (second.threads, second.thread_s, second.unmigrated_s)


def test_moves_are_summed_over_threads_and_a_new_thread_began_at_zero(tmp_path: Path) -> None:
    """2 moves of an old thread and 3 of one that was born in between are 5."""
    watch = PlacementWatch.start(TWO, root=_machine(tmp_path, (0, 0), {1: (0, 0, 7)}))
    _machine(tmp_path, (1, 1), {1: (1, 0, 9), 2: (1, 1, 3)})

    assert 5 == watch.stop().migrations


def test_a_kernel_that_does_not_count_moves_says_none(tmp_path: Path) -> None:
    """No scheduler statistics: unknown, not 0."""
    root = _machine(tmp_path, (0, 0), {1: (0, 0, 7)})
    (root / "proc/self/task/1/sched").unlink()

    assert PlacementWatch.start(TWO, root=root).stop().migrations is None


def test_a_thread_that_ends_while_it_is_read_is_left_out(tmp_path: Path) -> None:
    """Its folder is listed, its stat is gone."""
    root = _machine(tmp_path, (0, 0), {1: (0, 0, 0)})
    (root / "proc/self/task/2").mkdir()

    assert [1] == list(placement.read_threads(root))


@pytest.mark.parametrize(("threads", "expected"), [(None, 2), (2, 1), (1, 1), (4, 2), (8, 4), (64, 4)])
def test_a_socket_is_asked_for_no_more_than_the_engine_has_threads(
    threads: int | None, expected: int
) -> None:
    """Two sockets of two cores with two threads each: one CPU a core by default, else half of the threads."""
    cpus = tuple(Cpu(number=n, socket=n % 2, core=n % 4) for n in range(8))
    found = PlacementWatch.start(Topology(cpus=cpus, allowed=tuple(range(8))), engine_threads=threads).stop()

    assert [expected, expected] == [work.expected_cpus for work in found.sockets]
    assert [4, 4] == [work.cpus for work in found.sockets]


def test_a_socket_this_process_may_not_use_has_no_part(tmp_path: Path) -> None:
    """Pinning to CPU 1, only socket 1 is judged."""
    only = Topology(cpus=TWO.cpus, allowed=(1,))

    assert [1] == [work.socket for work in PlacementWatch.start(only).stop().sockets]


def test_both_sockets_worked() -> None:
    """9 s and 8 s of 10 s, all of it the worker's own."""
    found = _placement(17.0, _work(0, 9.0), _work(1, 8.0))

    assert (0, 1) == found.worked
    assert pytest.approx(8.0) == found.least_s(found.sockets[1])
    assert () == found.idle


def test_one_socket_did_all_the_work() -> None:
    """2 s of 10 s are below a quarter."""
    assert (0,) == _placement(12.0, _work(0, 10.0), _work(1, 2.0)).worked


def test_a_socket_that_did_little_is_idle_only_where_it_had_the_time() -> None:
    """Socket 1 worked for 2 s at most: of 10 s that were free it is idle; of 10 s that others filled, who knows.

    But where 9.6 of the worker's 10 s were surely spent on socket 0, socket 1 had no part, whoever filled it.
    """
    free = _placement(12.0, _work(0, 10.0), _work(1, 2.0))
    filled = _placement(12.0, _work(0, 10.0, unmigrated_s=10.0), _work(1, 10.0))
    foreign = _placement(10.0, _work(0, 10.0, unmigrated_s=9.6), _work(1, 10.0))

    assert (1,) == free.idle
    assert () == filled.idle
    assert (1,) == foreign.idle
    assert (0,) == filled.worked


def test_a_quarter_is_enough() -> None:
    """The limit itself counts as work."""
    assert (0, 1) == _placement(12.5, _work(0, 10.0), _work(1, 2.5)).worked


def test_a_neighbour_on_the_other_socket_is_no_work_of_ours() -> None:
    """Both sockets are busy for 10 s, but only 10 s are the worker's: neither is proven, where threads move."""
    found = _placement(10.0, _work(0, 10.0), _work(1, 10.0))

    assert () == found.worked


def test_threads_that_stay_prove_their_socket_beside_a_neighbour() -> None:
    """The same, but the worker's 10 s belong to a thread that never left socket 1."""
    assert (1,) == _placement(10.0, _work(0, 10.0), _work(1, 10.0, unmigrated_s=10.0)).worked


def test_short_requests_are_judged_together() -> None:
    """Times and moves add up, the most threads and the last pages stand."""
    one = Placement(
        wall_s=1.0, worker_s=1.5, sockets=(_work(0, 1.0), _work(1, 0.5)), migrations=1, pages={0: 8}
    )
    two = Placement(wall_s=3.0, worker_s=3.0, sockets=(_work(0, 3.0), _work(1, 0.0, 0.25)), migrations=2)
    total = total_placement([one, two])

    assert total is not None
    assert (4.0, 4.5, 3, {0: 8}) == (total.wall_s, total.worker_s, total.migrations, total.pages)
    assert [(4.0, 0.0), (0.5, 0.25)] == [(work.busy_s, work.unmigrated_s) for work in total.sockets]


def test_unknown_moves_stay_unknown_in_a_sum() -> None:
    """None and 2 are not 2."""
    total = total_placement([_placement(1.0, _work(0, 1.0), migrations=m) for m in (None, 2)])

    assert total is not None
    assert total.migrations is None


def test_no_requests_are_no_placement() -> None:
    """A launch without a measurement proves nothing."""
    assert total_placement([]) is None


def test_pages_are_bytes_a_node_whatever_the_size_of_a_page(tmp_path: Path) -> None:
    """3 small pages and 1 of 2 MiB on node 0, 2 small on node 1; a file's name (escaped) counts nothing."""
    lines = (
        "7f00 default file=/a\\040N0\\07599 mapped=3 N0=3 N1=2 kernelpagesize_kB=4\n"
        "7f01 bind:0 anon=1 dirty=1 N0=1 kernelpagesize_kB=2048\n"
        "7f02 default\n"
    )
    machines.write(tmp_path, {"proc/self/numa_maps": lines})
    found = placement.read_pages(tmp_path)

    assert {0: 3 * 4096 + (2 << 20), 1: 2 * 4096} == found


def test_no_pages_on_a_kernel_without_numa(tmp_path: Path) -> None:
    """Nothing to read is nothing known."""
    assert {} == placement.read_pages(tmp_path)


def test_a_thread_held_to_one_cpu_is_found_there() -> None:
    """A real thread, pinned to the last CPU we may use, spends its time there and nowhere else."""
    seen = topology.read_topology()
    last = seen.allowed[-1]

    def burn() -> None:
        os.sched_setaffinity(threading.get_native_id(), {last})
        watches.append(PlacementWatch.start(alone))
        while time.thread_time() < 0.5:
            pass
        placements.append(watches[0].stop(with_pages=True))

    alone = Topology(
        cpus=tuple(Cpu(number=n, socket=int(n == last), core=n) for n in seen.allowed), allowed=seen.allowed
    )
    watches: list[PlacementWatch] = []
    placements: list[Placement] = []
    thread = threading.Thread(target=burn)
    thread.start()
    thread.join()
    work = {work.socket: work for work in placements[0].sockets}[1]

    assert work.thread_s > 0.7 * placements[0].worker_s
    assert work.busy_s >= 0.7 * work.thread_s
    assert sum(placements[0].pages.values()) > 1 << 20
