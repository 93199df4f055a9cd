"""What a container or a job scheduler allows a process: CPU time and memory, by control groups 1 and 2."""

import functools
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar

from llmbench.machine import procfs

_MOUNT = "sys/fs/cgroup"
_UNIFIED = "unified"
"""Where version 2 is mounted beside version 1, which has the controllers then."""

_MOUNT_FIELDS = 5
_DEFAULT_WEIGHT, _DEFAULT_SHARES = 100, 1024
_UNLIMITED = 1 << 60
"""Version 1 writes "no limit" as the largest page-aligned number."""


_Number = TypeVar("_Number", int, float)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupLimits:
    """What the groups of a process allow and count; ``None`` is no limit, or a number that is not kept.

    *cpus* is CPU time per second of wall time. *weight* is the smallest share beside competing groups, as a multiple of
    the kernel's default; 0 is a group that gets idle time only. *performance_cap* is the share of the CPU's
    performance that ``cpu.uclamp.max`` leaves. *memory_free_bytes* is what is left of the tightest limit, where file
    pages that can be dropped count as free; *oom_kills* are processes of the group that the kernel ended for want of
    memory.
    """

    cpus: float | None = None
    weight: float | None = None
    performance_cap: float | None = None
    memory_bytes: int | None = None
    memory_free_bytes: int | None = None
    memory_peak_bytes: int | None = None
    oom_kills: int | None = None


def read_limits(root: Path = Path("/"), pid: int | str = "self") -> GroupLimits:
    """The limits of a process, the tightest of its group and the groups around it."""
    membership = procfs.read_text(root / f"proc/{pid}/cgroup") or ""
    cpu = group_folders(root, membership, "cpu")
    memory = group_folders(root, membership, "memory")
    return GroupLimits(
        cpus=_least(map(read_quota, cpu)),
        weight=_least(map(_weight, cpu)),
        performance_cap=_least(map(_performance_cap, cpu)),
        memory_bytes=_least(map(read_memory_limit, memory)),
        memory_free_bytes=_least(map(_memory_free, memory)),
        memory_peak_bytes=_first_number(memory, "memory.peak", "memory.max_usage_in_bytes"),
        oom_kills=_oom_kills(memory),
    )


def group_folders(root: Path, membership: str, controller: str) -> tuple[Path, ...]:
    """Return the folders of a process's group and its ancestors, innermost first, as far as they are mounted.

    *membership* is the text of its ``/proc/.../cgroup``. An empty *controller* is version 2, whatever it controls. Of
    groups beyond this control group namespace (``/../other``) the kernel hides the names; they are searched for.
    """
    lines = (line.split(":", 2) for line in membership.splitlines() if line.count(":") > 1)
    paths = {names: PurePosixPath(path) for _, names, path in lines if path.startswith("/")}
    names = next((names for names in paths if controller in names.split(",")), "")
    path = paths.get(names, PurePosixPath("/"))
    mount, top = _mounted(root, controller if names else "") or (_default_mount(root, controller, names), "/")
    if ".." in (*path.parts, *PurePosixPath(top).parts):
        inner = _hidden_group(mount, membership)
    else:
        inner = path.relative_to(top) if path.is_relative_to(top) else PurePosixPath()
    if inner is None:
        return ()
    return tuple(folder for group in (inner, *inner.parents) if (folder := mount / group).is_dir())


def _mounted(root: Path, controller: str) -> tuple[Path, str] | None:
    """Where groups of a controller are mounted, and which group is there: proc_pid_mountinfo(5)."""
    for line in (procfs.read_text(root / "proc/self/mountinfo") or "").splitlines():
        location, _, kind = line.partition(" - ")
        fields, names = location.split(" "), kind.split(" ")
        if len(fields) < _MOUNT_FIELDS or names[0] not in ("cgroup", "cgroup2"):
            continue
        if controller in names[-1].split(",") if controller else names[0] == "cgroup2":
            return root / fields[4].lstrip("/"), fields[3]
    return None


