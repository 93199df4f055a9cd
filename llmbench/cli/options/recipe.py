"""RUN.toml into the options of ``run``; errors name the line."""

import json
import re
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path

from llmbench.errors import InputError
from llmbench.files.strict_json import Pairs, json_kind
from llmbench.models.pipeline import PIPELINE_TABLES
from llmbench.runner.properties import (
    RunValue,
    find_file,
    line_of,
    missing,
    property_set,
    read_option_text,
    scalar_of,
    suggest,
)
from llmbench.schema.settings.base import ValueKind
from llmbench.schema.settings.table import SETTINGS

_PROPERTIES = tuple(row.name for row in SETTINGS if row.kind is ValueKind.PROPERTIES)
"""Options that take properties, which a recipe may contain as tables."""

_REPEATABLE = tuple(
    row.name for row in SETTINGS if row.kind in {ValueKind.TEXTS, ValueKind.NUMBERS, ValueKind.PROPERTIES}
)

_TABLES = {"properties": "load_config", "scheduler": "cb_config"}
"""Tables of a recipe, and the option that each becomes one more of."""

_AT_LINE = re.compile(r" \(at (?:line (?P<line>\d+), column \d+|end of document)\)$")


def read_recipe(name: str | Path, *, known: Collection[str]) -> dict[str, RunValue]:
    """Return the options of a recipe by their name with underscores; *known* are those there are.

    Keys are the long option names of ``run``, with dashes or underscores; paths in it are relative to the working
    directory. A list stands for an option that takes several values. The table ``[properties]`` becomes one more
    ``load_config``, ``[scheduler]`` one more ``cb_config``; several tables (``[[properties]]``, or a list of tables as
    the value of such an option) are sets for a configuration each. A recipe that is not found is looked for in
    ``model_configs/``, with and without ``.toml``.
    Raises InputError that names the line.
    """
    path = find_file(str(name), ".toml")
    if path is None:
        raise missing("recipe", str(name), ".toml")
    text = read_option_text(path)
    table = _parse(text, path)
    if "stages" in table:
        table = _as_pipeline(table, path)
    tables = {title: table.pop(title) for title in _TABLES if title in table}
    options: dict[str, RunValue] = {}
    for key, value in table.items():
        where = f"{path}:{_line_of(text, key)}"
        option = _option_name(key, known, where)
        if option in options:
            raise InputError(f"{where}: duplicate key {key!r}", hint="keep one spelling of it")
        if option in _PROPERTIES and _is_tables(value):
            options[option] = (_as_json(option, value, text, path),)
        else:
            options[option] = _option_value(option, value, where)
    for title, value in tables.items():
        if not isinstance(value, Mapping) and not _is_tables(value):
            raise InputError(
                f"{path}:{_line_of(text, title)}: expected a table, found {json_kind(value)}",
                hint=f"write [{title}] on a line of its own, and KEY = VALUE below it",
            )
        option = _TABLES[title]
        earlier = options.get(option, ())
        sets = _as_json(option, value, text, path)
        options[option] = (*(earlier if isinstance(earlier, tuple) else (earlier,)), sets)
    return options


def _as_pipeline(table: dict[str, object], path: Path) -> dict[str, object]:
    """The options of a recipe that describes a pipeline, which is itself what is measured."""
    options = {key: value for key, value in table.items() if key not in PIPELINE_TABLES}
    if {"trust_recipe_code", "trust-recipe-code"} & set(options):
        raise InputError(
            f"{path}: a recipe cannot trust its own code", hint="add --trust-recipe-code to the command"
        )
    return {**options, "model": str(path.resolve()), "engine": "pipeline", "task": "pipeline"}


def _is_tables(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, Mapping) for each in value)


def _as_json(option: str, value: object, text: str, path: Path) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_as_json(option, table, text, path) for table in value)}]"
    entries = _pairs_of(value) if isinstance(value, Mapping) else Pairs()
    return json.dumps(
        property_set(entries, lambda key: f"{path}:{_line_of(text, key)}", is_nested=option != "load_config")
    )


def _pairs_of(table: Mapping[str, object]) -> Pairs:
    return Pairs(
        (key, _pairs_of(value) if isinstance(value, Mapping) else value) for key, value in table.items()
    )


def _parse(text: str, path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        at = _AT_LINE.search(str(error))
        line = (at and at["line"]) or text.count("\n") + 1
        problem = _AT_LINE.sub("", str(error))
        raise InputError(
            f"{path}:{line}: not TOML: {problem}", hint="a line looks like num-iters = 6"
        ) from None
    except (RecursionError, ValueError):
        raise InputError(
            f"{path}: not TOML that can be read: nested too deeply, or a number too long",
            hint="a line looks like num-iters = 6",
        ) from None


def _option_name(key: str, known: Collection[str], where: str) -> str:
    option = key.replace("-", "_")
    allowed = sorted({*known} - {"recipe"})
    if option in allowed:
        return option
    near = suggest(option, [*allowed, *_TABLES])
    dashed = [name.replace("_", "-") for name in allowed]
    hint = (
        f"did you mean {near.replace('_', '-')}?"
        if near
        else f"there are {', '.join(dashed)}, [properties] and [scheduler]"
    )
    raise InputError(f"{where}: there is no option {key!r}", hint=hint)


def _option_value(option: str, value: object, where: str) -> RunValue:
    """The value of an option: a scalar, or a list of them; a repeatable option always has a list."""
    if isinstance(value, list):
        return tuple(scalar_of(item, option, where) for item in value)
    found = scalar_of(value, option, where)
    return (found,) if option in _REPEATABLE else found


def _line_of(text: str, key: str) -> int:
    return line_of(text, rf"""^\s*\[*\s*["']?(?P<key>{re.escape(key)})["']?\s*[=.\]]""")
