"""How many tokens a model's context holds, by its ``config.json``, extended contexts (RoPE scaling) included.

Sources: ``modeling_rope_utils.py`` of transformers 5.5 (what each key means), and the configurations of published
models: Qwen 2.5 and DeepSeek V3 (YaRN), Llama 3.2, Phi 3 (LongRoPE), Gemma 3 (linear).
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from llmbench.files.strict_json import read_object

_LENGTHS = (
    "max_position_embeddings",
    "n_positions",
    "n_ctx",
    "max_seq_len",
    "max_sequence_length",
    "seq_length",
)
_WINDOWS = ("sliding_window", "window_size", "attention_window_size", "attention_chunk_size")
"""Of Mistral and most others, GPT-Neo, RecurrentGemma, and Llama 4."""

_ORIGINAL = "original_max_position_embeddings"
_STRETCHED = frozenset({"yarn", "linear", "dynamic", "ntk"})
"""Kinds of scaling whose factor stretches the context; with others (llama3, longrope) the length includes it."""

_ALREADY_STRETCHED = ("gemma3",)
"""Architectures with a linear factor whose stated length includes it."""


def context_of_config(path: Path) -> int | None:
    """Return the longest context that a ``config.json`` reports, of a nested text model too; ``None``: it does not."""
    found = (_context(section) for section in config_sections(path))
    return next((length for length in found if length is not None), None)


def sliding_window_of_config(path: Path) -> int | None:
    """Return the sliding window of a model's attention by its ``config.json``; ``None`` where it has none."""
    found = (
        _count(section.get(key))
        for section in config_sections(path)
        for key in _WINDOWS
        if section.get("use_sliding_window") is not False
    )
    return next((window for window in found if window is not None), None)


def config_sections(path: Path) -> list[Mapping[str, Any]]:
    """Return a ``config.json`` and the text model nested in it; empty where it cannot be read."""
    config = read_object(path)
    return [
        section for section in (config, config.get("text_config")) if isinstance(section, dict) and section
    ]


def _context(section: Mapping[str, Any]) -> int | None:
    stated = next((length for key in _LENGTHS if (length := _count(section.get(key)))), None)
    if stated is None or str(section.get("model_type", "")).startswith(_ALREADY_STRETCHED):
        return stated
    return max([stated, *(_stretched(section, stated, scaling) for scaling in _scalings(section))])


def _stretched(section: Mapping[str, Any], stated: int, scaling: Mapping[str, Any]) -> int:
    """Return the length that one scaling stretches the original one to; 0 where it stretches none."""
    kind = scaling.get("rope_type", scaling.get("type"))
    factor = scaling.get("factor")
    if kind not in _STRETCHED or not isinstance(factor, int | float) or not 1 <= factor < 1e6:
        return 0
    original = _count(scaling.get(_ORIGINAL)) or _count(section.get(_ORIGINAL)) or stated
    return int(original * factor)


def _scalings(section: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for key in ("rope_scaling", "rope_parameters"):
        found = section.get(key)
        if isinstance(found, dict):
            yield found
            yield from (each for each in found.values() if isinstance(each, dict))


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
