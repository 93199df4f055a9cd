from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llmbench.machine import checks as findings
from llmbench.machine.bandwidth import Bandwidth
from llmbench.machine.checks import Survey, Weight, machine_settings
from llmbench.machine.interference import Interference
from llmbench.schema.limits import ResourceLimits
from tests import machines

CPUS = "sys/devices/system/cpu"
Look = Callable[..., Survey]


@pytest.fixture
def look(tmp_path: Path) -> Look:
    """A survey of a machine whose every setting is good, changed by some files; all of its CPUs allowed."""

    def survey(name: str = "two_sockets", **files: str) -> Survey:
        root = machines.lay_out(name, tmp_path)
        good = {
            "proc/meminfo": "MemTotal: 1000000 kB\nMemAvailable: 900000 kB\n",
            "proc/cpuinfo": "model name : Test\nflags : avx2\n",
            "proc/sys/kernel/numa_balancing": "0\n",
            "sys/kernel/mm/transparent_hugepage/enabled": "[always] madvise never\n",
            f"{CPUS}/cpu0/cpufreq/scaling_governor": "performance\n",
            f"{CPUS}/intel_pstate/no_turbo": "1\n",
            "sys/devices/system/clocksource/clocksource0/current_clocksource": "tsc\n",
        }
        machines.write(root, good | {key.replace("__", "/"): text for key, text in files.items()})
        taken = Survey.take(root)
        seen = taken.environment.topology
        everywhere = replace(seen, allowed=tuple(cpu.number for cpu in seen.cpus))
        return replace(
            taken,
            environment=replace(taken.environment, topology=everywhere, limits=ResourceLimits()),
            memory=replace(taken.memory, numactl="numactl"),
        )

    return survey


def _limited(survey: Survey, **limits: Any) -> Survey:
    return replace(survey, environment=replace(survey.environment, limits=ResourceLimits(**limits)))


def _checks(survey: Survey) -> dict[str, Weight]:
    """What was found, by name."""
    return {finding.check: finding.weight for finding in findings.find_problems(survey)}


def test_a_machine_that_is_set_well_has_nothing_but_its_second_threads(look: Look) -> None:
    """Two sockets, quiet, clock fixed: SMT alone is worth a note."""
    assert {"smt": Weight.NOTE} == _checks(look())


@pytest.mark.parametrize(
    ("file", "check", "weight"),
    [
        ({f"{CPUS}/cpu0/cpufreq/scaling_governor": "powersave"}, "governor", Weight.SPOILS),
        ({f"{CPUS}/intel_pstate/no_turbo": "0"}, "turbo", Weight.NOTE),
        ({f"{CPUS}/cpufreq/boost": "1"}, "turbo", Weight.NOTE),
        ({"sys/kernel/mm/transparent_hugepage/enabled": "always madvise [never]"}, "hugepages", Weight.NOTE),
        ({"proc/sys/kernel/numa_balancing": "1"}, "numa-balancing", Weight.SPOILS),
        ({"proc/cpuinfo": "flags : avx2 hypervisor"}, "virtual", Weight.NOTE),
        ({"sys/devices/system/clocksource/clocksource0/current_clocksource": "hpet"}, "clock", Weight.NOTE),
        ({f"{CPUS}/cpu3/thermal_throttle/package_throttle_count": "7"}, "throttled", Weight.NOTE),
        ({"proc/meminfo": "MemTotal: 1000000 kB\nMemAvailable: 99999 kB"}, "memory", Weight.SPOILS),
        ({"sys/devices/system/node/node1/meminfo": "Node 1 MemTotal: 0 kB"}, "node-memory", Weight.SPOILS),
        (
            {
                "sys/kernel/mm/damon/admin/kdamonds/0/state": "on\n",
                "sys/kernel/mm/damon/admin/kdamonds/0/contexts/0/schemes/0/action": "pageout\n",
            },
            "reclaim",
            Weight.NOTE,
        ),
    ],
)
def test_each_setting_that_is_not_as_it_should_be_is_found(
    look: Look, file: dict[str, str], check: str, weight: Weight
) -> None:
    """One file changed, one finding more, of the right weight, with an effect and something to type."""
    found = {f.check: f for f in findings.find_problems(look(**file))}

    assert {"smt", check} == set(found)
    assert weight is found[check].weight
    assert found[check].effect
    assert found[check].remedy


def test_a_governor_in_name_only_is_judged_by_its_preference(look: Look) -> None:
    """With hardware-driven frequencies "powersave" that prefers performance is as good as performance."""
    files = {
        f"{CPUS}/cpu0/cpufreq/scaling_governor": "powersave",
        f"{CPUS}/cpu0/cpufreq/energy_performance_preference": "performance",
    }

    assert "governor" not in _checks(look(**files))


