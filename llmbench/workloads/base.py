"""What a workload must offer: three small Protocols, and the value that they hand over.

A workload is the kind of work that a request is. A new one is a module with a class that meets `Workload`, and its rows
in `schema.tasks`; the worker measures it as it measures text. Metrics need no list: one that a workload has nothing for
has no value.
"""

import dataclasses
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from llmbench.engines.base import Beat, Codec, EngineRequest, Generation, LoadedModel, Question
from llmbench.errors import InputError, LaunchError
from llmbench.schema.config import RunConfig
from llmbench.schema.load import LoadWindow
from llmbench.schema.measurement import Artifact, Conditions, Sequence, Stage
from llmbench.schema.run import Parameters, WorkloadSettings
from llmbench.schema.tasks import find_workload_info

_Made = TypeVar("_Made")


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What a workload observed of one request; the fields are those of a `Measurement`.

    *conditions* are reported only by an engine that simulates the machine, and then replace those that were measured. A
    result that is not complete has the reason among its *suspicions*: the measurement does not count.
    """

    start_ns: int
    end_ns: int
    requested_tokens: int = 0
    sequences: tuple[Sequence, ...] = ()
    stages: tuple[Stage, ...] = ()
    outputs: tuple[Artifact, ...] = ()
    scores: Mapping[str, float] = field(default_factory=dict)
    token_scores: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    infer_ns: tuple[int, ...] = ()
    callback_ns: tuple[int, ...] = ()
    later_steps: int | None = None
    tokenize_ns: int | None = None
    detokenize_ns: int | None = None
    image_decoding_ns: int | None = None
    suspicions: tuple[str, ...] = ()
    has_token_times: bool = True
    sent_ns: int | None = None
    error: str | None = None
    conditions: Conditions | None = None

    @classmethod
    def of(cls, made: Generation, **more: Any) -> "Observation":
        """Return what an engine observed, and what the workload knows beside it, or in its place."""
        names = ("start_ns", "end_ns", "sequences", "stages", "infer_ns", "callback_ns", "conditions")
        return cls(**({name: getattr(made, name) for name in names} | more))


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchContext:
    """The launch that a workload is opened for.

    *beat* reports progress to the watchdog, as in an `EngineRequest`; *note* adds a sentence to the launch's effective
    settings, while the workload is opened. *context_tokens* is the size of the model's context, ``None`` where that is
    not known. *parameters* are those of the workload's settings, defaults included. What requests produce, such as
    audio, is written into *folder*.
    """

    index: int
    beat: Beat
    context_tokens: int | None = None
    note: Callable[[str], object] = str
    parameters: Parameters = field(default_factory=dict)
    folder: Path = Path("reports")

    def request(
        self, config: RunConfig, input_ids: tuple[tuple[int, ...], ...], question: Question | None = None
    ) -> EngineRequest:
        """Return a request of the launch, of token ids or of a question in their place."""
        return EngineRequest(
            input_ids=input_ids,
            output_tokens=config.output_tokens,
            stop_at_eos=config.stop_at_eos,
            beat=self.beat,
            launch=self.index,
            question=question,
        )


class WorkloadRequest(Protocol):
    """One request, its inputs ready."""

    def run(self) -> None:
        """Hand the inputs to the engine and wait for the result: the timed region, and nothing else."""

    def observe(self) -> Observation:
        """Return what was observed; what takes time of its own, such as decoding or hashing, belongs here."""


@dataclass(slots=True)
class CalledRequest(Generic[_Made]):
    """A request whose timed region is one *call*; *read* makes the observation of what it returned."""

    call: Callable[[], _Made]
    read: Callable[[_Made], Observation]
    _made: _Made | None = None

    def run(self) -> None:
        """Make the call."""
        self._made = self.call()

    def observe(self) -> Observation:
        """Return what was observed; raise LaunchError where nothing ran."""
        if self._made is None:
            raise LaunchError("a request that did not run was observed")
        return self.read(self._made)


class OpenWorkload(Protocol):
    """The requests of one launch."""

    def prepare(self, prompt: int, iteration: int) -> WorkloadRequest:
        """Make the inputs of a request; *prompt* is an index into the configuration's prompts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """A request that was completed, or failed, among others in flight at once.

    *number* counts the requests of the launch from 0. One that is *unmeasured* is part of the load before or after the
    measured ones.
    """

    number: int
    prompt: int
    is_unmeasured: bool
    observation: Observation


class OpenLoad(Protocol):
    """The requests of one launch where several are in flight at once, made by a schedule of the workload's own."""

    def next(self) -> Completed | None:
        """Return the next request that has ended, in the order of their ends; ``None`` after the last.

        Requests begin with the first call, and go on whether their results are fetched or not.

        Raises:
            LaunchError: nothing more can be measured.
        """

    def finish(self) -> LoadWindow:
        """Let go of what was loaded; return what the requests had in common."""


class Workload(Protocol):
    """A kind of work."""

    @property
    def settings(self) -> WorkloadSettings:
        """Its name, the defaults of its parameters, and the metrics that decide a comparison first."""

    def open(self, config: RunConfig, session: LoadedModel, launch: LaunchContext) -> OpenWorkload | OpenLoad:
        """Make ready for the requests of one launch; *session* is of the kind that the workload's engines load.

        Raises:
            InputError: the configuration or a parameter does not fit this workload or model.
        """

    def check(self, config: RunConfig, codec: Codec, context_tokens: int | None) -> None:
        """Refuse, before the model is loaded, what its tokenizer shows not to fit; nothing by default."""


def find_workload(kind: str) -> Workload:
    """Return a workload by its kind; raise InputError where there is none."""
    made: Workload = pkgutil.resolve_name(find_workload_info(kind).factory)()
    return made


def open_workload(
    settings: WorkloadSettings, config: RunConfig, session: LoadedModel, launch: LaunchContext
) -> OpenWorkload | OpenLoad:
    """Make a workload ready for one launch, its parameters completed; raise InputError for one it does not have."""
    workload = find_workload(settings.kind)
    known = workload.settings.parameters
    unknown = sorted(settings.parameters.keys() - known.keys())
    if unknown:
        raise InputError(
            f"{settings.kind} has no parameter {unknown[0]!r}", hint=f"choose of {', '.join(known) or 'none'}"
        )
    complete = {**known, **settings.parameters}
    return workload.open(config, session, dataclasses.replace(launch, parameters=complete))
