"""Runs and comparisons built by hand, for tests of what is made of them."""

import dataclasses
from collections.abc import Iterable, Mapping
from collections.abc import Sequence as Values

from llmbench.analysis import speedup
from llmbench.analysis.comparison.compare import Comparison, compare
from llmbench.analysis.comparison.rule import COMPARED
from llmbench.analysis.report import summarize_run
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.measurement import Conditions, Measurement, Memory, Sequence, Stage, StageSource
from llmbench.schema.run import (
    Cpu,
    EffectiveSettings,
    Environment,
    Launch,
    Outcome,
    Provenance,
    Run,
    Topology,
    WorkloadSettings,
)
from llmbench.schema.units import NS_PER_MS, ns_from_ms


def request_of(
    *sequences: Values[float],
    counts: tuple[int, ...] = (),
    infer_ms: Values[float] = (),
    input_tokens: int = 32,
    **fields: object,
) -> Measurement:
    """A request that starts at 1,000 ms; each sequence lists its instants in ms after that."""
    values: dict[str, object] = {
        "launch": 0,
        "iteration": 1,
        "prompt": 0,
        "is_warmup": False,
        "start_ns": ns_from_ms(1000),
        "end_ns": ns_from_ms(1000 + max((at[-1] for at in sequences if at), default=0)),
        "started_at": "2026-01-02T03:04:05.000006",
        "ended_at": "2026-01-02T03:04:06.000007",
        "requested_tokens": max((len(at) for at in sequences), default=0),
        "sequences": tuple(
            Sequence(
                input_tokens=input_tokens,
                at_ns=tuple(ns_from_ms(1000 + ms) for ms in at),
                counts=counts,
                text="some text",
            )
            for at in sequences
        ),
        "infer_ns": tuple(round(ms * NS_PER_MS) for ms in infer_ms),
    }
    return Measurement(**(values | fields))  # type: ignore[arg-type]


def launch_of(measurements: Iterable[Measurement] = (), *, index: int = 0, **fields: object) -> Launch:
    """A finished launch that loaded in two seconds."""
    values: dict[str, object] = {
        "index": index,
        "cell": 0,
        "started_at": "2026-01-02T03:04:00",
        "load_s": 2.0,
        "outcome": Outcome.FINISHED,
        "measurements": tuple(measurements),
    }
    return Launch(**(values | fields))  # type: ignore[arg-type]


ENVIRONMENT = Environment(
    cpu_model="Example CPU 9000",
    topology=Topology(
        cpus=(Cpu(number=0, socket=0, core=0, node=0), Cpu(number=1, socket=0, core=1, node=0)),
        allowed=(0, 1),
    ),
    memory_bytes=24 << 30,
    kernel="6.1.0",
    versions={"openvino": "2026.4.1", "llmbench": "0.1.0"},
    variables={},
    governor="performance",
)


def run_of(launches: Iterable[Launch] = (), **fields: object) -> Run:
    """A complete run of one cell with one prompt."""
    values: dict[str, object] = {
        "id": "20260102T030400Z-model-abc123",
        "started_at": "2026-01-02T03:04:00+00:00",
        "version": "0.1.0",
        "cells": (
            RunConfig(
                model="models/tiny", prompts=(Prompt(set="short", index=0, text="Hello"),), output_tokens=4
            ),
        ),
        "environment": ENVIRONMENT,
        "provenance": Provenance(path="models/tiny", known=True, source="hub", source_id="example/tiny"),
        "launches": tuple(launches),
        "is_complete": True,
    }
    return Run(**(values | fields))  # type: ignore[arg-type]


MIB = 1 << 20


