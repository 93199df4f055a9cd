"""Every option that several subcommands share, a row each: the settings of a configuration, and how a run goes.

The command line and a recipe (RUN.toml) go the same way, so that a recipe means the same to every subcommand.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from llmbench.cli.options.completion import FileText
from llmbench.cli.options.help import GroupedOption, dashed
from llmbench.cli.options.recipe import read_recipe
from llmbench.cli.options.types import (
    LOGS,
    PATH,
    Duration,
    IntegerList,
    NumberList,
    RangeList,
    ShareType,
    WordChoice,
    WordList,
)
from llmbench.runner.properties import config_names
from llmbench.schema.config import PLACES, RunConfig
from llmbench.schema.settings.base import Group, Setting, ValueKind
from llmbench.schema.settings.serving import LOAD_SETTINGS
from llmbench.schema.settings.table import SETTINGS
from llmbench.workloads.prompts import prompt_sets

_Command = TypeVar("_Command", bound=Callable[..., Any])
_NAMES: dict[str, Callable[[], Iterable[str]]] = {
    "prompt_file": prompt_sets,
    "load_config": functools.partial(config_names, ".json"),
}
"""What the package holds for an option, by name."""


def _choose_engine(ctx: click.Context, param: click.Parameter, value: str | bool) -> None:
    """Make the engine that llm_bench's words stand for the default: ``-f pt`` is PyTorch's."""
    (setting,) = (each for each in SETTINGS if each.name == param.name)
    engine = (setting.engines or {}).get(value)
    if engine is not None:
        ctx.default_map = {**(ctx.default_map or {}), "engine": engine}


def _default(setting: Setting) -> Any:
    """The default of an option: the field's, as a command line has it; ``None`` where there is none."""
    if setting.kind in {ValueKind.WORDS, ValueKind.RANGES, ValueKind.RATES}:
        return ()
    fields = {field.name: field.default for field in dataclasses.fields(RunConfig)}
    value = fields.get(setting.field or "")
    if setting.kind is ValueKind.INTEGERS:
        return () if value is None else str(value)
    return value if isinstance(value, str | int | float) and not isinstance(value, bool) else None


def _attributes(setting: Setting) -> dict[str, Any]:
    by_kind: dict[ValueKind, dict[str, Any]] = {
        ValueKind.CHOICE: {"type": WordChoice(setting.choices)},
        ValueKind.INTEGER: {"type": int},
        ValueKind.NUMBER: {"type": float},
        ValueKind.FLAG: {"is_flag": True},
        ValueKind.NEGATED_FLAG: {"is_flag": True},
        ValueKind.OPTIONAL_TEXT: {"is_flag": False, "flag_value": next(iter(setting.choices), None)},
        ValueKind.TEXTS: {
            "multiple": True,
            "type": str if setting.metavar == "TEXT" else FileText(_NAMES.get(setting.name, tuple)),
        },
        ValueKind.NUMBERS: {"multiple": True, "type": float},
        ValueKind.WORDS: {"type": WordList(setting.choices)},
        ValueKind.INTEGERS: {"type": IntegerList(setting.least, may_repeat=setting.sweep is None)},
        ValueKind.RATES: {"type": NumberList()},
        ValueKind.DURATION: {"type": Duration()},
        ValueKind.RANGES: {"type": RangeList()},
        ValueKind.PROPERTIES: {
            "multiple": True,
            "type": FileText(_NAMES.get(setting.name, tuple)),
            "metavar": "PROPERTIES",
        },
        ValueKind.TEXT: {"type": str if setting.metavar in {None, "TEXT"} else FileText()},
        ValueKind.DEVICE: {"metavar": "DEVICE"},
    }
    found: dict[str, Any] = {"help": setting.help, "group": setting.group, "is_rare": not setting.is_common}
    found |= by_kind.get(setting.kind, {})
    if setting.metavar is not None:
        found["metavar"] = setting.metavar
    default = setting.choices[0] if setting.engines and setting.choices else _default(setting)
    if default is not None:
        found["default"] = default
    if setting.engines:
        found |= {"is_eager": True, "expose_value": False, "callback": _choose_engine}
    return found


def _apply_recipe(ctx: click.Context, _param: click.Parameter, path: str | None) -> str | None:
    if path is not None:
        values = read_recipe(path, known=OPTIONS)
        for param in ctx.command.params:
            value = values.get(str(param.name))
            if isinstance(param, click.Option) and param.multiple and not isinstance(value, tuple | None):
                values[str(param.name)] = (value,)
        ctx.default_map = {**(ctx.default_map or {}), **values}
    return path


def _row(
    *spellings: str, group: Group, is_rare: bool = False, **attributes: Any
) -> tuple[tuple[str, ...], dict[str, Any]]:
    return spellings, {"group": group.value, "is_rare": is_rare, **attributes}


_course = functools.partial(_row, group=Group.RUN)
_result = functools.partial(_row, group=Group.RESULTS)

