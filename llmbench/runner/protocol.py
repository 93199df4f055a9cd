"""What a launcher and a worker say to each other: one JSON line a message, a reply to each command."""

import msgspec

from llmbench.errors import LlmbenchError, error_from_code
from llmbench.machine.affinity import Binding
from llmbench.schema.config import RunConfig
from llmbench.schema.measurement import Measurement, Memory
from llmbench.schema.run import EffectiveSettings, ModelCache, Pinning, WorkloadSettings


class Open(msgspec.Struct, tag="open"):
    """Load the model of a configuration; *context_tokens* is what it takes, ``None`` if unknown.

    *binding* says where this process was put. With *must_split*, tensor parallelism that splits nothing is refused.
    """

    config: RunConfig
    launch: int
    context_tokens: int | None = None
    binding: Binding = Binding()
    must_split: bool = False
    workload: WorkloadSettings = WorkloadSettings()


class Measure(msgspec.Struct, tag="measure"):
    """Measure one request: *prompt* is an index into the configuration's prompts."""

    prompt: int
    iteration: int
    is_warmup: bool


class Check(msgspec.Struct, tag="check"):
    """Say whether each of these configurations could be loaded here; nothing is."""

    configs: tuple[RunConfig, ...]


class Checked(msgspec.Struct, tag="checked"):
    """They all could."""


class Loaded(msgspec.Struct, tag="loaded"):
    """The model is loaded; *load_s* is read + compile.

    *versions* are those of the worker's own environment, which may be another than its parent's.
    """

    load_s: float
    memory: Memory
    effective: EffectiveSettings
    pinned: Pinning
    versions: dict[str, str] = {}
    model_cache: ModelCache | None = None


class Measured(msgspec.Struct, tag="measured"):
    """A request was measured."""

    measurement: Measurement


class Refused(msgspec.Struct, tag="refused"):
    """A deliberate error, with its exit code and hint."""

    exit_code: int
    message: str
    hint: str | None = None

    @classmethod
    def because(cls, error: LlmbenchError) -> "Refused":
        """The message that carries an error to another process."""
        return cls(exit_code=int(error.exit_code), message=error.message, hint=error.hint)

    @property
    def error(self) -> LlmbenchError:
        """The error that was carried here."""
        return error_from_code(self.exit_code, self.message, hint=self.hint)


WorkerCommand = Open | Measure | Check
Answer = Loaded | Measured | Checked
"""What follows from each command, if it is not refused."""

COMMANDS: msgspec.json.Decoder[WorkerCommand] = msgspec.json.Decoder(WorkerCommand)
REPLIES: msgspec.json.Decoder[Answer | Refused] = msgspec.json.Decoder(Answer | Refused)
