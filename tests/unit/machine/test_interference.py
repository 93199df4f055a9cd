import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmbench.machine import interference
from llmbench.machine.interference import Probe
from tests import machines

STAT = b"""cpu  400 0 0 0 0 0 0 0 0 0
cpu0 100 20 30 9000 500 1 2 3 70 4
cpu1 200 0 0 9000 0 0 0 0 0 0
cpu10 900 0 0 9000 0 0 0 0 0 0
intr 1 2 3
cpu0 900 0 0
"""
TICK_S = interference.TICK_S


@pytest.fixture(autouse=True)
def _fresh_counters() -> Iterator[None]:
    interference._throttle_counters.cache_clear()
    yield
    interference._throttle_counters.cache_clear()


def test_busy_time_counts_steal_but_neither_waiting_nor_guests_twice() -> None:
    """100 user + 20 nice + 30 system + 1 irq + 2 softirq + 3 steal; not 500 iowait, not 70 + 4 guest."""
    assert pytest.approx({0: 156 * TICK_S}) == interference.busy_by_cpu(STAT, {0})


def test_busy_time_is_of_the_asked_cpus_alone() -> None:
    """CPU 1 is not CPU 10, and the line of all CPUs is nobody's."""
    assert pytest.approx({1: 200 * TICK_S}) == interference.busy_by_cpu(STAT, {1})
    assert {0, 1, 10} == set(interference.busy_by_cpu(STAT, {0, 1, 10, 11}))


def test_old_kernels_have_fewer_columns() -> None:
    """A line of four columns counts what it has."""
    assert pytest.approx({0: 6 * TICK_S}) == interference.busy_by_cpu(b"cpu0 1 2 3 4\n", {0})


def test_foreign_time_is_what_the_cpus_did_beyond_our_own(tmp_path: Path) -> None:
    """A neighbour's 5 s on our CPU are foreign, on another CPU they are not."""
    machines.write(tmp_path, {"proc/stat": "cpu0 0 0 0 0\ncpu1 0 0 0 0\n"})
    before = Probe.start([0], tmp_path)
    seconds = round(5 / TICK_S)
    machines.write(tmp_path, {"proc/stat": f"cpu0 {seconds} 0 0 0\ncpu1 {seconds} 0 0 0\n"})
    found = before.stop()

    assert 4.0 < found.interference_s <= 5.0
    assert pytest.approx(5.0) == found.interference_s + found.worker_s
    assert 1 == found.cpus


def test_our_own_time_is_never_foreign(tmp_path: Path) -> None:
    """Ticks lag behind the clock of the process; the difference is no negative foreign time."""
    machines.write(tmp_path, {"proc/stat": "cpu0 0 0 0 0\n"})
    before = Probe.start([0], tmp_path)

    assert 0.0 == before.stop().interference_s


def test_all_threads_of_this_process_are_its_own() -> None:
    """Two threads that burn CPU count together, not only the one that asks."""
    before = Probe.start()

    def burn() -> None:
        while time.thread_time() < 0.1:
            pass

    threads = [threading.Thread(target=burn) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = before.stop()

    assert found.worker_s >= 0.2
    assert found.wall_s >= 0.1
    assert 0.0 == found.suspended_s


def test_throttle_events_are_counted_once_a_core_and_once_a_socket(tmp_path: Path) -> None:
    """Two threads of one core show the same counter: 1 core event + 2 socket events are 3."""
    counters = {}
    for cpu in (0, 1):
        folder = f"sys/devices/system/cpu/cpu{cpu}"
        counters[f"{folder}/topology/core_cpus_list"] = "0-1\n"
        counters[f"{folder}/topology/package_cpus_list"] = "0-1\n"
        counters[f"{folder}/thermal_throttle/core_throttle_count"] = "10\n"
        counters[f"{folder}/thermal_throttle/package_throttle_count"] = "20\n"
    machines.write(tmp_path, {"proc/stat": "cpu0 0 0 0 0\n", **counters})
    before = Probe.start([0, 1], tmp_path)
    for cpu in (0, 1):
        folder = f"sys/devices/system/cpu/cpu{cpu}/thermal_throttle"
        machines.write(
            tmp_path, {f"{folder}/core_throttle_count": "11\n", f"{folder}/package_throttle_count": "22\n"}
        )

    assert 3 == before.stop().throttle_events


def test_a_suspended_machine_is_told_by_its_two_clocks(tmp_path: Path) -> None:
    """Boot time grew 8 s more than monotonic time; less than a millisecond is how the clocks are read."""
    machines.write(tmp_path, {"proc/stat": "cpu0 0 0 0 0\n"})
    now = Probe.start([0], tmp_path)
    fields = {name: getattr(now, name) for name in Probe.__slots__}

    assert (
        pytest.approx(8.0, abs=0.01) == Probe(**{**fields, "asleep_s": now.asleep_s - 8.0}).stop().suspended_s
    )
    assert 0.0 == Probe(**{**fields, "asleep_s": now.asleep_s - 5e-4}).stop().suspended_s
