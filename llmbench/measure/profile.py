"""Where the time of the first and of the next tokens goes, by operation, and what a second socket could bring.

The engine's counters are averages over all inferences since compilation. Times of the first token come from requests
of one token, those of the next tokens from what longer requests add after their first: differences of averages, each
times its count.
"""

import collections
import dataclasses
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from llmbench.engines.base import EngineRequest, Generation
from llmbench.engines.openvino import core, perf_counters
from llmbench.engines.openvino.perf_counters import Operation
from llmbench.measure import pinning, step
from llmbench.schema.config import RunConfig
from llmbench.schema.units import NS_PER_S
from llmbench.workloads.text import Inputs

SPLIT_KIND = "FullyConnected"
"""The operation that tensor parallelism splits; the plug-in names its variants with this beginning."""

ATTENTION = ("ScaledDotProductAttention", "PagedAttention", "Softmax", "SoftMax", "MHA")
"""Beginnings of the names of operations that are attention, or what is left of it where it was not recognised."""

SUM_TOLERANCE = 0.1
"""Operations that add up to this much less or more than the wall time do not tell all of it."""

_MODEL = "openvino_model.xml"
_ROUNDS = 3
_WARMUP_TOKENS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class PassProfile:
    """One forward pass of the first token, or of a next one: seconds by kind of operation, and by the code that ran.

    *wall_s* is what the whole pass took on the clock.
    """

    wall_s: float
    kinds: Mapping[str, float]
    primitives: Mapping[str, float] = field(default_factory=dict)

    @property
    def sum_s(self) -> float:
        """Seconds of all operations together."""
        return sum(self.kinds.values())

    @property
    def is_whole(self) -> bool:
        """Whether the operations add up to the wall time, within a tenth."""
        return abs(self.sum_s - self.wall_s) <= SUM_TOLERANCE * self.wall_s

    @property
    def split_share(self) -> float:
        """The share of the operations' time that tensor parallelism can split."""
        return self._split_s / self.sum_s if self.sum_s else 0.0

    @property
    def _split_s(self) -> float:
        """Seconds of the operations that are split."""
        return sum(seconds for kind, seconds in self.kinds.items() if kind.startswith(SPLIT_KIND))

    def bound(self, sockets: int = 2) -> float:
        """The most that so many sockets can speed it up where only those operations are split (Amdahl, AFIPS 1967).

        What the wall time has beyond the operations is not split either.
        """
        whole_s = max(self.wall_s, self.sum_s)
        return whole_s / (whole_s - self._split_s * (1 - 1 / sockets)) if whole_s else 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelProfile:
    """A model profiled: both phases, what was made of its attention, and the precisions and threads in force.

    *counts* has how many operations of each kind were executed, *attention* those of `ATTENTION` in the model as it is
    on disk and in the executable graph.
    """

    first: PassProfile
    next: PassProfile
    counts: Mapping[str, int]
    attention: Mapping[str, Mapping[str, int]]
    constant_bytes: Mapping[str, int]
    properties: Mapping[str, str]
    input_tokens: int
    output_tokens: int

    @property
    def is_attention_found(self) -> bool:
        """Whether the model has attention as one operation."""
        return any(kind.startswith(ATTENTION[0]) for kind in self.attention["model"])

    @property
    def is_cache_fused(self) -> bool:
        """Whether the executable graph has attention in one operation with its KV cache."""
        return any("KVCache" in kind for kind in self.attention["executed"])


class ProfileRequest(msgspec.Struct):
    """The configuration to profile; its first prompt and its output tokens are taken."""

    config: RunConfig


def profile(config: RunConfig) -> ModelProfile:
    """The profile of a configuration of the engine ``core``, made in a process of its own, held where it asks to be.

    Raises LaunchError where that process ends without an answer, and what `place.find` and the engine refuse.
    """
    prefix = pinning.find_placement(config).binding.prefix
    with tempfile.TemporaryDirectory(prefix="llmbench-") as folder:
        return step.run_step(
            __name__,
            ProfileRequest(config=config),
            ModelProfile,
            folder=Path(folder),
            is_online=False,
            report=lambda _: None,
            work="profile",
            prefix=prefix,
        )


