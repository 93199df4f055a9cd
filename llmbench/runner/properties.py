"""``-lc`` and its like into properties: JSON text, a JSON file, or pairs; one set of them, or several."""

import collections
import difflib
import json
import math
import re
import shlex
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from llmbench.errors import InputError, readable
from llmbench.files.package_data import find_packaged, packaged_files
from llmbench.files.strict_json import Pairs, json_kind
from llmbench.schema.config import PropertyValue
from llmbench.schema.units import format_bytes

CONFIG_FOLDER = Path("model_configs")
"""Where a file is looked for that is not where its name says, relative to the working directory."""

MAX_OPTION_FILE_BYTES = 1 << 20


def find_file(name: str, suffix: str) -> Path | None:
    """Return the file of this name: as it is, in ``model_configs/``, or in the package; ``None`` if there is none."""
    path = Path(name)
    candidates = [path]
    if not path.is_absolute():
        candidates += [CONFIG_FOLDER / path, CONFIG_FOLDER / f"{name}{suffix}"]
    found = next((each for each in candidates if _is_file(each)), None)
    return found or find_packaged(name, str(CONFIG_FOLDER), suffix)


def config_names(suffix: str) -> tuple[str, ...]:
    """Return the names of the files that come with the package."""
    return tuple(packaged_files(str(CONFIG_FOLDER), suffix))


def _is_file(path: Path) -> bool:
    """Whether there is something to read; a name too long for the system is nothing."""
    try:
        return path.exists() and not path.is_dir()
    except (OSError, ValueError):
        return False


def read_option_text(path: Path) -> str:
    """Return the text of a file of at most 1 MiB, without a byte-order mark."""
    with readable(path, hint="check its permissions"), path.open("rb") as file:
        data = file.read(MAX_OPTION_FILE_BYTES + 1)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}:{line}: not valid Unicode", hint="save the file as UTF-8") from None
    if len(data) > MAX_OPTION_FILE_BYTES:
        raise InputError(
            f"{path} is larger than {format_bytes(MAX_OPTION_FILE_BYTES)}", hint="is it the right file?"
        )
    return text


def missing(what: str, name: str, suffix: str) -> InputError:
    """Return the error for a file that is nowhere, with those there are."""
    shown = name if len(name) <= 80 else f"{name[:77]}..."
    local = {path.stem: str(path) for path in Path().glob(f"*{suffix}")}
    known = {each: each for each in config_names(suffix)}
    known |= {path.stem: str(path) for path in sorted(CONFIG_FOLDER.glob(f"*{suffix}"))}
    near = suggest(Path(name).name.removesuffix(suffix), local | known)
    hint = f"did you mean {(local | known)[near]}?" if near else f"there are: {', '.join(known.values())}"
    return InputError(f"{what} {shown!r} was not found", hint=hint)


def suggest(name: str, known: Collection[str]) -> str | None:
    """Return the known name most like this one, whatever its case; ``None`` if none is like it."""
    by_lower = {candidate.lower(): candidate for candidate in known}
    near = difflib.get_close_matches(name.lower(), by_lower, n=1)
    return by_lower[near[0]] if near else None


RunValue = PropertyValue | tuple[PropertyValue, ...]
"""A value of an option, as a recipe can contain it."""


def value_of(value: object, key: str, where: str) -> RunValue:
    """Return a scalar, or a list of at least one of them."""
    if not isinstance(value, list) or isinstance(value, Pairs):
        return scalar_of(value, key, where)
    if not value:
        raise InputError(f"{where}: {key} is an empty list", hint="list the values to sweep, or give one")
    return tuple(scalar_of(item, key, where) for item in value)


def scalar_of(value: object, key: str, where: str) -> PropertyValue:
    """Return a text, a finite number, true or false."""
    if not isinstance(value, PropertyValue):
        raise InputError(
            f"{where}: {key} is {json_kind(value)}",
            hint="a value is a text, a number, true or false; none is nested",
        )
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(
            f"{where}: {key} is {value}, which is not a finite number", hint="give a finite number"
        )
    if isinstance(value, str) and not _is_unicode(value):
        raise InputError(f"{where}: {key} is not valid Unicode", hint="it contains half of a surrogate pair")
    return value


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


_PAIR = re.compile(r"\s*(?P<key>[A-Za-z_][\w.]*)\s*=(?P<value>.*)", re.DOTALL)
_BETWEEN_PAIRS = re.compile(r",(?=\s*[A-Za-z_][\w.]*\s*=)")
_EXAMPLES = {
    "-lc": "PERFORMANCE_HINT=LATENCY",
    "--cb-config": "max_num_batched_tokens=256",
    "--draft-cb-config": "cache_size=1",
}
_HINT = 'properties look like {"PERFORMANCE_HINT": "LATENCY"}'

