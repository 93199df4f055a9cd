"""The run file: JSON lines, one flushed and synced line an event, readable when cut short.

Line 1 is the header; then come launch started, measurement, launch ended, run ended. jsonlines reads
them; writing is ours, because a line must be one ``write`` call.
"""

import contextlib
import dataclasses
import fcntl
import os
import re
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self, TypeVar

import jsonlines
import msgspec

from llmbench.config import RunConfig
from llmbench.errors import InputError, OutputError
from llmbench.measurement import Measurement, Memory
from llmbench.run import Environment, Failure, InForce, Launch, Outcome, Provenance, Run

SCHEMA = 1
_MAX_LINE_BYTES = 256 << 20
_T = TypeVar("_T")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What was asked for and on what, known before the first launch."""

    id: str
    started_at: str
    version: str
    cells: tuple[RunConfig, ...]
    environment: Environment
    provenance: Provenance
    schema: int = SCHEMA


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LaunchStarted:
    """A worker loaded the model; *load_s* is read + compile."""

    launch: int
    cell: int
    started_at: str
    load_s: float | None = None
    load_memory: Memory | None = None
    in_force: InForce = dataclasses.field(default_factory=InForce)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LaunchEnded:
    """A worker is gone, and how; *failure* says why where it failed."""

    launch: int
    outcome: Outcome
    failure: Failure | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RunEnded:
    """The last line of a run that was not cut short."""

    ended_at: str


Event = LaunchStarted | Measurement | LaunchEnded | RunEnded
_NAMES: dict[type[Any], str] = {
    Header: "run started",
    LaunchStarted: "launch started",
    Measurement: "measurement",
    LaunchEnded: "launch ended",
    RunEnded: "run ended",
}
_TYPES = {name: kind for kind, name in _NAMES.items()}


def utc_now() -> str:
    """The wall clock in UTC, ISO 8601 with microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def slug(text: str) -> str:
    """A model's name as a part of a file name: letters, digits, dots and dashes, at most 60."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.")[:60] or "model"


def new_id(model: str, *, now: datetime | None = None) -> str:
    """``<UTC time>-<model>-<short id>``, the name of a run and of its file."""
    moment = (now or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
    return f"{moment}-{slug(Path(model).name)}-{secrets.token_hex(3)}"


def encode(event: Header | Event) -> bytes:
    """One line of the run file, its newline included."""
    return msgspec.json.encode({"event": _NAMES[type(event)]} | msgspec.to_builtins(event)) + b"\n"


class RunFile:
    """A run file open for append and locked for this process."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self.measurements = 0

    @classmethod
    def create(cls, path: Path, header: Header, *, overwrite: bool = False) -> Self:
        """A new file that holds the header.

        Raises:
            InputError: it exists, or another process writes to it.
            OutputError: it cannot be written.
        """
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, flags if overwrite else flags | os.O_EXCL, 0o644)
        except FileExistsError as error:
            if path.is_file():
                raise InputError(f"{path} exists", hint="choose another --name, or --overwrite") from error
            raise InputError(f"{path.parent} is not a folder", hint="choose another --output-dir") from error
        except OSError as error:
            raise InputError(
                f"{path} cannot be written: {error.strerror}", hint="choose another --output-dir"
            ) from error
        file = cls(path, descriptor)
        file._lock()
        os.ftruncate(descriptor, 0)
        file.append(header)
        return file

    @classmethod
    def reopen(cls, path: Path) -> Self:
        """A run file that was cut short, open to go on; a torn last line is cut off.

        Raises:
            InputError: it is not there, or another process writes to it.
        """
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        except OSError as error:
            raise InputError(f"{path} cannot be opened: {error.strerror}") from error
        file = cls(path, descriptor)
        file._lock()
        os.ftruncate(descriptor, path.read_bytes().rfind(b"\n") + 1)
        return file

    def _lock(self) -> None:
        """Take the file for this process; it is free again when the descriptor closes."""
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._descriptor)
            raise InputError(
                f"{self.path} is in use by another process", hint="wait for it, or choose another --name"
            ) from error

    def append(self, event: Header | Event) -> None:
        """Write one event and wait until it is on the disk.

        Raises:
            OutputError: the disk is full or gone; what stood in the file before stands there still.
        """
        line = encode(event)
        before = os.fstat(self._descriptor).st_size
        try:
            written = os.write(self._descriptor, line)
            os.fsync(self._descriptor)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, before)
            raise self._unwritten(error.strerror or str(error)) from error
        if written < len(line):
            os.ftruncate(self._descriptor, before)
            raise self._unwritten("No space left on device")
        self.measurements += isinstance(event, Measurement)

    def _unwritten(self, why: str) -> OutputError:
        """The error that says what is safe."""
        return OutputError(
            f"{why}; {self.measurements} measurements are safe in {self.path}",
            hint="make room, then go on with --resume",
        )

    def close(self) -> None:
        """Let go of the file and its lock."""
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _refused(path: Path, number: int, why: str, *, hint: str | None = None) -> InputError:
    """The error that names file and line."""
    return InputError(f"{path}:{number}: {why}", hint=hint)


