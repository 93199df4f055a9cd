"""The lines of a run file: the type of each, as a line of JSON and back.

Line 1 is the header; then come launch started, measurement, launch ended, run ended. ``docs/run-file.md`` describes
each field. Lines of schema 1 are translated to schema 2 key by key (`schema_1`) and then read like any other.
"""

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec

from llmbench.errors import LlmbenchError
from llmbench.files.redaction import redact_tree
from llmbench.files.strict_json import distinct_keys
from llmbench.schema.config import RunConfig
from llmbench.schema.load import LoadWindow
from llmbench.schema.measurement import Measurement, Memory
from llmbench.schema.run import (
    EffectiveSettings,
    Environment,
    Failure,
    ModelCache,
    Outcome,
    Pinning,
    Provenance,
    WorkloadSettings,
)
from llmbench.schema.units import Seconds
from llmbench.store import schema_1

RUN_SCHEMA = 2
READABLE_SCHEMAS = (1, 2)
_SINGLE_KEYS = ("event", "launch", "is_warmup", "start_ns", "end_ns", "sequences")
_PAIRED_KEYS = ("at_ns", "input_tokens", "duration_ns")  # one of a sequence, of a stage, or of each
_COUNTED_KEY = re.compile(f'"(?:{"|".join((*_SINGLE_KEYS, *_PAIRED_KEYS))})":'.encode())


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What is measured and on which machine, known before the first launch.

    *provenance* is that of the model; *origins* has one per configuration where they measure several models.
    """

    id: str
    started_at: str
    version: str
    configurations: Annotated[tuple[RunConfig, ...], msgspec.Meta(min_length=1)]
    environment: Environment
    provenance: Provenance
    origins: tuple[Provenance, ...] = ()
    workload: WorkloadSettings = dataclasses.field(default_factory=WorkloadSettings)
    schema: int = RUN_SCHEMA


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LaunchStarted:
    """A worker loaded the model.

    *launch* counts from 0, *configuration* is an index into the header's, *block* the round of launches that has one of
    each configuration. *environment* has the fields of the header's environment that differ for this launch, and is
    ``None`` where none does. *load_s* is read + compile, *load_memory* its memory; *effective* is what the engine
    really uses, *pinned* what the worker was pinned to.
    """

    launch: int
    configuration: int
    started_at: str
    block: int | None = None
    environment: Mapping[str, Any] | None = None
    load_s: Seconds | None = None
    model_cache: ModelCache | None = None
    load_memory: Memory | None = None
    effective: EffectiveSettings = dataclasses.field(default_factory=EffectiveSettings)
    pinned: Pinning = dataclasses.field(default_factory=Pinning)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LaunchEnded:
    """A worker ended, and how; *failure* is why it failed.

    *configuration* is read where no start was written. *window* is what its requests had in common where several were
    in flight at once.
    """

    launch: int
    outcome: Outcome
    failure: Failure | None = None
    configuration: int = 0
    window: LoadWindow | None = None


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
_ENCODER = msgspec.json.Encoder()


class BadLineError(Exception):
    """A line that is no event, or an event out of order."""


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
    tree = redact_tree({"event": _NAMES[type(event)]} | msgspec.to_builtins(event, enc_hook=tuple), hidden)
    return msgspec.json.encode(tree) + b"\n"


def schema_of(line: bytes) -> int:
    """Return the schema that a header states; the current one where the line is no JSON, which is another fault."""
    try:
        return _TAG.decode(line).schema
    except (ValueError, RecursionError):
        return RUN_SCHEMA


def decode(line: bytes, schema: int = RUN_SCHEMA) -> Event:
    """Return the event of a line in a file of this *schema*, its types and values checked; raises BadLineError."""
    if schema == RUN_SCHEMA and (measurement := _as_written(line)) is not None:
        return measurement
    try:
        decoder = _DECODERS.get(name := name_of(line))
        if decoder is None:
            raise BadLineError("an event of an unknown name")
        _check_keys(line, decoder.type)
        return decoder.decode(schema_1.translate(name, line) if schema == 1 else line)
    except (ValueError, RecursionError) as error:  # those of msgspec and of Unicode are ValueErrors
        raise BadLineError(str(error)) from error
    except LlmbenchError as error:
        raise BadLineError(error.message) from error


def _as_written(line: bytes) -> Event | None:
    """The measurement of a line that is just what is written of it, as most are: none of its keys is a duplicate."""
    if not line.startswith(_MEASUREMENT):
        return None
    try:
        found = _DECODERS[_NAMES[Measurement]].decode(line)
        is_same = _ENCODER.encode(found)[1:] == line[len(_MEASUREMENT) : -1]
    except (ValueError, RecursionError, OverflowError, LlmbenchError):  # `decode` has the reason
        return None
    return found if is_same else None


def name_of(line: bytes) -> str:
    """Return the name of a line's event; of measurements, which are many, it is seen in how we begin them.

    Raises ValueError where the line has none, RecursionError where it is nested too deeply.
    """
    return _NAMES[Measurement] if line.startswith(_MEASUREMENT) else _TAG.decode(line).event


def _check_keys(line: bytes, kind: type[Any]) -> None:
    """Refuse a duplicate key; measurements are parsed for it only where a key that matters may be one.

    We write each of these keys once into every measurement, and instants beside the input of each sequence or the
    duration of each stage. A quote inside a text is escaped, so a key with its quotes is never part of one.
    """
    found = _COUNTED_KEY.findall(line) if kind is Measurement else []
    if len(found) - 2 * found.count(b'"at_ns":') != len(_SINGLE_KEYS):
        json.loads(line, object_pairs_hook=distinct_keys)
