"""A run: configuration, environment, and the measurements of its launches."""

import contextlib
import enum
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath

from llmbench.schema.attention import AttentionProof
from llmbench.schema.config import RunConfig
from llmbench.schema.limits import ResourceLimits
from llmbench.schema.load import LoadWindow
from llmbench.schema.measurement import Measurement, Memory
from llmbench.schema.settings.any_workload import WEIGHT_FORMATS
from llmbench.schema.units import Bytes, Rate

Parameters = Mapping[str, str | int | float | bool]
"""Parameters of a workload, by name."""

WRONG_TOKENS = "WRONG TOKENS"
"""How the note of a launch begins whose engine chooses other tokens than its model."""


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
class MemoryRate:
    """Bytes per second that a triad got from this machine's memory, when it was last measured.

    *bytes_per_s* is that of all CPUs which may be used, *sockets* that of each socket alone, empty where there is one.
    *is_beyond_caches* is false where some of it may have come from caches.
    """

    measured_at: str
    bytes_per_s: Rate
    sockets: Mapping[int, Rate] = field(default_factory=dict)
    is_beyond_caches: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """The machine and the software, taken before the first launch. ``None`` is what the kernel does not report.

    *last_caches* has the bytes of each socket's caches of the last level. *memory_rate* is ``None`` where it was not
    measured: a run never does so itself. *limits* is ``None`` in files of versions that did not record it. *pressure*
    is the share of the last 10 s in which a task of the machine waited for ``cpu``, ``memory`` or ``io``, and is empty
    where the kernel does not report it. *settings* are those of the machine that change latency, by name; empty in
    files of versions that did not record them.
    """

    cpu_model: str
    topology: Topology
    memory_bytes: int
    kernel: str
    versions: Mapping[str, str]
    variables: Mapping[str, str]
    governor: str | None = None
    transparent_hugepages: str | None = None
    load_average: float | None = None
    last_caches: Mapping[int, Bytes] = field(default_factory=dict)
    memory_rate: MemoryRate | None = None
    limits: ResourceLimits | None = None
    pressure: Mapping[str, float] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)


_FOLDERS = frozenset(("/", "pytorch", "dldt", *WEIGHT_FORMATS))
"""Parts of a path to an IR that do not name its model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where the model files came from; ``known`` is false for an IR without a manifest.

    *stamp* is a hash over names, sizes and times of the files; it shows a change where no content was hashed.
    *companions* are what is loaded beside the model, by name with its hash: a draft model, LoRA adapters.
    *weight_bytes* is what a decode step reads of the weights, *kv_values* how many numbers a token of context adds to
    the KV cache (`llmbench.network`), *parameters* its number of weights and *file_bytes* the size of the file that
    has them; ``None`` where that is not known.
    """

    path: str
    known: bool = False
    source: str | None = None
    source_id: str | None = None
    revision: str | None = None
    weight_format: str | None = None
    content_sha256: str | None = None
    context_tokens: int | None = None
    stamp: str | None = None
    companions: tuple[tuple[str, str], ...] = ()
    weight_bytes: Bytes | None = None
    kv_values: Bytes | None = None
    parameters: Bytes | None = None
    file_bytes: Bytes | None = None

    @property
    def name(self) -> str:
        """What a person calls the model, never a path: ``SmolLM2-135M-Instruct``.

        It is the last part of where it came from; of an unknown IR the name of the folder that is no weight format.
        """
        path = PurePath(self.source_id or self.path)
        if self.source == "gguf" or path.suffix == ".gguf":
            return re.sub(rf"[.-]{re.escape(self.weight_format or '')}$", "", path.stem, flags=re.IGNORECASE)
        named = (part for part in reversed(path.parts) if part.lower() not in _FOLDERS)
        return next(named, "") or str(path)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadSettings:
    """The kind of work a request is, and its parameters.

    *primary_metrics* are those whose means decide a comparison first. They are recorded with the run, so that a reader
    needs no list of workloads.
    """

    kind: str = "text"
    parameters: Parameters = field(default_factory=dict)
    primary_metrics: tuple[str, ...] = ("first_token", "tpot")

    @property
    def is_concurrent(self) -> bool:
        """Whether its requests are in flight at once, by a schedule of its own."""
        return self.kind == "serving"


class ModelCache(enum.Enum):
    """What a launch found in the folder of compiled models: nothing is kept, nothing yet, or the model itself.

    *refused* is a model that was there and was compiled again all the same.
    """

    OFF = "off"
    COLD = "cold"
    WARM = "warm"
    REFUSED = "refused"