def _request(launch: int, iteration: int, prompt: int, ms: float) -> Measurement:
    """A request of the story: first token after *ms*, a second that is slower, and two more of 10 ms."""
    return request_of(
        [ms, ms + 15, ms + 25, ms + 35],
        infer_ms=[ms - 1, 14, 9, 9],
        input_tokens=(32, 512)[prompt],
        launch=launch,
        iteration=iteration,
        prompt=prompt,
        is_warmup=iteration == 0,
        tokenize_ns=1_000_000,
        detokenize_ns=500_000,
        started_at=f"2026-01-02T03:0{launch}:{iteration:02d}.{prompt}00000",
        ended_at=f"2026-01-02T03:0{launch}:{iteration:02d}.{prompt}50000",
        memory=Memory(
            initial_bytes=100 * MIB,
            peak_bytes=150 * MIB,
            initial_system_bytes=1000 * MIB,
            system_bytes=1100 * MIB,
        ),
        conditions=Conditions(wall_s=1.0, cpus=2, worker_s=1.0, interference_s=0.0),
    )


def story_of(factor: float = 1.0, *, launches: int = 2, noise: Values[float] = (1.0, 1.02, 0.99)) -> Run:
    """Two prompts, a warm-up and two iterations a launch; first tokens of 100 and 400 ms times *factor*.

    Launches differ by *noise*. Every latency of the second request of launch 1 was spoilt by a neighbour.
    """
    config = RunConfig(
        model="models/tiny/pytorch/dldt/INT8",
        prompts=(
            Prompt(set="ladder", index=0, tokens=32),
            Prompt(set="ladder", index=1, tokens=512),
        ),
        properties={"NUM_STREAMS": 1},
        output_tokens=4,
        iterations=2,
        launches=launches,
    )
    made = []
    for index in range(launches):
        scale = factor * noise[index % len(noise)]
        requests = [
            _request(index, iteration, prompt, (100, 400)[prompt] * scale * (3 if iteration == 0 else 1))
            for iteration in range(3)
            for prompt in range(2)
        ]
        if index == 1:
            noisy = Conditions(wall_s=1.0, cpus=2, worker_s=1.0, interference_s=0.8)
            requests[4] = dataclasses.replace(requests[4], conditions=noisy)
        memory = Memory(
            initial_bytes=50 * MIB,
            peak_bytes=90 * MIB,
            initial_system_bytes=900 * MIB,
            system_bytes=980 * MIB,
        )
        effective = EffectiveSettings(properties={"INFERENCE_NUM_THREADS": "2"}, attention="pa")
        made.append(
            launch_of(requests, index=index, load_s=2.5 + index, load_memory=memory, effective=effective)
        )
    provenance = Provenance(
        path=config.model,
        known=True,
        source="hub",
        source_id="example/tiny",
        revision="0123abc",
        weight_format="int8",
        content_sha256="ab" * 32,
    )
    return run_of(made, cells=(config,), provenance=provenance)


def comparison_of(kind: str) -> Comparison:
    """Two stories compared: *kind* is the verdict they come to."""
    quiet = (1.0, 1.001, 0.999)
    base, other = story_of(launches=3, noise=quiet), story_of(launches=3, noise=quiet)
    newer = dataclasses.replace(
        other,
        environment=dataclasses.replace(ENVIRONMENT, versions={"openvino": "2026.5.0", "llmbench": "0.1.0"}),
    )
    stranger = dataclasses.replace(other, environment=dataclasses.replace(ENVIRONMENT, cpu_model="Other CPU"))
    pairs = {
        "regressed": (
            base,
            dataclasses.replace(newer, launches=story_of(1.2, launches=3, noise=quiet).launches),
        ),
        "improved": (base, story_of(0.8, launches=3, noise=quiet)),
        "unchanged": (base, other),
        "inconclusive": (story_of(launches=3), story_of(1.03, launches=3)),
        "one launch": (story_of(launches=1), story_of(1.3, launches=1)),
        "incomparable": (base, stranger),
    }
    return compare(*(summarize_run(run, COMPARED) for run in pairs[kind]))


TWO_SOCKETS = Topology(
    cpus=tuple(Cpu(number=n, socket=n % 2, core=n % 4, node=n % 2) for n in range(8)), allowed=tuple(range(8))
)
SOCKETS_BASE = RunConfig(
    model="m",
    prompts=(Prompt(set="s", index=0, tokens=32), Prompt(set="s", index=1, tokens=1024)),
    output_tokens=4,
    iterations=1,
    warmups=0,
    launches=3,
)
SHORT = {"socket 0": 20.0, "socket 1": 21.0, "both": 25.0, "split": 30.0}
LONG = {"socket 0": 200.0, "socket 1": 210.0, "both": 150.0, "split": 100.0}
"""First tokens in ms of each setup, of 32 and of 1024 tokens."""