def test_numa_balancing_on_one_node_moves_nothing(look: Look) -> None:
    """With one node there is nowhere to move a page to."""
    assert "numa-balancing" not in _checks(look("one_socket", **{"proc/sys/kernel/numa_balancing": "1"}))


def test_one_socket_is_told_that_nothing_is_split(look: Look) -> None:
    """The sentence people need before they believe a policy."""
    assert Weight.NOTE is _checks(look("one_socket"))["one-socket"]


def test_numactl_is_missed_where_there_are_nodes(look: Look) -> None:
    """On two nodes memory cannot be bound without it; on one nobody needs it."""
    two, one = look(), look("one_socket")

    assert "numactl" in _checks(replace(two, memory=replace(two.memory, numactl=None)))
    assert "numactl" not in _checks(replace(one, memory=replace(one.memory, numactl=None)))


def test_limits_of_a_container(look: Look) -> None:
    """16 CPUs' worth of time on 128 spoils, a memory limit is a note; a quota as large as the CPUs is none."""
    survey = look("container")
    tight = _limited(survey, cpu_quota=16.0, memory_bytes=1 << 20)

    assert Weight.SPOILS is _checks(tight)["quota"]
    assert Weight.NOTE is _checks(tight)["memory-limit"]
    assert "quota" not in _checks(_limited(survey, cpu_quota=128.0))


def test_a_narrow_affinity_is_noted_with_its_cpus(look: Look) -> None:
    """32 of 128 CPUs: a note that names them."""
    survey = look("container")
    seen = replace(survey.environment.topology, allowed=tuple(range(32)))
    found = findings.find_problems(replace(survey, environment=replace(survey.environment, topology=seen)))

    assert "this process may use 32 of 128 CPUs (0-31)" in [finding.found for finding in found]


@pytest.mark.parametrize(
    ("load", "checks"),
    [
        (None, set()),
        (Interference(total=0.05, steal=0.01), set()),
        (Interference(total=0.2, steal=0.0, busiest=("make", "cc1")), {"load"}),
        (Interference(total=0.2, steal=0.02), {"load", "steal"}),
    ],
)
def test_load_is_judged_by_the_limit_that_judges_requests(
    look: Look, load: Interference | None, checks: set[str]
) -> None:
    """Above 5 % a request is invalid, so doctor says the same; the limit itself passes."""
    found = {f.check: f for f in findings.find_problems(replace(look(), load=load))}

    assert {"smt", *checks} == set(found)
    if load and load.busiest:
        assert "other processes use 20% of the CPUs (busiest: make, cc1)" == found["load"].found


def test_what_spoils_stands_first(look: Look) -> None:
    """A reader who stops early has read the worst."""
    found = findings.find_problems(look(**{"proc/sys/kernel/numa_balancing": "1"}))

    assert [Weight.SPOILS, Weight.NOTE] == [finding.weight for finding in found]


@pytest.mark.parametrize(
    ("rates", "is_uneven"), [((200, 170), False), ((200, 169), True), ((200,), False), ((), False)]
)
def test_sockets_whose_memory_differs(rates: tuple[int, ...], is_uneven: bool) -> None:  # noqa: FBT001
    """169 GB/s beside 200 is less than 85 %: a missing module, most likely."""
    measured = [
        Bandwidth(bytes_per_s=rate * 1e9, cpus=(0,), array_bytes=8, is_beyond_caches=True) for rate in rates
    ]

    assert is_uneven == bool(list(findings.uneven(measured)))


def test_settings_are_told_in_a_word(look: Look) -> None:
    """What is not told by the kernel is None."""
    survey = _limited(look(), cpu_quota=2.5, memory_bytes=4 << 30)

    assert {
        "governor": "performance",
        "turbo": "off",
        "huge pages": "always",
        "NUMA balancing": "off",
        "SMT": "on",
        "CPU quota": "2.5 CPUs",
        "CPU weight": None,
        "performance cap": None,
        "memory limit": "4.0 GiB",
        "priority": None,
        "tracer": None,
    } == machine_settings(survey)


def test_settings_of_a_bare_kernel(tmp_path: Path) -> None:
    """A sandbox tells next to nothing, and that is what is said."""
    reported = machine_settings(Survey.take(machines.lay_out("bare", tmp_path)))

    assert {"SMT": "off"} == {name: value for name, value in reported.items() if value is not None}
