"""What a property or an option may have as its value: a text, a finite number, true or false, or a list of them."""

import math
from collections.abc import Mapping

from llmbench.config import PropertyValue
from llmbench.errors import InputError

RunValue = PropertyValue | tuple[PropertyValue, ...]
"""A value of an option, as a recipe can hold it."""


class Pairs(list[tuple[str, object]]):
    """An object of JSON or a table of TOML with every key as written, doubles included."""


def value_of(value: object, key: str, where: str) -> RunValue:
    """A scalar, or a list of at least one of them."""
    if not isinstance(value, list) or isinstance(value, Pairs):
        return scalar_of(value, key, where)
    if not value:
        raise InputError(f"{where}: {key} is an empty list", hint="list the values to sweep, or give one")
    return tuple(scalar_of(item, key, where) for item in value)


def scalar_of(value: object, key: str, where: str) -> PropertyValue:
    """A text, a finite number, true or false."""
    if not isinstance(value, PropertyValue):
        raise InputError(
            f"{where}: {key} is {kind_of(value)}",
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


def kind_of(value: object) -> str:
    """What a value that was not expected is called in a message."""
    if value is None:
        return "null"
    kinds: tuple[tuple[type | tuple[type, ...], str], ...] = (
        ((Mapping, Pairs), "an object"),
        (list, "a list"),
        (str, "a text"),
        ((int, float), "a number"),
    )
    return next((name for kind, name in kinds if isinstance(value, kind)), "a date")
