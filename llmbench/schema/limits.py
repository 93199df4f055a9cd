"""What the system restricts of a process: CPU time, memory and priority, by a container, a job scheduler or a user.

It stands alone because the machine reads limits, a run records them, and reports compare and render them.
"""

from dataclasses import dataclass

from llmbench.schema.units import Index, format_bytes

NOT_LIMITED = "none"
TRACER = "tracer"
_LOW_POLICIES = ("SCHED_BATCH", "SCHED_IDLE")


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceLimits:
    """The limits of a process, each the tightest of its control group and the groups around it.

    *cpu_quota* is CPU time per second of wall time, in CPUs. *cpu_weight* is the share of CPU time beside competing
    groups, as a multiple of the kernel's default; 0 is a group that gets idle time only. *performance_cap* is the
    share of the CPU's performance that ``cpu.uclamp.max`` leaves. *memory_bytes* is the smaller of the limit beyond
    which a process is killed and the one beyond which it is slowed. *policy* is the scheduling policy where it is not
    the default one, *nice* the nice value, *autogroup_nice* that of the whole session, *io_class* ``idle`` where its
    disk accesses come last. *tracer* is the program that traces the process (ptrace). ``None`` is no limit, the
    default, or a kernel that does not report it.
    """

    cpu_quota: float | None = None
    cpu_weight: float | None = None
    performance_cap: float | None = None
    memory_bytes: Index | None = None
    policy: str | None = None
    nice: int = 0
    autogroup_nice: int = 0
    io_class: str | None = None
    tracer: str | None = None

    @property
    def has_low_priority(self) -> bool:
        """Whether other processes with the default priority come before this one."""
        nice = max(self.nice, self.autogroup_nice)
        return self.policy in _LOW_POLICIES or nice > 0 or self.io_class is not None


def describe_limits(limits: ResourceLimits) -> dict[str, str]:
    """Return each limit by its name, ``none`` where there is none or it is the default; so is a weight above it."""
    weight, cap, memory = limits.cpu_weight, limits.performance_cap, limits.memory_bytes
    return {
        "CPU quota": NOT_LIMITED if limits.cpu_quota is None else format_cpus(limits.cpu_quota),
        "CPU weight": NOT_LIMITED if weight is None or weight >= 1 else f"{weight:.2g} of the default",
        "performance cap": NOT_LIMITED if cap is None or cap >= 1 else f"{cap:.0%}",
        "memory limit": NOT_LIMITED if memory is None else format_bytes(memory),
        "priority": describe_priority(limits),
        TRACER: limits.tracer or NOT_LIMITED,
    }


def describe_priority(limits: ResourceLimits) -> str:
    """Return policy and nice values that are not the default ones: ``SCHED_BATCH, nice 10``."""
    found = [limits.policy or "", f"nice {limits.nice}" if limits.nice else ""]
    found += [f"autogroup nice {limits.autogroup_nice}"] if limits.autogroup_nice else []
    found += [f"disk class {limits.io_class}"] if limits.io_class else []
    return ", ".join(filter(None, found)) or NOT_LIMITED


def format_cpus(cpus: float) -> str:
    """Return an amount of CPU time per second: ``0.6 CPUs``, ``1 CPU``."""
    return f"{cpus:.3g} CPU{'' if cpus == 1 else 's'}"
