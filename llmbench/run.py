"""A run: configuration, environment, and the measurements of its launches."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from llmbench.config import RunConfig
from llmbench.measurement import Measurement, Memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Cpu:
    """One logical CPU and where it sits; *node* is ``None`` on a kernel without NUMA."""

    number: int
    socket: int
    core: int
    node: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """The machine's online logical CPUs; *allowed* are those this process may use."""

    cpus: tuple[Cpu, ...]
    allowed: tuple[int, ...]

    @property
    def sockets(self) -> tuple[int, ...]:
        """Socket numbers, ascending."""
        return tuple(sorted({cpu.socket for cpu in self.cpus}))

    @property
    def nodes(self) -> tuple[int, ...]:
        """NUMA node numbers, ascending."""
        return tuple(sorted({cpu.node for cpu in self.cpus if cpu.node is not None}))

    @property
    def cores(self) -> int:
        """Physical cores."""
        return len({(cpu.socket, cpu.core) for cpu in self.cpus})


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """The machine and the software, taken before the first launch. ``None`` is what the kernel does not tell."""

    cpu_model: str
    topology: Topology
    memory_bytes: int
    kernel: str
    versions: Mapping[str, str]
    variables: Mapping[str, str]
    governor: str | None = None
    transparent_hugepages: str | None = None
    load_average: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where the model files came from; ``known`` is false for an IR without a manifest."""

    path: str
    known: bool = False
    source: str | None = None
    source_id: str | None = None
    revision: str | None = None
    weight_format: str | None = None
    content_sha256: str | None = None
    context_tokens: int | None = None


class Outcome(enum.Enum):
    """How a launch ended; *aborted* is one that was cut short and is left out of summaries."""

    FINISHED = "finished"
    FAILED = "failed"
    ABORTED = "aborted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a launch failed: the signal that ended it, its phase, and the last lines of its log."""

    phase: str
    message: str
    signal: str | None = None
    log: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """What the engine really uses, read back after loading; a key is missing where it does not say."""

    properties: Mapping[str, str] = field(default_factory=dict)
    scheduler: Mapping[str, str] = field(default_factory=dict)
    attention: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One fresh process that loaded the model and ran its iterations. *load_s* is read + compile."""

    index: int
    cell: int
    started_at: str
    load_s: float | None = None
    load_memory: Memory | None = None
    in_force: InForce = field(default_factory=InForce)
    outcome: Outcome = Outcome.ABORTED
    failure: Failure | None = None
    measurements: tuple[Measurement, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Configurations (the cells of a sweep; one where nothing varies), environment, and launches."""

    id: str
    started_at: str
    version: str
    cells: tuple[RunConfig, ...]
    environment: Environment
    provenance: Provenance
    launches: tuple[Launch, ...] = ()
    is_complete: bool = False
    source: str | None = None

    def config_of(self, launch: Launch) -> RunConfig:
        """The configuration a launch measured."""
        return self.cells[launch.cell]
