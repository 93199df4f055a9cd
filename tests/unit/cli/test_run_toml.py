"""A recipe holds whatever a command line of run can say."""

import json
from pathlib import Path
from typing import Any

import click
import pytest

from llmbench.cli import run
from llmbench.cli.options.types import Command, Duration, IntegerList, RangeList, ShareType, WordList

FLEET = {"on", "each_host", "skip_unfit", "copy_model", "patience", "share"}
NOT_IN_A_RECIPE = frozenset({"recipe", "framework", "optimum", *FLEET})
"""The option that names it; llm_bench's words for an engine, which have a test of their own; and on which hosts."""
FLEET = frozenset({"on", "each_host", "skip_unfit", "copy_model", "patience", "share"})
NOT_IN_A_RECIPE = frozenset({"recipe", "framework", "optimum"}) | FLEET
"""The option that names it; and llm_bench's words for an engine, which have a test of their own."""

OPTIONS = [
    param
    for param in run.command.params
    if isinstance(param, click.Option) and param.name not in NOT_IN_A_RECIPE
]


def _values(option: click.Option) -> list[str]:
    """Values of an option as a command line has them, several where it takes several."""
    kind = option.type
    match kind:
        case click.Choice():
            return [str(kind.choices[-1])]
        case WordList():
            return kind.name.partition(",")[0].split("|")[:2] if kind.name != WordList.name else ["u8", "f16"]
        case IntegerList() | RangeList():
            return ["2", "3"]
        case Duration():
            return ["90s"]
        case ShareType():
            return ["95%"]
    number = {"integer": ["3"], "integer range": ["3"], "float": ["0.5"], "float range": ["0.5"]}
    found = number.get(kind.name, ["A=1"])
    return (
        [*found, *(each.replace("1", "2").replace("0.5", "0.7") for each in found)]
        if option.multiple
        else found
    )


def _typed(option: click.Option) -> list[str]:
    """An option on a command line."""
    if option.is_flag:
        return [option.opts[-1]]
    values = _values(option)
    given = values if option.multiple else [",".join(values)]
    return [word for value in given for word in (option.opts[-1], value)]


def _written(option: click.Option, *, is_text: bool) -> str:
    """An option in a recipe: lists as lists and numbers as numbers, or all of it as on a command line."""
    name = str(option.name).replace("_", "-")
    assert f"--{name}" in option.opts
    if option.is_flag:
        return f"{name} = true\n"
    values: list[Any] = _values(option)
    if is_text and not option.multiple:
        return f'{name} = "{",".join(values)}"\n'
    is_number = option.type.name.split()[0] in {"integer", "float"}
    if is_number or isinstance(option.type, IntegerList | RangeList):
        values = [float(value) if "." in value else int(value) for value in values]
    is_list = option.multiple or isinstance(option.type, WordList | IntegerList | RangeList)
    return f"{name} = {json.dumps(values if is_list else values[0])}\n"


def _parsed(*arguments: str) -> dict[str, Any]:
    """What run gets from a command line, but for the recipe's own name."""
    context = Command("run", params=run.command.params).make_context("run", [*arguments])
    return {name: value for name, value in context.params.items() if name != "recipe"}


@pytest.mark.parametrize("is_text", [False, True], ids=["as values", "as text"])
@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: str(option.name))
def test_every_option_says_the_same_in_a_recipe(
    option: click.Option, tmp_path: Path, *, is_text: bool
) -> None:
    """Lists, numbers, durations and flags; what is swept on the command line is swept by a recipe."""
    recipe = tmp_path / "run.toml"
    recipe.write_text(_written(option, is_text=is_text))
    expected = _parsed(*_typed(option))

    assert expected != _parsed()
    assert expected == _parsed("-c", str(recipe))


@pytest.mark.parametrize(("line", "engine"), [('framework = "pt"', "torch"), ("optimum = true", "optimum")])
def test_llm_bench_s_words_for_an_engine_work_in_a_recipe(line: str, engine: str, tmp_path: Path) -> None:
    """As they do on the command line."""
    recipe = tmp_path / "run.toml"
    recipe.write_text(line)

    assert engine == _parsed("-c", str(recipe))["engine"]
