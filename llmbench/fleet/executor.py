"""What a scheduler must offer: hosts, a job on one of them, the state of jobs. Slurm and Ray are two of these."""

import enum
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from llmbench.errors import InputError

_DEFAULT_ADDRESS = "auto"


class JobState(enum.Enum):
    """Where a job is; one that is gone has ended in whatever way, or was never known."""

    WAITING = "waiting"
    RUNNING = "running"
    GONE = "gone"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStatus:
    """A job's state, and the scheduler's reason for it where it gives one."""

    state: JobState
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostJob:
    """A command for one host, all of it, with the file that its output is appended to."""

    host: str
    command: tuple[str, ...]
    log: Path
    folder: Path


class Executor(Protocol):
    """A scheduler. Each call may raise MachineError, where the scheduler cannot be reached or refuses."""

    def hosts(self) -> Sequence[str]:
        """Return the hosts that can be used, in their order."""

    def submit(self, job: HostJob) -> str:
        """Queue a job for its host and return the scheduler's name of it."""

    def statuses(self, jobs: Iterable[str]) -> Mapping[str, JobStatus]:
        """Return the state of each job."""

    def cancel(self, jobs: Iterable[str]) -> None:
        """End jobs that have not ended: SIGTERM first."""

    def describe(self, job: HostJob) -> str:
        """Return what `submit` would hand over, for a person to read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetTarget:
    """Where a fleet is: ``slurm:partition=bench,nodes=8`` or ``ray:10.0.0.1:6379``."""

    kind: str
    address: str = ""
    options: Mapping[str, str] = field(default_factory=dict)


SLURM_OPTIONS = {
    "partition": "",
    "nodes": "how many hosts",
    "nodelist": "",
    "constraint": "",
    "account": "",
    "qos": "",
    "time": "limit of a job, as sbatch takes it",
}
"""What may follow ``slurm:``, handed to sbatch, but for the number of hosts."""


def read_target(text: str) -> FleetTarget:
    """Return what ``--on`` names; raise InputError where that is nothing known."""
    kind, _, rest = text.partition(":")
    if kind == "ray":
        return FleetTarget(kind=kind, address=rest or _DEFAULT_ADDRESS)
    if kind != "slurm":
        raise InputError(
            f"--on {text}: {kind!r} is no scheduler", hint="slurm:partition=NAME,nodes=8 or ray:ADDRESS"
        )
    options: dict[str, str] = {}
    for part in re.split(r",(?=\w+=)", rest) if rest else []:
        name, equals, value = part.partition("=")
        if name not in SLURM_OPTIONS or not equals or not value:
            raise InputError(
                f"--on {text}: {part!r} is not known", hint=f"options: {', '.join(SLURM_OPTIONS)}"
            )
        options[name] = value
    if not options.get("nodes", "1").isdecimal() or options.get("nodes") == "0":
        raise InputError(f"--on {text}: nodes is a number of hosts", hint="for example nodes=8")
    return FleetTarget(kind=kind, options=options)
