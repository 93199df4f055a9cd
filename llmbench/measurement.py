"""One request as it was observed: raw token events, nothing derived."""

import enum
from dataclasses import dataclass

from llmbench.errors import LaunchError
from llmbench.units import Nanoseconds


class Finish(enum.Enum):
    """Why a sequence ended."""

    LENGTH = "length"
    STOP = "stop"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenEvent:
    """*count* tokens became visible at *at_ns* (a speculative step may hold several)."""

    at_ns: Nanoseconds
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequence:
    """One sequence of a request: what went in, and when each of its tokens came out.

    ``at_ns`` has one instant a token event; ``counts`` its tokens, and is empty where each event held one.
    """

    input_tokens: int
    at_ns: tuple[Nanoseconds, ...]
    counts: tuple[int, ...] = ()
    token_ids: tuple[int, ...] = ()
    text: str | None = None
    finish: Finish = Finish.LENGTH

    def __post_init__(self) -> None:
        if self.counts and len(self.counts) != len(self.at_ns):
            raise LaunchError(f"{len(self.at_ns)} token events but {len(self.counts)} counts")
        if any(later < earlier for earlier, later in zip(self.at_ns, self.at_ns[1:], strict=False)):
            raise LaunchError(
                "token times run backwards", hint="were two clocks mixed? Please report it with the run file."
            )

    @property
    def events(self) -> tuple[TokenEvent, ...]:
        """The token events, first to last."""
        counts = self.counts or (1,) * len(self.at_ns)
        return tuple(
            TokenEvent(at_ns=at, count=count) for at, count in zip(self.at_ns, counts, strict=True)
        )

    @property
    def output_tokens(self) -> int:
        """Tokens of this sequence."""
        return sum(self.counts) if self.counts else len(self.at_ns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What else happened on the machine during one request; decides validity, never the latency itself.

    CPU times are seconds summed over the CPUs the worker may use. *foreign_s* is the time those CPUs
    were busy with anything but the worker, time stolen by a hypervisor included.
    """

    wall_s: float
    cpus: int
    own_s: float
    foreign_s: float
    suspended_s: float = 0.0
    throttle_events: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """The worker's own memory in bytes: ``VmRSS`` at the start and ``VmHWM``, reset before each phase.

    *system_bytes* is what the whole machine had in use (total − available) when the phase ended.
    """

    initial_bytes: int
    peak_bytes: int
    initial_system_bytes: int
    system_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One request for one prompt (or one batch of prompts) in one iteration of one launch.

    *start_ns* is the instant the token ids were handed to the engine, *end_ns* when its call returned; both on
    the clock of ``time.perf_counter_ns``. *infer_ns* are the engine's forward passes alone, first to last;
    empty where the backend cannot see them. *suspicions* are what the worker itself found wrong.
    *has_token_times* is false where a report that was imported told the first and the last instant only.
    """

    launch: int
    iteration: int
    prompt: int
    is_warmup: bool
    start_ns: Nanoseconds
    end_ns: Nanoseconds
    started_at: str
    ended_at: str
    asked_tokens: int
    sequences: tuple[Sequence, ...]
    infer_ns: tuple[int, ...] = ()
    tokenize_ns: int | None = None
    detokenize_ns: int | None = None
    conditions: Conditions | None = None
    memory: Memory | None = None
    suspicions: tuple[str, ...] = ()
    has_token_times: bool = True

    @property
    def longest(self) -> Sequence:
        """The sequence a person waits longest for: the last to end."""
        return max(self.sequences, key=lambda s: (s.at_ns[-1] if s.at_ns else 0, s.output_tokens))

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
        return max(s.input_tokens for s in self.sequences)

    @property
    def batch_size(self) -> int:
        """Sequences in the request."""
        return len(self.sequences)
