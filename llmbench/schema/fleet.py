"""What a fleet's folder holds beside one run file per host: the plan, what each host is, and how its job ended.

It stands alone: hosts write and read these values without a run.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

COPIES = "/fleet/"
"""Where, below the cache folder of a host, copies of models are; the hash of the content follows, then the name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostProbe:
    """A host before anything is measured on it.

    *fingerprint* is what sets machines apart, by name; *problems* are the doctor's findings that spoil a measurement.
    *refusal* is why the command would not run there, ``None`` if it would.
    """

    host: str
    version: str
    packages: Mapping[str, str]
    fingerprint: Mapping[str, str]
    problems: tuple[str, ...] = ()
    refusal: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEnding:
    """How the command of a host ended: its exit code, and when (UTC, ISO 8601)."""

    code: int
    ended_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetPlan:
    """One command for many hosts: *arguments* of ``llmbench``, without those that concern the fleet.

    *mode* is ``each-host`` (the whole command on every host) or ``spread`` (the configurations of one sweep shared
    out over the hosts). *jobs* has the scheduler's number of the last job of each host. *models* are the arguments
    that name models, which hosts copy to their own disk where *copies_models*. *skipped* says why a host was left out.
    """

    id: str
    version: str
    started_at: str
    target: str
    mode: str
    arguments: tuple[str, ...]
    hosts: tuple[str, ...]
    models: tuple[str, ...] = ()
    copies_models: bool = False
    jobs: Mapping[str, str] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)
    schema: int = 1
