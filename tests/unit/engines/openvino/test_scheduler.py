import re

import pytest

from llmbench.engines.openvino.device import import_openvino
from llmbench.engines.openvino.scheduler import ALL_TOKENS_AT_ONCE, build_scheduler, prefills_in_chunks
from llmbench.errors import InputError, MachineError
from llmbench.schema.config import PropertyValue

import_openvino()
genai = pytest.importorskip("openvino_genai")


def test_without_wishes_a_prompt_is_prefilled_in_one_step_and_nothing_is_remembered() -> None:
    """Both differ from what the pipeline does by itself."""
    scheduler = build_scheduler(genai, {})

    assert not scheduler.enable_prefix_caching
    assert ALL_TOKENS_AT_ONCE == scheduler.max_num_batched_tokens
    assert not scheduler.use_cache_eviction


def test_a_part_named_is_a_part_switched_on() -> None:
    """Keys of a part stand behind a dot; a switch that is given itself stays as it is."""
    asked: dict[str, PropertyValue] = {
        "cache_eviction_config.start_size": 64,
        "cache_eviction_config.aggregation_mode": "sum",
        "sparse_attention_config.xattention_threshold": 0.5,
        "use_sparse_attention": False,
    }
    scheduler = build_scheduler(genai, asked)

    assert scheduler.use_cache_eviction
    assert not scheduler.use_sparse_attention
    eviction = scheduler.cache_eviction_config
    assert (64, 128, 672) == (
        eviction.get_start_size(),
        eviction.get_recent_size(),
        eviction.get_max_cache_size(),
    )
    assert genai.AggregationMode.SUM == eviction.aggregation_mode
    assert 0.5 == scheduler.sparse_attention_config.xattention_threshold


@pytest.mark.parametrize(
    ("key", "value", "output"),
    [
        ("enable_prefix_cache", True, "did you mean enable_prefix_caching"),
        ("start_size", 64, "did you mean cache_eviction_config.start_size"),
        ("zzz", 1, "it has .*cache_eviction_config.max_cache_size.*use_sparse_attention"),
        ("enable_prefix_caching", 1, "takes true or false"),
        ("max_num_seqs", True, "takes an integer"),
        ("max_num_seqs", "8", "takes an integer"),
        ("max_num_seqs", -1, "takes an integer in its range"),
        ("cache_eviction_config.start_size", 1.5, "takes an integer"),
        ("cache_eviction_config.max_cache_size", 32, "must be larger than"),
        ("cache_eviction_config.aggregation_mode", "MEAN", "takes one of SUM, NORM_SUM"),
    ],
)
def test_a_wrong_key_or_value_is_refused(key: str, value: PropertyValue, output: str) -> None:
    """Names, types, the members of an enumeration, and what the engine itself refuses."""
    with pytest.raises(InputError) as caught:
        build_scheduler(genai, {key: value})

    assert re.search(output, f"{caught.value.message} {caught.value.hint}")


def test_what_the_engine_refuses_only_at_the_first_request_is_refused_before() -> None:
    """Without splitting, the tokens of a step must hold the sequences of a step."""
    with pytest.raises(
        InputError, match=r"max_num_batched_tokens \(128\) must not be below max_num_seqs \(256\)"
    ):
        build_scheduler(genai, {"dynamic_split_fuse": False, "max_num_batched_tokens": 128})


def test_a_prompt_longer_than_a_step_is_prefilled_in_chunks() -> None:
    """Then the first forward pass that is told is the last chunk's."""
    assert not prefills_in_chunks({}, 10_000)
    assert not prefills_in_chunks({"max_num_batched_tokens": 256}, 256)
    assert prefills_in_chunks({"max_num_batched_tokens": 256}, 257)


def test_a_cache_beyond_the_memory_available_is_refused() -> None:
    """A million GiB: an unfit machine, before the engine is loaded."""
    with pytest.raises(MachineError, match=r"cache_size is 1000000 GiB; .* of memory are available"):
        build_scheduler(genai, {"cache_size": 1_000_000})
