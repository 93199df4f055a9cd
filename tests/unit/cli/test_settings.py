"""Option, configuration and printed command of each setting correspond."""

import collections
import dataclasses
import json
import shlex

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmbench.cli import run
from llmbench.cli.options.table import MEASUREMENT, parameters
from llmbench.cli.options.types import Command
from llmbench.render.sentences.commands import run_command
from llmbench.runner.configurations import configurations
from llmbench.schema.config import LOAD_FIELDS, RunConfig
from llmbench.schema.engines import ENGINES
from llmbench.schema.settings.base import Setting, ValueKind
from llmbench.schema.settings.table import PARAMETERS, SETTINGS
from llmbench.schema.tasks import SPEECH_TO_TEXT, VISION_TASK

_NEEDS = {
    "temperature": ("--do-sample",),
    "top_p": ("--do-sample",),
    "top_k": ("--do-sample",),
    "draft_device": ("--draft-model", "small"),
    "draft_cb_config": ("--draft-model", "small"),
    "num_assistant_tokens": ("--max-ngram-size", "3"),
    "assistant_confidence_threshold": ("--draft-model", "small"),
    "lora_mode": ("--lora", "a"),
    "empty_lora": ("--lora", "a"),
    **{
        row.name: ("-t", row.tasks[0], *((f"--{row.needs[0]}", row.needs[1]) if row.needs else ()))
        for row in PARAMETERS
    },
}
"""Options without which another one is refused."""

_TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=9)
_SHARES = st.floats(min_value=0.001, max_value=0.999)
_COUNTS = st.integers(min_value=1, max_value=99999)
_SCALARS = st.one_of(st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), _TEXTS)
_VALUES = {
    ValueKind.TEXT: _TEXTS,
    ValueKind.DEVICE: st.sampled_from(("cpu", "GPU.0", "MULTI:CPU,gpu")),
    ValueKind.INTEGER: _COUNTS.map(str),
    ValueKind.NUMBER: _SHARES.map(str),
    ValueKind.OPTIONAL_TEXT: st.sampled_from(("inductor", "openvino")),
    ValueKind.TEXTS: _TEXTS,
    ValueKind.NUMBERS: st.floats(min_value=-9, max_value=9).map(str),
    ValueKind.INTEGERS: st.lists(_COUNTS.map(str), min_size=1, max_size=3, unique=True).map(",".join),
    ValueKind.RANGES: st.sampled_from(("0", "0,1", "0-3,7", "5,2-3")),
    ValueKind.PROPERTIES: st.dictionaries(
        st.from_regex(r"[A-Z][A-Z_]{0,9}", fullmatch=True).filter(lambda key: key != "CACHE_DIR"),
        st.one_of(_SCALARS, st.lists(_SCALARS, min_size=1, max_size=2, unique=True)),
        max_size=3,
    ).map(json.dumps),
}
_FLAGS = {ValueKind.FLAG, ValueKind.NEGATED_FLAG}
_LEFT_OUT = {
    "prompt_file",
    "questions",
    "prompt_index",
    "framework",
    "optimum",
    "images",
    "image_size",
    "timestamps",
}
_ROWS = [row for row in SETTINGS if row.name not in _LEFT_OUT]


def _configurations(*arguments: str) -> tuple[RunConfig, ...]:
    options = Command("run", params=parameters(*MEASUREMENT)).make_context("run", [*arguments]).params
    return configurations(options, options["model"] or "m")


@st.composite
def _arguments(draw: st.DrawFn, row: Setting) -> list[str]:
    """The option of a row as a person may type it, with what it needs."""
    needs = list(_NEEDS.get(row.name, ()))
    if row.kind in _FLAGS:
        return [*needs, row.flags[-1]]
    if row.name == "draft_cb_config":
        value = draw(st.sampled_from(('{"cache_size": 1}', "max_num_seqs=4", "{}")))
    elif row.name == "database":
        value = draw(st.sampled_from(("embedded", "embedded:mine", "postgresql://u@h:5/d?sslmode=require")))
    elif row.kind in {ValueKind.CHOICE, ValueKind.WORDS}:
        choices = [
            choice for choice in row.choices if choice not in {VISION_TASK, SPEECH_TO_TEXT}
        ]  # they need files
        value = draw(st.sampled_from(choices or ("u8", "f16", "u8,f16")))
    else:
        value = draw(_VALUES[row.kind])
    if row.name == "lora_alphas":
        needs += ["--lora", "a"]
    return [*needs, f"{row.flags[-1]}={value}"]


def test_every_field_of_a_configuration_has_one_setting() -> None:
    """But the prompts, which several options name, whether the attention was requested, and what only load sets."""
    fields = collections.Counter(row.field for row in SETTINGS if row.field is not None)

    assert {
        field.name: 1
        for field in dataclasses.fields(RunConfig)
        if field.name not in {"prompts", "parameters", "is_attention_fixed", *LOAD_FIELDS}
    } == fields


def test_options_have_names_and_spellings_of_their_own() -> None:
    """Among all options of run."""
    spellings = [spelling for param in run.command.params for spelling in param.opts]
    names = [param.name for param in run.command.params]

    assert sorted(set(spellings)) == sorted(spellings)
    assert sorted({str(name) for name in names}) == sorted(map(str, names))


@pytest.mark.parametrize("row", _ROWS, ids=lambda row: row.name)
@given(data=st.data())
@settings(max_examples=10, deadline=None)
def test_the_command_to_type_next_makes_the_same_configuration(row: Setting, data: st.DataObject) -> None:
    """Whatever value an option has: option, configuration, command, and the same configuration again."""
    for config in _configurations(*data.draw(_arguments(row))):
        command = run_command(config, config.launches)
        (again,) = _configurations(*shlex.split(command)[2:])

        assert config == again
        assert command == run_command(again, again.launches)


@pytest.mark.parametrize("engine", [name for name, info in ENGINES.items() if "text" in info.workloads])
@pytest.mark.parametrize("attention", ["pa", "sdpa"])
def test_the_attention_is_named_where_the_engine_has_another_default(engine: str, attention: str) -> None:
    """Paged attention is the default of one engine only."""
    (config,) = _configurations("--engine", engine, "--attention", attention)

    (again,) = _configurations(*shlex.split(run_command(config, 1))[2:])

    assert attention == again.attention
