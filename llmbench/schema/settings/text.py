"""Settings of text generation: how tokens are made, beside GenAI's scheduler."""

import functools

from llmbench.schema.settings.base import Group, Setting, ValueKind

LORA_MODES = ("auto", "dynamic", "static_rank", "static", "fuse")

_sampling = functools.partial(Setting, group=Group.SAMPLING)
_speculation = functools.partial(Setting, group=Group.SPECULATION)
_adapters = functools.partial(Setting, group=Group.ADAPTERS)
_measurement = functools.partial(Setting, group=Group.MEASUREMENT)

GENERATION_SETTINGS = (
    _sampling(
        "--num-beams", "Number of beams; 1 is greedy search.", kind=ValueKind.INTEGER, field="num_beams"
    ),
    _sampling(
        "--do-sample",
        "Sample tokens (see --seed) instead of greedy search.",
        kind=ValueKind.FLAG,
        field="do_sample",
    ),
    _sampling("--temperature", "Sampling temperature.", kind=ValueKind.NUMBER, field="temperature"),
    _sampling(
        "--top-p",
        "Sample from the likeliest tokens up to this cumulative probability.",
        kind=ValueKind.NUMBER,
        field="top_p",
    ),
    _sampling(
        "--top-k",
        "Sample from the N likeliest tokens.  [default: all; sweep]",
        kind=ValueKind.INTEGERS,
        field="top_k",
        sweep=6,
    ),
    _speculation(
        "--draft-model",
        "Smaller model that proposes tokens.",
        kind=ValueKind.TEXT,
        field="draft_model",
        metavar="DIR",
    ),
    _speculation(
        "--draft-device",
        "Device of the draft model.  [default: as --device]",
        kind=ValueKind.DEVICE,
        field="draft_device",
    ),
    _speculation(
        "--draft-cb-config",
        "GenAI scheduler of the draft model.",
        kind=ValueKind.PROPERTIES,
        field="draft_scheduler",
    ),
    _speculation(
        "--num-assistant-tokens",
        "Tokens proposed per step.  [default: 5]",
        kind=ValueKind.INTEGER,
        field="num_assistant_tokens",
    ),
    _speculation(
        "--assistant-confidence-threshold",
        "Propose tokens while the draft's confidence is above this, instead.",
        kind=ValueKind.NUMBER,
        field="assistant_confidence_threshold",
    ),
    _speculation(
        "--max-ngram-size",
        "Prompt lookup: propose tokens from n-grams of the prompt; needs no draft model.",
        kind=ValueKind.INTEGER,
        field="max_ngram_size",
    ),
    _adapters(
        "--lora",
        "LoRA adapter; may be given several times.",
        kind=ValueKind.TEXTS,
        field="lora",
        metavar="FILE.safetensors",
    ),
    _adapters(
        "--lora-alphas", "Weight of each adapter.  [default: 1]", kind=ValueKind.NUMBERS, field="lora_alphas"
    ),
    _adapters(
        "--lora-mode",
        "How adapters are applied.",
        kind=ValueKind.CHOICE,
        field="lora_mode",
        choices=LORA_MODES,
    ),
    _adapters(
        "--empty-lora",
        "Load the adapters, but generate without them.",
        kind=ValueKind.FLAG,
        field="is_lora_idle",
    ),
    _measurement(
        "--streaming",
        "Stream the text, and record when each callback came.",
        kind=ValueKind.FLAG,
        field="is_streamed",
    ),
)
"""Options that say how tokens are made."""
