"""Which settings are tried on a machine, and how those that help are combined."""

import dataclasses
from pathlib import Path

import pytest

from llmbench.runner.space import Alternative, combine, differ_in_properties, find_space, is_numeric_only
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


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A machine whose CPU computes in bf16, and whose kernel gives huge pages to programs that request them."""
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text("flags : avx2 avx512_bf16\n")
    enabled = tmp_path / "sys/kernel/mm/transparent_hugepage/enabled"
    enabled.parent.mkdir(parents=True)
    enabled.write_text("always [madvise] never\n")
    return tmp_path


def _shown(config: RunConfig, machine: Topology, root: Path) -> set[tuple[str, object]]:
    found, _ = find_space(config, machine, root)
    return {
        (each.dimension, next(iter((each.fields | each.properties | each.scheduler).values())))
        for each in found
    }


def _reasons(config: RunConfig, machine: Topology, root: Path) -> dict[str, str]:
    return {each.name: each.reason for each in find_space(config, machine, root)[1]}


def test_threads_are_half_of_the_cores_all_and_all_logical_cpus(root: Path) -> None:
    """Four cores of two threads: 2, 4 and 8, with and without hyper-threading; one socket has nothing to split."""
    found = _shown(CONFIG, _machine(1, 4, 2), root)

    assert {("threads", 2), ("threads", 4), ("threads", 8), ("attention", "sdpa")} <= found
    assert {("ENABLE_HYPER_THREADING", True), ("ENABLE_HYPER_THREADING", False), ("NUM_STREAMS", 2)} <= found
    assert not {name for name, _ in found} & {"MODEL_DISTRIBUTION_POLICY", "placement"}
    both = {("MODEL_DISTRIBUTION_POLICY", "TENSOR_PARALLEL"), ("placement", (0,)), ("placement", (1,))}
    assert both <= _shown(CONFIG, _machine(2, 4), root)


def test_what_the_machine_does_not_have_is_named_with_the_reason(root: Path) -> None:
    """One socket, cores of one thread, a CPU without f16, and a prompt of a few tokens."""
    reasons = _reasons(CONFIG, _machine(1, 4), root)

    assert "each core has one logical CPU here" == reasons["hyper-threading"]
    assert "the machine has one socket" == reasons["placement"] == reasons["tensor parallelism"]
    assert "the CPU does not compute in it" == reasons["inference precision f16"]
    assert "prompts have at most 256 tokens" == reasons["tokens of a step"]
    assert "there is one core" == _reasons(CONFIG, _machine(1, 1), root)["streams"]


@pytest.mark.parametrize(
    ("modes", "reason"),
    [
        ("[always] madvise never", "the kernel gives huge pages to every program already"),
        ("always madvise [never]", "the kernel's transparent huge pages are switched off"),
        ("", "the kernel's transparent huge pages are switched off"),
    ],
)
def test_huge_pages_are_tried_where_the_kernel_gives_them_on_request(
    root: Path, modes: str, reason: str
) -> None:
    """With madvise; else there is nothing to choose."""
    assert ("allocator", "glibc-thp") in _shown(CONFIG, _machine(1, 2), root)

    (root / "sys/kernel/mm/transparent_hugepage/enabled").write_text(modes)

    assert reason == _reasons(CONFIG, _machine(1, 2), root)["allocator glibc-thp"]


def test_precisions_are_those_that_the_cpu_computes_in(root: Path) -> None:
    """With bf16 also f32, for bf16 is the default there; without either nothing is tried."""

    def precisions() -> set[object]:
        found = _shown(CONFIG, _machine(1, 2), root)
        return {value for name, value in found if name == "INFERENCE_PRECISION_HINT"}

    assert {"f32", "bf16"} == precisions()
    (root / "proc/cpuinfo").write_text("flags : avx2\n")
    assert not precisions()


def test_long_prompts_and_servers_have_a_scheduler_to_vary(root: Path) -> None:
    """A prompt of more than 256 tokens may be read in steps; of a server, prompts may be read apart."""
    long = dataclasses.replace(CONFIG, prompts=(Prompt(set="synthetic", index=0, tokens=512),))
    served = dataclasses.replace(long, engine="server", server="genai", concurrency=4)

    assert ("scheduler", 256) in _shown(long, _machine(1, 2), root)
    assert {("scheduler", 256), ("scheduler", False)} <= _shown(served, _machine(1, 2), root)
    assert not {
        name for name, _ in _shown(dataclasses.replace(long, engine="core"), _machine(1, 2), root)
    } & {"scheduler"}


def test_without_logits_nothing_is_tried_that_changes_what_is_computed(root: Path) -> None:
    """Each such setting is named once."""
    tried, untried = find_space(CONFIG, _machine(1, 4), root, is_exact=True)
    lossy = {"KV_CACHE_PRECISION", "DYNAMIC_QUANTIZATION_GROUP_SIZE", "INFERENCE_PRECISION_HINT"}

    assert not lossy & {each.dimension for each in tried}
    assert sorted(lossy) == sorted(each.name for each in untried if "of an IR only" in each.reason)


def test_what_is_set_already_is_not_tried(root: Path) -> None:
    """Threads, attention and properties that the command line names stay as they are."""
    fixed = dataclasses.replace(
        CONFIG,
        threads=2,
        is_attention_fixed=True,
        allocator="jemalloc",
        properties={"KV_CACHE_PRECISION": "u8", "INFERENCE_PRECISION_HINT": "f32"},
    )

    assert {"DYNAMIC_QUANTIZATION_GROUP_SIZE", "ENABLE_CPU_PINNING", "NUM_STREAMS"} == {
        name for name, _ in _shown(fixed, _machine(1, 4), root)
    }
    given = {name for name, reason in _reasons(fixed, _machine(1, 4), root).items() if "given" in reason}
    assert {"KV_CACHE_PRECISION", "INFERENCE_PRECISION_HINT", "allocator", "threads"} == given


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
    steps = Alternative(dimension="scheduler", scheduler={"max_num_batched_tokens": 256})
    assert () == combine(CONFIG, [helpful[3], steps])


def test_configurations_that_differ_in_numbers_alone_are_told() -> None:
    """Another cache precision acts through what is computed; another number of threads does not."""
    other = dataclasses.replace(CONFIG, properties={"KV_CACHE_PRECISION": "bf16"})

    assert is_numeric_only(CONFIG, other)
    assert not is_numeric_only(CONFIG, dataclasses.replace(other, threads=2))
    streams = dataclasses.replace(CONFIG, properties={"NUM_STREAMS": 1})
    assert differ_in_properties(CONFIG, streams)
    assert not is_numeric_only(CONFIG, streams)
    assert not differ_in_properties(CONFIG, dataclasses.replace(streams, threads=2))