def _lines(path: Path) -> Iterator[tuple[int, bytes, bool]]:
    """(number, line, whether it ends in a newline) of each line."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                yield number, line, line.endswith(b"\n")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error


def _decode(kind: type[_T], line: bytes) -> _T:
    """An event of that kind; raises msgspec's errors."""
    return msgspec.json.decode(line, type=kind)


class _Tag(msgspec.Struct):
    """What every line has."""

    event: str


def _events(path: Path, *, salvage: bool, warnings: list[str]) -> Iterator[tuple[int, Header | Event]]:
    """(line number, event) of each line that reads; *warnings* gets a sentence for each that does not."""
    for number, line, is_whole in _lines(path):
        try:
            name = _decode(_Tag, line).event
            yield number, _decode(_TYPES[name], line)
        except KeyError:
            raise _refused(path, number, f"unknown event {name!r}") from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            if not is_whole:
                warnings.append(f"{path.name}:{number}: incomplete last line ignored")
            elif salvage and number > 1:
                warnings.append(f"{path.name}:{number}: damaged line ignored")
            else:
                raise _refused(
                    path, number, f"damaged line: {error}", hint="--salvage reads around it"
                ) from error


def read_with_warnings(path: Path, *, salvage: bool = False) -> tuple[Run, tuple[str, ...]]:
    """The run that a file holds, and a sentence on each line that was left out.

    Raises:
        InputError: no run file, another schema, or a damaged line (unless *salvage* reads around it).
    """
    warnings: list[str] = []
    events = _events(path, salvage=salvage, warnings=warnings)
    first = next(events, None)
    if first is None:
        raise InputError(f"{path} holds no run", hint="it was cut before its first line was whole")
    header = first[1]
    if not isinstance(header, Header):
        raise _refused(path, 1, "a run file begins with its header")
    if header.schema != SCHEMA:
        raise _refused(path, 1, f"schema {header.schema}; this llmbench reads {SCHEMA}")
    run = _assemble(path, header, events)
    return run, tuple(warnings)


def read(path: Path, *, salvage: bool = False) -> Run:
    """The run that a file holds; see read_with_warnings."""
    return read_with_warnings(path, salvage=salvage)[0]


def _assemble(path: Path, header: Header, events: Iterator[tuple[int, Header | Event]]) -> Run:
    """A run from its events: a launch that never ended is aborted."""
    launches: dict[int, Launch] = {}
    measured: dict[int, list[Measurement]] = {}
    is_complete = False
    for number, event in events:
        match event:
            case LaunchStarted():
                fields = {f.name: getattr(event, f.name) for f in dataclasses.fields(event)}
                index = fields.pop("launch")
                launches[index] = Launch(index=index, **fields)
                measured[index] = []
            case Measurement():
                if event.launch not in measured:
                    raise _refused(
                        path, number, f"a measurement of launch {event.launch}, which never started"
                    )
                measured[event.launch].append(event)
            case LaunchEnded():
                started = launches.get(event.launch) or Launch(
                    index=event.launch, cell=0, started_at=header.started_at
                )
                launches[event.launch] = dataclasses.replace(
                    started, outcome=event.outcome, failure=event.failure
                )
                measured.setdefault(event.launch, [])
            case RunEnded():
                is_complete = True
            case Header():
                raise _refused(path, number, "a second header")
    whole = tuple(
        dataclasses.replace(launch, measurements=tuple(measured[index])) for index, launch in launches.items()
    )
    fields = {f.name: getattr(header, f.name) for f in dataclasses.fields(header) if f.name != "schema"}
    return Run(**fields, launches=whole, is_complete=is_complete)


def is_run_file(path: Path) -> bool:
    """Whether the first line is a run file's header."""
    with (
        contextlib.suppress(OSError, EOFError, UnicodeError, jsonlines.Error),
        jsonlines.open(path) as reader,
    ):
        first: dict[str, object] = reader.read(type=dict)
        return first.get("event") == _NAMES[Header]
    return False
