"""Where the time of the first and of the next tokens goes, by operation, and that of a pipeline's networks.

The engine's counters are averages over all inferences since compilation. Times of the first token come from requests
of one token, those of the next tokens from what longer requests add after their first: differences of averages, each
times its count. Of a pipeline each stage is a pass of its own, beside what our clock has for it.
"""

import collections
import dataclasses
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from llmbench.analysis.profile import ModelProfile, PartAttention, PassProfile
from llmbench.engines.base import Beat, EngineRequest, Generation, no_beat
from llmbench.engines.openvino import core, perf_counters
from llmbench.engines.openvino.attention import read_executed
from llmbench.engines.openvino.perf_counters import Operation
from llmbench.engines.openvino.pipeline import CompiledStage, PipelineEngine, PipelineSession
from llmbench.models.attention import LANGUAGE_MODEL, read_parts
from llmbench.runner import pinning
from llmbench.runner.step import StepProcess
from llmbench.schema.config import RunConfig
from llmbench.schema.measurement import Stage
from llmbench.schema.units import NS_PER_S
from llmbench.workloads.base import LaunchContext
from llmbench.workloads.pipeline import OpenPipeline
from llmbench.workloads.text import Inputs

_ROUNDS = 3
_WARMUP_TOKENS = 3
_WARMUP_REQUESTS = 2
_Profile = TypeVar("_Profile")


def profile(config: RunConfig) -> ModelProfile:
    """Return the profile of the first prompt of the engine ``core``; raise what `profile_pinned` does."""
    return profile_pinned(_profile, config)


def profile_pinned(do: Callable[[RunConfig], _Profile], config: RunConfig) -> _Profile:
    """Return what *do* profiles with counters in a process of its own, pinned where the configuration says.

    Raises LaunchError where that process ends without a result, and what pinning and the engine refuse.
    """
    prefix = pinning.find_placement(config).binding.prefix
    counted = dataclasses.replace(config, properties={**config.properties, "PERF_COUNT": True})
    with tempfile.TemporaryDirectory(prefix="llmbench-") as folder:
        step = StepProcess(folder=Path(folder), report=lambda _: None, work="profile", prefix=prefix)
        return step.run(do, counted)


def _profile(config: RunConfig) -> ModelProfile:
    """Load the model, run it, and read its counters."""
    engine = core.CoreEngine()
    engine.check(config)
    folder = Path(config.model)
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
        attention=_attention(folder, session),
        constant_bytes=perf_counters.constant_bytes(session.source),
        properties=session.effective.properties,
        input_tokens=counters.input_tokens,
        output_tokens=config.output_tokens,
    )


def _attention(folder: Path, session: core.CoreSession) -> dict[str, PartAttention]:
    """Return what became of the attention of each part; the other parts are compiled to see it."""
    found = {}
    for title, (xml, fusion) in read_parts(folder).items():
        compiled = session.compiled if title == LANGUAGE_MODEL else core.compile_part(xml)
        executed = read_executed(compiled)
        found[title] = PartAttention(fusion=fusion, executed=executed.counts, fused=executed.fused)
    return found


class _Counters:
    """A session with counters, run request after request; each is a variant of its own of the first prompt."""

    def __init__(self, session: core.CoreSession, inputs: Inputs) -> None:
        self.input_tokens = inputs.lengths[0]
        self._session = session
        self._inputs = inputs
        self._requests = 0
        self._inferences = 0

    def run(self, tokens: int, beat: Beat = no_beat) -> Generation:
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
        return pass_profile([(before, self._read(self._inferences))], wall_ns, passes=rounds)

    def later(self, rounds: int, tokens: int) -> PassProfile:
        """The pass of a next token: the mean over some requests of what follows their first."""
        spans: list[tuple[CounterReading, CounterReading]] = []
        wall_ns = 0
        for _ in range(rounds):
            seen: list[CounterReading] = []

            def read_after_first(count: int, _at_ns: int, seen: list[CounterReading] = seen) -> None:
                if count == 1:
                    seen.append(self._read(self._inferences + 1))

            wall_ns += sum(self.run(tokens, read_after_first).infer_ns[1:])
            spans.append((seen[0], self._read(self._inferences)))
        return pass_profile(spans, wall_ns, passes=rounds * (tokens - 1))

    def _read(self, inferences: int) -> "CounterReading":
        """The counters now, after this many inferences, as seconds in all."""
        found = perf_counters.operations(self._session.request)
        return {each.name: (each, each.seconds * inferences) for each in found}


CounterReading = Mapping[str, tuple[Operation, float]]
"""Each operation by name, and its seconds since compilation."""


def pass_profile(
    spans: Sequence[tuple[CounterReading, CounterReading]], wall_ns: int, *, passes: int
) -> PassProfile:
    """Return one pass of several, from the counters before and after them."""
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
    ordered = sorted(found.items(), key=lambda item: -item[1])
    return {name: seconds for name, seconds in ordered if seconds > 0}


class PipelineProfile(msgspec.Struct):
    """The networks of one prompt's request, by stage, each a pass of its own."""

    prompt: str
    stages: dict[str, PassProfile]


def profile_pipeline(config: RunConfig) -> PipelineProfile:
    """Return the profile of a pipeline's longest prompt; raise what `profile_pinned` does."""
    return profile_pinned(_profile_networks, config)


def _profile_networks(config: RunConfig) -> PipelineProfile:
    """Load the networks, run some requests, and read their counters."""
    engine = PipelineEngine()
    engine.check(config)
    session = engine.open(config)
    longest = max(range(len(config.prompts)), key=lambda index: len(config.prompts[index].text or ""))
    with tempfile.TemporaryDirectory() as folder:
        work = OpenPipeline(config, session, LaunchContext(index=0, beat=no_beat, folder=Path(folder)))
        calls = [_run_once(work, longest) for _ in range(_WARMUP_REQUESTS)]
        before = _read_stages(session, calls)
        calls += [_run_once(work, longest) for _ in range(_ROUNDS)]
        after = _read_stages(session, calls)
    found = {}
    for name in session.compiled:
        wall_ns = sum(
            stage.duration_ns for each in calls[_WARMUP_REQUESTS:] for stage in each if stage.name == name
        )
        found[name] = pass_profile([(before[name], after[name])], wall_ns, passes=_ROUNDS)
    return PipelineProfile(prompt=config.prompts[longest].label, stages=found)


def _run_once(work: OpenPipeline, prompt: int) -> tuple[Stage, ...]:
    """One request's calls of its stages."""
    request = work.prepare(prompt, 0)
    request.run()
    return request.observe().stages


def _read_stages(
    session: PipelineSession, requests: Sequence[Sequence[Stage]]
) -> Mapping[str, CounterReading]:
    """The counters of each stage now, as seconds in all."""
    return {name: _reading(stage, name, requests) for name, stage in session.compiled.items()}


def _reading(stage: CompiledStage, name: str, requests: Sequence[Sequence[Stage]]) -> CounterReading:
    count = sum(call.name == name for calls in requests for call in calls)
    found = perf_counters.operations(stage.request)
    return {each.name: (each, each.seconds * count) for each in found}