@functools.cache
def _hidden_group(mount: Path, membership: str) -> PurePosixPath | None:  # noqa: ARG001  another group, another answer
    """The group below a mount that has this process, by the numbers of its processes; ``None`` if none shows it."""
    own = str(os.getpid())
    lists = (path for path in mount.rglob("cgroup.procs") if own in (procfs.read_text(path) or "").split())
    return next((PurePosixPath(path.parent.relative_to(mount)) for path in lists), None)


def _default_mount(root: Path, controller: str, names: str) -> Path:
    mounts = (controller, names) if names else (_UNIFIED, "")
    return next(filter(Path.is_dir, (root / _MOUNT / name for name in mounts)), root / _MOUNT)


def _least(values: Iterable[_Number | None]) -> _Number | None:
    return min((value for value in values if value is not None), default=None)


def _weight(group: Path) -> float | None:
    """The share beside other groups as a multiple of the default; ``None`` where a group has none, as the root."""
    if procfs.read_text(group / "cpu.idle") == "1":
        return 0.0
    weight = procfs.read_number(procfs.read_text(group / "cpu.weight"))
    shares = procfs.read_number(procfs.read_text(group / "cpu.shares"))
    if weight is not None:
        return weight / _DEFAULT_WEIGHT
    return None if shares is None else shares / _DEFAULT_SHARES


def _performance_cap(group: Path) -> float | None:
    """The share of a CPU's performance that a group may request; ``None`` where that is not limited."""
    raw = procfs.read_text(group / "cpu.uclamp.max") or ""
    return float(raw) / 100 if re.fullmatch(r"\d{1,3}(\.\d{1,6})?", raw) else None


def read_quota(group: Path) -> float | None:
    """Return the CPU time per second of wall time that a group may use; ``None`` where it is not limited."""
    raw: list[str | None] = [*(procfs.read_text(group / "cpu.max") or "").split()]
    if len(raw) != 2:
        raw = [procfs.read_text(group / name) for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us")]
    quota, period = map(procfs.read_number, raw)
    return quota / period if quota and period and quota > 0 and period > 0 else None


def read_memory_limit(group: Path) -> int | None:
    """Return the bytes beyond which a group is slowed or a process of it killed; ``None`` where it is not limited."""
    files = (group / name for name in ("memory.max", "memory.high", "memory.limit_in_bytes"))
    limit = _least(procfs.read_number(procfs.read_text(file)) for file in files)
    return limit if limit is not None and 0 <= limit < _UNLIMITED else None


def _memory_free(group: Path) -> int | None:
    """Bytes a group may still take, its file pages counted as free; ``None`` where it is not limited."""
    limit = read_memory_limit(group)
    used = _first_number((group,), "memory.current", "memory.usage_in_bytes")
    if limit is None or used is None:
        return None
    counts = _counts(group / "memory.stat")
    prefix = "total_" if "total_active_file" in counts else ""
    files = sum(counts.get(f"{prefix}{kind}_file", 0) for kind in ("active", "inactive"))
    return max(limit - max(used - files, 0), 0)


def _oom_kills(groups: tuple[Path, ...]) -> int | None:
    for group in groups:
        for name in ("memory.events", "memory.oom_control"):
            kills = _counts(group / name).get("oom_kill")
            if kills is not None:
                return kills
    return None


def _counts(path: Path) -> dict[str, int]:
    pairs = (line.partition(" ") for line in (procfs.read_text(path) or "").splitlines())
    found = ((name, procfs.read_number(raw)) for name, _, raw in pairs)
    return {name: count for name, count in found if count is not None}


def _first_number(groups: tuple[Path, ...], *names: str) -> int | None:
    for group in groups:
        for name in names:
            raw = procfs.read_number(procfs.read_text(group / name))
            if raw is not None and raw >= 0:
                return raw
    return None
