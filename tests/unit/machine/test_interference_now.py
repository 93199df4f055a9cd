import subprocess
import sys

import pytest

from llmbench.machine import interference, topology
from llmbench.machine.interference import TICK_S


def test_a_neighbour_is_seen_and_named() -> None:
    """A process that spins on one CPU is at least most of that CPU, and somebody is named for it."""
    last = topology.read_topology().allowed[-1]
    spin = f"import os; os.sched_setaffinity(0, [{last}]); print(flush=True)\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", spin], stdout=subprocess.PIPE) as neighbour:
        assert neighbour.stdout is not None
        neighbour.stdout.readline()
        found = interference.watch_interference([last], 1.0)
        neighbour.kill()

    assert 0.5 < found.foreign <= 1.0
    assert found.busiest
    assert len(found.busiest) == len(found.shares)
    assert 0 < sum(found.shares) <= 1


def test_stolen_time_is_told_apart(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Columns of /proc/stat: 3 ticks stolen on CPU 0, those of CPU 1 are not asked for."""
    root = tmp_path_factory.mktemp("root")
    (root / "proc").mkdir()
    (root / "proc/stat").write_text(
        "cpu 9 9 9 9 9 9 9 9\ncpu0 1 0 0 5 0 0 0 3 0 0\ncpu1 1 0 0 5 0 0 0 9 0 0\nintr 1\n"
    )
    busy_s, steal_s = interference._reading(root, {0})

    assert (pytest.approx(4 * TICK_S), pytest.approx(3 * TICK_S)) == (busy_s, steal_s)


def test_the_busiest_are_summed_by_name_and_at_most_three() -> None:
    """Two compilers of 0.4 s each are 0.8 s together; 0.04 s of a second is not worth naming."""
    before = {(1, "cc1"): 1.0, (2, "cc1"): 1.0, (3, "make"): 0.0, (4, "idle"): 5.0}
    after = {(1, "cc1"): 1.4, (2, "cc1"): 1.4, (3, "make"): 0.5, (4, "idle"): 5.04, (5, "new"): 9.0}

    assert ("cc1", "make") == interference._busiest(before, after, 1.0)
