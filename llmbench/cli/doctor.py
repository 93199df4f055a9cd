"""``llmbench doctor``: what this machine is, and what on it would spoil a measurement."""

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import click
import msgspec

from llmbench.engines.openvino import tensor_parallel as engine
from llmbench.errors import ExitCode
from llmbench.machine import bandwidth, checks, environment, interference, topology
from llmbench.machine.bandwidth import Bandwidth
from llmbench.machine.checks import Finding, Survey, Weight, machine_settings
from llmbench.machine.interference import Interference
from llmbench.machine.topology import Cache, Node
from llmbench.schema.run import Environment, Split
from llmbench.schema.units import format_bytes, format_list
from llmbench.store.events import utc_now

_INSTRUCTIONS = (
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_int8",
    "amx_bf16",
)
_WIDTH = 100


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


@click.command("doctor")
@click.option("--json", "is_json", is_flag=True, help="Print everything as JSON.")
@click.option("--strict", is_flag=True, help="Exit 4 when something would spoil a measurement.")
@click.option("--no-bandwidth", is_flag=True, help="Leave out the memory bandwidth, which takes seconds.")
def command(is_json: bool, strict: bool, no_bandwidth: bool) -> int:
    """Say what this machine is, and what on it would spoil a measurement.

    Each finding comes with what it does to a measurement and what to type. Nothing is changed; the bandwidth of the
    memory is kept in the cache folder, for runs to be compared with.
    """
    checkup = examine(with_bandwidth=not no_bandwidth)
    if is_json:
        click.echo(msgspec.json.format(msgspec.json.encode(checkup)).decode())
    else:
        click.echo("\n".join(doctor_lines(checkup)))
    return int(doctor_exit_code(checkup.findings, strict=strict))


def doctor_exit_code(found: Iterable[Finding], *, strict: bool) -> ExitCode:
    """4 with ``--strict`` where something would spoil a measurement, else 0."""
    is_spoilt = any(finding.weight is Weight.SPOILS for finding in found)
    return ExitCode.MACHINE if strict and is_spoilt else ExitCode.OK


def examine(*, with_bandwidth: bool = True) -> Checkup:
    """Look at this machine: a second of watching its load, and some for its memory."""
    allowed = topology.read_topology().allowed
    seen = Survey.take(load=interference.watch_interference(allowed))
    found = [*checks.find_problems(seen), *checks.unfit_packages(checks.installed())]
    devices: Mapping[str, Mapping[str, str]] = {}
    split = None
    try:
        devices, split = engine.devices(), engine.probe_split()
    except (ImportError, RuntimeError) as error:
        found.append(_broken_engine(error))
    rates = _bandwidths(seen) if with_bandwidth else {}
    is_quiet = seen.load is not None and seen.load.foreign <= checks.FOREIGN_LIMIT
    if rates:
        bandwidth.keep_bandwidth(seen.environment, rates, measured_at=utc_now(), is_quiet=is_quiet)
    if is_quiet:
        found.extend(checks.uneven([rate for name, rate in rates.items() if name != bandwidth.WHOLE]))
    found.extend(_no_split(seen, split))
    return Checkup(
        environment=seen.environment,
        nodes=seen.memory.nodes,
        caches=seen.caches,
        settings=machine_settings(seen),
        load=seen.load or Interference(foreign=0.0, steal=0.0),
        instructions=tuple(name for name in _INSTRUCTIONS if name in environment.cpu_flags()),
        frequency_mhz=environment.frequencies_mhz(),
        devices=devices,
        split=split,
        bandwidth=rates,
        findings=tuple(sorted(found, key=lambda finding: finding.weight is not Weight.SPOILS)),
    )


def _bandwidths(seen: Survey) -> dict[str, Bandwidth]:
    """The bandwidth of all CPUs this process may use, and of each socket where there are several."""
    machine = seen.environment.topology
    allowed = set(machine.allowed)
    sockets = sorted({cpu.socket for cpu in machine.cpus if cpu.number in allowed})
    rates = {bandwidth.WHOLE: bandwidth.measure_bandwidth(machine, seen.caches)}
    if len(sockets) > 1:
        rates |= {str(s): bandwidth.measure_bandwidth(machine, seen.caches, s) for s in sockets}
    return rates


def _broken_engine(error: Exception) -> Finding:
    """OpenVINO that is installed but does not work."""
    return Finding(
        check="engine",
        weight=Weight.SPOILS,
        found=f"OpenVINO does not start: {(str(error).splitlines() or [type(error).__name__])[-1]}",
        effect="nothing can be measured",
        remedy="pip install --force-reinstall openvino openvino-genai openvino-tokenizers",
    )


