"""Settings of machine and process that make a program slower while its figures look fine: one row each.

They are recorded before a run, compared between runs, and read again around each request: one that changed in between
makes the request invalid. What the kernel does not report has no row.
"""

import functools
import os
import re
from collections.abc import Iterable
from pathlib import Path

from llmbench.machine import procfs
from llmbench.machine.limits import read_policies, read_resource_limits
from llmbench.schema.limits import describe_limits
from llmbench.schema.units import format_list

GOVERNOR, TURBO, HUGE_PAGES, NUMA_BALANCING = (
    "frequency governor",
    "turbo",
    "transparent huge pages",
    "NUMA balancing",
)
CPUS_ALLOWED, THREADS = "list of CPUs that this process may use", "priority of its threads"

_CPU = "sys/devices/system/cpu"
_THP = "sys/kernel/mm/transparent_hugepage"
_FILES = {
    GOVERNOR: f"{_CPU}/cpu[0-9]*/cpufreq/scaling_governor",
    "highest frequency (kHz)": f"{_CPU}/cpu[0-9]*/cpufreq/scaling_max_freq",
    "energy preference": f"{_CPU}/cpu[0-9]*/cpufreq/energy_performance_preference",
    "highest performance (%)": f"{_CPU}/intel_pstate/max_perf_pct",
    "power limits (uW)": "sys/class/powercap/intel-rapl:[0-9]*/constraint_*_power_limit_uw",
    "platform profile": "sys/firmware/acpi/platform_profile",
    "online CPUs": f"{_CPU}/online",
    "SMT control": f"{_CPU}/smt/control",
    "microcode": f"{_CPU}/cpu0/microcode/version",
    "clock source": "sys/devices/system/clocksource/clocksource0/current_clocksource",
    HUGE_PAGES: f"{_THP}/enabled",
    "compaction for huge pages": f"{_THP}/defrag",
    "page merging (KSM)": "sys/kernel/mm/ksm/run",
    NUMA_BALANCING: "proc/sys/kernel/numa_balancing",
    "swappiness": "proc/sys/vm/swappiness",
    "swap areas": "proc/swaps",
}
"""What a file contains, and the file; of several files, as of one per CPU, the distinct contents count."""

TURBO_SWITCHES = ((f"{_CPU}/intel_pstate/no_turbo", "0", "1"), (f"{_CPU}/cpufreq/boost", "1", "0"))
"""Files that say whether turbo is on, the text of it and that of off."""


def read_machine_settings(root: Path = Path("/")) -> dict[str, str]:
    """Return the settings of the machine below *root*, by name; those that its kernel does not report are left out."""
    found = {what: set(filter(None, map(procfs.read_text, files))) for what, files in _found(root).items()}
    settings = {what: "+".join(sorted(map(_value, texts))) for what, texts in found.items() if texts}
    turbo = [text == on for file, on, _ in TURBO_SWITCHES if (text := procfs.read_text(root / file))]
    return settings | {TURBO: "on" if turbo[0] else "off"} if turbo else settings


def read_settings(root: Path = Path("/")) -> dict[str, str]:
    """Return the settings of the machine, and what limits this process: all that must not change during a run."""
    status = procfs.read_text(root / "proc/self/status") or ""
    nodes = re.search(r"^Mems_allowed_list:\s*(\S+)", status, re.MULTILINE)
    lines = (procfs.read_text(root / "proc/self/cgroup") or "").split()
    return {
        **read_machine_settings(root),
        **describe_limits(read_resource_limits(root)),
        CPUS_ALLOWED: format_list(os.sched_getaffinity(0)),
        "list of nodes that its memory may be on": nodes[1] if nodes else "unknown",
        THREADS: ", ".join(sorted(read_policies())),
        "control group": "+".join(sorted({line.split(":", 2)[-1] for line in lines})) or "none",
    }


@functools.cache
def _found(root: Path) -> dict[str, tuple[Path, ...]]:
    """The files there are, looked for once per process; CPUs that share a policy share its files."""
    return {
        what: tuple({path.resolve(): None for path in _paths(root, name)}) for what, name in _FILES.items()
    }


def _paths(root: Path, name: str) -> Iterable[Path]:
    return sorted(root.glob(name)) if "*" in name else [root / name]


def _value(text: str) -> str:
    """The choice in brackets of ``always [madvise] never``; names of swap areas; else the text in one line."""
    chosen = re.search(r"\[([\w+]+)\]", text)
    if chosen:
        return chosen[1]
    if text.startswith("Filename"):
        return ", ".join(line.split()[0] for line in text.splitlines()[1:] if line.strip()) or "none"
    return " ".join(text.split())
