"""The lines of a run file: what each says, as a line of JSON and back.

Line 1 is the header; then come launch started, measurement, launch ended, run ended.
"""

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from llmbench.config import RunConfig
from llmbench.errors import LlmbenchError
from llmbench.measurement import Measurement, Memory, Placement
from llmbench.redaction import redact_tree
from llmbench.run import Environment, Failure, Held, InForce, Outcome, Provenance

SCHEMA = 1
_LAST_NS = 1 << 62
_SINGLE_KEYS = (b'"event":', b'"launch":', b'"is_warmup":', b'"start_ns":', b'"end_ns":', b'"sequences":')


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What was asked for and on what, known before the first launch."""

    id: str
    started_at: str
    version: str
    cells: tuple[RunConfig, ...]
    environment: Environment
    provenance: Provenance
    origins: tuple[Provenance, ...] = ()
    schema: int = SCHEMA


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LaunchStarted:
    """A worker loaded the model; *load_s* is read + compile. *block* and *versions* are those of a `Launch`."""

    launch: int
    cell: int
    started_at: str
    block: int | None = None
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    load_s: float | None = None
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
_TYPES = {name: kind for kind, name in _NAMES.items()}
HEADER_NAME = _NAMES[Header]


class BadLineError(Exception):
    """A line that is no event, or not one that can stand where it stands."""


class _Tag(msgspec.Struct):
    """What every line has; a header has a schema, too."""

    event: str
    schema: int = SCHEMA


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
        return msgspec.json.decode(line, type=_Tag).schema
    except (ValueError, RecursionError):
        return SCHEMA


def decode(line: bytes) -> Event:
    """The event of a line, its types and values checked; raises BadLineError."""
    try:
        kind = _TYPES.get(msgspec.json.decode(line, type=_Tag).event)
        if kind is None:
            raise BadLineError("an event of an unknown name")
        _check_keys(line, kind)
        event: Event = msgspec.json.decode(line, type=kind)
    except (ValueError, RecursionError) as error:  # those of msgspec and of Unicode are ValueErrors
        raise BadLineError(str(error)) from error
    except LlmbenchError as error:
        raise BadLineError(error.message) from error
    fault = next(_faults(event), None)
    if fault is not None:
        raise BadLineError(fault)
    return event


def _check_keys(line: bytes, kind: type[Any]) -> None:
    """Refuse a key that stands twice; of measurements, which are many, only those that matter most are counted.

    A quote inside a text is escaped, so a key with its quotes is never part of one.
    """
    if kind is Measurement:
        if any(line.count(key) > 1 for key in _SINGLE_KEYS):
            raise ValueError("a key stands twice")
    else:
        json.loads(line, object_pairs_hook=_distinct)


def _distinct(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A JSON object, refused where a key stands in it twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice")
    return found


def _faults(event: Event) -> Iterator[str]:
    """Values that nothing can have measured."""
    match event:
        case Header(cells=()):
            yield "a run without a configuration"
        case Measurement():
            yield from _measurement_faults(event)
        case LaunchStarted(load_s=float() as load_s) if not 0 <= load_s < math.inf:
            yield f"a load time of {load_s}"


def _can_be(placement: Placement) -> bool:
    """Whether a placement has CPUs to fill, and times that are none below zero or without end."""
    seconds = [placement.wall_s, placement.own_s]
    for work in placement.sockets:
        seconds += (work.busy_s, work.thread_s, work.still_s)
    return all(0 <= each < math.inf for each in seconds) and all(
        s.expected_cpus > 0 for s in placement.sockets
    )


def _measurement_faults(m: Measurement) -> Iterator[str]:
    """Instants off the clock, counts that count nothing, and conditions of no CPU or a negative time."""
    if not m.sequences:
        yield "a measurement without a sequence"
    if min(m.launch, m.iteration, m.prompt, m.asked_tokens) < 0:
        yield "a negative number of a launch, an iteration, a prompt or tokens"
    instants = [m.start_ns, m.end_ns, m.tokenize_ns or 0, m.detokenize_ns or 0, *m.infer_ns, *m.callback_ns]
    for sequence in m.sequences:
        instants += sequence.at_ns
        if sequence.input_tokens < 0 or any(count < 1 for count in sequence.counts):
            yield "a sequence with fewer than no tokens, or an event with none"
    if not 0 <= min(instants) <= max(instants) < _LAST_NS:
        yield "an instant or a duration that is not on the clock"
    c = m.conditions
    if c is not None and (c.cpus < 1 or not all(0 <= s < math.inf for s in (c.wall_s, c.own_s, c.foreign_s))):
        yield "conditions of no CPU, or of a time that cannot be"
    if m.placement is not None and not _can_be(m.placement):
        yield "a placement on no CPU, or of a time that cannot be"
