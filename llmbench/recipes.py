"""RUN.toml and ``-lc`` into values; errors name the file and the line."""

import difflib
import json
import math
import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from llmbench.config import PropertyValue
from llmbench.errors import InputError
from llmbench.units import format_bytes

RunValue = PropertyValue | tuple[PropertyValue, ...]
"""A value of an option, as a recipe can hold it."""

FOLDER = Path("model_configs")
"""Where a file is looked for that is not where its name says, relative to the working directory."""

MAX_FILE_BYTES = 1 << 20

_REPEATABLE = frozenset({"load_config", "cb_config", "draft_cb_config", "prompt_file", "lora", "lora_alphas"})
_TABLES = {"properties": "load_config", "scheduler": "cb_config"}
"""Tables of a recipe, and the option that each becomes one more of."""

_PAIR = re.compile(r"\s*(?P<key>[A-Za-z_][\w.]*)\s*=(?P<value>.*)", re.DOTALL)
_BETWEEN_PAIRS = re.compile(r",(?=\s*[A-Za-z_][\w.]*\s*=)")
_EXAMPLES = {
    "-lc": "PERFORMANCE_HINT=LATENCY",
    "--cb-config": "max_num_batched_tokens=256",
    "--draft-cb-config": "cache_size=1",
}
_AT_LINE = re.compile(r" \(at (?:line (?P<line>\d+), column \d+|end of document)\)$")


def read_properties(text: str, *, option: str = "-lc") -> dict[str, RunValue]:
    """Properties from JSON text, from a JSON file, or from ``KEY=VALUE[,KEY=VALUE]``, as *option* was given.

    A file that is not found is looked for in ``model_configs/``, with and without ``.json``. The value of a pair
    is read as JSON (``2``, ``true``, ``"2"``) and is text where it is none. What stands in an object within the
    object has both names, with a dot between (``--cb-config`` only); a list of values is a tuple. Raises InputError
    that names the place; whether there is such a property is not looked at here.
    """
    is_nested = option in {"--cb-config", "--draft-cb-config"}
    if text.lstrip().startswith("{"):
        return _properties_of_json(text, option, is_nested=is_nested)
    path = _find(text, ".json")
    if path is not None and path.suffix == ".toml":
        raise InputError(f"{option} takes properties; {path} is a recipe", hint=f"use -c {path}")
    if path is not None:
        return _properties_of_json(_text_of(path), str(path), is_nested=is_nested)
    if "=" in text:
        return _properties_of_pairs(text, option)
    raise _missing("properties file", text, ".json")


def read_run(name: str | Path, *, known: Collection[str]) -> dict[str, RunValue]:
    """The options of a recipe by their name with underscores; *known* are those there are.

    Keys are the long option names of ``run``, with dashes or underscores; paths in it are relative to the working
    directory. A list stands for an option that takes several values. The table ``[properties]`` becomes one more
    ``load_config``, ``[scheduler]`` one more ``cb_config``. A recipe that is not found is looked for in
    ``model_configs/``, with and without ``.toml``.
    Raises InputError that names the line.
    """
    path = _find(str(name), ".toml")
    if path is None:
        raise _missing("recipe", str(name), ".toml")
    text = _text_of(path)
    table = _parse_toml(text, path)
    tables = {title: table.pop(title) for title in _TABLES if title in table}
    options: dict[str, RunValue] = {}
    for key, value in table.items():
        where = f"{path}:{_line_of_toml(text, key)}"
        option = _option_name(key, known, where)
        if option in options:
            raise InputError(f"{where}: {key!r} stands here a second time", hint="keep one spelling of it")
        options[option] = _option_value(option, value, where)
    for title, properties in tables.items():
        option = _TABLES[title]
        given = options.get(option, ())
        table_text = json.dumps(_properties_of_table(title, properties, text, path))
        options[option] = (*(given if isinstance(given, tuple) else (given,)), table_text)
    return options


