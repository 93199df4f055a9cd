import itertools
import shlex
from pathlib import Path

import click
import pytest

from llmbench.cli.options.table import MEASUREMENT, parameters, parse_options, recipe_options
from llmbench.cli.options.types import Command
from llmbench.errors import InputError
from llmbench.render.sentences.commands import run_command
from llmbench.runner.configurations import configurations
from llmbench.schema.config import RunConfig


def _cells(*arguments: str) -> tuple[RunConfig, ...]:
    command = Command("run", params=parameters(*MEASUREMENT))
    return configurations(command.make_context("run", [*arguments]).params, "m")


def _only(*arguments: str) -> RunConfig:
    (config,) = _cells(*arguments)
    return config


def test_the_defaults_are_one_plain_configuration() -> None:
    """Without options: paged attention on the CPU, greedy, 128 tokens, six iterations after a warm-up."""
    config = _only()

    assert ("genai", "CPU", "pa", "greedy") == (config.engine, config.device, config.attention, config.way)
    assert (128, 6, 1, 1, 1) == (
        config.output_tokens,
        config.iterations,
        config.warmups,
        config.launches,
        config.batch_size,
    )
    assert ({}, {}, None) == (config.properties, config.scheduler, config.threads)


def test_other_engines_have_no_paged_attention_unless_asked() -> None:
    """The default follows the engine."""
    assert "sdpa" == _only("--engine", "core").attention
    assert "pa" == _only("--engine", "core", "--attention", "pa").attention


def test_llm_bench_s_framework_names_an_engine() -> None:
    """Pt is PyTorch's; an engine that is named itself stands above it."""
    assert "genai" == _only("-f", "ov").engine
    assert "torch" == _only("-f", "pt").engine
    assert "core" == _only("-f", "pt", "--engine", "core").engine
    assert "optimum" == _only("--optimum").engine


def test_a_compiler_may_be_named_or_not() -> None:
    """Without a value it is inductor, whatever comes after it; llm_bench's spelling names the same option."""
    assert {"TORCH_COMPILE": "inductor"} == _only("-f", "pt", "--torch-compile").properties
    for spelling in (("-n", "2"), ("-n=2",)):
        config = _only("-f", "pt", "--torch-compile", *spelling)
        assert ({"TORCH_COMPILE": "inductor"}, 2) == (config.properties, config.iterations)
    assert {"TORCH_COMPILE": "openvino"} == _only("--torch-compile-backend", "openvino").properties
    with pytest.raises(InputError, match="TORCH_COMPILE is in -lc and --torch-compile"):
        _only("-lc", "TORCH_COMPILE=inductor", "--torch-compile")


def test_prompts_may_be_subsequent() -> None:
    """Interleaved unless asked for otherwise."""
    assert not _only().is_subsequent
    assert _only("--subsequent").is_subsequent


def test_lists_make_the_cross_product_in_the_order_given() -> None:
    """Each value of one option meets each of the others."""
    cells = _cells("-ic", "8,16", "-bs", "1,2", "--attention", "pa,sdpa", "--threads", "1,2")
    made = [(c.attention, c.threads, c.batch_size, c.output_tokens) for c in cells]

    assert list(itertools.product(("pa", "sdpa"), (1, 2), (1, 2), (8, 16))) == made


def test_a_property_with_a_list_of_values_is_swept() -> None:
    """So is a precision of the KV cache, and a key of the scheduler."""
    cells = _cells(
        "-lc",
        '{"DYNAMIC_QUANTIZATION_GROUP_SIZE": [0, 32], "NUM_STREAMS": 1}',
        "--kv-cache-precision",
        "u8,f16",
        "--cb-config",
        "max_num_batched_tokens=[256,512]",
    )
    made = [
        (
            c.properties["DYNAMIC_QUANTIZATION_GROUP_SIZE"],
            c.properties["KV_CACHE_PRECISION"],
            c.scheduler["max_num_batched_tokens"],
        )
        for c in cells
    ]

    assert list(itertools.product((0, 32), ("u8", "f16"), (256, 512))) == made
    assert {1} == {c.properties["NUM_STREAMS"] for c in cells}