PropertySets = dict[str, RunValue]


def read_properties(text: str, *, option: str = "-lc") -> tuple[PropertySets, ...]:
    """Return the sets of properties in JSON text, in a JSON file, or in ``KEY=VALUE[,KEY=VALUE]``.

    A JSON object is one set, a list of objects one set each. A file that is not found is looked for in
    ``model_configs/``, with and without ``.json``. The value of a pair is read as JSON (``2``, ``true``, ``"2"``) and
    is text where it is none. What is in an object within the object has both names, with a dot between
    (``--cb-config`` only); a list of values is a tuple. Raises InputError that names the place; whether there is such
    a property is not looked at here.
    """
    is_nested = option != "-lc"
    if not text.strip():
        raise InputError(f"{option} is empty", hint=f"write {option} {_EXAMPLES[option]}, or leave it out")
    if text.lstrip().startswith(("{", "[")):
        return _properties_of_json(text, option, is_nested=is_nested)
    path = find_file(text, ".json")
    if path is not None and path.suffix == ".toml":
        raise InputError(
            f"{option} takes properties; {path} is a recipe", hint=f"use -c {shlex.quote(str(path))}"
        )
    if path is not None:
        return _properties_of_json(read_option_text(path), str(path), is_nested=is_nested)
    if "=" in text:
        return (_properties_of_pairs(text, option),)
    raise missing("properties file", text, ".json")


def property_set(entries: Pairs, where_is: Callable[[str], str], *, is_nested: bool) -> PropertySets:
    """Return the properties of one object; *where_is* returns the file and line of a key, in the order of the keys.

    With *is_nested* the properties of an object in it have both names, with a dot between. Raises InputError on a key
    that is there twice, or on a value that no property has.
    """
    found: PropertySets = {}
    for key, value in _flat(entries) if is_nested else entries:
        where = where_is(key.rpartition(".")[2])
        if key in found:
            raise InputError(f"{where}: duplicate key {key!r}", hint="keep one of the two")
        found[key] = value_of(value, key, where)
    return found


def line_of(text: str, pattern: str, *, nth: int = 0) -> int:
    """Return the line of the nth match's group *key*; 1 where a key is spelled in a way that is not looked for."""
    starts = [match.start("key") for match in re.finditer(pattern, text, re.MULTILINE)]
    return text.count("\n", 0, starts[nth]) + 1 if nth < len(starts) else 1


def _flat(entries: Pairs, prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in entries:
        if isinstance(value, Pairs):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _properties_of_json(text: str, source: str, *, is_nested: bool) -> tuple[PropertySets, ...]:
    content = _parse_json(text, source)
    is_list = isinstance(content, list) and not isinstance(content, Pairs)
    objects = content if isinstance(content, list) and is_list and content else [content]
    seen: collections.Counter[str] = collections.Counter()

    def where_is(key: str) -> str:
        """Return file and line of a key's next occurrence."""
        pattern = rf"(?P<key>{re.escape(json.dumps(key))})\s*:"
        seen[key] += 1
        return f"{source}:{line_of(text, pattern, nth=seen[key] - 1)}"

    return tuple(property_set(_object(each, source), where_is, is_nested=is_nested) for each in objects)


def _object(value: object, source: str) -> Pairs:
    if not isinstance(value, Pairs):
        raise InputError(
            f'{source}: expected a JSON object such as {{"KEY": "value"}}, found {json_kind(value)}',
            hint="a list consists of objects, each one set of properties",
        )
    return value


def _parse_json(text: str, source: str) -> object:
    try:
        return json.loads(text, object_pairs_hook=Pairs, parse_constant=float)
    except json.JSONDecodeError as error:
        raise InputError(
            f"{source}:{error.lineno}: not JSON: {error.msg.removesuffix(' at')} at column {error.colno}",
            hint=_HINT,
        ) from None
    except (RecursionError, ValueError):
        raise InputError(
            f"{source}: not JSON that can be read: nested too deeply, or a number too long", hint=_HINT
        ) from None


def _properties_of_pairs(text: str, option: str) -> PropertySets:
    """The properties of ``KEY=VALUE[,KEY=VALUE]``; a comma that no key follows belongs to its value."""
    entries = Pairs()
    for part in _BETWEEN_PAIRS.split(text):
        pair = _PAIR.fullmatch(part)
        if pair is None:
            raise InputError(
                f"{option}: expected KEY=VALUE, found {part!r}", hint=f"write {option} {_EXAMPLES[option]}"
            )
        value = pair["value"].strip()
        try:
            entries.append((pair["key"], json.loads(value, object_pairs_hook=Pairs, parse_constant=float)))
        except (ValueError, RecursionError):
            entries.append((pair["key"], value))
    return property_set(entries, lambda _key: option, is_nested=False)
