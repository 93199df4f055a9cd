"""Counters of control groups: captured trees of versions 1 and 2, nested or not, and groups of this machine."""

from collections.abc import Callable
from pathlib import Path

import pytest

from llmbench.machine.group_counters import GroupCounters, QuotaCounters, _files
from llmbench.machine.limits import read_resource_limits
from llmbench.schema.limits import ResourceLimits, describe_limits
from tests import machines

GIB = 1 << 30
POD = "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1f.slice"
LIMITS = {
    "docker_v1": ResourceLimits(cpu_quota=0.6, cpu_weight=0.5, memory_bytes=2 * GIB),
    "docker_v2": ResourceLimits(cpu_quota=1.5, cpu_weight=1.0, memory_bytes=4 * GIB),
    "kubernetes": ResourceLimits(cpu_quota=0.5, cpu_weight=0.1, memory_bytes=2 * GIB),
    "nested": ResourceLimits(cpu_quota=2.5, memory_bytes=64 * GIB),
    "systemd": ResourceLimits(
        cpu_quota=0.125, cpu_weight=0.0, performance_cap=0.4, memory_bytes=1 * GIB, nice=10
    ),
    "hybrid": ResourceLimits(cpu_weight=1.0, policy="SCHED_BATCH", nice=5, autogroup_nice=7),
    "none": ResourceLimits(),
}
Lay = Callable[[str], Path]


@pytest.fixture
def lay(tmp_path: Path) -> Lay:
    """Lay out control groups by name, and give their root folder."""
    return lambda name: machines.lay_out(f"cgroup/{name}", tmp_path)


@pytest.mark.parametrize("name", LIMITS)
def test_limits_are_those_of_the_tightest_group(lay: Lay, name: str) -> None:
    """Quotas as fractions, the smallest weight, the lower of memory.high and memory.max, priority by stat."""
    assert LIMITS[name] == read_resource_limits(lay(name))


def test_every_tree_is_tested() -> None:
    """A tree without expectations would be data that nobody reads."""
    assert {path.stem for path in (machines.DATA / "cgroup").glob("*.txt")} == set(LIMITS)


@pytest.mark.parametrize(
    ("name", "later", "quota", "counters", "hits", "stall_s"),
    [
        (
            "docker_v1",
            {
                "cpu,cpuacct/cpu.stat": "nr_periods 347\nnr_throttled 343\nthrottled_time 47320154310\n",
                "memory/memory.failcnt": "15\n",
            },
            0.6,
            QuotaCounters(10, 9, 1.0),
            3,
            0.0,
        ),
        (
            "docker_v2",
            {
                "cpu.stat": "nr_periods 30\nnr_throttled 3\nthrottled_usec 1500\n",
                "memory.events": "low 9\nhigh 1\nmax 6\noom 0\noom_kill 0\n",
                "memory.pressure": "some avg10=9.00 avg60=1.00 avg300=0.00 total=1250000\n",
            },
            None,
            QuotaCounters(10, 0, 0.0),
            2,
            0.75,
        ),
        (
            "kubernetes",  # the pod stopped the container for longer than the container's own quota did
            {
                f"{POD}/cpu.stat": "nr_periods 95\nnr_throttled 44\nthrottled_usec 3250000\n",
                f"{POD}/cri-containerd-9c.scope/cpu.stat": "nr_periods 85\nnr_throttled 31\nthrottled_usec 2050000\n",
            },
            0.5,
            QuotaCounters(5, 4, 0.25),
            0,
            0.0,
        ),
        (
            "nested",  # the quota is that of the job; the groups within it count no periods
            {
                "system.slice/slurmstepd.scope/job_42/cpu.stat": "nr_periods 12\nnr_throttled 7\n"
                "throttled_usec 500000\n"
            },
            2.5,
            QuotaCounters(2, 2, 0.1),
            0,
            None,
        ),
        (
            "systemd",
            {
                "system.slice/run-r1.service/cpu.stat": "nr_periods 5\nnr_throttled 5\nthrottled_usec 400000\n",
                "system.slice/run-r1.service/memory.events": "low 0\nhigh 40\nmax 1\noom 0\noom_kill 0\n",
            },
            0.125,
            QuotaCounters(1, 1, 0.05),
            10,
            None,
        ),
        ("hybrid", {}, None, QuotaCounters(0, 0, 0.0), None, 0.0),
        ("none", {}, None, None, None, None),
    ],
)
def test_what_is_counted_between_two_readings(
    lay: Lay,
    *,
    name: str,
    later: dict[str, str],
    quota: float | None,
    counters: QuotaCounters | None,
    hits: int | None,
    stall_s: float | None,
) -> None:
    """Nanoseconds of version 1, microseconds of version 2; of nested groups the one that stopped most."""
    root = lay(name)
    before = GroupCounters.read(root)
    machines.write(root, {f"sys/fs/cgroup/{path}": text for path, text in later.items()})
    found = before.until(GroupCounters.read(root))

    assert (quota, hits) == (found.quota, found.limit_hits)
    assert stall_s is None if found.stall_s is None else pytest.approx(stall_s) == found.stall_s
    assert (found.counters is None) == (counters is None)
    if counters and found.counters:
        assert pytest.approx(counters) == found.counters


