"""The folder of a fleet run: ``fleet.json``, and for each host its run file, its log, its probe and its ending."""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import msgspec

from llmbench.errors import InputError, cause_of
from llmbench.files.atomic import write_atomically
from llmbench.files.redaction import redact
from llmbench.schema.fleet import FleetPlan, HostProbe, JobEnding

_Stored = TypeVar("_Stored", FleetPlan, HostProbe, JobEnding)
_PLAN = "fleet.json"


class FleetFolder:
    """Paths and small files of a fleet run; *path* is the folder that all hosts share."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def exists(self) -> bool:
        """Whether a fleet run is there."""
        return (self.path / _PLAN).is_file()

    def run_file(self, host: str) -> Path:
        """Return the run file of a host."""
        return self.path / f"{host}.jsonl"

    def log(self, host: str) -> Path:
        """Return the file that a host's jobs append their output to."""
        return self.path / f"{host}.log"

    def write_plan(self, plan: FleetPlan) -> None:
        """Keep the plan."""
        self._write(_PLAN, plan)

    def read_plan(self) -> FleetPlan:
        """Return the plan; raise InputError where there is none."""
        plan = self._read(_PLAN, FleetPlan)
        if plan is None:
            raise InputError(f"{self.path} contains no fleet run", hint="it has a fleet.json")
        return plan

    def write_probe(self, probe: HostProbe) -> None:
        """Keep what a host is."""
        self._write(f"{probe.host}.probe.json", probe)

    def read_probe(self, host: str) -> HostProbe | None:
        """Return what a host is; ``None`` before it was probed."""
        return self._read(f"{host}.probe.json", HostProbe)

    def write_ending(self, host: str, ending: JobEnding) -> None:
        """Keep how a host's command ended."""
        self._write(f"{host}.ending.json", ending)

    def read_ending(self, host: str) -> JobEnding | None:
        """Return how a host's command ended; ``None`` before."""
        return self._read(f"{host}.ending.json", JobEnding)

    def forget_ending(self, host: str) -> None:
        """Remove the ending of a job before the next of that host."""
        (self.path / f"{host}.ending.json").unlink(missing_ok=True)

    def measured(self, host: str) -> int:
        """Return how many requests are in a host's run file."""
        try:
            with self.run_file(host).open("rb") as file:
                return sum(line.startswith(b'{"event":"measurement"') for line in file)
        except OSError:
            return 0

    def probes(self) -> Mapping[str, HostProbe]:
        """Return the probes that there are, by host."""
        hosts = self.read_plan().hosts
        return {host: probe for host in hosts if (probe := self.read_probe(host)) is not None}

    def _write(self, name: str, value: FleetPlan | HostProbe | JobEnding) -> None:
        text = msgspec.json.format(msgspec.json.encode(value)).decode()
        write_atomically(self.path / name, redact(text) + "\n")

    def _read(self, name: str, kind: type[_Stored]) -> _Stored | None:
        path = self.path / name
        try:
            return msgspec.json.decode(path.read_bytes(), type=kind)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise InputError(
                f"{path} cannot be read: {cause_of(error)}", hint="it was written by llmbench --on"
            ) from error
