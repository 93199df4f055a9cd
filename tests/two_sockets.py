"""Run a command where this machine's cores are two sockets: ``python tests/two_sockets.py COMMAND ...``.

In a private mount namespace the kernel's description of the machine is replaced: the first half of the
cores is socket and node 0, the second half socket and node 1. OpenVINO groups sockets by the CPUs that share
a cache and nodes by ``node*/cpulist``, so it takes its two-socket path. This shows that things work, not that
they are faster: memory is not placed, and both "sockets" are one. Needs root or user namespaces.
"""

import ctypes
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

CPUS = Path("/sys/devices/system/cpu")
NODES = Path("/sys/devices/system/node")
_NEW_MOUNTS, _NEW_USER = 0x00020000, 0x10000000
_BIND, _RECURSIVE, _PRIVATE = 0x1000, 0x4000, 0x40000
_libc = ctypes.CDLL(None, use_errno=True)


def unavailable() -> str | None:
    """Why sockets cannot be emulated here; ``None`` where they can."""
    done = subprocess.run([sys.executable, __file__, "true"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return done.stderr.strip().splitlines()[-1]
    return None if len(os.sched_getaffinity(0)) > 1 else "one CPU cannot be two sockets"


def command(*arguments: str) -> list[str]:
    """The command line that runs *arguments* on two sockets."""
    return [sys.executable, __file__, *arguments]


def _check(result: int, what: str) -> None:
    """Raise ``OSError`` where a call to the C library failed."""
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _mount(source: str, target: Path, kind: str, flags: int) -> None:
    """mount(2)."""
    arguments = (source.encode(), bytes(target), kind.encode(), flags, None)
    _check(_libc.mount(*arguments), f"mount on {target}")


def _leave() -> None:
    """Enter a mount namespace of our own, by way of a user namespace where we are not root."""
    user, group = os.getuid(), os.getgid()
    if user == 0:
        _check(_libc.unshare(_NEW_MOUNTS), "unshare -m")
    else:
        _check(_libc.unshare(_NEW_MOUNTS | _NEW_USER), "unshare -Um")
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    _mount("none", Path("/"), "", _RECURSIVE | _PRIVATE)


def _numbers(text: str) -> list[int]:
    """Numbers of a kernel list such as ``0-3,5``."""
    ends = [part.split("-") for part in text.strip().split(",") if part]
    return [n for end in ends for n in range(int(end[0]), int(end[-1]) + 1)]


def _mask(numbers: Sequence[int]) -> str:
    """A kernel mask: groups of 32 bits, highest first."""
    digits = f"{sum(1 << n for n in numbers):x}"
    digits = digits.zfill(-(-len(digits) // 8) * 8)
    return ",".join(digits[i : i + 8] for i in range(0, len(digits), 8))


def _list(numbers: Sequence[int]) -> str:
    """A kernel list, always of ranges: OpenVINO drops a node whose list is a lone number."""
    ordered = sorted(numbers)
    starts = [n for n in ordered if n - 1 not in numbers]
    ends = [n for n in ordered if n + 1 not in numbers]
    return ",".join(f"{start}-{end}" for start, end in zip(starts, ends, strict=True))


def _halves() -> tuple[list[int], list[int]]:
    """The online CPUs of each socket to be; the threads of a core stay together."""
    cores: dict[str, list[int]] = {}
    for cpu in _numbers((CPUS / "online").read_text()):
        siblings = CPUS / f"cpu{cpu}/topology/thread_siblings_list"
        cores.setdefault(siblings.read_text() if siblings.is_file() else str(cpu), []).append(cpu)
    if len(cores) < 2:
        sys.exit("one core cannot be two sockets")
    halves: tuple[list[int], list[int]] = ([], [])
    for index, threads in enumerate(cores.values()):
        halves[index >= len(cores) // 2].extend(threads)
    return halves


def _topology(cpu: int, socket: int, cpus: list[int]) -> dict[Path, str]:
    """The files that say on which socket a CPU sits, as they are to read."""
    folder = CPUS / f"cpu{cpu}"
    files = {folder / "topology/physical_package_id": str(socket)}
    for name in ("core_siblings", "package_cpus", "die_cpus", "cluster_cpus"):
        files[folder / f"topology/{name}_list"] = _list(cpus)
        files[folder / f"topology/{name}"] = _mask(cpus)
    for cache in folder.glob("cache/index*"):
        shared = [n for n in _numbers((cache / "shared_cpu_list").read_text()) if n in cpus]
        files[cache / "shared_cpu_list"] = _list(shared) if len(shared) > 1 else str(cpu)
        files[cache / "shared_cpu_map"] = _mask(shared)
    return {path: text for path, text in files.items() if path.is_file()}


def _node(number: int, cpus: list[int]) -> dict[str, str]:
    """The files of a node: half of the memory, near itself and far from the other."""
    memory = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())
    total = int(memory[1]) // 2 if memory else 0
    return {
        "cpulist": _list(cpus),
        "cpumap": _mask(cpus),
        "distance": "10 21" if number == 0 else "21 10",
        "meminfo": f"Node {number} MemTotal: {total} kB\nNode {number} MemFree: {total // 2} kB",
    }


def emulate() -> None:
    """Turn this process's view of the machine into one of two sockets."""
    halves = _halves()
    files: dict[Path, str] = {}
    for socket, cpus in enumerate(halves):
        for cpu in cpus:
            files |= _topology(cpu, socket, cpus)
    _leave()
    _mount("tmpfs", NODES, "tmpfs", 0)  # it holds the replacements too, and goes when the last process does
    for name in ("online", "possible", "has_cpu", "has_memory", "has_normal_memory"):
        (NODES / name).write_text("0-1\n")
    for number, cpus in enumerate(halves):
        (NODES / f"node{number}").mkdir()
        for name, text in _node(number, cpus).items():
            (NODES / f"node{number}" / name).write_text(f"{text}\n")
    for index, (path, text) in enumerate(files.items()):
        replacement = NODES / f"replacement{index}"
        replacement.write_text(f"{text}\n")
        _mount(str(replacement), path, "", _BIND)


def main() -> None:
    """Run the command line's command."""
    try:
        emulate()
    except OSError as error:
        sys.exit(f"sockets cannot be emulated here: {error.strerror or error}")
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606  the command takes this process's place


if __name__ == "__main__":
    main()
