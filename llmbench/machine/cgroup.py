"""What a container or a job scheduler allows a process: CPU time and memory, by control groups 1 and 2."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from llmbench.machine import procfs

_MOUNT = "sys/fs/cgroup"
_UNLIMITED = 1 << 60
"""Version 1 writes "no limit" as the largest page-aligned number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupLimits:
    """What the groups of a process allow and count; ``None`` is no limit, or a number that is not kept.

    *cpus* is CPU time a second of wall time; *memory_free_bytes* is what is left of the tightest limit, where
    file pages that can be dropped count as free; *oom_kills* are processes of the group that the kernel ended for
    want of memory.
    """

    cpus: float | None = None
    memory_bytes: int | None = None
    memory_free_bytes: int | None = None
    memory_peak_bytes: int | None = None
    oom_kills: int | None = None


def read_limits(root: Path = Path("/"), pid: int | str = "self") -> GroupLimits:
    """The limits of a process, the tightest of its group and the groups around it."""
    raw = procfs.read_text(root / f"proc/{pid}/cgroup") or ""
    paths: dict[str, str] = {}
    for line in raw.splitlines():
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if path.startswith("/"):
            paths.update(dict.fromkeys(controllers.split(","), path))
    cpu = tuple(_groups(root, paths, "cpu"))
    memory = tuple(_groups(root, paths, "memory"))
    return GroupLimits(
        cpus=min((quota for quota in map(_quota, cpu) if quota is not None), default=None),
        memory_bytes=min((limit for limit in map(_memory_limit, memory) if limit is not None), default=None),
        memory_free_bytes=min((free for free in map(_memory_free, memory) if free is not None), default=None),
        memory_peak_bytes=_first_number(memory, "memory.peak", "memory.max_usage_in_bytes"),
        oom_kills=_oom_kills(memory),
    )


def _groups(root: Path, paths: dict[str, str], controller: str) -> Iterator[Path]:
    """Folders of a process's group and its ancestors, innermost first, as far as they are shown."""
    mount = root / _MOUNT / controller if controller in paths else root / _MOUNT
    path = PurePosixPath(paths.get(controller, paths.get("", "/")))
    for group in (path, *path.parents):
        folder = mount / group.relative_to("/")
        if folder.is_dir():
            yield folder


def _quota(group: Path) -> float | None:
    """CPUs' worth of time a group may use; ``None`` where it is not limited."""
    raw: list[str | None] = [*(procfs.read_text(group / "cpu.max") or "").split()]
    if len(raw) != 2:
        raw = [procfs.read_text(group / name) for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us")]
    quota, period = map(procfs.read_number, raw)
    return quota / period if quota and period and quota > 0 and period > 0 else None


def _memory_limit(group: Path) -> int | None:
    """Bytes a group may hold; ``None`` where it is not limited."""
    limit = _first_number((group,), "memory.max", "memory.limit_in_bytes")
    return limit if limit is not None and limit < _UNLIMITED else None


def _memory_free(group: Path) -> int | None:
    """Bytes a group may still take, its file pages counted as free; ``None`` where it is not limited."""
    limit = _memory_limit(group)
    used = _first_number((group,), "memory.current", "memory.usage_in_bytes")
    if limit is None or used is None:
        return None
    counts = _counts(group / "memory.stat")
    prefix = "total_" if "total_active_file" in counts else ""
    files = sum(counts.get(f"{prefix}{kind}_file", 0) for kind in ("active", "inactive"))
    return max(limit - max(used - files, 0), 0)


def _oom_kills(groups: tuple[Path, ...]) -> int | None:
    """Kills counted by the innermost group that counts them."""
    for group in groups:
        for name in ("memory.events", "memory.oom_control"):
            kills = _counts(group / name).get("oom_kill")
            if kills is not None:
                return kills
    return None


def _counts(path: Path) -> dict[str, int]:
    """The numbers of a file that has a name and a number a line."""
    pairs = (line.partition(" ") for line in (procfs.read_text(path) or "").splitlines())
    found = ((name, procfs.read_number(raw)) for name, _, raw in pairs)
    return {name: count for name, count in found if count is not None}


def _first_number(groups: tuple[Path, ...], *names: str) -> int | None:
    """The first of these files, innermost group first, that holds a number."""
    for group in groups:
        for name in names:
            raw = procfs.read_number(procfs.read_text(group / name))
            if raw is not None and raw >= 0:
                return raw
    return None