class Outcome(enum.Enum):
    """How a launch ended; *aborted* is one that was cut short and is left out of summaries."""

    FINISHED = "finished"
    FAILED = "failed"
    ABORTED = "aborted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a launch failed: the signal that ended it, its phase, the last lines of its log, and a remedy if known."""

    phase: str
    message: str
    signal: str | None = None
    log: tuple[str, ...] = ()
    hint: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Threads the CPU plug-in takes for one request, without and with the tensor-parallel policy.

    The policy is accepted and reads back as set even where it does nothing. *parts* shows: over how many sockets it
    splits a product. Threads alone do not, because the policy takes at most 32 a socket, so that with it a
    machine of large sockets may use fewer than one socket has. Threads are ``None`` where a report recorded no more.
    """

    without: int | None
    with_policy: int | None
    parts: int

    @property
    def is_effective(self) -> bool:
        """Whether the policy brings in another socket."""
        return self.parts > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectiveSettings:
    """What the engine really uses, read back after loading; a key is missing where it reports nothing.

    *attention* is its kind as `llmbench.schema.attention` names them, and *attention_proof* how that is known; older
    versions recorded ``SDPA`` without a proof. *split* is what the tensor-parallel policy does here, ``None`` where it
    was not requested.
    """

    properties: Mapping[str, str] = field(default_factory=dict)
    scheduler: Mapping[str, str] = field(default_factory=dict)
    attention: str | None = None
    attention_proof: AttentionProof | None = None
    notes: tuple[str, ...] = ()
    split: Split | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pinning:
    """What a launch was pinned to, as its worker read it back before it loaded the model.

    *cpus* are those it may use, on *sockets*; *memory* is its memory policy as the kernel writes it (``default``,
    ``bind:0``), ``None`` on a kernel without NUMA. *pages* has its bytes on each NUMA node after loading.
    """

    cpus: tuple[int, ...] = ()
    sockets: tuple[int, ...] = ()
    memory: str | None = None
    pages: Mapping[int, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One fresh process that loaded the model and ran its iterations. *load_s* is read + compile.

    *model_cache* is how it found the folder of compiled models, ``None`` where that is not known.
    *block* is the round of launches it was made in, one of each cell; ``None`` where that was not recorded.
    *environment* is that of its worker, ``None`` where it is the run's. *window* is what its requests had in common,
    ``None`` where one was made after the other. *index* counts from 0; what people read counts
    from 1.
    """

    index: int
    cell: int
    started_at: str
    block: int | None = None
    environment: Environment | None = None
    load_s: float | None = None
    model_cache: ModelCache | None = None
    load_memory: Memory | None = None
    effective: EffectiveSettings = field(default_factory=EffectiveSettings)
    pinned: Pinning = field(default_factory=Pinning)
    outcome: Outcome = Outcome.ABORTED
    failure: Failure | None = None
    measurements: tuple[Measurement, ...] = ()
    window: LoadWindow | None = None

    @property
    def is_finished(self) -> bool:
        """Whether it made all of its requests."""
        return self.outcome is Outcome.FINISHED


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Configurations (the cells of a sweep; one where nothing varies), workload, environment, and launches.

    *origins* has the origin of each cell's model, and is empty where all measure that of *provenance*.
    """

    id: str
    started_at: str
    version: str
    cells: tuple[RunConfig, ...]
    environment: Environment
    provenance: Provenance
    launches: tuple[Launch, ...] = ()
    is_complete: bool = False
    source: str | None = None
    origins: tuple[Provenance, ...] = ()
    workload: WorkloadSettings = field(default_factory=WorkloadSettings)

    @property
    def model(self) -> str:
        """The path of the model; of several, the nearest folder that contains them all, or else each."""
        paths = list(dict.fromkeys(config.model for config in self.cells))
        with contextlib.suppress(ValueError):  # of absolute and relative paths together
            common = os.path.commonpath(paths)
            if common.strip("/"):
                return common
        return ", ".join(paths)

    @property
    def model_name(self) -> str:
        """The names of its models, never a path."""
        return ", ".join(dict.fromkeys(self.origin_of(cell).name for cell in range(len(self.cells))))

    @property
    def finished(self) -> tuple[Launch, ...]:
        """Its launches that finished."""
        return tuple(launch for launch in self.launches if launch.is_finished)

    @property
    def failures(self) -> tuple[tuple[Launch, Failure], ...]:
        """Its launches that failed, and how."""
        return tuple((launch, launch.failure) for launch in self.launches if launch.failure is not None)

    @property
    def lacks_launches(self) -> bool:
        """Whether a launch failed or was not made; those that a rule made unnecessary are not missing."""
        made = len(self.finished)
        is_ended_early = self.is_complete and made == len(self.launches)
        return made < sum(cell.launches for cell in self.cells) and not is_ended_early

    @property
    def blocks(self) -> dict[int, int]:
        """The block of each launch, by its index; without those of which it was not recorded."""
        return {launch.index: launch.block for launch in self.launches if launch.block is not None}

    def config_of(self, launch: Launch) -> RunConfig:
        """The configuration a launch measured."""
        return self.cells[launch.cell]

    def origin_of(self, cell: int) -> Provenance:
        """Where the model of a cell came from."""
        return self.origins[cell] if self.origins else self.provenance

    def software_of(self, cell: int) -> Mapping[str, str]:
        """Versions in the environment of a cell's workers; the run's where no launch recorded another."""
        found = (launch.environment for launch in self.launches if launch.cell == cell and launch.environment)
        return next(found, self.environment).versions
