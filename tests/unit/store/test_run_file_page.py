"""``docs/run-file.md``: its tables are those of the types, so that it cannot rot."""

import dataclasses
import enum
import inspect
import os
import re
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from llmbench.schema.measurement import Measurement
from llmbench.store.events import Header, LaunchEnded, LaunchStarted, RunEnded

PAGE = Path(__file__).parents[3] / "docs/run-file.md"
BEGIN = "<!-- from here on written from the types: LLMBENCH_UPDATE_GOLDEN=1 pytest tests/unit/store -->\n"
LINES = {
    "run started": Header,
    "launch started": LaunchStarted,
    "measurement": Measurement,
    "launch ended": LaunchEnded,
    "run ended": RunEnded,
}
NUMBERS = {int: "integer", float: "number", str: "text", bool: "true or false", type(None): "null"}


def parts_of(kind: object) -> Iterator[type]:
    """The classes of ours that a type is made of, in order."""
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        yield kind
    for part in typing.get_args(kind):
        yield from parts_of(part)


def title(kind: object) -> str:  # noqa: PLR0911  one for each kind of type
    """A type as JSON has it."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return f"{title(args[0])}{bounds(args[1:])}"
    if origin in (types.UnionType, typing.Union):
        return " or ".join(dict.fromkeys(map(title, args)))
    if origin is tuple:
        return f"list of {title(args[0])}"
    if origin is Mapping:
        return f"object of {title(args[1])} by {title(args[0])}"
    if isinstance(kind, typing.NewType):
        return title(kind.__supertype__)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return ", ".join(f"`{each.value}`" for each in kind)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return f"[{kind.__name__}](#{kind.__name__.lower()})"
    return "any value" if kind is typing.Any else NUMBERS[typing.cast("type", kind)]


def bounds(metas: tuple[msgspec.Meta, ...]) -> str:
    """The limits that every value is checked against."""
    signs = {"ge": "≥", "gt": ">"}
    pairs = [(sign, getattr(meta, key)) for meta in metas for key, sign in signs.items()]
    found = [f" {sign} {limit}" for sign, limit in pairs if limit is not None]
    return "".join(found) + "".join(", not empty" for meta in metas if meta.min_length)


def documentation(kind: type) -> str:
    """The docstring of a class as Markdown."""
    text = inspect.getdoc(kind) or ""
    return re.sub(r"`{2}(.+?)`{2}", r"`\1`", text)


def table(kind: type) -> Iterator[str]:
    """A row for each field."""
    hints = typing.get_type_hints(kind, include_extras=True)
    yield "| field | value | default |"
    yield "|---|---|---|"
    for field in dataclasses.fields(kind):
        yield f"| `{field.name}` | {title(hints[field.name])} | {default(field)} |"


def default(field: "dataclasses.Field[object]") -> str:
    """What a line without the field means."""
    value = field.default
    if field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
    if value is dataclasses.MISSING:
        return "required"
    if dataclasses.is_dataclass(value):
        return "its defaults"
    return f"`{msgspec.json.encode(value).decode()}`"


def page() -> Iterator[str]:
    """The lines of a run file, then the objects in them, each once."""
    waiting: list[type] = []
    for event, kind in LINES.items():
        yield from (f"## `{event}`", "", documentation(kind), "", *table(kind), "")
        waiting += [part for part in nested(kind) if part not in waiting]
    yield from ("## Objects", "")
    for part in waiting:
        waiting += [each for each in nested(part) if each not in waiting]
        yield from (f"### {part.__name__}", "", documentation(part), "", *table(part), "")


def nested(kind: type) -> Iterator[type]:
    """The objects in a class's own fields."""
    for hint in typing.get_type_hints(kind, include_extras=True).values():
        yield from parts_of(hint)


def test_the_page_is_that_of_the_types() -> None:
    """Every line, every field with its type, limits and default; with LLMBENCH_UPDATE_GOLDEN=1 it is written."""
    written = PAGE.read_text()
    head, _, tables = written.partition(BEGIN)
    wanted = "\n".join(page())
    if os.environ.get("LLMBENCH_UPDATE_GOLDEN"):
        PAGE.write_text(head + BEGIN + wanted)
    else:
        assert wanted == tables
