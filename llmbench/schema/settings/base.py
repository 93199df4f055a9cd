"""What a row of the settings is: an option, its field in the run file, and how the two correspond."""

import enum
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass


class ValueKind(enum.Enum):
    """What the values of an option look like."""

    TEXT = enum.auto()
    DEVICE = enum.auto()
    CHOICE = enum.auto()
    INTEGER = enum.auto()
    NUMBER = enum.auto()
    FLAG = enum.auto()
    NEGATED_FLAG = enum.auto()
    """Given, it sets its field to false."""
    OPTIONAL_TEXT = enum.auto()
    """A value that may be left out, which stands for the first choice."""
    TEXTS = enum.auto()
    """One value each time the option is given."""
    NUMBERS = enum.auto()
    """As `TEXTS`."""
    WORDS = enum.auto()
    """``pa,sdpa``."""
    INTEGERS = enum.auto()
    """``32,512``."""
    RATES = enum.auto()
    """``0.5,2``."""
    DURATION = enum.auto()
    """``90s``."""
    RANGES = enum.auto()
    """``0,2-3``."""
    PROPERTIES = enum.auto()
    """JSON text, a JSON file, or ``KEY=VALUE``; may be given several times."""


class Group(enum.Enum):
    """The sections of a command's help."""

    MODEL = "Model"
    PROMPTS = "Prompts"
    MEASUREMENT = "Measurement"
    PLACEMENT = "Sockets, threads and memory"
    OPENVINO = "OpenVINO"
    SAMPLING = "Sampling and beam search"
    SPECULATION = "Speculative decoding"
    ADAPTERS = "LoRA adapters"
    EMBEDDING = "Text embedding (-t text_embed)"
    SPEECH = "Speech (-t text_to_speech, -t speech_to_text)"
    TARGET = "Server"
    LOAD = "Load"
    RETRIEVAL = "Retrieval (-t rag)"
    RUN = "Run control"
    RESULTS = "Results"


@dataclass(frozen=True, slots=True)
class Setting:
    """One option: its *spellings*, and what it sets.

    It sets a *field* of `RunConfig`, an OpenVINO *key* among its properties, the engine that a value of it stands for
    (*engines*), or, where it belongs to some *tasks* only, the parameter of its own name; with none of them it says
    what the prompts are. *sweep* is how deeply its list is nested in a sweep (0 changes slowest), ``None`` where a
    list makes no sweep. *needs* names another parameter and the value of it without which this one means nothing.
    *least* is the smallest integer that is accepted.
    Help lists it in its *group*; without ``--help-all`` only if *is_common*.
    """

    spellings: str
    help: str
    _: KW_ONLY
    kind: ValueKind
    field: str | None = None
    key: str | None = None
    engines: Mapping[str | bool, str] | None = None
    tasks: tuple[str, ...] = ()
    needs: tuple[str, str] | None = None
    metavar: str | None = None
    choices: tuple[str, ...] = ()
    least: int = 0
    sweep: int | None = None
    group: Group
    is_common: bool = False

    @property
    def flags(self) -> tuple[str, ...]:
        """Its spellings; the first one is in a command to type next."""
        return tuple(self.spellings.split())

    @property
    def name(self) -> str:
        """Its name in recipes and parameters: the first long flag with underscores."""
        return next(flag for flag in self.flags if flag.startswith("--"))[2:].replace("-", "_")