def suggest(name: str, known: Collection[str]) -> str | None:
    """The known name most like this one, whatever its case; ``None`` if none is like it."""
    by_lower = {candidate.lower(): candidate for candidate in known}
    near = difflib.get_close_matches(name.lower(), by_lower, n=1)
    return by_lower[near[0]] if near else None


def _properties_of_json(text: str, source: str, *, is_nested: bool) -> dict[str, RunValue]:
    """The properties of a JSON object that stands in *source*."""
    entries = _parse_json(text, source)
    if not isinstance(entries, _Pairs):
        raise InputError(
            f'{source}: expected a JSON object such as {{"KEY": "value"}}, found {_kind(entries)}'
        )
    found: dict[str, RunValue] = {}
    for key, value in _flat(entries) if is_nested else entries:
        line = _line_of_json(text, key.rpartition(".")[2], nth=1 if key in found else 0)
        where = f"{source}:{line}"
        if key in found:
            raise InputError(f"{where}: {key!r} stands here a second time", hint="keep one of the two")
        found[key] = _value(value, key, where)
    return found


def _flat(entries: "_Pairs", prefix: str = "") -> Iterator[tuple[str, object]]:
    """Every key of an object and of the objects in it, with their values."""
    for key, value in entries:
        if isinstance(value, _Pairs):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


class _Pairs(list[tuple[str, object]]):
    """A JSON object with every key as written, doubles included."""


def _parse_json(text: str, source: str) -> object:
    """The value of a JSON text, objects as `_Pairs`."""
    try:
        return json.loads(text, object_pairs_hook=_Pairs, parse_constant=float)
    except json.JSONDecodeError as error:
        raise InputError(
            f"{source}:{error.lineno}: not JSON: {error.msg} at column {error.colno}",
            hint='properties look like {"PERFORMANCE_HINT": "LATENCY"}',
        ) from None
    except (RecursionError, ValueError):
        raise InputError(
            f"{source}: not JSON that can be read: nested too deeply, or a number too long",
            hint='properties look like {"PERFORMANCE_HINT": "LATENCY"}',
        ) from None


def _properties_of_pairs(text: str, option: str) -> dict[str, RunValue]:
    """The properties of ``KEY=VALUE[,KEY=VALUE]``; a comma that no key follows belongs to its value."""
    found: dict[str, RunValue] = {}
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
            found[key] = _value(
                json.loads(value, object_pairs_hook=_Pairs, parse_constant=float), key, option
            )
        except (ValueError, RecursionError):
            found[key] = _scalar(value, key, option)
    return found


def _properties_of_table(name: str, table: object, text: str, path: Path) -> dict[str, RunValue]:
    """The properties of a recipe's table of this name."""
    if not isinstance(table, Mapping):
        raise InputError(
            f"{path}:{_line_of_toml(text, name)}: expected a table, found {_kind(table)}",
            hint=f"write [{name}] on a line of its own, and KEY = VALUE below it",
        )
    entries = _flat(_pairs_of(table)) if name == "scheduler" else table.items()
    return {
        key: _value(value, key, f"{path}:{_line_of_toml(text, key.rpartition('.')[2])}")
        for key, value in entries
    }


def _pairs_of(table: Mapping[str, object]) -> "_Pairs":
    """A table and the tables in it as `_Pairs`."""
    return _Pairs(
        (key, _pairs_of(value) if isinstance(value, Mapping) else value) for key, value in table.items()
    )


def _parse_toml(text: str, path: Path) -> dict[str, object]:
    """The table of a recipe."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        at = _AT_LINE.search(str(error))
        line = (at and at["line"]) or text.count("\n") + 1
        said = _AT_LINE.sub("", str(error))
        raise InputError(f"{path}:{line}: not TOML: {said}", hint="a line looks like num-iters = 6") from None
    except (RecursionError, ValueError):
        raise InputError(
            f"{path}: not TOML that can be read: nested too deeply, or a number too long",
            hint="a line looks like num-iters = 6",
        ) from None


def _option_name(key: str, known: Collection[str], where: str) -> str:
    """The option that a recipe's key stands for."""
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
        return tuple(_scalar(item, option, where) for item in value)
    scalar = _scalar(value, option, where)
    return (scalar,) if option in _REPEATABLE else scalar


