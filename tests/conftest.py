"""Measurements, launches and runs built by hand, as fixtures."""

from collections.abc import Callable, Iterable
from collections.abc import Sequence as Values

import pytest

from llmbench.config import Prompt, RunConfig
from llmbench.measurement import Measurement, Sequence
from llmbench.run import Cpu, Environment, Launch, Outcome, Provenance, Run, Topology
from llmbench.units import NS_PER_MS, ns_from_ms


def _measurement(
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
        "asked_tokens": max((len(at) for at in sequences), default=0),
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


def _launch(measurements: Iterable[Measurement] = (), *, index: int = 0, **fields: object) -> Launch:
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


def _run(launches: Iterable[Launch] = (), **fields: object) -> Run:
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


@pytest.fixture
def request_of() -> Callable[..., Measurement]:
    """Builds a measurement from token instants in ms."""
    return _measurement


@pytest.fixture
def launch_of() -> Callable[..., Launch]:
    """Builds a finished launch from measurements."""
    return _launch


@pytest.fixture
def run_of() -> Callable[..., Run]:
    """Builds a complete run from launches."""
    return _run
