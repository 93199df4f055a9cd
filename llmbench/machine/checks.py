"""The checks of ``llmbench doctor``: what on this machine spoils a measurement, or is worth knowing beside it.

A survey reads the machine, a check turns it into findings; what is on the screen is made of these elsewhere.
"""

import enum
import importlib.metadata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from llmbench.machine import covariates, environment, procfs, topology
from llmbench.machine.affinity import MemoryNodes
from llmbench.machine.bandwidth import Bandwidth
from llmbench.machine.interference import Interference
from llmbench.machine.topology import Cache, Node
from llmbench.schema.config import INTERFERENCE_LIMIT
from llmbench.schema.limits import NOT_LIMITED, ResourceLimits, describe_limits, format_cpus
from llmbench.schema.run import Environment, Split
from llmbench.schema.units import counted, format_bytes, format_list

CPUS = "sys/devices/system/cpu"
"""The folder of the CPUs below the root."""

UNEVEN_SHARE = 0.85
STEAL_LIMIT = 0.01
PRESSURE_LIMIT = 0.01
_RUNTIME = ("openvino", "openvino-genai", "openvino-tokenizers")
_GOOD_CLOCKS = ("tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter")


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What was read of the machine; *load* is ``None`` where nobody watched."""

    environment: Environment
    memory: MemoryNodes
    caches: tuple[Cache, ...]
    load: Interference | None = None
    root: Path = Path("/")

    @classmethod
    def take(cls, root: Path = Path("/"), load: Interference | None = None) -> "Survey":
        """A survey of the kernel's files below *root*."""
        return cls(
            environment=environment.capture(root),
            memory=MemoryNodes.read(root),
            caches=topology.read_caches(root / "sys"),
            load=load,
            root=root,
        )

    def text(self, path: str) -> str | None:
        """A kernel file's text; ``None`` where it is missing."""
        return procfs.read_text(self.root / path)


class Weight(enum.Enum):
    """What a finding does to a measurement: it spoils it, or it is worth knowing."""

    SPOILS = "spoils"
    NOTE = "note"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing found: what it is, what it does to a measurement, and what to type; ``None`` where nothing helps."""

    check: str
    weight: Weight
    found: str
    effect: str
    remedy: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkup:
    """Everything the doctor looked at; *bandwidth* has the machine under ``all`` and each socket by its number."""

    environment: Environment
    nodes: tuple[Node, ...]
    caches: tuple[Cache, ...]
    settings: Mapping[str, str | None]
    load: Interference
    instructions: tuple[str, ...]
    frequency_mhz: tuple[float, ...]
    devices: Mapping[str, Mapping[str, str]]
    split: Split | None
    bandwidth: Mapping[str, Bandwidth]
    findings: tuple[Finding, ...]


def machine_settings(survey: Survey) -> dict[str, str | None]:
    """How the machine is set, in a word each; ``None`` where the kernel does not report or nothing limits."""
    seen = survey.environment
    limits = describe_limits(seen.limits or ResourceLimits())
    balancing = seen.settings.get(covariates.NUMA_BALANCING)
    return {
        "governor": seen.governor,
        "turbo": seen.settings.get(covariates.TURBO),
        "huge pages": seen.transparent_hugepages,
        "NUMA balancing": None if balancing is None else _on(balancing != "0"),
        "SMT": _on(len(seen.topology.cpus) > seen.topology.cores),
        **{name: None if text == NOT_LIMITED else text for name, text in limits.items()},
    }


def _on(is_on: bool) -> str:  # noqa: FBT001  a word for a truth
    return "on" if is_on else "off"


def find_problems(survey: Survey) -> tuple[Finding, ...]:
    """Every finding, those that spoil a measurement first."""
    found = [finding for check in _CHECKS for finding in check(survey)]
    return tuple(sorted(found, key=lambda finding: finding.weight is not Weight.SPOILS))


def uneven(bandwidths: Sequence[Bandwidth]) -> Iterator[Finding]:
    """A socket whose memory gives clearly less than another's."""
    rates = [bandwidth.bytes_per_s for bandwidth in bandwidths]
    if len(rates) > 1 and min(rates) < UNEVEN_SHARE * max(rates):
        figures = ", ".join(f"{rate / 1e9:.0f}" for rate in rates)
        yield Finding(
            check="uneven-memory",
            weight=Weight.SPOILS,
            found=f"the sockets' memory differs: {figures} GB/s",
            effect="two sockets that share a product wait for the slower one",
            remedy="see whether each socket has the same memory modules: sudo dmidecode -t memory",
        )