def test_the_pressure_of_the_machine_stands_in_for_that_of_a_group(lay: Lay) -> None:
    """Version 1 has none by group; 2.5 s less 2 s."""
    root = lay("docker_v1")
    before = GroupCounters.read(root)
    machines.write(root, {"proc/pressure/memory": "some avg10=1.00 avg60=0.00 avg300=0.00 total=2500000\n"})

    assert pytest.approx(0.5) == before.until(GroupCounters.read(root)).stall_s


def test_a_frozen_group_is_counted(lay: Lay) -> None:
    """``docker pause`` for 1.5 s, on a kernel that counts it; elsewhere it is not known."""
    root = lay("docker_v2")
    assert GroupCounters.read(root).frozen_s is None
    _files.cache_clear()
    machines.write(root, {"sys/fs/cgroup/cgroup.stat.local": "frozen_usec 500000\n"})
    before = GroupCounters.read(root)
    machines.write(root, {"sys/fs/cgroup/cgroup.stat.local": "frozen_usec 2000000\n"})

    assert pytest.approx(1.5) == before.until(GroupCounters.read(root)).frozen_s


def test_a_process_moved_to_another_group_counts_nothing_of_it(lay: Lay, tmp_path: Path) -> None:
    """The counters of the new group began long before; that it was moved is a change of settings."""
    root = lay("systemd")
    before = GroupCounters.read(root)
    machines.write(
        root,
        {
            "proc/self/cgroup": "0::/other.slice\n",
            "sys/fs/cgroup/other.slice/cpu.stat": "nr_periods 9\nnr_throttled 9\nthrottled_usec 900000\n",
        },
    )
    after = GroupCounters.read(root)

    assert before.until(after).counters is None
    assert before.membership != after.membership


@pytest.mark.parametrize("text", ["", "nr_periods\n", "nr_periods x\nnr_throttled -1\n", "\x00" * 9])
def test_odd_counters_count_nothing(lay: Lay, text: str) -> None:
    """What is cut, empty or no number, as an emulated file may be, stops nobody and counts nothing."""
    root = lay("docker_v2")
    before = GroupCounters.read(root)
    machines.write(root, {"sys/fs/cgroup/cpu.stat": text, "sys/fs/cgroup/memory.events": text})
    found = before.until(GroupCounters.read(root))

    assert (None, QuotaCounters(0, 0, 0.0), 0) == (found.quota, found.counters, found.limit_hits)


def test_limits_in_words() -> None:
    """0.6 CPUs; a weight from the default upwards is no limit; policy and nice values together."""
    texts = describe_limits(ResourceLimits(cpu_quota=0.6, cpu_weight=4.0, policy="SCHED_IDLE", nice=3))

    assert {
        "CPU quota": "0.6 CPUs",
        "CPU weight": "none",
        "performance cap": "none",
        "memory limit": "none",
        "priority": "SCHED_IDLE, nice 3",
        "tracer": "none",
    } == texts
    assert "1 CPU" == describe_limits(ResourceLimits(cpu_quota=1.0))["CPU quota"]
