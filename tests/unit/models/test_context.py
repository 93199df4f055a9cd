"""The context length of a model, as published configurations state it."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmbench.engines.scripted import ScriptedEngine
from llmbench.errors import InputError
from llmbench.models.context import context_of_config, sliding_window_of_config
from llmbench.models.resolve import check_lengths
from llmbench.schema.config import Prompt, RunConfig
from llmbench.workloads.base import LaunchContext
from llmbench.workloads.text import TextWorkload

YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}
PUBLISHED: dict[str, tuple[dict[str, Any], int | None]] = {
    "llama 2": ({"max_position_embeddings": 4096}, 4096),
    "gpt2": ({"n_positions": 1024, "n_ctx": 1024}, 1024),
    "mpt": ({"max_seq_len": 2048}, 2048),
    "mamba has none": ({"model_type": "mamba"}, None),
    "qwen 2.5 with yarn": ({"max_position_embeddings": 32768, "rope_scaling": YARN}, 131072),
    "qwen 2.5, old key": (
        {
            "max_position_embeddings": 32768,
            "rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768},
        },
        131072,
    ),
    "qwen 3, a length of its own": ({"max_position_embeddings": 40960, "rope_scaling": YARN}, 131072),
    "transformers 5": ({"max_position_embeddings": 32768, "rope_parameters": YARN}, 131072),
    "by kind of layer": (
        {
            "max_position_embeddings": 32768,
            "rope_parameters": {"sliding_attention": {"rope_type": "default"}, "full_attention": YARN},
        },
        131072,
    ),
    "deepseek v3 states the long one": (
        {
            "max_position_embeddings": 163840,
            "rope_scaling": {"type": "yarn", "factor": 40, "original_max_position_embeddings": 4096},
        },
        163840,
    ),
    "linear": ({"max_position_embeddings": 2048, "rope_scaling": {"type": "linear", "factor": 8.0}}, 16384),
    "dynamic": ({"max_position_embeddings": 2048, "rope_scaling": {"type": "dynamic", "factor": 2}}, 4096),
    "llama 3.2": (
        {
            "max_position_embeddings": 131072,
            "rope_scaling": {
                "rope_type": "llama3",
                "factor": 32.0,
                "original_max_position_embeddings": 8192,
            },
        },
        131072,
    ),
    "phi 3 128k": (
        {
            "max_position_embeddings": 131072,
            "original_max_position_embeddings": 4096,
            "rope_scaling": {"type": "longrope", "short_factor": [1.0], "long_factor": [1.0]},
        },
        131072,
    ),
    "gemma 3": (
        {
            "text_config": {
                "model_type": "gemma3_text",
                "max_position_embeddings": 131072,
                "rope_scaling": {"rope_type": "linear", "factor": 8.0},
            }
        },
        131072,
    ),
    "no scaling": ({"max_position_embeddings": 8192, "rope_scaling": None}, 8192),
    "mrope": ({"max_position_embeddings": 8192, "rope_scaling": {"type": "mrope"}}, 8192),
    "nothing": ({}, None),
    "no number": ({"max_position_embeddings": True, "n_ctx": "many"}, None),
}


def _context(config: Any, folder: Path) -> int | None:
    path = folder / "config.json"
    path.write_text(json.dumps(config))
    return context_of_config(path)


@pytest.mark.parametrize(("config", "expected"), PUBLISHED.values(), ids=PUBLISHED)
def test_each_published_form_gives_its_context(
    config: dict[str, Any], expected: int | None, tmp_path: Path
) -> None:
    """The original length times the factor, or what is stated where that is the extended one already."""
    assert expected == _context(config, tmp_path)


@given(
    stated=st.integers(1, 1 << 20),
    kind=st.sampled_from(
        ["yarn", "linear", "dynamic", "llama3", "longrope", "su", "default", "mrope", None, 3]
    ),
    factor=st.one_of(st.floats(allow_nan=True), st.integers(-5, 100), st.text(max_size=3), st.none()),
    original=st.one_of(st.integers(-5, 1 << 20), st.none()),
)
def test_no_scaling_makes_the_context_shorter(
    *, stated: int, kind: object, factor: object, original: object, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever a configuration holds, what it states is the least."""
    scaling = {"rope_type": kind, "factor": factor, "original_max_position_embeddings": original}
    found = _context(
        {"max_position_embeddings": stated, "rope_scaling": scaling}, tmp_path_factory.mktemp("c")
    )

    assert found is not None
    assert stated <= found


@pytest.mark.parametrize(
    ("tokens", "limit", "ignores", "is_refused"),
    [(96, 100, False, False), (97, 100, False, True), (97, 100, True, False), (97, None, False, False)],
)
def test_a_prompt_beyond_the_context_is_refused_unless_requested(
    *, tokens: int, limit: int | None, ignores: bool, is_refused: bool
) -> None:
    """96 + 4 tokens fill a context of 100; before loading, and again with the texts' own lengths."""
    prompt = Prompt(set="synthetic", index=0, tokens=tokens)
    config = RunConfig(
        model="first=1ms,next=1ms",
        engine="scripted",
        prompts=(prompt,),
        output_tokens=4,
        ignores_context_limit=ignores,
    )
    session = ScriptedEngine().open(config)
    launch = LaunchContext(index=0, beat=lambda _tokens, _at: None, context_tokens=limit)

    for check in (
        lambda: check_lengths(config, limit),
        lambda: TextWorkload().open(config, session, launch),
    ):
        if is_refused:
            with pytest.raises(InputError, match="97 input") as caught:
                check()
            assert "--ignore-context-limit" in str(caught.value.hint)
        else:
            check()


@pytest.mark.parametrize(
    ("config", "window"),
    [
        ({"sliding_window": 4096}, 4096),
        ({"sliding_window": None}, None),
        ({"sliding_window": 4096, "use_sliding_window": False}, None),
        ({"text_config": {"sliding_window": 512}}, 512),
        ({"model_type": "gpt_neo", "window_size": 256}, 256),
        ({"model_type": "recurrent_gemma", "attention_window_size": 2048}, 2048),
        ({"text_config": {"model_type": "llama4_text", "attention_chunk_size": 8192}}, 8192),
        ({"model_type": "llama"}, None),
    ],
)
def test_the_window_is_found_by_each_of_its_names(
    tmp_path: Path, config: dict[str, Any], window: int | None
) -> None:
    """Beyond it a conversion is verified with a longer text."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))

    assert window == sliding_window_of_config(path)