def _load(survey: Survey) -> Iterator[Finding]:
    if survey.load is not None and survey.load.total > INTERFERENCE_LIMIT:
        busiest = ", ".join(survey.load.busiest)
        elsewhere = (
            ", or run on a quiet socket: --sockets 0" if len(survey.environment.topology.sockets) > 1 else ""
        )
        yield Finding(
            check="load",
            weight=Weight.SPOILS,
            found=f"other processes use {survey.load.total:.0%} of the CPUs"
            + (f" (busiest: {busiest})" if busiest else ""),
            effect=f"a request is invalid if other processes use more than {INTERFERENCE_LIMIT:.0%} of the CPU time",
            remedy=f"stop them (see top){elsewhere}",
        )
    if survey.load is not None and survey.load.steal > STEAL_LIMIT:
        yield Finding(
            check="steal",
            weight=Weight.SPOILS,
            found=f"steal time is {survey.load.steal:.1%} of the CPU time",
            effect="other virtual machines on the host delay tokens, and cannot be seen from here",
            remedy="use a dedicated host or an instance with CPUs of its own",
        )


def _governor(survey: Survey) -> Iterator[Finding]:
    governor = survey.environment.governor
    preference = survey.text(f"{CPUS}/cpu0/cpufreq/energy_performance_preference")
    if governor in (None, "performance") or preference == "performance":
        return
    yield Finding(
        check="governor",
        weight=Weight.SPOILS,
        found=f"frequency governor {governor}" + (f" with preference {preference}" if preference else ""),
        effect="the clock rises only after load has come: first tokens are slower and vary",
        remedy="sudo cpupower frequency-set -g performance",
    )


def _turbo(survey: Survey) -> Iterator[Finding]:
    for name, on, off in covariates.TURBO_SWITCHES:
        if survey.text(name) == on:
            yield Finding(
                check="turbo",
                weight=Weight.NOTE,
                found="turbo is on",
                effect="the clock follows temperature and the number of busy cores, so launches differ a little",
                remedy=f"to compare versions: echo {off} | sudo tee /{name}; "
                "leave it on for the figures users will see",
            )
            return


def _hugepages(survey: Survey) -> Iterator[Finding]:
    if survey.environment.transparent_hugepages in ("madvise", "never"):
        yield Finding(
            check="hugepages",
            weight=Weight.NOTE,
            found=f"transparent huge pages: {survey.environment.transparent_hugepages}",
            effect="weights may lie in small pages, whose addresses take longer to look up",
            remedy="echo always | sudo tee /sys/kernel/mm/transparent_hugepage/enabled, in base and candidate alike",
        )


def _numa(survey: Survey) -> Iterator[Finding]:
    with_cpus = [node for node in survey.memory.nodes if node.cpus]
    if len(with_cpus) > 1 and survey.text("proc/sys/kernel/numa_balancing") == "1":
        yield Finding(
            check="numa-balancing",
            weight=Weight.SPOILS,
            found="NUMA balancing is on",
            effect="the kernel unmaps pages to see who uses them, and moves them in the middle of tokens",
            remedy="sudo sysctl kernel.numa_balancing=0",
        )
    for node in with_cpus:
        if node.memory_bytes == 0:
            yield Finding(
                check="node-memory",
                weight=Weight.SPOILS,
                found=f"node {node.number} has CPUs and no memory",
                effect="its cores fetch every weight from another node",
                remedy=f"put memory modules into that socket, or leave it out: --numa-nodes without {node.number}",
            )
    if len(survey.memory.nodes) > 1 and survey.memory.numactl is None:
        yield Finding(
            check="numactl",
            weight=Weight.NOTE,
            found="numactl is not installed",
            effect="--sockets pins threads, but memory may be on the other socket",
            remedy="sudo apt install numactl",
        )


