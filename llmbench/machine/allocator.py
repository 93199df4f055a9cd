"""Memory allocators of a worker: another malloc than the C library's, or that one with transparent huge pages.

Both are chosen by variables of the process's environment: ``LD_PRELOAD`` (ld.so(8)), and ``GLIBC_TUNABLES`` (glibc 2.35
and newer: ``glibc.malloc.hugetlb=1`` has malloc request huge pages by madvise(2)); jemalloc does so by ``MALLOC_CONF``
(jemalloc(3), ``opt.thp``).
"""

import ctypes.util
import os
import re
from pathlib import Path

from llmbench.errors import InputError, MachineError
from llmbench.machine import procfs
from llmbench.schema.settings.any_workload import ALLOCATORS, HUGE_PAGES, JEMALLOC_HUGE

_LIBRARIES = {
    "jemalloc": ("jemalloc",),
    JEMALLOC_HUGE: ("jemalloc",),
    "tcmalloc": ("tcmalloc_minimal", "tcmalloc"),
    "mimalloc": ("mimalloc",),
}
_OLDEST_GLIBC = (2, 35)
_TUNABLES = "GLIBC_TUNABLES"
_MALLOC_HUGE = "glibc.malloc.hugetlb=1"
_JEMALLOC_TUNABLES = "MALLOC_CONF"
_JEMALLOC_HUGE = "thp:always,metadata_thp:always"
_SHARED = {"TBB_ENABLE_SANITIZERS": "1"}
"""Without it oneTBB binds hwloc to glibc's free (RTLD_DEEPBIND), which aborts at what another malloc returned."""


def why_no_allocator(name: str, root: Path = Path("/")) -> str | None:
    """Return why an allocator cannot be had on the machine below *root*; ``None`` where it can.

    Raises:
        InputError: there is no allocator of that name.
    """
    if name not in ALLOCATORS:
        raise InputError(f"allocator {name!r} is unknown", hint=f"choose one of {', '.join(ALLOCATORS)}")
    if name == HUGE_PAGES and _glibc() < _OLDEST_GLIBC:
        return "the C library is not glibc 2.35 or newer"
    if name != HUGE_PAGES and not _library(name):
        return f"no library of {_LIBRARIES[name][0]} is installed"
    return _why_no_huge_pages(root) if name in (HUGE_PAGES, JEMALLOC_HUGE) else None


def _why_no_huge_pages(root: Path) -> str | None:
    modes = procfs.read_text(root / "sys/kernel/mm/transparent_hugepage/enabled") or "[never]"
    chosen = re.search(r"\[(\w+)\]", modes)
    if chosen is not None and chosen[1] == "always":
        return "the kernel gives huge pages to every program already"
    if chosen is None or chosen[1] != "madvise":
        return "the kernel's transparent huge pages are switched off"
    return None


def _glibc() -> tuple[int, ...]:
    """The version of glibc; empty where the C library is another one."""
    try:
        version = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except ValueError:
        return ()
    return tuple(int(part) for part in re.findall(r"\d+", version))


def _library(name: str) -> str | None:
    return next(filter(None, map(ctypes.util.find_library, _LIBRARIES[name])), None)


def allocator_variables(name: str | None) -> dict[str, str]:
    """Return the variables of the environment that choose an allocator; none for ``None``.

    Raises:
        MachineError: it cannot be had on this machine.
    """
    if name is None:
        return {}
    reason = why_no_allocator(name)
    if reason is not None:
        raise MachineError(f"--allocator {name}: {reason}", hint="leave it out, or install it")
    if name == HUGE_PAGES:
        return {_TUNABLES: ":".join(filter(None, (os.environ.get(_TUNABLES), _MALLOC_HUGE)))}
    libraries = filter(None, (_library(name), os.environ.get("LD_PRELOAD")))
    variables = {"LD_PRELOAD": ":".join(libraries), **_SHARED}
    if name == JEMALLOC_HUGE:
        variables[_JEMALLOC_TUNABLES] = ",".join(
            filter(None, (os.environ.get(_JEMALLOC_TUNABLES), _JEMALLOC_HUGE))
        )
    return variables


def prove_allocator(name: str) -> str:
    """Return a sentence on the allocator that this process uses.

    Raises:
        MachineError: another one than *name*; the loader only warns of a library that it cannot preload.
    """
    size = procfs.read_kib_field(Path("/proc/self/smaps_rollup"), "AnonHugePages") or 0
    huge = f"huge pages: {size >> 20} MiB after loading"
    if name == HUGE_PAGES:
        return huge
    maps = procfs.read_text(Path("/proc/self/maps")) or ""
    if not any(f"/lib{each}.so" in maps for each in _LIBRARIES[name]):
        raise MachineError(
            f"--allocator {name}: the worker did not load its library", hint="check that it fits this machine"
        )
    return f"allocator: {name}, {huge}" if name == JEMALLOC_HUGE else f"allocator: {name}"
