"""Whether the limits of this process leave a configuration the CPU time it needs, before anything is loaded.

It stands alone because commands warn of limits that the session accepts.
"""

from collections.abc import Iterator
from pathlib import Path

from llmbench.errors import MachineError
from llmbench.machine.limits import read_resource_limits
from llmbench.schema.config import RunConfig
from llmbench.schema.limits import ResourceLimits, describe_priority, format_cpus
from llmbench.schema.units import counted


def check_quota(config: RunConfig, root: Path = Path("/")) -> None:
    """Refuse more threads than the CPU quota of this process has time for: it would stop them in every period.

    Raises:
        MachineError: the number of threads that was requested, and the quota.
    """
    threads, quota = requested_threads(config), read_resource_limits(root).cpu_quota
    if quota is None or threads is None or threads <= quota:
        return
    verb = "was" if threads == 1 else "were"
    raise MachineError(
        f"{counted(threads, 'thread')} {verb} requested, and the CPU quota of this container is {format_cpus(quota)}",
        hint=_remedy(quota),
    )


def requested_threads(config: RunConfig) -> int | None:
    """Return how many threads a configuration requests of the engine; ``None`` where it requests no number."""
    found = config.threads or config.properties.get("INFERENCE_NUM_THREADS")
    return found if isinstance(found, int) and found > 0 else None


def limit_warnings(config: RunConfig, limits: ResourceLimits, cpus: int) -> Iterator[str]:
    """Yield what limits will do to measurements on this many *cpus*, and what to type instead."""
    quota = limits.cpu_quota
    if quota is not None and quota < cpus and requested_threads(config) is None:
        yield (
            f"the CPU quota of this container is {format_cpus(quota)}, and the engine starts one thread per CPU "
            f"({cpus}); requests that the quota stops do not count: {_remedy(quota)}"
        )
    if limits.has_low_priority:
        yield (
            f"this process runs with {describe_priority(limits)}, so other processes come first: start it without "
            "nice, chrt or ionice"
        )
    if limits.tracer is not None:
        yield f"{limits.tracer} traces this process, so no request will count: start it without"


def _remedy(quota: float) -> str:
    """What to type where a quota is too small."""
    whole = "give the container whole CPUs instead of a quota: docker run --cpuset-cpus=0"
    if quota < 1:
        return f"{whole}; a quota below 1 CPU stops even --threads 1"
    return f"add --threads {int(quota)}, or {whole}-{int(quota)}"
