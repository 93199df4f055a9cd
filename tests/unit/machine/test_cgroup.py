import os
from collections.abc import Callable
from pathlib import Path

import pytest

from llmbench.machine import cgroup
from llmbench.machine.limits import read_resource_limits
from tests import machines

Machine = Callable[[str], Path]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Lay out a machine by its name, and give its root folder."""
    return lambda name: machines.lay_out(name, tmp_path)


def test_version_2_quota_limit_peak_and_kills(machine: Machine) -> None:
    """1600000 us of CPU in each 100000 us are 16 CPUs; the kill count comes from memory.events."""
    found = cgroup.read_limits(machine("container"))

    assert (
        cgroup.GroupLimits(cpus=16.0, memory_bytes=64 << 30, memory_peak_bytes=1 << 30, oom_kills=1) == found
    )


def test_the_tightest_of_the_enclosing_groups_counts(tmp_path: Path) -> None:
    """An inner group without a limit lives within its parent's: 2 CPUs and 4 GiB."""
    root = machines.write(
        tmp_path,
        {
            "proc/self/cgroup": "0::/outer/inner\n",
            "sys/fs/cgroup/outer/cpu.max": "200000 100000\n",
            "sys/fs/cgroup/outer/memory.max": f"{4 << 30}\n",
            "sys/fs/cgroup/outer/inner/cpu.max": "max 100000\n",
            "sys/fs/cgroup/outer/inner/memory.max": "max\n",
        },
    )

    assert cgroup.GroupLimits(cpus=2.0, memory_bytes=4 << 30) == cgroup.read_limits(root)


def test_version_1_has_a_folder_a_controller(tmp_path: Path) -> None:
    """Combined controllers share a line; the largest page-aligned number is no limit."""
    root = machines.write(
        tmp_path,
        {
            "proc/7/cgroup": "4:memory:/job\n3:cpu,cpuacct:/job\n0::/\n",
            "sys/fs/cgroup/cpu/job/cpu.cfs_quota_us": "50000\n",
            "sys/fs/cgroup/cpu/job/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/memory/job/memory.limit_in_bytes": "9223372036854771712\n",
            "sys/fs/cgroup/memory/job/memory.max_usage_in_bytes": "4096\n",
            "sys/fs/cgroup/memory/job/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
        },
    )

    assert cgroup.GroupLimits(cpus=0.5, memory_peak_bytes=4096, oom_kills=2) == cgroup.read_limits(
        root, pid=7
    )


def test_a_container_sees_its_own_group_at_the_mount(tmp_path: Path) -> None:
    """Where the path is the host's and not shown here, the mount itself is this container's group."""
    root = machines.write(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory:/docker/0123\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "1048576\n",
        },
    )

    assert 1 << 20 == cgroup.read_limits(root).memory_bytes


@pytest.mark.parametrize("reported", ["", "4:memory:/\n", "3:cpu:/\n0::/\n"])
def test_no_limit_is_none(tmp_path: Path, reported: str) -> None:
    """A machine without control groups, or with none that limits, has no numbers: never 0."""
    assert cgroup.GroupLimits() == cgroup.read_limits(
        machines.write(tmp_path, {"proc/self/cgroup": reported})
    )


def test_quota_of_minus_one_is_no_limit(tmp_path: Path) -> None:
    """Version 1 writes -1 for no quota."""
    root = machines.write(
        tmp_path,
        {
            "proc/self/cgroup": "3:cpu:/\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        },
    )

    assert cgroup.read_limits(root).cpus is None


_SLICES = "sys/fs/cgroup/pod/box"


@pytest.mark.parametrize(
    ("membership", "mounts", "quota"),
    [
        # as seen on Linux 6.1 with version 2: a namespace of its own, and the mount of the host
        ("0::/", "28 27 0:20 /../.. /sys/fs/cgroup rw - cgroup2 none rw", 0.2),
        ("0::/../box", "28 27 0:20 / /sys/fs/cgroup rw - cgroup2 none rw", 0.2),
        ("0::/pod/box", "22 19 0:20 / /sys/fs/cgroup rw - cgroup2 none rw", 0.2),
        # docker with version 1, and a group that the container made for itself
        (
            "3:cpu,cpuacct:/docker/3f/box",
            "9 8 0:29 /docker/3f /sys/fs/cgroup/pod rw - cgroup cgroup rw,cpu,cpuacct",
            0.2,
        ),
        (
            "3:cpu,cpuacct:/docker/3f",
            "9 8 0:29 /docker/3f /sys/fs/cgroup/pod rw - cgroup cgroup rw,cpu,cpuacct",
            0.5,
        ),
        ("0::/box", "22 19 0:20 / /sys/fs/cgroup/pod rw - cgroup2 none rw", 0.2),  # mounted at another place
        ("0::/elsewhere", "22 19 0:20 / /sys/fs/cgroup rw - cgroup2 none rw", None),
        ("0::/pod/box", "bad\n1 2 3 - x\n", 0.2),
    ],
)
def test_groups_are_found_where_they_are_mounted(
    tmp_path: Path, membership: str, mounts: str, *, quota: float | None
) -> None:
    """A quota of 0.5 around one of 0.2, by what mountinfo shows of the mount; hidden names are searched for."""
    root = machines.write(
        tmp_path,
        {
            "proc/self/cgroup": f"{membership}\n",
            "proc/self/mountinfo": f"{mounts}\n",
            "sys/fs/cgroup/cgroup.procs": "1\n2\n",
            "sys/fs/cgroup/pod/cpu.max": "50000 100000\n",
            f"{_SLICES}/cgroup.procs": f"7\n{os.getpid()}\n",
            f"{_SLICES}/cpu.max": "20000 100000\n",
        },
    )

    assert quota == cgroup.read_limits(root).cpus


def test_a_hidden_group_that_nothing_shows_has_no_limits(tmp_path: Path) -> None:
    """A process in no list below the mount is in none of its groups, so their limits are not its own."""
    files = {"proc/self/cgroup": "0::/../x\n", "sys/fs/cgroup/cpu.max": "20000 100000\n"}

    assert cgroup.GroupLimits() == cgroup.read_limits(machines.write(tmp_path, files))


def test_the_clamp_of_a_task_is_a_performance_cap(tmp_path: Path) -> None:
    """By uclampset or an Android profile: 256 of 1024 is a quarter, below the 40 % of the group."""
    files = {
        "proc/self/cgroup": "0::/\n",
        "proc/self/sched": "uclamp.max : 512\neffective uclamp.max : 256\n",
        "sys/fs/cgroup/cpu.uclamp.max": "40.00\n",
    }

    assert 0.25 == read_resource_limits(machines.write(tmp_path, files)).performance_cap
