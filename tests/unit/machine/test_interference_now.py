import subprocess
import sys

import pytest

from llmbench.machine import interference, topology
from llmbench.machine.programs import TICK_S, ProgramTime, busiest_programs, read_programs


def test_a_neighbour_is_seen_and_named() -> None:
    """A process that spins on one CPU is at least most of that CPU, and somebody is named for it."""
    last = topology.read_topology().allowed[-1]
    spin = f"import os; os.sched_setaffinity(0, [{last}]); print(flush=True)\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", spin], stdout=subprocess.PIPE) as neighbour:
        assert neighbour.stdout is not None
        neighbour.stdout.readline()
        found = interference.watch_interference([last], 1.0)
        neighbour.kill()

    assert 0.5 < found.total <= 1.0
    assert found.busiest
    assert len(found.busiest) == len(found.shares)
    assert 0 < sum(found.shares) <= 1


def test_stolen_time_is_told_apart(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Columns of /proc/stat: 3 ticks stolen on CPU 0, those of CPU 1 are outside."""
    root = tmp_path_factory.mktemp("root")
    (root / "proc").mkdir()
    (root / "proc/stat").write_text(
        "cpu 9 9 9 9 9 9 9 9\ncpu0 1 0 0 5 0 0 0 3 0 0\ncpu1 1 0 0 5 0 0 0 9 0 0\nintr 1\n"
    )
    busy, stolen, outside = (4 * TICK_S, 3 * TICK_S, 10 * TICK_S)

    assert pytest.approx((busy, stolen, outside)) == interference._busy_and_steal(root, {0})
    assert pytest.approx((busy + outside, 12 * TICK_S)) == interference._busy_and_steal(root, {0, 1})[:2]
    assert interference._busy_and_steal(root, {0, 1})[2] is None


def test_the_busiest_are_summed_by_name_and_at_most_three() -> None:
    """Two compilers of 0.4 s each are 0.8 s together; 0.01 s of two seconds, and another CPU's work, are left out."""
    before = {
        1: ProgramTime("cc1", 1.0, 0),
        2: ProgramTime("cc1", 1.0, 1),
        3: ProgramTime("sh", 0.0, 5),
        4: ProgramTime("idle", 5.0, 0),
    }
    after = {
        1: ProgramTime("cc1", 1.4, 0),
        2: ProgramTime("cc1", 1.4, 1),
        3: ProgramTime("make", 0.5, 1),
        4: ProgramTime("idle", 5.01, 0),
        5: ProgramTime("new", 0.1, 0),
        6: ProgramTime("elsewhere", 9.0, 2),
    }

    found = busiest_programs(before, after, {0, 1}, 1.0)

    assert {"cc1": 0.8, "make": 0.5, "new": 0.1} == found
    assert ["cc1", "make", "new"] == list(found)


def test_a_name_with_spaces_and_parentheses_is_read_whole(tmp_path_factory: pytest.TempPathFactory) -> None:
    """``(a) (b)`` is the name; what steers a terminal is a question mark; a process that ended is left out."""
    root = tmp_path_factory.mktemp("root")
    fields = " ".join(["S", *["0"] * 10, "150", "50", *["0"] * 23, "3"])
    for number, name in ((7, "a) (b"), (8, "x\x1b[")):
        (root / f"proc/{number}").mkdir(parents=True)
        (root / f"proc/{number}/stat").write_text(f"{number} ({name}) {fields}\n")
    (root / "proc/9").mkdir()

    seconds = 200 * TICK_S
    assert {7: ("a) (b", seconds, 3), 8: ("x?[", seconds, 3)} == read_programs(root)