OPTIONS = {setting.name: _row(*setting.flags, **_attributes(setting)) for setting in SETTINGS} | {
    "recipe": _course(
        "-c",
        "--recipe",
        type=FileText(functools.partial(config_names, ".toml")),
        is_eager=True,
        callback=_apply_recipe,
        metavar="RUN.toml",
        help="Options from a file; the command line wins.",
    ),
    "report": _result(
        "-r", "--report", type=PATH, metavar="OUT.csv", help="CSV in llm_bench's columns, overwritten."
    ),
    "report_json": _result(
        "-rj", "--report-json", type=PATH, metavar="OUT.json", help="JSON in llm_bench's layout, overwritten."
    ),
    "output_dir": _result(
        "--output-dir", type=PATH, metavar="DIR", default="reports", help="Folder of the run file."
    ),
    "name": _result("--name", help="Name of the run.  [default: time, model, id]"),
    "overwrite": _result("--overwrite", is_rare=True, is_flag=True, help="Replace a run file of that name."),
    "timeout": _course(
        "--timeout",
        is_rare=True,
        type=Duration(),
        default="20m",
        help="Limit for loading and for a request; for each token where the engine streams.",
    ),
    "order": _course(
        "--order",
        is_rare=True,
        type=WordChoice(("random", "given")),
        default="random",
        help="Order of a sweep's launches within a round: random (see --seed), or as listed.",
    ),
    "keep_going": _course(
        "--keep-going", is_rare=True, is_flag=True, help="Continue with the next launch if one fails."
    ),
    "strict": _result("--strict", is_flag=True, help="Fail on invalid or ineffective rows."),
    "quiet": _result("--quiet", is_rare=True, is_flag=True, help="Print only the table and the files."),
    "explain": _result("-v", "--explain", is_flag=True, help="Add notes, definitions and all metrics."),
    "log": _result(
        "--log",
        type=WordChoice(LOGS),
        help="Lines per request; llm-bench's with -r if not on a terminal.  [default: compact]",
    ),
    "max_kld": _result(
        "--max-kld",
        is_rare=True,
        type=click.FloatRange(min=0),
        metavar="NATS",
        help="Invalid above this mean KL divergence from --quality-base (see llmbench quality).",
    ),
    "min_same_top": _result(
        "--min-same-top",
        is_rare=True,
        type=ShareType(),
        help="Invalid where fewer tokens have the base's likeliest token.",
    ),
    "quality_base": _result(
        "--quality-base",
        is_rare=True,
        metavar="FORMAT|MODEL",
        help="Base of both.  [default: the most precise IR beside the model]",
    ),
    "cooldown": _course(
        "--cooldown",
        is_rare=True,
        type=Duration(may_be_zero=True),
        default=0.0,
        show_default=False,
        help="Rest before each launch.  [default: none]",
    ),
    "dry_run": _course("--dry-run", is_flag=True, help="Print the plan and the time; run nothing."),
    "resume": _course(
        "--resume",
        is_rare=True,
        type=PATH,
        metavar="RUN",
        help="Continue a run that was interrupted, in its own configuration.",
    ),
    "salvage": _course("--salvage", is_rare=True, is_flag=True, help="Skip damaged lines of a run file."),
}
"""The spellings and attributes of each option of ``run``, by its name; other subcommands have some of them."""

LOAD_OPTIONS = {setting.name: _row(*setting.flags, **_attributes(setting)) for setting in LOAD_SETTINGS}
"""The same of what only a load has; no recipe has them."""

MEASUREMENT = tuple(setting.name for setting in SETTINGS)
"""The options that say what to measure."""

PLACEMENT = (*PLACES, "tensor_parallel")
"""The options that say where it is measured."""


def option(name: str, **changes: Any) -> Callable[[_Command], _Command]:
    """Return the decorator that adds an option of the table to a command, some attributes changed."""
    spellings, attributes = OPTIONS[name]
    return click.option(*spellings, cls=GroupedOption, **(attributes | changes))


def is_typed(ctx: click.Context, name: str) -> bool:
    """Return whether an option is on the command line."""
    return ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE


def parameters(*names: str, **changes: Mapping[str, Any]) -> list[click.Parameter]:
    """Return the options of these names, for a command's ``params``; *changes* are attributes of some of them."""
    found = ((name, *(OPTIONS | LOAD_OPTIONS)[name]) for name in names)
    return [
        GroupedOption(spellings, **(attributes | {**changes.get(name, {})}))
        for name, spellings, attributes in found
    ]


def recipe_options(path: str | Path) -> dict[str, Any]:
    """Return the options of a recipe that say what to measure, without those that are only for ``run``.

    Raises InputError that names the line.
    """
    return {name: value for name, value in read_recipe(path, known=OPTIONS).items() if name in MEASUREMENT}


def parse_options(values: Mapping[str, Any], *, more: Iterable[str] = ()) -> dict[str, Any]:
    """Return every option that says what to measure: these values, parsed, the others at their defaults.

    *more* are names of others. Raises InputError or click's UsageError on a value that is not valid.
    """
    command = click.Command("recipe", params=parameters(*MEASUREMENT, *more))
    context = command.make_context("recipe", [], default_map=dict(values), token_normalize_func=dashed)
    return context.params
