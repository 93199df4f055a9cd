"""Command lines that measure again what was measured."""

import dataclasses
import json
import shlex
from collections.abc import Mapping

from llmbench.schema.config import RunConfig
from llmbench.schema.units import format_list

_OPTIONS = {
    "engine": "--engine",
    "device": "-d",
    "attention": "--attention",
    "output_tokens": "-ic",
    "iterations": "-n",
    "warmups": "--warmups",
    "batch_size": "-bs",
    "seed": "-s",
    "num_beams": "--num-beams",
    "temperature": "--temperature",
    "top_p": "--top-p",
    "top_k": "--top-k",
    "draft_model": "--draft-model",
    "draft_device": "--draft-device",
    "num_assistant_tokens": "--num-assistant-tokens",
    "assistant_confidence_threshold": "--assistant-confidence-threshold",
    "max_ngram_size": "--max-ngram-size",
    "lora_mode": "--lora-mode",
    "threads": "--threads",
    "interpreter": "--python",
    "foreign_cpu_limit": "--foreign-cpu-limit",
}
"""The settings that a command line is told by an option with a value."""

_LISTS = {
    "sockets": "--sockets",
    "numa_nodes": "--numa-nodes",
    "cores": "--cores",
    "membind": "--membind",
    "interleave": "--interleave",
}
_MAPPINGS = {"properties": "-lc", "scheduler": "--cb-config", "draft_scheduler": "--draft-cb-config"}
_SWITCHES = {
    "apply_chat_template": "--apply-chat-template",
    "stop_at_eos": "--end-token-stopping",
    "do_sample": "--do-sample",
    "is_subsequent": "--subsequent",
    "is_streamed": "--streaming",
    "is_lora_idle": "--empty-lora",
}


def run_command(config: RunConfig, launches: int) -> str:
    """The command line that measures a configuration again with so many launches."""
    parts = ["llmbench", "run", "-m", config.model, *_prompt_options(config)]
    for option, value in _told(config).items():
        parts += [option] if value is None else [option, value]
    parts += [part for adapter in config.lora for part in ("--lora", adapter)]
    parts += [part for alpha in config.lora_alphas for part in ("--lora-alphas", f"{alpha:g}")]
    return shlex.join([*parts, "--launches", str(launches)])


def ab_command(base: RunConfig, candidate: RunConfig, blocks: int) -> str | None:
    """The command line that measures two configurations again in so many blocks.

    An option that is given twice has the first value for the base. ``None`` where they differ in what
    no option can say of one side alone, and where there are adapters, of which one side may have several.
    """
    if base.lora or candidate.lora:
        return None
    before, after = _told(base), _told(candidate)
    absent = _absent()
    parts = ["llmbench", "ab", *_twice("-m", base.model, candidate.model), *_prompt_options(candidate)]
    for option in dict.fromkeys((*before, *after)):
        value, other = before.get(option, absent.get(option)), after.get(option, absent.get(option))
        if option in before and option in after and value is None:
            parts.append(option)
        elif value is None or other is None:
            return None
        else:
            parts += _twice(option, value, other)
    return shlex.join([*parts, "--blocks", str(blocks)])


def _twice(option: str, base: str, candidate: str) -> list[str]:
    """An option once where both sides have the same value, else twice."""
    return [option, base] if base == candidate else [option, base, option, candidate]


def _told(config: RunConfig) -> dict[str, str | None]:
    """The options that are not at their defaults, with their values; one without a value has ``None``."""
    found: dict[str, str | None] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name in _OPTIONS and value != field.default:
            found[_OPTIONS[field.name]] = str(value)
        elif field.name in _LISTS and value:
            found[_LISTS[field.name]] = format_list(value)
        elif field.name in _SWITCHES and value:
            found[_SWITCHES[field.name]] = None
    if not config.is_verified:
        found["--no-verify"] = None
    mappings = ((option, getattr(config, name)) for name, option in _MAPPINGS.items())
    return found | {option: json.dumps(dict(values)) for option, values in mappings if values}


def _absent() -> Mapping[str, str]:
    """What an option that is left out stands for, where a value says it."""
    defaults = {
        _OPTIONS[field.name]: str(field.default)
        for field in dataclasses.fields(RunConfig)
        if field.name in _OPTIONS and field.default is not None
    }
    return defaults | dict.fromkeys(_MAPPINGS.values(), "{}")


def _prompt_options(config: RunConfig) -> list[str]:
    """The options that name the prompts, as far as the configuration tells them."""
    first = config.prompts[0]
    if first.recorded_sha256 is not None:
        return ["-pf", first.set]
    if first.tokens is not None:
        return ["--input-tokens", ",".join(str(prompt.tokens) for prompt in config.prompts)]
    return ["-p", first.text or ""] if first.set == "text" else ["-pf", first.set]
