"""What sets one machine apart from another of the same name: processor, microcode, memory, kernel and settings.

It stands alone: a probe of a host reads it, and no run does.
"""

import re
from pathlib import Path

from llmbench.machine.checks import Survey, machine_settings
from llmbench.schema.units import format_bytes

_CHANNELS = "sys/devices/system/edac/mc"
_FIRMWARE = "sys/class/dmi/id/bios_version"


def fingerprint(survey: Survey) -> dict[str, str]:
    """Return what is known of the machine, by name; what the kernel does not report is left out.

    Memory channels are those that the error detection of the kernel (EDAC) reports with a module in them.
    """
    seen = survey.environment
    sockets = len(seen.topology.sockets)
    found = {
        "CPU": seen.cpu_model,
        "sockets": str(sockets),
        "cores": str(seen.topology.cores),
        "CPUs allowed": str(len(seen.topology.allowed)),
        "microcode": _cpuinfo(survey, "microcode"),
        "memory": format_bytes(seen.memory_bytes),
        "memory channels": _channels(survey.root),
        "firmware": survey.text(_FIRMWARE),
        "kernel": seen.kernel,
        **machine_settings(survey),
    }
    return {name: value for name, value in found.items() if value}


def _cpuinfo(survey: Survey, name: str) -> str | None:
    for line in (survey.text("proc/cpuinfo") or "").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return None


def _channels(root: Path) -> str | None:
    """How many channels have a module: a location reads ``channel 0 slot 1`` below its memory controller."""
    found = {
        (path.parent.parent.name, match[1])
        for path in (root / _CHANNELS).glob("mc*/dimm*/dimm_location")
        if (match := re.search(r"channel (\d+)", path.read_text(encoding="utf-8")))
    }
    return str(len(found)) if found else None
