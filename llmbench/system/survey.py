"""What is read of the machine before anything is measured, and how the machine is set."""

from dataclasses import dataclass
from pathlib import Path

from llmbench.run import Environment
from llmbench.system import cgroup, environment, kernel, topology
from llmbench.system.binding import MemoryNodes
from llmbench.system.load import Load
from llmbench.system.topology import Cache
from llmbench.units import format_bytes

CPUS = "sys/devices/system/cpu"
"""The folder of the CPUs below the root."""

TURBO_SWITCHES = (("intel_pstate/no_turbo", "0", "1"), ("cpufreq/boost", "1", "0"))
"""Files that say whether turbo is on, the text of it and that of off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What was read of the machine; *load* is ``None`` where nobody watched."""

    environment: Environment
    memory: MemoryNodes
    caches: tuple[Cache, ...]
    limits: cgroup.Limits
    load: Load | None = None
    root: Path = Path("/")

    @classmethod
    def take(cls, root: Path = Path("/"), load: Load | None = None) -> "Survey":
        """A survey of the kernel's files below *root*."""
        return cls(
            environment=environment.capture(root),
            memory=MemoryNodes.read(root),
            caches=topology.read_caches(root / "sys"),
            limits=cgroup.read(root),
            load=load,
            root=root,
        )

    def text(self, path: str) -> str | None:
        """A kernel file's text; ``None`` where it is missing."""
        return kernel.read(self.root / path)


def settings(survey: Survey) -> dict[str, str | None]:
    """How the machine is set, in a word each; ``None`` where the kernel does not tell or nothing limits."""
    seen, limits = survey.environment, survey.limits
    turbo = [told == on for name, on, _ in TURBO_SWITCHES if (told := survey.text(f"{CPUS}/{name}"))]
    balancing = survey.text("proc/sys/kernel/numa_balancing")
    return {
        "governor": seen.governor,
        "turbo": _on(turbo[0]) if turbo else None,
        "huge pages": seen.transparent_hugepages,
        "NUMA balancing": None if balancing is None else _on(balancing != "0"),
        "SMT": _on(len(seen.topology.cpus) > seen.topology.cores),
        "CPU quota": None if limits.cpus is None else f"{limits.cpus:g} CPUs",
        "memory limit": None if limits.memory_bytes is None else format_bytes(limits.memory_bytes),
    }


def _on(is_on: bool) -> str:  # noqa: FBT001  a word for a truth
    """``on`` or ``off``."""
    return "on" if is_on else "off"
