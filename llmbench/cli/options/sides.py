"""The options of ``ab``: each says what to measure for both sides, or, given twice, first for A and then for B."""

import re
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from llmbench.analysis.comparison.compare import SIDES
from llmbench.cli.options.completion import AsTyped
from llmbench.cli.options.help import GroupedOption, values_of
from llmbench.cli.options.load import TARGETS, is_load, load_configurations, parse_load, target_of_side
from llmbench.cli.options.resolve import resolve_models, resolve_one
from llmbench.cli.options.table import (
    LOAD_OPTIONS,
    MEASUREMENT,
    OPTIONS,
    is_typed,
    parameters,
    parse_options,
    recipe_options,
)
from llmbench.errors import InputError
from llmbench.models.resolve import Side
from llmbench.schema.settings.serving import LOAD_PARAMETERS
from llmbench.schema.units import counted

_LEFT_OUT = frozenset({"launches"})
"""Options of ``run`` that blocks make pointless."""

_SHARED = frozenset(
    {
        *("prompt", "prompt_file", "prompt_index", "input_tokens", "disable_prompt_permutation"),
        *("images", "image_size", "task"),
        *(setting.name for setting in LOAD_PARAMETERS.values()),
    }
)
"""Options that are the same for both sides, which are compared prompt by prompt."""

Prepare = Callable[[Mapping[str, Any]], dict[str, Any]]
"""Returns options whose model is one that can be measured."""

_PROMPTS = ("prompt", "prompt_file", "input_tokens")


def side_options() -> list[click.Parameter]:
    """Return the options that say what to measure; one with a value may be given for each side."""
    return [
        option
        if option.name in _SHARED or not isinstance(option, GroupedOption) or option.is_flag
        else _twofold(option)
        for option in single_options(*LOAD_OPTIONS)
    ]


def single_options(*more: str) -> list[click.Parameter]:
    """Return the options that say what to measure, for one configuration, and *more*: help mentions no sweep."""
    found = parameters(*(name for name in MEASUREMENT if name not in _LEFT_OUT), *more)
    for option in found:
        if isinstance(option, GroupedOption) and "sweep]" in (option.help or ""):
            option.help = re.sub(r"  \[sweep\]|; sweep(?=\])", "", option.help or "")
            option.metavar = values_of(option).removesuffix(",...")
    return found


def _twofold(option: GroupedOption) -> click.Option:
    default = option.default if isinstance(option.default, str | int | float) else None
    shown = "" if default is None else f"  [default: {default}]"
    return GroupedOption(
        option.opts + option.secondary_opts,
        group=option.group,
        is_rare=option.is_rare,
        multiple=True,
        type=AsTyped(option.type),
        metavar=values_of(option),
        help=(option.help or "") + shown,
        show_default=False,
    )


def read_sides(
    ctx: click.Context,
    files: tuple[Path, ...],
    options: Mapping[str, Any],
    *,
    blocks: int,
    prepare: Prepare = dict,
) -> tuple[Side, Side]:
    """Return A and B: each from its recipe (one recipe is for both), over which the command line has precedence.

    Raises:
        InputError: more than two recipes or values, a side that is a sweep, sides that share no prompt.
    """
    if len(files) > len(SIDES):
        raise InputError(f"{len(files)} recipes were given; A and B are two", hint="compare two at a time")
    models = [file for file in files if file.is_dir() or file.suffix == ".gguf"]
    if models:
        both = " ".join(f"-m {shlex.quote(str(file))}" for file in files)
        raise InputError(
            f"{models[0]} is a model; A.toml and B.toml are recipes",
            hint=f"to compare models: llmbench ab {both}"
            if len(files) > 1
            else f"llmbench ab {both} -m OTHER",
        )
    typed = typed_options(ctx, options)
    recipe_values = [recipe_options(file) for file in files] or [{}]
    base, candidate = (
        _side(
            ctx,
            _values(recipe_values[min(number, len(files) - 1)], typed, number, blocks),
            f"side {SIDES[number]}",
            prepare,
        )
        for number in range(len(SIDES))
    )
    prompts = ({prompt.sha256 for prompt in side.config.prompts} for side in (base, candidate))
    if not set.intersection(*prompts):
        raise InputError(
            "A and B have no prompt in common, so nothing could be compared",
            hint="give the prompts on the command line, where they are for both",
        )
    return base, candidate


def read_side(
    ctx: click.Context,
    file: Path | None,
    options: Mapping[str, Any],
    *,
    launches: int,
    prepare: Prepare = dict,
) -> Side:
    """Return the one configuration that a recipe and the command line describe, in this many launches.

    Raises InputError where it is a sweep.
    """
    typed = typed_options(ctx, options)
    recipe = _without_prompts(recipe_options(file) if file else {}, typed)
    return _side(ctx, {**recipe, **typed, "launches": launches}, "this", prepare)


def typed_options(ctx: click.Context, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return those options that are on the command line."""
    return {name: value for name, value in options.items() if is_typed(ctx, name)}


def _without_prompts(recipe: Mapping[str, Any], typed: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe's options, without its prompts where the command line has some."""
    has_prompts = any(name in typed for name in _PROMPTS)
    return {name: value for name, value in recipe.items() if not (has_prompts and name in _PROMPTS)}


def _values(recipe: Mapping[str, Any], typed: Mapping[str, Any], number: int, blocks: int) -> dict[str, Any]:
    chosen = {name: _of_side(name, value, number) for name, value in typed.items()}
    if is_load(typed):
        chosen = {name: value for name, value in chosen.items() if name not in TARGETS}
        chosen |= target_of_side(typed, number)
    return _without_prompts(recipe, typed) | chosen | {"launches": blocks}


def _side(ctx: click.Context, values: Mapping[str, Any], name: str, prepare: Prepare) -> Side:
    try:
        of_load = parse_load(values) if is_load(values) else None
        options = of_load or prepare(parse_options(values))
    except click.UsageError as error:
        error.ctx = ctx
        raise
    return resolve_one(
        options,
        refusal=f"{name} is a sweep of {{}} configurations, where one is wanted",
        hint="give one value to each option; ab takes an option twice, once for each side",
        resolve=load_configurations if of_load else resolve_models,
    )


def _of_side(name: str, value: Any, number: int) -> Any:
    if name in _SHARED or not isinstance(value, tuple):
        return value
    if len(value) > len(SIDES):
        option = f"--{name.replace('_', '-')}"
        raise InputError(
            f"{option} was given {counted(len(value), 'time')}",
            hint="once for both sides, or twice: for A, then for B",
        )
    chosen = value[min(number, len(value) - 1)]
    return (chosen,) if (OPTIONS | LOAD_OPTIONS)[name][1].get("multiple") else chosen
