"""A configuration as a recipe describes the same configuration again."""

import dataclasses
from pathlib import Path

from llmbench.cli.options.table import parse_options, recipe_options
from llmbench.render.sentences.commands import recipe_text, tuned_properties
from llmbench.runner.configurations import configurations
from llmbench.schema.config import Prompt, RunConfig

CONFIG = RunConfig(
    model="models/tiny",
    prompts=(Prompt(set="text", index=0, text="Hello"),),
    attention="sdpa",
    is_attention_fixed=True,
    threads=2,
    properties={"KV_CACHE_PRECISION": "f16", "NUM_STREAMS": 1},
    scheduler={"max_num_batched_tokens": 512},
    output_tokens=8,
)


def test_a_recipe_holds_every_setting(tmp_path: Path) -> None:
    """Threads, attention, the scheduler and the properties; a prompt is for the command line."""
    (tmp_path / "run.toml").write_text(recipe_text(CONFIG))

    options = parse_options(recipe_options(tmp_path / "run.toml") | {"prompt": ("Hello",)})
    (found,) = configurations(options, str(options["model"]))

    assert CONFIG == dataclasses.replace(found, prompts=CONFIG.prompts)


def test_properties_have_the_threads_among_them() -> None:
    """As -lc takes them."""
    assert '"INFERENCE_NUM_THREADS": 2' in tuned_properties(CONFIG)
