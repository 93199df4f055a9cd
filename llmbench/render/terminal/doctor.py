"""The checkup of a machine on a terminal: sockets and memory drawn, the engine, and each finding with its remedy."""

import shutil
import textwrap
from collections.abc import Iterator

from llmbench.machine import bandwidth
from llmbench.machine.checks import Checkup, Weight
from llmbench.machine.topology import Cache, Node
from llmbench.render.text import settings_text
from llmbench.schema.units import counted, format_bytes, format_list

_WIDEST = 100
_LABEL = len("PROBLEM ")


def doctor_lines(checkup: Checkup) -> Iterator[str]:
    """Yield the checkup as text."""
    yield from _machine_lines(checkup)
    yield ""
    yield from _engine_lines(checkup)
    yield ""
    for finding in checkup.findings:
        label = "PROBLEM" if finding.weight is Weight.SPOILS else "note"
        yield from _wrapped(f"{label:{_LABEL}}", f"{finding.found}: {finding.effect}.")
        if finding.remedy:
            yield from _wrapped(" " * _LABEL, f"→ {finding.remedy}")
    spoiling = sum(finding.weight is Weight.SPOILS for finding in checkup.findings)
    yield (
        f"{spoiling} would disturb a measurement"
        if spoiling
        else "nothing found that would disturb a measurement"
    )


def _machine_lines(checkup: Checkup) -> Iterator[str]:
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
    yield from _wrapped("", ", ".join(f"{name} {value or 'n/a'}" for name, value in checkup.settings.items()))
    yield f"other processes: {checkup.load.total:.1%}, steal time: {checkup.load.steal:.1%}"
    for name, rate in checkup.bandwidth.items():
        what = "memory" if name == bandwidth.WHOLE else f"memory of socket {name}"
        doubt = "" if rate.is_beyond_caches else " (partly from caches: too little memory for larger arrays)"
        yield f"{what}: {rate.bytes_per_s / 1e9:.1f} GB/s, a = b + c on {counted(len(rate.cpus), 'thread')}{doubt}"


def _cache_lines(caches: tuple[Cache, ...], cpus: set[int]) -> Iterator[str]:
    for level in sorted({cache.level for cache in caches if cache.level > 1}):
        here = [c for c in caches if c.level == level and c.kind != "Instruction" and set(c.cpus) & cpus]
        if here:
            yield f"L{level}: {len(here)} of {format_bytes(here[0].size_bytes)}"


def _node_line(node: Node) -> str:
    cpus = format_list(node.cpus) if node.cpus else "none, memory only"
    memory = "unknown memory" if node.memory_bytes is None else format_bytes(node.memory_bytes)
    distances = " ".join(map(str, node.distances))
    return f"node {node.number}: {memory}, CPUs {cpus}" + (f", distances {distances}" if distances else "")


def _engine_lines(checkup: Checkup) -> Iterator[str]:
    versions = checkup.environment.versions
    yield from _wrapped("", ", ".join(f"{name} {version}" for name, version in versions.items()))
    for device, properties in checkup.devices.items():
        yield from _wrapped(f"{device}: ", settings_text(properties))
    if checkup.split is not None:
        split = checkup.split
        what = "splits over the sockets" if split.is_effective else "splits nothing here"
        yield f"threads for one request: {split.without}, with tensor parallelism {split.with_policy} ({what})"


def _wrapped(label: str, text: str) -> list[str]:
    return textwrap.wrap(
        text,
        min(_WIDEST, shutil.get_terminal_size((_WIDEST, 24)).columns),
        initial_indent=label,
        subsequent_indent=" " * len(label),
        break_long_words=False,
        break_on_hyphens=False,
    )