def sockets_run(
    *,
    wobble: float = 0.0,
    blocks: int = 3,
    short: Mapping[str, float] = SHORT,
    long: Mapping[str, float] = LONG,
) -> Run:
    """A run of four setups in blocks, from their first tokens in ms by prompt.

    The next tokens take a tenth of the first. Launches of a block share its noise, so ratios have none, unless
    *wobble* makes the split vary by itself.
    """
    cells = speedup.socket_configurations(dataclasses.replace(SOCKETS_BASE, launches=blocks), TWO_SOCKETS)
    launches: list[Launch] = []
    for block in range(blocks):
        for cell, name in enumerate(short):
            scale = (1.0, 1.1, 0.9)[block] * (1 + wobble * (block - 1) if name == "split" else 1)
            peak_mib = 300 if name == "split" else 200
            requests = [
                _sockets_request(first[name] * scale, len(launches), prompt, peak_mib)
                for prompt, first in enumerate((short, long))
            ]
            effective = EffectiveSettings(properties={"INFERENCE_NUM_THREADS": "4" if cell < 2 else "8"})
            index = len(launches)
            launches.append(launch_of(requests, index=index, cell=cell, block=block, effective=effective))
    return run_of(launches, cells=cells)


def _sockets_request(first_ms: float, launch: int, prompt: int, peak_mib: int) -> Measurement:
    """A first token after *first_ms*, and three more a tenth of that apart."""
    return request_of(
        [first_ms * (1 + 0.1 * n) for n in range(4)],
        conditions=Conditions(wall_s=1.0, cpus=8, worker_s=1.0, interference_s=0.0),
        memory=Memory(initial_bytes=0, peak_bytes=peak_mib << 20, initial_system_bytes=0, system_bytes=0),
        launch=launch,
        prompt=prompt,
        iteration=0,
        input_tokens=(32, 1024)[prompt],
    )


def speech_story(vocoder: float = 1.0, *, launches: int = 3, has_tokens: bool = False) -> Run:
    """A phrase of 160 ms: 50 ms acoustic model, 100 ms times *vocoder* in 4 calls, 10 ms that no stage covers.

    Launches vary by a per mille. With *has_tokens* that is the first of three tokens, the others 20 ms apart.
    """
    config = RunConfig(
        model="models/voice",
        prompts=(Prompt(set="phrases", index=0, text="Hello"),),
        iterations=2,
        launches=launches,
    )
    made = []
    for launch in range(launches):
        scale = (1.0, 1.001, 0.999)[launch % 3]
        requests = [
            _phrase((launch, iteration), vocoder, scale, has_tokens=has_tokens) for iteration in range(3)
        ]
        made.append(launch_of(requests, index=launch))
    primary = ("first_token", "tpot") if has_tokens else ("e2e",)
    return run_of(
        made,
        cells=(config,),
        workload=WorkloadSettings(kind="speech", parameters={}, primary_metrics=primary),
    )


def _phrase(number: tuple[int, int], vocoder: float, scale: float, *, has_tokens: bool) -> Measurement:
    start, acoustic, spoken = ns_from_ms(1000), ns_from_ms(50 * scale), ns_from_ms(100 * vocoder * scale)
    whole = (60 + 100 * vocoder) * scale
    return request_of(
        *([[whole, whole + 20, whole + 40]] if has_tokens else []),
        launch=number[0],
        iteration=number[1],
        is_warmup=number[1] == 0,
        end_ns=ns_from_ms(1000 + whole + 40 * has_tokens),
        stages=(
            Stage(name="acoustic_model", at_ns=start, duration_ns=acoustic),
            Stage(name="vocoder", duration_ns=spoken, count=4, source=StageSource.ENGINE),
        ),
        conditions=Conditions(wall_s=1.0, cpus=2, worker_s=1.0, interference_s=0.0),
    )
