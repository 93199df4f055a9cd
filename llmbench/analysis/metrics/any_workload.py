"""Metrics that every workload has: memory, energy, and the time to load a model."""

from typing import Any

from llmbench.analysis.metrics.base import Metric, Scope
from llmbench.schema.measurement import Measurement
from llmbench.schema.units import Direction, Unit


def memory(m: Measurement) -> float | None:
    """Bytes: the worker's own high-water mark, reset between load and generation."""
    return None if m.memory is None else float(m.memory.peak_bytes)


def energy_per_token(m: Measurement) -> float | None:
    """Joules for each output token of all sequences, the input's work included."""
    if m.energy_j is None:
        return None
    tokens = sum(sequence.output_tokens for sequence in m.sequences)
    return m.energy_j / tokens if tokens else None


RESOURCE_METRICS: tuple[Metric[Any], ...] = (
    Metric(
        name="memory",
        title="peak memory",
        unit=Unit.MEBIBYTES,
        direction=Direction.LOWER,
        definition="the worker's own high-water mark while it generates",
        made_of=("memory",),
        of=memory,
    ),
    Metric(
        name="energy",
        head="energy",
        priority=20,
        unit=Unit.JOULES,
        direction=Direction.LOWER,
        definition="energy of all CPU packages during the request, other processes included",
        made_of=("energy_j",),
        of=lambda m: m.energy_j,
    ),
    Metric(
        name="energy_per_token",
        unit=Unit.MILLIJOULES_PER_TOKEN,
        direction=Direction.LOWER,
        definition="energy / output tokens of all sequences",
        made_of=("energy_j",),
        of=energy_per_token,
    ),
)
"""What a request uses."""

LAUNCH_ROWS: tuple[Metric[Any], ...] = (
    Metric(
        name="load",
        scope=Scope.LAUNCH,
        unit=Unit.MILLISECONDS,
        direction=Direction.LOWER,
        definition="read + compile, in the launch",
        of=lambda launch: launch.load_s,
    ),
)
"""Those of a launch."""
