"""One request as it was observed: raw instants, stages, token timeline and outputs; nothing derived."""

import dataclasses
import enum
import math
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, TypeVar

import msgspec

from llmbench.errors import LaunchError
from llmbench.schema.units import Count, Index, Instant, Joules, Nanoseconds, Seconds

WORKED_SHARE = 0.25
"""A socket that was busy for less of the time did not do its part of a split."""

IDLE_SHARE = 0.05
"""A socket with less of the worker's CPU time has none of its threads, whoever else kept it busy."""


class Finish(enum.Enum):
    """Why a sequence ended."""

    LENGTH = "length"
    STOP = "stop"


class _Struct(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a line of a run file has many of: it is decoded in two thirds of the time of a dataclass, has no cycles."""

    __dataclass_fields__: ClassVar[dict[str, "dataclasses.Field[Any]"]] = {}


_Kind = TypeVar("_Kind", bound=_Struct)


def _like_a_dataclass(kind: type[_Kind]) -> type[_Kind]:
    """Let ``dataclasses.replace`` and ``fields`` take a struct for a dataclass."""
    fields = []
    for each in msgspec.structs.fields(kind):
        defaults = {"default": each.default, "default_factory": each.default_factory}
        known = {key: value for key, value in defaults.items() if value is not msgspec.NODEFAULT}
        fields.append((each.name, each.type, dataclasses.field(**known)))
    twin = dataclasses.make_dataclass(kind.__name__, fields, init=False, repr=False, eq=False, kw_only=True)
    kind.__dataclass_fields__ = twin.__dataclass_fields__  # type: ignore[attr-defined]
    return kind


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenEvent:
    """*count* tokens became visible at *at_ns* (a speculative step may hold several)."""

    at_ns: Nanoseconds
    count: int = 1


class Instants(array):  # type: ignore[type-arg]  # Python 3.11 knows no array[int]
    """Instants in 8 bytes each, where a tuple takes 40: ``Instants("q", at_ns)``; equal to a tuple of the same."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, array | tuple) and tuple(self) == tuple(other)

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(tuple(self))


@_like_a_dataclass
class Sequence(_Struct, frozen=True, kw_only=True):
    """One sequence of a request: what went in, and when each of its tokens came out.

    ``at_ns`` has one instant per token event; ``counts`` its tokens, and is empty where each event has one.
    *image_tokens* are those of the input that its images added, *image_slices* the parts that these were cut into by
    that number; ``None`` where no image went in, or the model does not report how many tokens each part has. *audio_s*
    is the duration of the sound that went in.
    """

    input_tokens: Index
    at_ns: tuple[Instant, ...]
    counts: tuple[Count, ...] = ()
    token_ids: tuple[int, ...] = ()
    text: str | None = None
    finish: Finish = Finish.LENGTH
    image_tokens: Index | None = None
    image_slices: Index | None = None
    audio_s: Seconds | None = None

    def __post_init__(self) -> None:
        if self.counts and len(self.counts) != len(self.at_ns):
            raise LaunchError(f"{len(self.at_ns)} token events but {len(self.counts)} counts")
        if sorted(self.at_ns) != list(self.at_ns):
            raise LaunchError(
                "token times run backwards", hint="were two clocks mixed? Please report it with the run file."
            )

    @property
    def events(self) -> tuple[TokenEvent, ...]:
        """The token events, first to last."""
        counts = self.counts or (1,) * len(self.at_ns)
        return tuple(TokenEvent(at_ns=at, count=count) for at, count in zip(self.at_ns, counts, strict=True))

    @property
    def output_tokens(self) -> int:
        """Tokens of this sequence."""
        return sum(self.counts) if self.counts else len(self.at_ns)


class StageSource(enum.Enum):
    """Who timed a stage: this program's clock, or the engine's own report."""

    CLOCK = "clock"
    ENGINE = "engine"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A named, timed part of a request, such as a vision encoder or a retrieval; stages do not overlap.

    *at_ns* is when it began, on the clock of the measurement; ``None`` where the engine reports durations alone.
    *duration_ns* is the total of its *count* repetitions.
    """

    name: str
    duration_ns: Index
    at_ns: Instant | None = None
    count: Count = 1
    source: StageSource = StageSource.CLOCK


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """Something that a request produced, described and not included.

    *kind* is what it consists of: ``text`` (characters), ``ids`` (tokens or indices), ``audio`` (samples), ``frames``;
    *count* is how many. *audio_s* is the duration of audio, *sha256* the hash of the content, *ready_ns* when it was
    there, its first samples where it streams; ``None`` where it was not taken.
    """

    kind: str
    count: Index
    audio_s: Seconds | None = None
    sha256: str | None = None
    ready_ns: Instant | None = None


@_like_a_dataclass
class Conditions(_Struct, frozen=True, kw_only=True):
    """What else happened on the machine during one request; decides validity, never the latency itself.

    CPU times are seconds summed over the CPUs the worker may use. *worker_s* is the worker's own, *interference_s* the
    time those CPUs and second threads of their cores were busy with anything else, stolen time included.
    *clock_step_s* is how far the wall clock departed from the monotonic one, as when a virtual machine is halted;
    *changes* are sentences on settings of the machine and the process that were not as they should be.

    *cpu_quota* is the CPU quota that stopped the worker, in CPUs: in *throttled_periods* of *quota_periods*, for
    *throttled_s* seconds summed over CPUs (bandwidth control of control groups). *memory_limit_hits* is how often an
    allocation met a memory limit of the control groups, *memory_stall_s* the time in which a task of the innermost
    group for which it is known (of the machine, where no group reports it) waited for memory, *major_faults* the
    worker's pages read from disk or swap, *stops* how often a signal stopped the worker. ``None`` where it was not
    recorded or the kernel does not report it.

    *frozen_s* is how long the control group of the worker was frozen (``docker pause``), where the kernel counts it.
    *outside_s* is the time that CPUs were busy which the worker may not use and which are on no core of those that it
    may; ``None`` where there are none.

    Of *interference_s* a hypervisor took *steal_s*; *programs* has the CPU time of other programs that took most, by
    name, as read before and after the request.
    """

    wall_s: Seconds
    cpus: Count
    worker_s: Seconds
    interference_s: Seconds
    suspended_s: float = 0.0
    throttle_events: int = 0
    clock_step_s: float = 0.0
    changes: tuple[str, ...] = ()
    cpu_quota: float | None = None
    quota_periods: Index | None = None
    throttled_periods: Index | None = None
    throttled_s: Seconds | None = None
    memory_limit_hits: Index | None = None
    memory_stall_s: Seconds | None = None
    major_faults: Index | None = None
    stops: Index | None = None
    frozen_s: Seconds | None = None
    outside_s: Seconds | None = None
    steal_s: Seconds | None = None
    programs: Mapping[str, Seconds] = msgspec.field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketWork:
    """What one socket did during a request; times are CPU seconds.

    *cpus* are those of the socket that the worker may use, and *busy_s* their time for any process. *threads* are
    the worker's threads last seen here, *thread_s* is their time, and *unmigrated_s* that of the threads among them
    that never migrated, so surely spent here. *expected_cpus* is how many CPUs the engine's threads can fill.
    """

    socket: int
    cpus: int
    expected_cpus: Count
    busy_s: Seconds
    thread_s: Seconds = 0.0
    unmigrated_s: Seconds = 0.0
    threads: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where the worker's threads and pages really were during a request of *wall_s* seconds.

    *worker_s* is the CPU time of the whole worker. *migrations* counts moves between CPUs, ``None`` on a kernel that
    does not. *pages* has the bytes on each NUMA node at the end, and is empty where they were not read.
    """

    wall_s: Seconds
    worker_s: Seconds
    sockets: tuple[SocketWork, ...]
    migrations: int | None = None
    pages: Mapping[int, int] = field(default_factory=dict)

    def least_s(self, work: SocketWork) -> float:
        """CPU seconds that the worker spent on a socket, at least.

        Threads may move, so whose time it was is not known socket by socket: what others used on all of them is
        taken off each, and threads that did not move make up for it.
        """
        interference_s = max(0.0, sum(s.busy_s for s in self.sockets) - self.worker_s)
        return max(work.busy_s - interference_s, work.unmigrated_s)

    def most_s(self, work: SocketWork) -> float:
        """CPU seconds that the worker spent on a socket, at most: what the others' still threads leave."""
        elsewhere_s = sum(s.unmigrated_s for s in self.sockets if s.socket != work.socket)
        return max(0.0, min(work.busy_s, self.worker_s - elsewhere_s))

    def share(self, work: SocketWork) -> float:
        """How busy the worker kept a socket, at least, of what its threads could fill: 0.5 is half of the time."""
        return self.least_s(work) / (work.expected_cpus * self.wall_s)

    @property
    def worked(self) -> tuple[int, ...]:
        """The sockets that worked: busy with the worker for at least a quarter of the time."""
        return tuple(s.socket for s in self.sockets if self.least_s(s) >= self._bar_s(s))

    @property
    def idle(self) -> tuple[int, ...]:
        """The sockets that surely did not work.

        They had the time to, or hardly any of the worker's time was theirs. Beside other busy processes a socket may be
        neither here nor in *worked*.
        """
        return tuple(work.socket for work in self.sockets if self._is_idle(work))

    def _is_idle(self, work: SocketWork) -> bool:
        """Whether a socket did less than its part, and not because other processes used its time."""
        most_s, bar_s = self.most_s(work), self._bar_s(work)
        free_s = work.cpus * self.wall_s - work.busy_s
        return most_s < bar_s and (most_s + free_s >= bar_s or most_s < IDLE_SHARE * self.worker_s)

    def _bar_s(self, work: SocketWork) -> float:
        """CPU seconds from which on a socket has worked."""
        return WORKED_SHARE * work.expected_cpus * self.wall_s


def total_placement(placements: Iterable[Placement]) -> Placement | None:
    """Several requests of one launch as one, with the pages of the last that read them; ``None`` of none.

    A request shorter than a few ticks of the kernel's clock says little, all of them together say enough.
    """
    found = tuple(placements)
    if not found:
        return None
    moves = [one.migrations for one in found if one.migrations is not None]
    return Placement(
        wall_s=sum(one.wall_s for one in found),
        worker_s=sum(one.worker_s for one in found),
        sockets=tuple(_joined(works) for works in zip(*(one.sockets for one in found), strict=True)),
        migrations=sum(moves) if len(moves) == len(found) else None,
        pages=next((one.pages for one in reversed(found) if one.pages), {}),
    )


def _joined(works: tuple[SocketWork, ...]) -> SocketWork:
    return replace(
        works[-1],
        busy_s=sum(work.busy_s for work in works),
        thread_s=sum(work.thread_s for work in works),
        unmigrated_s=sum(work.unmigrated_s for work in works),
        threads=max(work.threads for work in works),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """The worker's own memory in bytes: ``VmRSS`` at the start and ``VmHWM``, reset before each phase.

    *system_bytes* is what the whole machine had in use (total less available) when the phase ended. *stages* has the
    most that was resident during each stage, and is empty where the stages were not watched.
    """

    initial_bytes: int
    peak_bytes: int
    initial_system_bytes: int
    system_bytes: int
    stages: Mapping[str, int] = field(default_factory=dict)


_NO_TOKENS = Sequence(input_tokens=0, at_ns=())


@_like_a_dataclass
class Measurement(_Struct, frozen=True, kw_only=True):
    """One request for one prompt (or one batch of prompts) in one iteration of one launch.

    *start_ns* is the instant the inputs were handed to the engine, *end_ns* when its call returned; both on
    the clock of ``time.perf_counter_ns``, which all processes of one machine share: requests whose intervals overlap
    were in flight at once. *stages* are its timed parts. *sequences* are the token timeline, empty where the workload
    has none. *outputs* describe what was produced, *scores* are named figures of its quality, *token_scores* such
    figures for each token of a text that was read.

    *image_decoding_ns* is the time from image files to pixels, before the request begins.

    *infer_ns* are the engine's forward passes alone, first to last; empty where the backend cannot see them.
    *callback_ns* are the instants at which a streamer was called; a call is not a token. *later_steps* counts the steps
    after the first where a step may give several tokens, and is ``None`` where each gives one. *suspicions* are what
    the worker itself found wrong. *energy_j* is what all CPU packages took meanwhile, other processes included;
    ``None`` where that cannot be read. *has_token_times* is false where an imported report recorded the first and the
    last instant only.

    Where requests are made by a schedule, *start_ns* is the instant at which this one was due, and *sent_ns* the one at
    which it was really sent. *error* is what kept it from being completed, in one word; ``None`` where it was.
    """

    launch: Index
    iteration: Index
    prompt: Index
    is_warmup: bool
    start_ns: Instant
    end_ns: Instant
    started_at: str
    ended_at: str
    requested_tokens: Index
    sequences: tuple[Sequence, ...] = ()
    stages: tuple[Stage, ...] = ()
    outputs: tuple[Artifact, ...] = ()
    scores: Mapping[str, float] = msgspec.field(default_factory=dict)
    token_scores: Mapping[str, tuple[float, ...]] = msgspec.field(default_factory=dict)
    infer_ns: tuple[Index, ...] = ()
    callback_ns: tuple[Instant, ...] = ()
    tokenize_ns: Index | None = None
    detokenize_ns: Index | None = None
    image_decoding_ns: Index | None = None
    conditions: Conditions | None = None
    memory: Memory | None = None
    placement: Placement | None = None
    energy_j: Joules | None = None
    later_steps: int | None = None
    suspicions: tuple[str, ...] = ()
    has_token_times: bool = True
    sent_ns: Instant | None = None
    error: str | None = None

    def __post_init__(self) -> None:
        if not (self.sequences or self.stages or self.outputs):
            raise LaunchError("a measurement without a token timeline, a stage or an output")
        if self.scores and not all(map(math.isfinite, self.scores.values())):
            raise LaunchError(f"a score is not a finite number: {dict(self.scores)}")

    @property
    def longest(self) -> Sequence:
        """The sequence a person waits longest for: the last to end; one without tokens where there is none."""
        if len(self.sequences) == 1:
            return self.sequences[0]
        return max(
            self.sequences,
            key=lambda s: (s.at_ns[-1] if s.at_ns else 0, s.output_tokens),
            default=_NO_TOKENS,
        )

    @property
    def events(self) -> tuple[TokenEvent, ...]:
        """Token events of the sequence that ends last."""
        return self.longest.events

    @property
    def output_tokens(self) -> int:
        """Tokens of the sequence that ends last."""
        return self.longest.output_tokens

    @property
    def input_tokens(self) -> int:
        """Tokens of the longest input of the request."""
        if len(self.sequences) == 1:
            return self.sequences[0].input_tokens
        return max((s.input_tokens for s in self.sequences), default=0)

    @property
    def audio_s(self) -> float | None:
        """Seconds of the sound that went in; ``None`` where none did."""
        if len(self.sequences) == 1:
            return self.sequences[0].audio_s or None
        return sum(each.audio_s or 0.0 for each in self.sequences) or None

    @property
    def batch_size(self) -> int:
        """Sequences in the request."""
        return len(self.sequences)