def _limits(survey: Survey) -> Iterator[Finding]:
    seen = survey.environment.topology
    limits = survey.environment.limits or ResourceLimits()
    quota, limit = limits.cpu_quota, limits.memory_bytes
    if quota is not None and quota < len(seen.allowed):
        yield Finding(
            check="quota",
            weight=Weight.SPOILS,
            found=f"the CPU quota of this container is {format_cpus(quota)}, on {counted(len(seen.allowed), 'CPU')}",
            effect="when it is used up, every thread stops until the next period: pauses inside tokens; a request that "
            "it stops for more than 1 % of the time is invalid",
            remedy="give it whole CPUs instead: docker run --cpuset-cpus=LIST, without --cpus",
        )
    if limit is not None and limit < survey.environment.memory_bytes:
        yield Finding(
            check="memory-limit",
            weight=Weight.NOTE,
            found=f"this container may use {format_bytes(limit)} of memory",
            effect="a launch that needs more is killed",
            remedy="docker run --memory=SIZE",
        )
    if len(seen.allowed) < len(seen.cpus):
        yield Finding(
            check="affinity",
            weight=Weight.NOTE,
            found=f"this process may use {len(seen.allowed)} of {counted(len(seen.cpus), 'CPU')} "
            f"({format_list(seen.allowed)})",
            effect="figures are those of these CPUs, not of the machine",
            remedy="widen the cpuset of the container or job, or call it without taskset",
        )


def _priority(survey: Survey) -> Iterator[Finding]:
    limits = survey.environment.limits or ResourceLimits()
    texts = describe_limits(limits)
    if limits.has_low_priority:
        yield Finding(
            check="priority",
            weight=Weight.SPOILS,
            found=f"this process runs with {texts['priority']}",
            effect="other processes come first, so requests wait whenever anything else runs",
            remedy="start it without nice, chrt and ionice: renice -n 0 -p $$ && chrt --other -p 0 $$ (as root)",
        )
    if limits.cpu_weight is not None and limits.cpu_weight < 1:
        yield Finding(
            check="cpu-weight",
            weight=Weight.NOTE,
            found=f"the CPU weight of this container is {texts['CPU weight']}",
            effect="beside other containers that work it gets less CPU time than they do",
            remedy="docker run --cpu-shares=1024, or in Kubernetes a CPU request of 1 or more",
        )
    if limits.performance_cap is not None and limits.performance_cap < 1:
        yield Finding(
            check="performance-cap",
            weight=Weight.SPOILS,
            found=f"cpu.uclamp.max of this control group is {texts['performance cap']}",
            effect="the kernel keeps the CPUs below their highest frequency",
            remedy="echo max | sudo tee /sys/fs/cgroup/GROUP/cpu.uclamp.max",
        )


def _pressure(survey: Survey) -> Iterator[Finding]:
    """Tasks that waited in the last 10 s, and pages swapped out."""
    remedies = {
        "memory": "free memory, or raise the container's limit: docker run --memory=SIZE",
        "io": "end what reads and writes the disk (sudo iotop)",
    }
    for what, remedy in remedies.items():
        share = survey.environment.pressure.get(what, 0.0)
        if share > PRESSURE_LIMIT:
            yield Finding(
                check=f"{what}-pressure",
                weight=Weight.SPOILS if what == "memory" else Weight.NOTE,
                found=f"processes waited for {what} for {share:.0%} of the last 10 s",
                effect="weights may be read from the disk again in the middle of a request",
                remedy=remedy,
            )
    meminfo = survey.root / "proc/meminfo"
    total, free = (procfs.read_kib_field(meminfo, name) for name in ("SwapTotal", "SwapFree"))
    if total and free is not None and free < total:
        yield Finding(
            check="swap",
            weight=Weight.NOTE,
            found=f"{format_bytes(total - free)} of memory are swapped out",
            effect="pages are read from disk when they are needed; a request with many such pages is invalid",
            remedy="free memory, then: sudo swapoff -a && sudo swapon -a",
        )


def _reclaim(survey: Survey) -> Iterator[Finding]:
    """Memory that the kernel pages out because it was idle, however much is free (DAMON's operation schemes)."""
    damon = survey.root / "sys/kernel/mm/damon/admin/kdamonds"
    for state in sorted(damon.glob("*/state")):
        actions = [procfs.read_text(path) for path in state.parent.glob("contexts/*/schemes/*/action")]
        if procfs.read_text(state) == "on" and "pageout" in actions:
            yield Finding(
                check="reclaim",
                weight=Weight.NOTE,
                found="the kernel pages out memory that is idle (DAMON)",
                effect="weights not used for a while are read from the disk again; such a request is invalid",
                remedy=f"use warm-ups, or: echo off | sudo tee /{state.relative_to(survey.root)}",
            )