def test_a_list_of_sets_is_swept_over_what_else_is_given() -> None:
    """Each set stands over the sources before it and under those after it; an empty one adds nothing."""
    cells = _cells("-lc", "A=1,B=2", "-lc", '[{}, {"B": 3}, {"C": [4, 5]}]', "-lc", "D=6", "-ic", "8,16")
    made = [(dict(cell.properties), cell.output_tokens) for cell in cells]

    sets = [{"A": 1, "B": 2}, {"A": 1, "B": 3}, {"A": 1, "B": 2, "C": 4}, {"A": 1, "B": 2, "C": 5}]
    assert [({**each, "D": 6}, tokens) for each in sets for tokens in (8, 16)] == made


def test_sets_of_the_scheduler_are_swept_too() -> None:
    """Parts of it keep their dotted names."""
    cells = _cells("--cb-config", '[{"max_num_seqs": 4}, {"cache_eviction_config": {"start_size": 64}}]')

    assert [{"max_num_seqs": 4}, {"cache_eviction_config.start_size": 64}] == [c.scheduler for c in cells]


def test_a_precision_stands_over_every_set() -> None:
    """And is refused where one of them names it as well."""
    cells = _cells("-lc", '[{}, {"A": 1}]', "--kv-cache-precision", "u8,f16")

    assert ["u8", "f16", "u8", "f16"] == [cell.properties["KV_CACHE_PRECISION"] for cell in cells]
    with pytest.raises(InputError, match="KV_CACHE_PRECISION is in -lc"):
        _cells("-lc", '[{}, {"KV_CACHE_PRECISION": "u8"}]', "--kv-cache-precision", "f16")


def test_a_weight_format_is_one_of_those_convert_writes_whatever_its_case() -> None:
    """What stands between the commas, in small letters, in the order given; anything else is refused."""
    assert ("int8", "fp16") == parse_options({"weight_format": "INT8, fp16"})["weight_format"]
    assert ("int8", "int4") == parse_options({"weight_format": ("int8", "int4")})["weight_format"]
    with pytest.raises(click.UsageError, match="'int7' is not one of fp32, fp16, int8, int4"):
        parse_options({"weight_format": "int8,int7"})


def test_a_precision_named_twice_is_refused() -> None:
    """Two places for one value are one too many."""
    with pytest.raises(InputError, match="KV_CACHE_PRECISION is in -lc and --kv-cache-precision"):
        _cells("-lc", "KV_CACHE_PRECISION=u8", "--kv-cache-precision", "f16")


def test_a_model_cache_has_an_option_of_its_own() -> None:
    """It stands over every set of properties, and is refused where one of them names another."""
    cells = _cells("--model-cache", "reports/cache", "--threads", "1,2")

    assert ["reports/cache"] * 2 == [cell.properties["CACHE_DIR"] for cell in cells]
    with pytest.raises(InputError, match="CACHE_DIR is in -lc and --model-cache"):
        _cells("-lc", "CACHE_DIR=elsewhere", "--model-cache", "reports/cache")


@pytest.mark.parametrize(
    ("arguments", "way"),
    [
        (("--num-beams", "4"), "4 beams"),
        (("--do-sample", "--temperature", "0.8"), "sampled, temperature 0.8"),
        (
            ("--do-sample", "--top-p", "0.9", "--top-k", "20"),
            "sampled, temperature 1, top-p 0.9, top-k 20",
        ),
        (("--draft-model", "small/INT4"), "greedy, draft INT4 of 5 tokens"),
        (
            ("--draft-model", "d", "--assistant-confidence-threshold", "0.4"),
            "greedy, draft d while surer than 0.4",
        ),
        (
            ("--max-ngram-size", "3", "--num-assistant-tokens", "7"),
            "greedy, prompt lookup of 7 tokens",
        ),
    ],
)
def test_the_way_of_generating_is_told_in_words(arguments: tuple[str, ...], way: str) -> None:
    """A reader sees how tokens were chosen."""
    assert way == _only(*arguments).way


