"""CPU time by program, from ``/proc/<pid>/stat``: who took what a measurement did not get.

A program that began and ended between two readings is not seen; of names only the kernel's sixteen characters are read,
since arguments may contain secrets.
"""

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
MOST_NAMED = 3
WORTH_NAMING = 0.01
"""The share of the CPUs watched from which on a program is recorded."""

_MOST_BYTES = 4096
_USER, _SYSTEM, _PROCESSOR = 11, 12, 36
"""Fields of proc(5) counted from the state, which follows the name in parentheses."""


class ProgramTime(NamedTuple):
    """A process: its name, its CPU seconds since it began, and the CPU that it ran on last."""

    name: str
    seconds: float
    cpu: int


ProgramTimes = Mapping[int, ProgramTime]
"""Processes by their number; a thread of the kernel may change its name."""


def read_programs(root: Path = Path("/")) -> ProgramTimes:
    """Return the CPU time of every other process."""
    found: dict[int, ProgramTime] = {}
    own = str(os.getpid())
    with os.scandir(root / "proc") as entries:
        numbers = {
            entry.name: entry.path for entry in entries if entry.name.isdecimal() and entry.name != own
        }
    for number, path in numbers.items():
        try:
            text = _content(f"{path}/stat")
        except OSError:  # it has ended
            continue
        name, _, rest = text.partition(b"(")[2].rpartition(b")")
        fields = rest.split()
        if len(fields) > _PROCESSOR:
            seconds = (int(fields[_USER]) + int(fields[_SYSTEM])) * TICK_S
            found[int(number)] = ProgramTime(_plain(name), seconds, int(fields[_PROCESSOR]))
    return found


def _content(path: str) -> bytes:
    file = os.open(path, os.O_RDONLY)
    try:
        return os.read(file, _MOST_BYTES)
    finally:
        os.close(file)


def _plain(name: bytes) -> str:
    text = name.decode(errors="replace")
    if text.isprintable():
        return text or "?"
    return "".join(c if c.isprintable() else "?" for c in text)


def busiest_programs(
    before: ProgramTimes, after: ProgramTimes, cpus: Collection[int], wall_s: float
) -> dict[str, float]:
    """Return the CPU seconds of the programs that took most of *cpus* in *wall_s*, the greediest first.

    A process counts for the CPU that it ran on last; one that is new, with all its time. Programs with less than a
    hundredth of what the CPUs had to give are left out.
    """
    used: dict[str, float] = {}
    for number, (name, seconds, cpu) in after.items():
        earlier = before[number].seconds if number in before else 0.0
        if cpu in cpus:
            used[name] = used.get(name, 0.0) + seconds - (earlier if earlier <= seconds else 0.0)
    order = sorted(used, key=lambda name: used[name], reverse=True)[:MOST_NAMED]
    return {name: round(used[name], 3) for name in order if used[name] >= WORTH_NAMING * wall_s * len(cpus)}
