"""The machine and the software a run was made on."""

import importlib.metadata
import os
import platform
import re
from collections.abc import Mapping
from pathlib import Path

from llmbench._version import __version__
from llmbench.run import Environment
from llmbench.system import topology

PACKAGES = (
    "openvino",
    "openvino-genai",
    "openvino-tokenizers",
    "optimum-intel",
    "transformers",
    "torch",
)
_ALLOWED = ("OMP_", "KMP_", "OPENVINO_", "ONEDNN_")
_SECRET = re.compile("TOKEN|KEY|SECRET|PASS|AUTH", re.IGNORECASE)


def capture(root: Path = Path("/")) -> Environment:
    """The environment as the files below *root* and this interpreter's packages tell it; imports no engine.

    Raises ``MachineError`` where no CPU can be found.
    """
    return Environment(
        cpu_model=cpu_model(root),
        topology=topology.read(root / "sys"),
        memory_bytes=memory_bytes(root),
        kernel=_text(root / "proc/sys/kernel/osrelease") or platform.release(),
        versions=versions(),
        variables=variables(os.environ),
        governor=governor(root),
        transparent_hugepages=transparent_hugepages(root),
        load_average=load_average(root),
    )


def cpu_model(root: Path = Path("/")) -> str:
    """The CPU's name as the kernel prints it; the architecture where it prints none, as on Arm."""
    for line in (_text(root / "proc/cpuinfo") or "").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name" and value.strip():
            return " ".join(value.split())
    return platform.machine()


def memory_bytes(root: Path = Path("/")) -> int:
    """Memory of the machine in bytes, ``MemTotal``."""
    told = _text(root / "proc/meminfo") or ""
    found = re.search(r"^MemTotal:\s+(\d+) kB", told, re.MULTILINE)
    return int(found[1]) * 1024 if found else os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def versions() -> dict[str, str]:
    """Versions of Python, of this tool and of the packages that make a number; what is not installed is left out."""
    found = {"python": platform.python_version(), "llmbench": __version__}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def variables(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment variables that steer the engine, by allow-list; a name that smells of a secret never."""
    return {
        name: environment[name]
        for name in sorted(environment)
        if name.startswith(_ALLOWED) and not _SECRET.search(name)
    }


def governor(root: Path = Path("/")) -> str | None:
    """The frequency governor, several joined by ``+`` where CPUs differ; ``None`` where the kernel has none."""
    files = (root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_governor")
    found = {text for text in map(_text, files) if text}
    return "+".join(sorted(found)) or None


def transparent_hugepages(root: Path = Path("/")) -> str | None:
    """``always``, ``madvise`` or ``never``; ``None`` on a kernel without them."""
    told = _text(root / "sys/kernel/mm/transparent_hugepage/enabled") or ""
    found = re.search(r"\[(\w+)\]", told)
    return found[1] if found else None


def load_average(root: Path = Path("/")) -> float | None:
    """Runnable processes, averaged over the last minute."""
    told = _text(root / "proc/loadavg")
    return float(told.split()[0]) if told else None


def _text(path: Path) -> str | None:
    """What a small kernel file holds, stripped; ``None`` where it is missing or refuses to be read."""
    try:
        return path.read_text().strip()
    except OSError:
        return None
