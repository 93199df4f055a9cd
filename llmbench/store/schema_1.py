"""Lines of schema 1 as lines of schema 2: keys translated, values as they are.

It stands alone so that schema 2 is described without its past.
"""

from collections.abc import Mapping

import msgspec

_RENAMED: Mapping[str, Mapping[str, str]] = {
    "run started": {"cells": "configurations"},
    "launch started": {"cell": "configuration", "in_force": "effective", "held": "pinned"},
    "launch ended": {"cell": "configuration"},
}
"""Keys of an event's own object."""

_RENAMED_IN_MEASUREMENTS = tuple(
    (b'"%s":' % old, b'"%s":' % new)
    for old, new in {
        b"asked_tokens": b"requested_tokens",
        b"foreign_s": b"interference_s",
        b"own_s": b"worker_s",
        b"stepped_s": b"clock_step_s",
        b"still_s": b"unmigrated_s",
    }.items()
)
"""Keys at any depth: no measurement of schema 1 has keys of a user's choice, and a quote in a text is escaped."""

_OBJECT: msgspec.json.Decoder[dict[str, msgspec.Raw]] = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NO_VERSIONS = b"{}"


def translate(name: str, line: bytes) -> bytes:
    """Return a line in the keys of schema 2; *name* is that of its event. Raises msgspec.DecodeError."""
    if name == "measurement":
        for old, new in _RENAMED_IN_MEASUREMENTS:
            line = line.replace(old, new)
        return line
    renamed = _RENAMED.get(name, {})
    values = {renamed.get(key, key): value for key, value in _OBJECT.decode(line).items()}
    versions = values.pop("versions", None)
    if versions is not None and bytes(versions) != _NO_VERSIONS:
        values["environment"] = msgspec.Raw(msgspec.json.encode({"versions": versions}))
    return msgspec.json.encode(values)
