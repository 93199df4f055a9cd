"""The settings that may make a configuration faster, and the candidates that are tried.

Each alternative is tried alone first; those that help are then combined, since they depend on each other.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llmbench.schema.config import PropertyValue, RunConfig
from llmbench.schema.engines import ModelKind
from llmbench.schema.run import Topology
from llmbench.schema.settings.any_workload import POLICY, TENSOR_PARALLEL

NUMERIC = (
    "KV_CACHE_PRECISION",
    "INFERENCE_PRECISION_HINT",
    "DYNAMIC_QUANTIZATION_GROUP_SIZE",
    "EXECUTION_MODE_HINT",
)
"""Properties that act through what is computed: where the results are the same to the last bit, nothing changed."""

MOST_COMBINED = 3
"""Alternatives that are combined with each other at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternative:
    """Another value of one *dimension*: fields of a configuration, and OpenVINO properties."""

    dimension: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    properties: Mapping[str, PropertyValue] = field(default_factory=dict)

    def apply(self, config: RunConfig) -> RunConfig:
        """Return the configuration with this value."""
        return dataclasses.replace(config, **self.fields, properties={**config.properties, **self.properties})


def alternatives(config: RunConfig, topology: Topology) -> tuple[Alternative, ...]:
    """Return what may be worth trying of an engine's settings on this machine, none of it set already."""
    found = [*_thread_counts(config, topology), *_attentions(config)]
    if ModelKind.IR in config.engine_info.models:
        found += [_property(name, value) for name, values in _PROPERTIES.items() for value in values]
        if len(topology.sockets) > 1:
            found.append(_property(POLICY, TENSOR_PARALLEL))
    return tuple(each for each in found if not each.properties.keys() & config.properties.keys())


_PROPERTIES: dict[str, tuple[PropertyValue, ...]] = {
    "KV_CACHE_PRECISION": ("f16", "u4"),
    "DYNAMIC_QUANTIZATION_GROUP_SIZE": (0, 128),
    "ENABLE_CPU_PINNING": (False,),
}


def _property(name: str, value: PropertyValue) -> Alternative:
    return Alternative(dimension=name, properties={name: value})


def _thread_counts(config: RunConfig, topology: Topology) -> Iterator[Alternative]:
    """Half of the cores, all of them, and all logical CPUs."""
    if config.threads is not None or "INFERENCE_NUM_THREADS" in config.properties:
        return
    cores = min(topology.cores, len(topology.allowed))
    for count in sorted({cores // 2, cores, len(topology.allowed)} - {0}):
        yield Alternative(dimension="threads", fields={"threads": count})


def _attentions(config: RunConfig) -> Iterator[Alternative]:
    if config.is_attention_fixed or config.is_speculative or config.scheduler:
        return
    for attention in config.engine_info.capabilities if len(config.engine_info.capabilities) > 1 else ():
        if attention != config.attention:
            yield Alternative(
                dimension="attention", fields={"attention": attention, "is_attention_fixed": True}
            )


def combine(config: RunConfig, helpful: Sequence[Alternative]) -> tuple[RunConfig, ...]:
    """Return the combinations of two or more alternatives, the most helpful first, one of each dimension."""
    best: dict[str, Alternative] = {}
    for each in helpful:
        best.setdefault(each.dimension, each)
    chosen = list(best.values())[:MOST_COMBINED]
    return tuple(
        _applied(config, some)
        for size in range(2, len(chosen) + 1)
        for some in itertools.combinations(chosen, size)
    )


def _applied(config: RunConfig, some: Iterable[Alternative]) -> RunConfig:
    for each in some:
        config = each.apply(config)
    return config


def is_numeric_only(one: RunConfig, other: RunConfig) -> bool:
    """Return whether two configurations differ in properties that act through what is computed, and in nothing else."""
    return _without_numeric(one) == _without_numeric(other)


def _without_numeric(config: RunConfig) -> RunConfig:
    kept = {name: value for name, value in config.properties.items() if name not in NUMERIC}
    return dataclasses.replace(config, properties=kept)