def _sockets(survey: Survey) -> Iterator[Finding]:
    seen = survey.environment.topology
    if len(seen.sockets) == 1:
        yield Finding(
            check="one-socket",
            weight=Weight.NOTE,
            found="one socket",
            effect="tensor parallelism is accepted by the engine and splits nothing here",
            remedy="measure it on a machine of two sockets",
        )
    if len(seen.cpus) > seen.cores:
        yield Finding(
            check="smt",
            weight=Weight.NOTE,
            found=f"SMT is on: {counted(len(seen.cpus), 'CPU')} on {counted(seen.cores, 'core')}",
            effect="other processes on the second thread of a core slow the first, though CPUs look idle",
            remedy="echo off | sudo tee /sys/devices/system/cpu/smt/control",
        )


def _virtual(survey: Survey) -> Iterator[Finding]:
    if "hypervisor" in environment.cpu_flags(survey.root):
        yield Finding(
            check="virtual",
            weight=Weight.NOTE,
            found="a virtual machine",
            effect="clock, throttling and other virtual machines are only partly visible: expect 10 % between launches",
            remedy="take more launches, and compare with interleaved ones: llmbench ab",
        )
    clock = survey.text("sys/devices/system/clocksource/clocksource0/current_clocksource")
    if clock is not None and clock not in _GOOD_CLOCKS:
        yield Finding(
            check="clock",
            weight=Weight.NOTE,
            found=f"the kernel's clock is {clock}",
            effect="each reading of the time takes microseconds",
            remedy="find out why the kernel gave up the processor's own clock: dmesg | grep -i clocksource",
        )


def _throttled(survey: Survey) -> Iterator[Finding]:
    names = (survey.root / CPUS).glob("cpu[0-9]*/thermal_throttle/package_throttle_count")
    count = max((procfs.read_number(procfs.read_text(name)) or 0 for name in names), default=0)
    if count:
        yield Finding(
            check="throttled",
            weight=Weight.NOTE,
            found=f"a processor was throttled {counted(count, 'time')} since boot",
            effect="hot processors slow down in long runs; requests in which it happens are marked",
            remedy="see to the cooling; watch: sudo turbostat",
        )


def _memory(survey: Survey) -> Iterator[Finding]:
    available = procfs.read_kib_field(survey.root / "proc/meminfo", "MemAvailable")
    if available is not None and available < survey.environment.memory_bytes // 10:
        yield Finding(
            check="memory",
            weight=Weight.SPOILS,
            found=f"{format_bytes(available)} of memory are available",
            effect="weights may be swapped out or read from the disk again in the middle of a run",
            remedy="end the processes that use it (see top, key M)",
        )


_CHECKS: tuple[Callable[[Survey], Iterator[Finding]], ...] = (
    _load,
    _governor,
    _limits,
    _priority,
    _pressure,
    _reclaim,
    _numa,
    _memory,
    _turbo,
    _hugepages,
    _sockets,
    _virtual,
    _throttled,
)


def installed() -> dict[str, str]:
    """Versions of the packages that `unfit_packages` looks at; what is not installed is left out."""
    found: dict[str, str] = {}
    for name in (*_RUNTIME, "torch", "torchvision", "optimum-intel", "transformers"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def unfit_packages(versions: Mapping[str, str]) -> Iterator[Finding]:
    """What is missing or does not go together."""
    missing = [name for name in _RUNTIME if name not in versions]
    if missing:
        yield Finding(
            check="engine",
            weight=Weight.SPOILS,
            found=f"not installed: {', '.join(missing)}",
            effect="nothing can be measured",
            remedy=f"pip install {' '.join(missing)}",
        )
    releases = {".".join(versions[name].split(".")[:2]) for name in _RUNTIME if name in versions}
    if len(releases) > 1:
        together = ", ".join(f"{name} {versions[name]}" for name in _RUNTIME if name in versions)
        yield Finding(
            check="engine-releases",
            weight=Weight.SPOILS,
            found=f"packages of different releases: {together}",
            effect="they share a binary interface: loading fails, or crashes",
            remedy=f"pip install --upgrade {' '.join(_RUNTIME)}",
        )
    yield from _torchvision(versions)


def _torchvision(versions: Mapping[str, str]) -> Iterator[Finding]:
    torch, torchvision = versions.get("torch", ""), versions.get("torchvision", "")
    if torch.endswith("+cpu") and torchvision and not torchvision.endswith("+cpu"):
        yield Finding(
            check="torchvision",
            weight=Weight.SPOILS,
            found=f"torchvision {torchvision} beside torch {torch}",
            effect="importing transformers fails (operator torchvision::nms does not exist): convert cannot run",
            remedy="pip uninstall torchvision",
        )