@pytest.mark.parametrize(
    ("arguments", "output"),
    [
        (("--temperature", "0.8"), "the search is greedy"),
        (("--do-sample", "--temperature", "0"), "temperature 0"),
        (("--do-sample", "--top-p", "1.5"), "top-p 1.5"),
        (("--do-sample", "--top-k", "0"), "top-k: 0"),
        (("--num-beams", "0"), "beams: 0"),
        (("-ic", "8,0"), "output tokens: 0"),
        (("--draft-model", "d", "--max-ngram-size", "3"), "choose one|exclude each other"),
        (("--num-assistant-tokens", "3"), "belong to speculative decoding"),
        (("--draft-device", "CPU"), "belong to speculative decoding"),
        (
            ("--draft-model=d", "--num-assistant-tokens=3", "--assistant-confidence-threshold=0.4"),
            "both given",
        ),
        (("--draft-model=d", "--assistant-confidence-threshold=4"), "confidence threshold 4"),
        (("--max-ngram-size=3", "--assistant-confidence-threshold=0.4"), "prompt lookup has no confidence"),
        (("--max-ngram-size", "0"), "n-gram size: 0"),
        (("--lora", "a", "--lora-alphas", "1", "--lora-alphas", "2"), "1 LoRA adapters but 2 alphas"),
        (("--lora-mode", "fuse"), "without an adapter"),
        (("--empty-lora",), "without an adapter"),
        (("--draft-cb-config", "cache_size=1"), "belong to speculative decoding"),
        (("--draft-model=d", "--draft-cb-config", "cache_size=[1,2]"), "accepts one value per key"),
        (("--max-ngram-size=3", "--num-assistant-tokens=0"), "assistant tokens: 0"),
    ],
)
def test_what_is_no_way_to_generate_is_refused(arguments: tuple[str, ...], output: str) -> None:
    """A value outside its range, or one that would do nothing."""
    with pytest.raises(InputError, match=output):
        _cells(*arguments)


def test_a_recipe_of_run_says_what_to_measure_to_the_others(tmp_path: Path) -> None:
    """Its time limit and files are run's own; an engine by llm_bench's word is not."""
    recipe = tmp_path / "run.toml"
    recipe.write_text('model = "m"\ntimeout = "30m"\nreport = "x.csv"\nframework = "pt"\nlaunches = 5\n')

    assert {"model": "m", "framework": "pt", "launches": 5} == recipe_options(recipe)
    assert "torch" == parse_options(recipe_options(recipe))["engine"]
    recipe.write_text("\ntimeuot = 3")
    with pytest.raises(InputError, match=r"run\.toml:2: there is no option 'timeuot'"):
        recipe_options(recipe)


def test_a_recipe_asks_for_what_the_options_would(tmp_path: Path) -> None:
    """Lists, tables and defaults are those of the command line; changes stand above the recipe."""
    recipe = tmp_path / "run.toml"
    recipe.write_text(
        'model = "ir"\ninfer-count = [8, 16]\nattention = "sdpa"\nthreads = 2\n'
        "[properties]\nNUM_STREAMS = 1\n"
        "[scheduler]\nmax_num_seqs = 4\n[scheduler.cache_eviction_config]\nstart_size = 64\n"
    )
    cells = configurations(parse_options(recipe_options(recipe) | {"attention": "pa"}), "ir")

    assert [8, 16] == [cell.output_tokens for cell in cells]
    assert ("pa", 2, {"NUM_STREAMS": 1}) == (cells[0].attention, cells[0].threads, cells[0].properties)
    assert {"max_num_seqs": 4, "cache_eviction_config.start_size": 64} == cells[0].scheduler


def test_prompts_add_up() -> None:
    """-p given twice measures both, in their order; as -pf does."""
    config = _only("-p", "one", "-p", "two")

    assert [(0, "one"), (1, "two")] == [(prompt.index, prompt.text) for prompt in config.prompts]
    assert ["-p", "one", "-p", "two"] == [
        word for word in shlex.split(run_command(config, 1)) if word in {"-p", "one", "two"}
    ]


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        (("-n", "0"), "write -n 1 or more"),
        (("--warmups", "-1"), "write --warmups 0 or more"),
        (("--launches", "0"), "write --launches 1 or more"),
        (("--num-beams", "0"), "write --num-beams 1 or more"),
        (("--top-k", "0", "--do-sample"), "write --top-k 1 or more"),
    ],
)
def test_a_count_that_is_too_low_names_its_option(arguments: tuple[str, ...], remedy: str) -> None:
    """By what a user types, not by the field's name."""
    with pytest.raises(InputError) as caught:
        _only(*arguments)

    assert remedy == caught.value.hint