def _value(value: object, key: str, where: str) -> RunValue:
    """A scalar, or a list of at least one of them."""
    if not isinstance(value, list) or isinstance(value, _Pairs):
        return _scalar(value, key, where)
    if not value:
        raise InputError(f"{where}: {key} is an empty list", hint="list the values to sweep, or give one")
    return tuple(_scalar(item, key, where) for item in value)


def _scalar(value: object, key: str, where: str) -> PropertyValue:
    """A text, a finite number, true or false."""
    if not isinstance(value, PropertyValue):
        raise InputError(
            f"{where}: {key} is {_kind(value)}",
            hint="a value is a text, a number, true or false; none is nested",
        )
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{where}: {key} is {value}, which is no number", hint="give a finite number")
    if isinstance(value, str) and not _is_unicode(value):
        raise InputError(f"{where}: {key} is not valid Unicode", hint="it holds half of a surrogate pair")
    return value


def _is_unicode(text: str) -> bool:
    """Whether a text can be written down: it holds no lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _kind(value: object) -> str:
    """What a value that was not expected is called in a message."""
    if value is None:
        return "null"
    kinds: tuple[tuple[type | tuple[type, ...], str], ...] = (
        ((Mapping, _Pairs), "an object"),
        (list, "a list"),
        (str, "a text"),
        ((int, float), "a number"),
    )
    return next((name for kind, name in kinds if isinstance(value, kind)), "a date")


def _line_of_json(text: str, key: str, *, nth: int) -> int:
    """The line on which a key stands for the nth time; 1 where it is spelled with escapes."""
    places = [match.start() for match in re.finditer(rf"{re.escape(json.dumps(key))}\s*:", text)]
    return text.count("\n", 0, places[nth]) + 1 if nth < len(places) else 1


def _line_of_toml(text: str, key: str) -> int:
    """The line on which a key is set; 1 where it is spelled in a way that is not looked for."""
    place = re.search(rf"""^\s*\[?\s*["']?{re.escape(key)}["']?\s*[=.\]]""", text, re.MULTILINE)
    return text.count("\n", 0, place.end()) + 1 if place else 1


def _find(name: str, suffix: str) -> Path | None:
    """The file of this name: as given, else in ``model_configs/``; ``None`` if there is none."""
    given = Path(name)
    candidates = [given]
    if not given.is_absolute():
        candidates += [FOLDER / given, FOLDER / f"{name}{suffix}"]
    return next((path for path in candidates if _is_file(path)), None)


def _is_file(path: Path) -> bool:
    """Whether there is something to read; a name too long for the system is nothing."""
    try:
        return path.exists() and not path.is_dir()
    except (OSError, ValueError):
        return False


def _text_of(path: Path) -> str:
    """The text of a file of at most 1 MiB, without a byte-order mark."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}", hint="check its permissions") from None
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}:{line}: not valid Unicode", hint="save the file as UTF-8") from None
    if len(data) > MAX_FILE_BYTES:
        raise InputError(
            f"{path} is larger than {format_bytes(MAX_FILE_BYTES)}", hint="is it the right file?"
        )
    return text


def _missing(what: str, name: str, suffix: str) -> InputError:
    """The error for a file that is nowhere, with those there are."""
    shown = name if len(name) <= 80 else f"{name[:77]}..."
    there = sorted({*Path().glob(f"*{suffix}"), *FOLDER.glob(f"*{suffix}")})
    by_name = {path.name: path for path in there} | {path.stem: path for path in there}
    near = suggest(Path(name).name, by_name)
    hint = (
        f"did you mean {by_name[near]}?"
        if near
        else f"there are: {', '.join(map(str, there)) or 'none here'}"
    )
    return InputError(f"{what} {shown!r} was not found", hint=hint)
