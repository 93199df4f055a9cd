"""The lines of a run file: what each says, as a line of JSON and back.

Line 1 is the header; then come launch started, measurement, launch ended, run ended.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec

from llmbench.errors import LlmbenchError
from llmbench.files.redaction import redact_tree
from llmbench.files.strict_json import distinct_keys
from llmbench.schema.config import RunConfig
from llmbench.schema.measurement import Measurement, Memory
from llmbench.schema.run import Environment, Failure, Held, InForce, ModelCache, Outcome, Provenance
from llmbench.schema.units import Seconds

RUN_SCHEMA = 1
_SINGLE_KEYS = (b'"event":', b'"launch":', b'"is_warmup":', b'"start_ns":', b'"end_ns":', b'"sequences":')


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What was asked for and on what, known before the first launch."""

    id: str
    started_at: str
    version: str
    cells: Annotated[tuple[RunConfig, ...], msgspec.Meta(min_length=1)]
    environment: Environment
    provenance: Provenance
    origins: tuple[Provenance, ...] = ()
    schema: int = RUN_SCHEMA


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LaunchStarted:
    """A worker loaded the model; *load_s* is read + compile. The others are those of a `Launch`."""

    launch: int
    cell: int
    started_at: str
    block: int | None = None
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    load_s: Seconds | None = None
    model_cache: ModelCache | None = None
    load_memory: Memory | None = None
    in_force: InForce = dataclasses.field(default_factory=InForce)
    held: Held = dataclasses.field(default_factory=Held)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LaunchEnded:
    """A worker is gone, and how; *failure* says why where it failed. *cell* is read where no start was written."""

    launch: int
    outcome: Outcome
    failure: Failure | None = None
    cell: int = 0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RunEnded:
    """The last line of a run that was not cut short."""

    ended_at: str


Event = Header | LaunchStarted | Measurement | LaunchEnded | RunEnded
_NAMES: dict[type[Any], str] = {
    Header: "run started",
    LaunchStarted: "launch started",
    Measurement: "measurement",
    LaunchEnded: "launch ended",
    RunEnded: "run ended",
}
_DECODERS: dict[str, msgspec.json.Decoder[Event]] = {
    name: msgspec.json.Decoder(kind) for kind, name in _NAMES.items()
}
HEADER_NAME = _NAMES[Header]
_MEASUREMENT = b'{"event":"%s",' % _NAMES[Measurement].encode()


class BadLineError(Exception):
    """A line that is no event, or not one that can stand where it stands."""


class _Tag(msgspec.Struct):
    """What every line has; a header has a schema, too."""

    event: str
    schema: int = RUN_SCHEMA


_TAG = msgspec.json.Decoder(_Tag)


def utc_now() -> str:
    """The wall clock in UTC, ISO 8601 with microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def encode(event: Event, hidden: Sequence[str] = ()) -> bytes:
    """One line, its newline included, without what looks like a secret and without the *hidden* values."""
    tree = redact_tree({"event": _NAMES[type(event)]} | msgspec.to_builtins(event), hidden)
    return msgspec.json.encode(tree) + b"\n"


def schema_of(line: bytes) -> int:
    """The schema that a header says it has; ours where the line is no JSON, which is another fault."""
    try:
        return _TAG.decode(line).schema
    except (ValueError, RecursionError):
        return RUN_SCHEMA


def decode(line: bytes) -> Event:
    """The event of a line, its types and values checked; raises BadLineError."""
    try:
        decoder = _DECODERS.get(_name(line))
        if decoder is None:
            raise BadLineError("an event of an unknown name")
        _check_keys(line, decoder.type)
        return decoder.decode(line)
    except (ValueError, RecursionError) as error:  # those of msgspec and of Unicode are ValueErrors
        raise BadLineError(str(error)) from error
    except LlmbenchError as error:
        raise BadLineError(error.message) from error


def _name(line: bytes) -> str:
    """The name of a line's event; of measurements, which are many, it is seen in how we begin them."""
    return _NAMES[Measurement] if line.startswith(_MEASUREMENT) else _TAG.decode(line).event


def _check_keys(line: bytes, kind: type[Any]) -> None:
    """Refuse a key that stands twice; of measurements, which are many, only those that matter most are counted.

    No measurement is read without one of each of these. A quote inside a text is escaped, so a key with its quotes
    is never part of one.
    """
    if kind is Measurement:
        if sum(map(line.count, _SINGLE_KEYS)) > len(_SINGLE_KEYS):
            raise ValueError("a key stands twice")
    else:
        json.loads(line, object_pairs_hook=distinct_keys)
