"""The machine and the software a run was made on."""

import functools
import importlib.metadata
import os
import platform
import re
from collections.abc import Mapping
from pathlib import Path

from llmbench._version import __version__
from llmbench.files.redaction import SECRET_NAME
from llmbench.machine import bandwidth, procfs, topology
from llmbench.machine.covariates import read_machine_settings
from llmbench.machine.limits import read_resource_limits
from llmbench.schema.engines import ENGINE_PACKAGES
from llmbench.schema.run import Environment

_ALLOWED = (
    *("OMP_", "KMP_", "GOMP_", "TBB_", "OPENVINO_", "OV_", "ONEDNN_", "DNNL_", "MKL_", "OPENBLAS_", "GGML_"),
    *("ATEN_", "TORCH_", "PYTORCH_", "RAYON_", "TOKENIZERS_PARALLELISM", "PYTHONMALLOC", "PYTHONTRACEMALLOC"),
    *("PYTHONDEVMODE", "LD_PRELOAD", "LD_AUDIT", "LD_PROFILE", "LD_BIND_NOW", "GLIBC_TUNABLES", "MALLOC_"),
    *("TCMALLOC_", "MIMALLOC_"),
)
"""Beginnings of the names of variables that threads, kernels, allocators and the loader read."""


def capture(root: Path = Path("/")) -> Environment:
    """The environment as the files below *root* and this interpreter's packages tell it; imports no engine.

    Raises ``MachineError`` where no CPU can be found.
    """
    model, machine, memory = cpu_model(root), topology.read_topology(root / "sys"), memory_bytes(root)
    return Environment(
        cpu_model=model,
        topology=machine,
        memory_bytes=memory,
        kernel=procfs.read_text(root / "proc/sys/kernel/osrelease") or platform.release(),
        versions=versions(),
        variables=variables(os.environ),
        governor=governor(root),
        transparent_hugepages=transparent_hugepages(root),
        load_average=load_average(root),
        last_caches=bandwidth.last_caches(machine, topology.read_caches(root / "sys")),
        memory_rate=bandwidth.load_bandwidth(bandwidth.bandwidth_file(model, machine, memory)),
        limits=read_resource_limits(root),
        pressure=pressure(root),
        settings=read_machine_settings(root),
    )


def cpu_model(root: Path = Path("/")) -> str:
    """The CPU's name as the kernel prints it; the architecture where it prints none, as on Arm."""
    name = procfs.read_field(root / "proc/cpuinfo", "model name")
    return " ".join(name.split()) if name else platform.machine()


def cpu_flags(root: Path = Path("/")) -> frozenset[str]:
    """The features the kernel lists for the first CPU; empty where it lists none."""
    found = (procfs.read_field(root / "proc/cpuinfo", name) for name in ("flags", "Features"))
    return frozenset(next(filter(None, found), "").split())


def memory_bytes(root: Path = Path("/")) -> int:
    """Memory of the machine in bytes, ``MemTotal``."""
    found = procfs.read_kib_field(root / "proc/meminfo", "MemTotal")
    return found or os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def versions() -> dict[str, str]:
    """Versions of Python, this tool and the packages that make a number; without what is not installed."""
    found = {"python": platform.python_version(), "llmbench": __version__}
    return found | {package: v for package in ENGINE_PACKAGES if (v := _version(package)) is not None}


@functools.cache
def _version(package: str) -> str | None:
    """The version of an installed package; its whole description is parsed for it, which is done once."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def variables(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment variables that steer the engine, by allow-list; a name like a secret's never."""
    return {
        name: environment[name]
        for name in sorted(environment)
        if name.startswith(_ALLOWED) and not SECRET_NAME.search(name)
    }


def governor(root: Path = Path("/")) -> str | None:
    """The frequency governor, joined by ``+`` where CPUs differ; ``None`` where the kernel has none."""
    files = (root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_governor")
    found = {text for text in map(procfs.read_text, files) if text}
    return "+".join(sorted(found)) or None


def frequencies_mhz(root: Path = Path("/")) -> tuple[float, ...]:
    """Clock of each CPU now, in MHz, as the governor or else ``/proc/cpuinfo`` tells; empty where neither does."""
    files = sorted((root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_cur_freq"))
    found = tuple(int(text) / 1000 for text in map(procfs.read_text, files) if text)
    raw = procfs.read_text(root / "proc/cpuinfo") or ""
    return found or tuple(float(mhz) for mhz in re.findall(r"^cpu MHz\s*: ([\d.]+)$", raw, re.MULTILINE))


def transparent_hugepages(root: Path = Path("/")) -> str | None:
    """``always``, ``madvise`` or ``never``; ``None`` on a kernel without them."""
    raw = procfs.read_text(root / "sys/kernel/mm/transparent_hugepage/enabled") or ""
    found = re.search(r"\[(\w+)\]", raw)
    return found[1] if found else None


def pressure(root: Path = Path("/")) -> dict[str, float]:
    """Return the share of the last 10 s in which a task waited, by resource; empty without pressure information."""
    texts = {what: procfs.read_text(root / f"proc/pressure/{what}") or "" for what in ("cpu", "memory", "io")}
    found = {what: re.match(r"some avg10=(\d{1,3}\.\d\d) ", text) for what, text in texts.items()}
    return {what: float(match[1]) / 100 for what, match in found.items() if match}


def load_average(root: Path = Path("/")) -> float | None:
    """Runnable processes, averaged over the last minute."""
    raw = procfs.read_text(root / "proc/loadavg")
    found = re.match(r"\d{1,6}\.\d{1,6}", raw or "")
    return float(found[0]) if found else None
