"""JSON as RFC 8259 has it, read strictly: what Python's reader accepts beyond it is refused, each with a reason.

A file that a person edits has one meaning only when no key is defined twice and every number is a number.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

_MOST_OBJECT_BYTES = 64 << 20
"""A vocabulary of 250,000 tokens takes 20 MB; what is longer is cut, and so no JSON."""


class JsonError(ValueError):
    """Text that is not strict JSON; its message is the reason, with line and column where they are known."""


class Pairs(list[tuple[str, object]]):
    """An object of JSON or a table of TOML with every key as written, doubles included."""


_KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (type(None), "null"),
    (bool, "true or false"),
    ((Mapping, Pairs), "an object"),
    (list, "a list"),
    (str, "a text"),
    ((int, float), "a number"),
)


def json_kind(value: object) -> str:
    """Return what a message calls a value that was not expected."""
    return next((name for kind, name in _KINDS if isinstance(value, kind)), "a date")


def parse_json(text: str | bytes) -> Any:
    """Return the value of a JSON text, UTF-8 where it is bytes.

    Raises JsonError for malformed text, a duplicate key, NaN or an infinity, nesting that is too deep, and a number
    with more digits than Python converts.
    """
    try:
        text = text if isinstance(text, str) else text.decode()
        return json.loads(text, object_pairs_hook=distinct_keys, parse_constant=_refuse_constant)
    except JsonError:
        raise
    except UnicodeDecodeError as error:
        raise JsonError(f"byte {error.start + 1} is not UTF-8") from error
    except json.JSONDecodeError as error:
        line = f"line {error.lineno}, " if error.lineno > 1 else ""
        raise JsonError(f"{error.msg.removesuffix(' at')} at {line}column {error.colno}") from error
    except RecursionError as error:
        raise JsonError("nested too deeply") from error
    except ValueError as error:
        raise JsonError("a number is too long to read") from error


def read_json_file(path: Path, *, most_bytes: int) -> Any:
    """Return the value in a JSON file; raises OSError, or JsonError for a file that is too large or not strict JSON."""
    with path.open("rb") as file:
        raw = file.read(most_bytes + 1)
    if len(raw) > most_bytes:
        raise JsonError(f"it has {path.stat().st_size} bytes; at most {most_bytes} are read")
    return parse_json(raw)


def read_object(path: Path) -> dict[str, Any]:
    """Return the object in a file of a model's own, read as leniently as its tools write it; empty without one."""
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(_MOST_OBJECT_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def distinct_keys(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object; raises JsonError where a key is in it twice."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise JsonError(f"duplicate key {key!r}")
        found[key] = value
    return found


def _refuse_constant(name: str) -> float:
    raise JsonError(f"{name} is not JSON")
