"""Where the time of a pipeline's networks goes, by operation, beside what our clock has for each stage.

The engine's counters are averages over all inferences since compilation; each is multiplied by their number, and the
warm-up's part is taken off.
"""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from llmbench.analysis.profile import PassProfile
from llmbench.engines.openvino import perf_counters
from llmbench.engines.openvino.pipeline import CompiledStage, PipelineEngine, PipelineSession
from llmbench.runner.profile import CounterReading, pass_profile, profile_pinned
from llmbench.schema.config import RunConfig
from llmbench.schema.measurement import Stage
from llmbench.workloads.base import LaunchContext
from llmbench.workloads.pipeline import OpenPipeline

_ROUNDS, _WARMUPS = 3, 2


class PipelineProfile(msgspec.Struct):
    """The networks of one prompt's request, by stage, each a pass of its own."""

    prompt: str
    stages: dict[str, PassProfile]


def profile_pipeline(config: RunConfig) -> PipelineProfile:
    """Return the profile of a pipeline's longest prompt; raise what `profile_pinned` does."""
    return profile_pinned(_profile, config)


def _profile(config: RunConfig) -> PipelineProfile:
    """Load the networks, run some requests, and read their counters."""
    engine = PipelineEngine()
    engine.check(config)
    session = engine.open(config)
    longest = max(range(len(config.prompts)), key=lambda index: len(config.prompts[index].text or ""))
    with tempfile.TemporaryDirectory() as folder:
        work = OpenPipeline(
            config, session, LaunchContext(index=0, beat=lambda *_: None, folder=Path(folder))
        )
        calls = [_run(work, longest) for _ in range(_WARMUPS)]
        before = _read(session, calls)
        calls += [_run(work, longest) for _ in range(_ROUNDS)]
        after = _read(session, calls)
    found = {}
    for name in session.compiled:
        wall_ns = sum(stage.duration_ns for each in calls[_WARMUPS:] for stage in each if stage.name == name)
        found[name] = pass_profile([(before[name], after[name])], wall_ns, passes=_ROUNDS)
    return PipelineProfile(prompt=config.prompts[longest].label, stages=found)


def _run(work: OpenPipeline, prompt: int) -> tuple[Stage, ...]:
    """One request's calls of its stages."""
    request = work.prepare(prompt, 0)
    request.run()
    return request.observe().stages


def _read(session: PipelineSession, requests: Sequence[Sequence[Stage]]) -> Mapping[str, CounterReading]:
    """The counters of each stage now, as seconds in all."""
    return {name: _reading(stage, name, requests) for name, stage in session.compiled.items()}


def _reading(stage: CompiledStage, name: str, requests: Sequence[Sequence[Stage]]) -> CounterReading:
    count = sum(call.name == name for calls in requests for call in calls)
    found = perf_counters.operations(stage.request)
    return {each.name: (each, each.seconds * count) for each in found}
