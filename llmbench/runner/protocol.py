"""What a process and its parent agree on: environment, death, how its end is named, a worker's messages and beats.

A message of a worker is one JSON line; a reply follows each command. Steps of a conversion share the rest.
"""

import ctypes
import mmap
import os
import signal
import struct
from typing import Self

import msgspec

from llmbench.errors import ExitCode, LlmbenchError, error_from_code
from llmbench.machine.affinity import Binding
from llmbench.schema.config import RunConfig
from llmbench.schema.load import LoadWindow
from llmbench.schema.measurement import Measurement, Memory
from llmbench.schema.run import EffectiveSettings, ModelCache, Pinning, WorkloadSettings

OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
"""Variables that keep Hugging Face's libraries from the network."""

WITHOUT_TELEMETRY = {"HF_HUB_DISABLE_TELEMETRY": "1", "NNCF_CI": "1"}
"""Variables that keep libraries from reporting home."""

_PR_SET_PDEATHSIG = 1  # prctl(2)
_LAYOUT = struct.Struct("=QQ")


class Open(msgspec.Struct, tag="open"):
    """Load the model of a configuration; *context_tokens* is what it takes, ``None`` if unknown.

    *binding* says where this process was put. With *must_split*, tensor parallelism that splits nothing is refused.
    What requests produce is written into *folder*. *settings* are those of machine and process when the run began,
    which all launches share.
    """

    config: RunConfig
    launch: int
    context_tokens: int | None = None
    binding: Binding = Binding()
    must_split: bool = False
    workload: WorkloadSettings = WorkloadSettings()
    folder: str = "reports"
    settings: dict[str, str] = {}


class Measure(msgspec.Struct, tag="measure"):
    """Measure one request: *prompt* is an index into the configuration's prompts."""

    prompt: int
    iteration: int
    is_warmup: bool


class Next(msgspec.Struct, tag="next"):
    """Report the next request that has ended, where several are in flight at once; the first begins the load."""


class Check(msgspec.Struct, tag="check"):
    """Report whether each of these could be loaded here; nothing is."""

    loads: tuple[Open, ...]


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


class AllMeasured(msgspec.Struct, tag="all measured"):
    """No request is left of the load; *window* is what all had in common."""

    window: LoadWindow


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


WorkerCommand = Open | Measure | Next | Check
Response = Loaded | Measured | AllMeasured | Checked
"""What follows from each command, if it is not refused."""

COMMAND_DECODER: msgspec.json.Decoder[WorkerCommand] = msgspec.json.Decoder(WorkerCommand)
RESPONSE_DECODER: msgspec.json.Decoder[Response | Refused] = msgspec.json.Decoder(Response | Refused)


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when the thread that started it ends; *parent* is that one's process."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the line above
        os._exit(int(ExitCode.BUG))


def signal_name(code: int) -> str | None:
    """The signal that ended a process with this return code; ``None`` where it ended by itself."""
    return signal.Signals(-code).name if code < 0 else None


class Heartbeat:
    """The tokens of the request under way, and when the last came on the clock of ``time.perf_counter_ns``.

    Two numbers in memory that a worker and its parent share. An engine that sees its tokens as they come beats once per
    token, which costs a fraction of a microsecond and wakes nobody; the parent looks only when a wait lasts too long.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._memory = mmap.mmap(descriptor, _LAYOUT.size)

    @classmethod
    def create(cls) -> Self:
        """Return a new pair of numbers in a nameless file, whose descriptor a worker may be handed."""
        descriptor = os.memfd_create("llmbench-heartbeat")
        os.ftruncate(descriptor, _LAYOUT.size)
        return cls(descriptor)

    def beat(self, tokens: int, at_ns: int) -> None:
        """Report that *tokens* have come, the last at *at_ns*; none yet is the start of the generation."""
        _LAYOUT.pack_into(self._memory, 0, at_ns, tokens)

    def clear(self) -> None:
        """Forget the request before."""
        self.beat(0, 0)

    def last(self) -> tuple[int, int] | None:
        """Return tokens and instant of the last beat; ``None`` where the engine has reported none of this request."""
        at_ns, tokens = _LAYOUT.unpack_from(self._memory)
        return (tokens, at_ns) if at_ns else None

    def close(self) -> None:
        """Let go of the memory."""
        self._memory.close()
        os.close(self.descriptor)
