"""The settings that may make a configuration faster on this machine, and the candidates that are tried.

Each alternative is tried alone first; those that help are then combined, since they depend on each other. What cannot
be had here is named with the reason.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmbench.engines.catalog import check_capabilities
from llmbench.errors import LlmbenchError
from llmbench.machine.allocator import why_no_allocator
from llmbench.machine.environment import cpu_flags
from llmbench.runner.limits import check_quota
from llmbench.schema.config import PropertyValue, RunConfig
from llmbench.schema.engines import Capability, ModelKind
from llmbench.schema.run import Topology
from llmbench.schema.settings.any_workload import ALLOCATORS, POLICY, TENSOR_PARALLEL

NUMERIC = (
    "KV_CACHE_PRECISION",
    "INFERENCE_PRECISION_HINT",
    "DYNAMIC_QUANTIZATION_GROUP_SIZE",
    "EXECUTION_MODE_HINT",
)
"""Properties that act through what is computed: where the results are the same to the last bit, nothing changed."""

_UNREAD = "what it loses can be read of an IR only; convert the model first"

MOST_COMBINED = 3
"""Alternatives that are combined with each other at most."""

_PRECISIONS = {"bf16": ("avx512_bf16", "amx_bf16"), "f16": ("avx512_fp16", "amx_fp16")}
"""Precisions that some CPUs compute in, and the features of the CPU that it takes."""

_STEP_TOKENS = 256
"""Tokens of a step of the scheduler, where a longer prompt is to be read in several."""

_CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternative:
    """Another value of one *dimension*: fields of a configuration, OpenVINO properties, keys of the scheduler."""

    dimension: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    properties: Mapping[str, PropertyValue] = field(default_factory=dict)
    scheduler: Mapping[str, PropertyValue] = field(default_factory=dict)

    def apply(self, config: RunConfig) -> RunConfig:
        """Return the configuration with this value."""
        return dataclasses.replace(
            config,
            **self.fields,
            properties={**config.properties, **self.properties},
            scheduler={**config.scheduler, **self.scheduler},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Untried:
    """A setting that cannot be tried, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Host:
    """What is known of the machine."""

    topology: Topology
    root: Path

    @property
    def cores(self) -> int:
        """Physical cores that may be used."""
        allowed = set(self.topology.allowed)
        return len({(cpu.socket, cpu.core) for cpu in self.topology.cpus if cpu.number in allowed})


_Found = Iterator[Alternative | Untried]


def find_space(
    config: RunConfig, topology: Topology, root: Path = Path("/"), *, is_exact: bool = False
) -> tuple[tuple[Alternative, ...], tuple[Untried, ...]]:
    """Return what may be worth trying of an engine's settings on this machine, and what is not tried.

    What the configuration sets already stays as it is. With *is_exact*, nothing that changes what is computed is tried.
    """
    host = _Host(topology=topology, root=root)
    has_properties = ModelKind.IR in config.engine_info.models
    sources = (*_ANY_ENGINE, *(_OPENVINO if has_properties else ()))
    found = [each for source in sources for each in source(config, host)]
    given = {each.dimension for each in found if isinstance(each, Alternative) and _is_given(config, each)}
    untried = [each for each in found if isinstance(each, Untried)]
    untried += [Untried(name=name, reason="it is given") for name in sorted(given)]
    tried = []
    for each in found:
        if isinstance(each, Alternative) and each.dimension not in given:
            is_lossy = is_exact and each.properties.keys() & set(NUMERIC)
            fault = _UNREAD if is_lossy else _fault(each.apply(config))
            if fault is None:
                tried.append(each)
            else:
                untried.append(Untried(name=each.dimension, reason=fault))
    return tuple(tried), tuple(dict.fromkeys(untried))


def _is_given(config: RunConfig, alternative: Alternative) -> bool:
    default = RunConfig(model=config.model, prompts=config.prompts)
    fields = (name for name in alternative.fields if name != "attention")
    return bool(
        alternative.properties.keys() & config.properties.keys()
        or alternative.scheduler.keys() & config.scheduler.keys()
        or any(getattr(config, name) != getattr(default, name) for name in fields)
    )


def _property(name: str, *values: PropertyValue) -> _Found:
    yield from (Alternative(dimension=name, properties={name: value}) for value in values)


