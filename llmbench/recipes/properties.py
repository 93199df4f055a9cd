"""``-lc`` and its like into properties: JSON text, a JSON file, or pairs; one set of them, or several."""

import collections
import json
import re
from collections.abc import Iterator

from llmbench.errors import InputError
from llmbench.recipes.files import find, missing, text_of
from llmbench.recipes.values import Pairs, RunValue, kind_of, scalar_of, value_of

NESTED = frozenset({"--cb-config", "--draft-cb-config"})
"""Options whose properties have parts with properties of their own."""

_PAIR = re.compile(r"\s*(?P<key>[A-Za-z_][\w.]*)\s*=(?P<value>.*)", re.DOTALL)
_BETWEEN_PAIRS = re.compile(r",(?=\s*[A-Za-z_][\w.]*\s*=)")
_EXAMPLES = {
    "-lc": "PERFORMANCE_HINT=LATENCY",
    "--cb-config": "max_num_batched_tokens=256",
    "--draft-cb-config": "cache_size=1",
}
_HINT = 'properties look like {"PERFORMANCE_HINT": "LATENCY"}'

Properties = dict[str, RunValue]


def read_properties(text: str, *, option: str = "-lc") -> tuple[Properties, ...]:
    """Sets of properties from JSON text, from a JSON file, or from ``KEY=VALUE[,KEY=VALUE]``, as *option* was given.

    A JSON object is one set, a list of objects one set each. A file that is not found is looked for in
    ``model_configs/``, with and without ``.json``. The value of a pair is read as JSON (``2``, ``true``, ``"2"``) and
    is text where it is none. What stands in an object within the object has both names, with a dot between
    (``--cb-config`` only); a list of values is a tuple. Raises InputError that names the place; whether there is such
    a property is not looked at here.
    """
    is_nested = option in NESTED
    if text.lstrip().startswith(("{", "[")):
        return _properties_of_json(text, option, is_nested=is_nested)
    path = find(text, ".json")
    if path is not None and path.suffix == ".toml":
        raise InputError(f"{option} takes properties; {path} is a recipe", hint=f"use -c {path}")
    if path is not None:
        return _properties_of_json(text_of(path), str(path), is_nested=is_nested)
    if "=" in text:
        return (_properties_of_pairs(text, option),)
    raise missing("properties file", text, ".json")


def flat(entries: Pairs, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Every key of an object and of the objects in it, with their values."""
    for key, value in entries:
        if isinstance(value, Pairs):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _properties_of_json(text: str, source: str, *, is_nested: bool) -> tuple[Properties, ...]:
    """The properties of a JSON object that stands in *source*, or of each in a list."""
    content = _parse_json(text, source)
    is_list = isinstance(content, list) and not isinstance(content, Pairs)
    objects = content if isinstance(content, list) and is_list and content else [content]
    seen: collections.Counter[str] = collections.Counter()
    return tuple(_properties_of(each, text, source, seen, is_nested=is_nested) for each in objects)


def _properties_of(
    entries: object, text: str, source: str, seen: collections.Counter[str], *, is_nested: bool
) -> Properties:
    """The properties of one object; *seen* counts how often each key stood in the text before it."""
    if not isinstance(entries, Pairs):
        raise InputError(
            f'{source}: expected a JSON object such as {{"KEY": "value"}}, found {kind_of(entries)}',
            hint="a list holds objects, each a set of properties for a configuration of its own",
        )
    found: Properties = {}
    for key, value in flat(entries) if is_nested else entries:
        name = key.rpartition(".")[2]
        where = f"{source}:{_line_of(text, name, nth=seen[name])}"
        seen[name] += 1
        if key in found:
            raise InputError(f"{where}: {key!r} stands here a second time", hint="keep one of the two")
        found[key] = value_of(value, key, where)
    return found


def _parse_json(text: str, source: str) -> object:
    """The value of a JSON text, objects as `Pairs`."""
    try:
        return json.loads(text, object_pairs_hook=Pairs, parse_constant=float)
    except json.JSONDecodeError as error:
        raise InputError(
            f"{source}:{error.lineno}: not JSON: {error.msg} at column {error.colno}", hint=_HINT
        ) from None
    except (RecursionError, ValueError):
        raise InputError(
            f"{source}: not JSON that can be read: nested too deeply, or a number too long", hint=_HINT
        ) from None


def _properties_of_pairs(text: str, option: str) -> Properties:
    """The properties of ``KEY=VALUE[,KEY=VALUE]``; a comma that no key follows belongs to its value."""
    found: Properties = {}
    for part in _BETWEEN_PAIRS.split(text):
        pair = _PAIR.fullmatch(part)
        if pair is None:
            raise InputError(
                f"{option}: expected KEY=VALUE, found {part!r}", hint=f"write {option} {_EXAMPLES[option]}"
            )
        key, value = pair["key"], pair["value"].strip()
        if key in found:
            raise InputError(f"{option}: {key!r} stands here a second time", hint="keep one of the two")
        try:
            found[key] = value_of(
                json.loads(value, object_pairs_hook=Pairs, parse_constant=float), key, option
            )
        except (ValueError, RecursionError):
            found[key] = scalar_of(value, key, option)
    return found


def _line_of(text: str, key: str, *, nth: int) -> int:
    """The line on which a key stands for the nth time; 1 where it is spelled with escapes."""
    places = [match.start() for match in re.finditer(rf"{re.escape(json.dumps(key))}\s*:", text)]
    return text.count("\n", 0, places[nth]) + 1 if nth < len(places) else 1
