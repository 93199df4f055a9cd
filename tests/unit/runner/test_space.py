"""Which settings are tried on a machine, and how those that help are combined."""

import dataclasses

from llmbench.runner.space import Alternative, alternatives, combine, is_numeric_only
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.run import Cpu, Topology

CONFIG = RunConfig(model="m", prompts=(Prompt(set="text", index=0, text="Hello"),))


def _machine(sockets: int, cores: int, threads: int = 1) -> Topology:
    cpus = tuple(
        Cpu(number=(s * cores + c) * threads + t, socket=s, core=c)
        for s in range(sockets)
        for c in range(cores)
        for t in range(threads)
    )
    return Topology(cpus=cpus, allowed=tuple(cpu.number for cpu in cpus))


def _shown(config: RunConfig, machine: Topology) -> set[tuple[str, object]]:
    found = alternatives(config, machine)
    return {(each.dimension, next(iter((each.fields | each.properties).values()))) for each in found}


def test_threads_are_half_of_the_cores_all_and_all_logical_cpus() -> None:
    """Four cores of two threads: 2, 4 and 8; one socket has nothing to split."""
    found = _shown(CONFIG, _machine(1, 4, 2))

    assert {("threads", 2), ("threads", 4), ("threads", 8), ("attention", "sdpa")} <= found
    assert not {name for name, _ in found} & {"MODEL_DISTRIBUTION_POLICY"}
    assert ("MODEL_DISTRIBUTION_POLICY", "TENSOR_PARALLEL") in _shown(CONFIG, _machine(2, 4))


def test_what_is_set_already_is_not_tried() -> None:
    """Threads, attention and properties that the command line names stay as they are."""
    fixed = dataclasses.replace(
        CONFIG, threads=2, is_attention_fixed=True, properties={"KV_CACHE_PRECISION": "u8"}
    )

    assert {"DYNAMIC_QUANTIZATION_GROUP_SIZE", "ENABLE_CPU_PINNING"} == {
        name for name, _ in _shown(fixed, _machine(1, 4))
    }


def test_helpful_alternatives_are_combined_one_of_each_dimension() -> None:
    """Of two thread counts the better one; three dimensions make three pairs and one triple."""
    helpful = [
        Alternative(dimension="threads", fields={"threads": 4}),
        Alternative(dimension="threads", fields={"threads": 8}),
        Alternative(dimension="KV_CACHE_PRECISION", properties={"KV_CACHE_PRECISION": "f16"}),
        Alternative(dimension="attention", fields={"attention": "sdpa"}),
    ]

    found = combine(CONFIG, helpful)

    assert [(4, "pa", "f16"), (4, "sdpa", None), (None, "sdpa", "f16"), (4, "sdpa", "f16")] == [
        (each.threads, each.attention, each.properties.get("KV_CACHE_PRECISION")) for each in found
    ]
    assert () == combine(CONFIG, helpful[:2])


def test_configurations_that_differ_in_numbers_alone_are_told() -> None:
    """Another cache precision acts through what is computed; another number of threads does not."""
    other = dataclasses.replace(CONFIG, properties={"KV_CACHE_PRECISION": "bf16"})

    assert is_numeric_only(CONFIG, other)
    assert not is_numeric_only(CONFIG, dataclasses.replace(other, threads=2))