def _thread_counts(config: RunConfig, host: _Host) -> _Found:
    """Half of the cores, all of them, and all logical CPUs."""
    if "INFERENCE_NUM_THREADS" in config.properties:
        yield Untried(name="threads", reason="it is given")
        return
    for count in sorted({host.cores // 2, host.cores, len(host.topology.allowed)} - {0}):
        yield Alternative(dimension="threads", fields={"threads": count})


def _allocators(config: RunConfig, host: _Host) -> _Found:
    for name in () if config.engine_info.is_simulated else ALLOCATORS:
        reason = why_no_allocator(name, host.root)
        if reason is None:
            yield Alternative(dimension="allocator", fields={"allocator": name})
        else:
            yield Untried(name=f"allocator {name}", reason=reason)


def _attentions(config: RunConfig, _: _Host) -> _Found:
    if config.is_attention_fixed or config.is_speculative or config.scheduler:
        return
    for attention in config.engine_info.capabilities if len(config.engine_info.capabilities) > 1 else ():
        if attention != config.attention:
            yield Alternative(
                dimension="attention", fields={"attention": attention, "is_attention_fixed": True}
            )


def _placements(config: RunConfig, host: _Host) -> _Found:
    """Each socket alone, where there are several."""
    sockets = () if config.engine_info.is_simulated else host.topology.sockets
    if len(sockets) == 1:
        yield Untried(name="placement", reason="the machine has one socket")
        return
    yield from (Alternative(dimension="placement", fields={"sockets": (number,)}) for number in sockets)


def _parallel(_: RunConfig, host: _Host) -> _Found:
    """What needs several logical CPUs per core, several cores, or several sockets."""
    if host.cores == len(host.topology.allowed):
        yield Untried(name="hyper-threading", reason="each core has one logical CPU here")
    else:
        yield from _property("ENABLE_HYPER_THREADING", True, False)
    if host.cores == 1:
        yield Untried(name="streams", reason="there is one core")
    else:
        yield from _property("NUM_STREAMS", 2)
    yield from _property("ENABLE_CPU_PINNING", False)
    if len(host.topology.sockets) == 1:
        yield Untried(name="tensor parallelism", reason="the machine has one socket")
    else:
        yield from _property(POLICY, TENSOR_PARALLEL)


def _inference_precisions(_: RunConfig, host: _Host) -> _Found:
    """Those that the CPU computes in; f32 where one of the others may be the default."""
    flags = cpu_flags(host.root)
    found = [name for name, features in _PRECISIONS.items() if flags.intersection(features)]
    for name in _PRECISIONS.keys() - found:
        yield Untried(name=f"inference precision {name}", reason="the CPU does not compute in it")
    yield from _property("INFERENCE_PRECISION_HINT", *(("f32", *found) if found else ()))


def _numeric_properties(_: RunConfig, __: _Host) -> _Found:
    yield from _property("KV_CACHE_PRECISION", "f16", "u4")
    yield from _property("DYNAMIC_QUANTIZATION_GROUP_SIZE", 0, 128)


def _schedulers(config: RunConfig, _: _Host) -> _Found:
    """Steps of fewer tokens; of a server also prompts that are read apart from the generation of others.

    ``max_num_seqs`` limits nothing while prompts are split over steps (``dynamic_split_fuse``, the default).
    """
    if Capability.SCHEDULER not in config.engine_info.capabilities_with(config.attention):
        return
    longest = max(each.tokens or len(each.text or "") // _CHARACTERS_PER_TOKEN for each in config.prompts)
    if config.server is not None:
        yield Alternative(dimension="scheduler", scheduler={"dynamic_split_fuse": False})
        longest *= config.concurrency or 1
    if longest > _STEP_TOKENS:
        yield Alternative(dimension="scheduler", scheduler={"max_num_batched_tokens": _STEP_TOKENS})
    else:
        yield Untried(name="tokens of a step", reason=f"prompts have at most {_STEP_TOKENS} tokens")


_ANY_ENGINE: tuple[Callable[[RunConfig, _Host], _Found], ...] = (
    _thread_counts,
    _attentions,
    _schedulers,
    _placements,
    _allocators,
)
_OPENVINO: tuple[Callable[[RunConfig, _Host], _Found], ...] = (
    _parallel,
    _inference_precisions,
    _numeric_properties,
)


def combine(config: RunConfig, helpful: Sequence[Alternative]) -> tuple[RunConfig, ...]:
    """Return the combinations of two or more alternatives, the most helpful first, one of each dimension.

    Those that the engine cannot have are left out.
    """
    best: dict[str, Alternative] = {}
    for each in helpful:
        best.setdefault(each.dimension, each)
    chosen = list(best.values())[:MOST_COMBINED]
    found = (
        _applied(config, some)
        for size in range(2, len(chosen) + 1)
        for some in itertools.combinations(chosen, size)
    )
    return tuple(each for each in found if _fault(each) is None)


def _fault(config: RunConfig) -> str | None:
    """Why a configuration cannot be measured; ``None`` where it can."""
    try:
        check_capabilities(config)
        check_quota(config)
    except LlmbenchError as error:
        return error.message
    return None


def _applied(config: RunConfig, some: Iterable[Alternative]) -> RunConfig:
    for each in some:
        config = each.apply(config)
    return config


def is_numeric_only(one: RunConfig, other: RunConfig) -> bool:
    """Return whether two configurations differ in properties that act through what is computed, and in nothing else."""
    return _without(one, NUMERIC) == _without(other, NUMERIC)


def differ_in_properties(one: RunConfig, other: RunConfig) -> bool:
    """Return whether two configurations differ in OpenVINO properties only."""
    return dataclasses.replace(one, properties={}) == dataclasses.replace(other, properties={})


def _without(config: RunConfig, names: Iterable[str]) -> RunConfig:
    kept = {name: value for name, value in config.properties.items() if name not in names}
    return dataclasses.replace(config, properties=kept)
