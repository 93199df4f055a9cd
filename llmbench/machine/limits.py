"""What restricts this process: its control groups and its priority among other processes.

It stands alone because control groups know nothing of priorities.
"""

import os
from pathlib import Path

from llmbench.machine import cgroup, procfs
from llmbench.schema.limits import ResourceLimits

_NICE, _POLICY = 16, 38
"""Fields of ``/proc/.../stat`` counted from the state, which follows the name in parentheses; see proc(5)."""

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
    return ResourceLimits(
        cpu_quota=groups.cpus,
        cpu_weight=groups.weight,
        performance_cap=groups.performance_cap,
        memory_bytes=groups.memory_bytes,
        policy=_POLICIES.get(_number(fields, _POLICY)),
        nice=_number(fields, _NICE),
        autogroup_nice=procfs.read_number(autogroup) or 0,
    )


def _number(fields: list[str], at: int) -> int:
    return (procfs.read_number(fields[at]) or 0) if at < len(fields) else 0