def _no_split(seen: Survey, split: Split | None) -> Iterator[Finding]:
    """Several sockets, and an engine that uses no more of them with the policy than without."""
    machine = seen.environment.topology
    if split is not None and len(machine.sockets) > 1 and not split.is_effective:
        yield Finding(
            check="no-split",
            weight=Weight.SPOILS,
            found=f"{len(machine.sockets)} sockets, but the tensor-parallel policy splits nothing "
            f"({split.without} threads without it, {split.with_policy} with it)",
            effect="tensor parallelism would be accepted and do nothing",
            remedy=f"let the process use both sockets; it may use CPUs {format_list(machine.allowed)}",
        )


def doctor_lines(checkup: Checkup) -> Iterator[str]:
    """The checkup as text."""
    yield from _machine_lines(checkup)
    yield ""
    yield from _engine_lines(checkup)
    yield ""
    for finding in checkup.findings:
        label = "SPOILS" if finding.weight is Weight.SPOILS else "note"
        yield from _wrapped(f"{label:7}", f"{finding.found}: {finding.effect}.")
        if finding.remedy:
            yield from _wrapped(" " * 7, f"→ {finding.remedy}")
    spoiling = sum(finding.weight is Weight.SPOILS for finding in checkup.findings)
    yield (
        f"{spoiling} would spoil a measurement"
        if spoiling
        else "nothing found that would spoil a measurement"
    )


def _machine_lines(checkup: Checkup) -> Iterator[str]:
    """Sockets, nodes, cores and caches, drawn."""
    seen = checkup.environment
    machine = seen.topology
    yield f"{seen.cpu_model}, {format_bytes(seen.memory_bytes)}, Linux {seen.kernel}"
    for socket in machine.sockets:
        cpus = [cpu for cpu in machine.cpus if cpu.socket == socket]
        numbers = {cpu.number for cpu in cpus}
        cores = len({cpu.core for cpu in cpus})
        yield f"socket {socket}: cores {cores}, CPUs {len(cpus)} ({format_list(numbers)})"
        yield from (f"  {text}" for text in _cache_lines(checkup.caches, numbers))
        yield from (f"  {_node_line(node)}" for node in checkup.nodes if numbers & set(node.cpus))
    yield from (_node_line(node) for node in checkup.nodes if not node.cpus)
    if checkup.instructions:
        yield f"instruction sets: {' '.join(checkup.instructions)}"
    if checkup.frequency_mhz:
        yield f"frequency now: {min(checkup.frequency_mhz):.0f} to {max(checkup.frequency_mhz):.0f} MHz"
    yield ", ".join(f"{name} {value or 'n/a'}" for name, value in checkup.settings.items())
    yield f"load of others: {checkup.load.foreign:.1%}, taken by a hypervisor: {checkup.load.steal:.1%}"
    for name, rate in checkup.bandwidth.items():
        what = "memory" if name == bandwidth.WHOLE else f"memory of socket {name}"
        doubt = "" if rate.is_beyond_caches else " (partly from caches: too little memory for larger arrays)"
        yield f"{what}: {rate.bytes_per_s / 1e9:.1f} GB/s, a = b + c on {len(rate.cpus)} threads{doubt}"


def _cache_lines(caches: tuple[Cache, ...], cpus: set[int]) -> Iterator[str]:
    """The caches of some CPUs beyond the first level, a line a level."""
    for level in sorted({cache.level for cache in caches if cache.level > 1}):
        here = [c for c in caches if c.level == level and c.kind != "Instruction" and set(c.cpus) & cpus]
        if here:
            yield f"L{level}: {len(here)} of {format_bytes(here[0].size_bytes)}"


def _node_line(node: Node) -> str:
    """One NUMA node."""
    cpus = format_list(node.cpus) if node.cpus else "none, memory only"
    memory = "unknown memory" if node.memory_bytes is None else format_bytes(node.memory_bytes)
    distances = " ".join(map(str, node.distances))
    return f"node {node.number}: {memory}, CPUs {cpus}" + (f", distances {distances}" if distances else "")


def _engine_lines(checkup: Checkup) -> Iterator[str]:
    """Versions, devices and the split."""
    versions = checkup.environment.versions
    yield from _wrapped("", ", ".join(f"{name} {version}" for name, version in versions.items()))
    for device, properties in checkup.devices.items():
        yield from _wrapped(f"{device}: ", ", ".join(f"{name}={value}" for name, value in properties.items()))
    if checkup.split is not None:
        split = checkup.split
        what = "splits over the sockets" if split.is_effective else "splits nothing here"
        yield f"threads for one request: {split.without}, with tensor parallelism {split.with_policy} ({what})"


def _wrapped(label: str, text: str) -> list[str]:
    """A label and a text beside it, broken into lines."""
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=label,
        subsequent_indent=" " * len(label),
        break_long_words=False,
        break_on_hyphens=False,
    )
