"""What restricts this process: its control groups and its priority among other processes.

It stands alone because control groups know nothing of priorities.
"""

import contextlib
import os
from pathlib import Path

from llmbench.machine import cgroup, procfs
from llmbench.schema.limits import ResourceLimits, describe_priority

_NICE, _POLICY = 16, 38
"""Fields of ``/proc/.../stat`` counted from the state, which follows the name in parentheses; see proc(5)."""

_WHOLE_CPU = 1024
"""The utilization of a CPU that is busy at its highest frequency; see sched_setattr(2)."""

_POLICIES = {
    os.SCHED_FIFO: "SCHED_FIFO",
    os.SCHED_RR: "SCHED_RR",
    os.SCHED_BATCH: "SCHED_BATCH",
    os.SCHED_IDLE: "SCHED_IDLE",
    6: "SCHED_DEADLINE",
}


def read_resource_limits(root: Path = Path("/"), pid: int | str = "self") -> ResourceLimits:
    """Return the limits of a process as the files below *root* report them."""
    groups = cgroup.read_limits(root, pid)
    fields = (procfs.read_text(root / f"proc/{pid}/stat") or "").rpartition(")")[2].split()
    autogroup = (procfs.read_text(root / f"proc/{pid}/autogroup") or "").rpartition(" nice ")[2]
    clamp = procfs.read_number(procfs.read_field(root / f"proc/{pid}/sched", "effective uclamp.max"))
    caps = (groups.performance_cap, None if clamp is None else clamp / _WHOLE_CPU)
    return ResourceLimits(
        cpu_quota=groups.cpus,
        cpu_weight=groups.weight,
        performance_cap=min((cap for cap in caps if cap is not None), default=None),
        memory_bytes=groups.memory_bytes,
        policy=_POLICIES.get(_number(fields, _POLICY)),
        nice=_number(fields, _NICE),
        autogroup_nice=procfs.read_number(autogroup) or 0,
        io_class=_io_class() if (root, pid) == (Path("/"), "self") else None,
        tracer=_tracer(root, pid),
    )


def read_policies() -> set[str]:
    """Return policies and nice values of the threads of this process, in words; each thread has its own."""
    found = set()
    for number in (int(task.name) for task in Path("/proc/self/task").iterdir()):
        with contextlib.suppress(ProcessLookupError):
            found.add((os.sched_getscheduler(number), os.getpriority(os.PRIO_PROCESS, number)))
    return {describe_priority(ResourceLimits(policy=_POLICIES.get(each), nice=nice)) for each, nice in found}


def _tracer(root: Path, pid: int | str) -> str | None:
    """The name of the process that traces another, as a debugger does; ``None`` where none does."""
    number = procfs.read_number(procfs.read_field(root / f"proc/{pid}/status", "TracerPid"))
    return (procfs.read_text(root / f"proc/{number}/comm") or str(number)) if number else None


def _io_class() -> str | None:
    """The class of disk accesses where it is the last one (ionice -c 3)."""
    import psutil

    is_idle = psutil.Process().ionice().ioclass == psutil.IOPRIO_CLASS_IDLE
    return "idle" if is_idle else None


def _number(fields: list[str], at: int) -> int:
    return (procfs.read_number(fields[at]) or 0) if at < len(fields) else 0