REQUESTS = ProfileRequest
"""What the child can be asked."""


def do(asked: ProfileRequest) -> ModelProfile:
    """Load the model with counters, run it, and read them."""
    config = dataclasses.replace(asked.config, properties={**asked.config.properties, "PERF_COUNT": True})
    engine = core.CoreEngine()
    engine.check(config)
    source = perf_counters.read_graph_source(str(Path(config.model) / _MODEL))
    session = engine.open(config)
    counters = _Counters(session, Inputs(config, session))
    counters.run(_WARMUP_TOKENS)
    first = counters.first(_ROUNDS)
    later = counters.later(_ROUNDS, config.output_tokens)
    executed = collections.Counter(each.kind for each in perf_counters.operations(session.request))
    return ModelProfile(
        first=first,
        next=later,
        counts=executed,
        attention={"model": _attention(source.kinds), "executed": _attention(executed)},
        constant_bytes=source.constant_bytes,
        properties=session.in_force.properties,
        input_tokens=counters.input_tokens,
        output_tokens=config.output_tokens,
    )


def _attention(kinds: Mapping[str, int]) -> dict[str, int]:
    """Those kinds that are attention."""
    return {kind: count for kind, count in kinds.items() if kind.startswith(ATTENTION)}


class _Counters:
    """A session with counters, run request after request; each is a variant of its own of the first prompt."""

    def __init__(self, session: core.CoreSession, inputs: Inputs) -> None:
        self.input_tokens = inputs.lengths[0]
        self._session = session
        self._inputs = inputs
        self._requests = 0
        self._inferences = 0

    def run(self, tokens: int, beat: Callable[[int, int], None] | None = None) -> Generation:
        """One request of so many output tokens."""
        ids = self._inputs.of(0, self._requests)
        generation = self._session.generate(EngineRequest(input_ids=ids, output_tokens=tokens, beat=beat))
        self._requests += 1
        self._inferences += len(generation.infer_ns)
        return generation

    def first(self, rounds: int) -> PassProfile:
        """The pass of a first token: the mean of some requests of one token."""
        before = self._read(self._inferences)
        wall_ns = sum(sum(self.run(1).infer_ns) for _ in range(rounds))
        return _phase([(before, self._read(self._inferences))], wall_ns, passes=rounds)

    def later(self, rounds: int, tokens: int) -> PassProfile:
        """The pass of a next token: the mean over some requests of what follows their first."""
        spans: list[tuple[_Reading, _Reading]] = []
        wall_ns = 0
        for _ in range(rounds):
            seen: list[_Reading] = []

            def read_after_first(count: int, _at_ns: int, seen: list[_Reading] = seen) -> None:
                if count == 1:
                    seen.append(self._read(self._inferences + 1))

            wall_ns += sum(self.run(tokens, read_after_first).infer_ns[1:])
            spans.append((seen[0], self._read(self._inferences)))
        return _phase(spans, wall_ns, passes=rounds * (tokens - 1))

    def _read(self, inferences: int) -> "_Reading":
        """The counters now, after so many inferences, as seconds in all."""
        found = perf_counters.operations(self._session.request)
        return {each.name: (each, each.seconds * inferences) for each in found}


_Reading = Mapping[str, tuple[Operation, float]]
"""Each operation by name, and its seconds since compilation."""


def _phase(spans: Sequence[tuple[_Reading, _Reading]], wall_ns: int, *, passes: int) -> PassProfile:
    """One pass of several, from the counters before and after them."""
    kinds: dict[str, float] = collections.defaultdict(float)
    primitives: dict[str, float] = collections.defaultdict(float)
    for before, after in spans:
        for name, (operation, total_s) in after.items():
            spent_s = total_s - before[name][1] if name in before else total_s
            kinds[operation.kind] += spent_s / passes
            primitives[operation.primitive] += spent_s / passes
    return PassProfile(
        wall_s=wall_ns / NS_PER_S / passes, kinds=_most_first(kinds), primitives=_most_first(primitives)
    )


def _most_first(found: Mapping[str, float]) -> dict[str, float]:
    """Without what took no time, longest first."""
    ordered = sorted(found.items(), key=lambda item: -item[1])
    return {name: seconds for name, seconds in ordered if seconds > 0}
