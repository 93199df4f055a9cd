"""``llmbench config``: recipes, which hold the options of a run in a file."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from llmbench.cli.messages import say
from llmbench.cli.options.help import GroupedOption, HelpGroup, values_of
from llmbench.cli.options.table import OPTIONS, parameters
from llmbench.cli.options.types import PATH, IntegerList, RangeList
from llmbench.cli.outputs import check_output, write_output
from llmbench.errors import ExitCode, InputError
from llmbench.runner.properties import config_names
from llmbench.workloads.prompts import prompt_sets

_FILLED: dict[str, Any] = {
    "model": "models",
    "input_tokens": [32, 512],
    "infer_count": 64,
    "num_iters": 6,
    "launches": 5,
}
"""What a new recipe says; its other options are comments."""

_LEFT_OUT = frozenset({"recipe", "framework", "optimum", "dry_run", "resume", "salvage"})
"""Options of one command line, and llm_bench's words for others."""


@click.group(
    cls=HelpGroup,
    short_help="Recipes.",
    epilog="""
    llmbench config init bench.toml
    llmbench config list""",
)
def command() -> None:
    """Write and list recipes, which ``llmbench run -c RUN.toml`` reads."""


@command.command(
    short_help="Write a recipe with every option explained.",
    epilog="""
    llmbench config init
    llmbench config init bench.toml""",
)
@click.argument("path", type=PATH, default=Path("run.toml"), metavar="[RUN.toml]")
def init(path: Path) -> int:
    """Write a recipe to RUN.toml, every option of ``run`` in it with its explanation.

    An existing file is not overwritten.
    """
    check_output(path, "config init")
    if path.exists():
        raise InputError(f"{path} exists", hint="name another file: llmbench config init NAME.toml")
    write_output(path, recipe_template(str(path)))
    return ExitCode.OK


@command.command(
    name="list",
    short_help="List what the package contains.",
    epilog="""
    llmbench config list""",
)
def list_names() -> int:
    """List the recipes (``-c``), properties (``-lc``) and prompts (``-pf``) that come with the package."""
    for option, names in (
        ("-c", config_names(".toml")),
        ("-lc", config_names(".json")),
        ("-pf", tuple(prompt_sets())),
    ):
        say(*(f"{option:<3} {name}" for name in names))
    return ExitCode.OK


def recipe_template(name: str) -> str:
    """Return a recipe in which every option is explained, those that few need as comments."""
    lines = [
        f"# llmbench run -c {name}",
        "# Options have the names of the command line, which overrides them. Several values in [ ] are a sweep",
        "# if the comment has [sweep]. Remove the # of a line to use it.",
    ]
    groups: dict[str, list[GroupedOption]] = {}
    for option in parameters(*(option for option in OPTIONS if option not in _LEFT_OUT)):
        if isinstance(option, GroupedOption):
            groups.setdefault(option.group, []).append(option)
    for title, options in groups.items():
        lines += ["", f"# --- {title}"]
        lines += [line for option in options for line in _lines(option)]
    lines += ["", "# --- OpenVINO properties, as a table", "# [properties]", '# PERFORMANCE_HINT = "LATENCY"']
    return "\n".join(lines) + "\n"


def _lines(option: GroupedOption) -> Iterator[str]:
    name = str(option.name)
    yield f"# {option.help}"
    value = _FILLED.get(name)
    mark = "# " if value is None else ""
    yield f"{mark}{name.replace('_', '-')} = {json.dumps(_example(option) if value is None else value)}"


def _example(option: GroupedOption) -> Any:
    if option.is_flag:
        return True
    if isinstance(option.default, str | int | float):
        is_number = isinstance(option.type, IntegerList)
        return int(option.default) if is_number else option.default
    if isinstance(option.type, IntegerList | RangeList):
        return [0, 1]
    number = {"N": 1, "X": 0.5}
    return number.get(values_of(option), values_of(option))
