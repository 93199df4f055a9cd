"""Run files, read back: names for them, and the run that one holds, whether it was cut short or damaged."""

import codecs
import contextlib
import dataclasses
import gc
import re
import secrets
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import force_setattr

from llmbench.errors import InputError
from llmbench.files.redaction import redact
from llmbench.schema.measurement import Instants, Measurement
from llmbench.schema.run import Environment, Launch, Outcome, Run
from llmbench.store import events
from llmbench.store.events import (
    READABLE_SCHEMAS,
    RUN_SCHEMA,
    BadLineError,
    Event,
    Header,
    LaunchEnded,
    LaunchStarted,
    RunEnded,
    decode,
)

MAX_LINE_BYTES = 256 << 20
_BUFFER_BYTES = 128 << 10
MAX_NAME_BYTES = 200
"""File systems allow 255; the suffix and that of a temporary file come to it."""


def slug(text: str) -> str:
    """A model's name as a part of a file name: letters, digits, dots and dashes, at most 60, and no secret."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", redact(text)).strip("-.")[:60] or "model"


def new_id(model: str, *, now: datetime | None = None) -> str:
    """``<UTC time>-<model>-<short id>``, the name of a run and of its file."""
    moment = (now or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
    return f"{moment}-{slug(Path(model).name)}-{secrets.token_hex(3)}"


def run_file_path(folder: Path, name: str) -> Path:
    """Return where the run of that name is kept: ``<folder>/<name>.jsonl``, or its slug where no file can have it."""
    is_short = len(name.encode(errors="replace")) <= MAX_NAME_BYTES
    is_plain = is_short and name.isprintable() and "/" not in name and not name.startswith(".")
    return folder / f"{name if is_plain and name == redact(name) else slug(name)}.jsonl"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What a run file holds.

    *warnings* has a sentence on each line that was left out, *unended* the launches whose end is not in the file. With
    *has_second_run* another run begins behind it.
    """

    run: Run
    warnings: tuple[str, ...] = ()
    unended: tuple[int, ...] = ()
    has_second_run: bool = False


def read_contents(path: Path, *, salvage: bool = False) -> Contents:
    """What a file holds; a torn last line is left out, and with *salvage* so is a damaged line before it.

    Raises:
        InputError: no run file, another schema, or a damaged line.
    """
    warnings: list[str] = []
    has_second_run = False
    assembly: _Assembly | None = None
    schema = RUN_SCHEMA
    for number, line, is_whole in _lines(path):
        try:
            if assembly is None:
                schema = _schema(path, line)
                assembly = _Assembly(decode(line, schema), salvage=salvage)
            else:
                assembly.add(decode(line, schema))
        except BadLineError as error:
            if not is_whole:
                warnings.append(f"{path.name}:{number}: incomplete last line ignored")
            elif isinstance(error, _SecondRunError) and salvage:
                warnings.append(f"{path.name}:{number}: a second run begins; only the first was read")
                has_second_run = True
                break
            elif salvage and assembly is not None:
                warnings.append(f"{path.name}:{number}: damaged line ignored ({error})")
            else:
                raise InputError(
                    f"{path}:{number}: damaged line: {error}",
                    hint=_hint(error, has_header=assembly is not None),
                ) from error
    if assembly is None:
        raise InputError(f"{path} contains no run", hint="it was cut before its first line was whole")
    return Contents(
        run=assembly.run(),
        warnings=tuple(warnings),
        unended=assembly.unended(),
        has_second_run=has_second_run,
    )


def _hint(error: BadLineError, *, has_header: bool) -> str:
    if isinstance(error, _SecondRunError):
        return "a file may contain one run: split it, or read the first run with --salvage"
    return "--salvage reads around it" if has_header else "this is not a run file"


def read_with_warnings(path: Path, *, salvage: bool = False) -> tuple[Run, tuple[str, ...]]:
    """The run that a file holds, and a sentence on each line that was left out; see read_contents."""
    contents = read_contents(path, salvage=salvage)
    return contents.run, contents.warnings


def read_run(path: Path, *, salvage: bool = False) -> Run:
    """The run that a file holds; see read_contents."""
    return read_contents(path, salvage=salvage).run


def read_run_header(path: Path) -> Run | None:
    """What a run file's first line says, as a run without launches; ``None`` where it is no run file of ours."""
    try:
        _, line, _ = next(_lines(path))
        return _Assembly(decode(line, _schema(path, line)), salvage=False).run()
    except (StopIteration, InputError, BadLineError):
        return None


def _lines(path: Path) -> Iterator[tuple[int, bytes, bool]]:
    try:
        with path.open("rb", buffering=_BUFFER_BYTES) as file:
            number = 0
            while line := file.readline(MAX_LINE_BYTES):
                number += 1
                line = line if number > 1 else line.removeprefix(codecs.BOM_UTF8)
                is_whole = line.endswith(b"\n")
                if len(line) == MAX_LINE_BYTES and not is_whole:
                    raise InputError(f"{path}:{number}: a line of more than {MAX_LINE_BYTES >> 20} MiB")
                yield number, line, is_whole
    except OSError as error:
        raise InputError(
            f"{path} cannot be read: {error.strerror}",
            hint="llmbench report history lists the runs there are",
        ) from error


def _schema(path: Path, line: bytes) -> int:
    """The schema of the first line, read before anything else."""
    schema = events.schema_of(line)
    if schema not in READABLE_SCHEMAS:
        raise InputError(
            f"{path}:1: schema {schema}; this llmbench reads {' and '.join(map(str, READABLE_SCHEMAS))}",
            hint="use the llmbench that wrote it",
        )
    return schema


class _SecondRunError(BadLineError):
    """The header of another run."""


class _Assembly:
    """A run as its lines come in, each checked against those before it."""

    def __init__(self, header: Event, *, salvage: bool) -> None:
        if not isinstance(header, Header):
            raise BadLineError("a run file begins with its header")
        self._header = header
        self._salvage = salvage
        self._launches: dict[int, Launch] = {}
        self._measured: dict[int, list[Measurement]] = {}
        self._requests: set[tuple[int, int, int]] = set()
        self._ended: set[int] = set()
        self._is_complete = False
        self._outputs: dict[Any, Any] = {}

    def add(self, event: Event) -> None:
        """Take one event; raises BadLineError where it cannot stand here."""
        match event:
            case Measurement():
                self._measure(event)
            case LaunchStarted():
                self._start(event)
            case LaunchEnded():
                self._end(event)
            case RunEnded():
                self._is_complete = True
            case Header():
                raise _SecondRunError("a second header")

    def _start(self, event: LaunchStarted) -> None:
        if event.launch in self._launches:
            raise BadLineError(f"launch {event.launch} started before")
        self._check_cell(event.configuration)
        fields = {f.name: getattr(event, f.name) for f in dataclasses.fields(event)}
        index, cell = fields.pop("launch"), fields.pop("configuration")
        fields["environment"] = self._environment(event.environment)
        self._launches[index] = Launch(index=index, cell=cell, **fields)

    def _end(self, event: LaunchEnded) -> None:
        if (
            event.launch in self._ended and event.outcome is not Outcome.ABORTED
        ):  # resuming marks broken ones so
            raise BadLineError(f"launch {event.launch} ended before")
        launch = self._launches.get(event.launch) or self._unstarted(event.launch, event.configuration)
        self._launches[event.launch] = dataclasses.replace(
            launch, outcome=event.outcome, failure=event.failure, window=event.window
        )
        self._ended.add(event.launch)

    def _environment(self, differences: Mapping[str, Any] | None) -> Environment | None:
        """The environment of a launch, ``None`` where it is the header's."""
        if not differences:
            return None
        usual = self._header.environment
        try:
            own = msgspec.convert(
                msgspec.to_builtins(usual, str_keys=True) | differences, Environment, str_keys=True
            )
        except msgspec.ValidationError as error:
            raise BadLineError(str(error)) from error
        return own if own != usual else None

    def _measure(self, m: Measurement) -> None:
        """A request of a launch; where its start is lost, it is taken for one of the only configuration."""
        if m.launch not in self._launches:
            if not self._salvage or len(self._header.configurations) > 1:
                raise BadLineError(f"a measurement of launch {m.launch}, which never started")
            self._unstarted(m.launch, 0)
        config = self._header.configurations[self._launches[m.launch].cell]
        if m.prompt >= len(config.prompts):
            raise BadLineError(f"a measurement of prompt {m.prompt}: there are {len(config.prompts)}")
        request = (m.launch, m.iteration, m.prompt)
        if request in self._requests:
            raise BadLineError(
                f"a second measurement of launch {m.launch}, iteration {m.iteration}, prompt {m.prompt}"
            )
        self._requests.add(request)
        self._compact(m)
        self._measured.setdefault(m.launch, []).append(m)

    def _compact(self, m: Measurement) -> None:
        """Keep equal outputs once and instants in 8 bytes each, so that files of many requests fit in memory."""
        for sequence in m.sequences:
            ids, text = sequence.token_ids, sequence.text
            force_setattr(sequence, "at_ns", Instants("q", sequence.at_ns))
            force_setattr(sequence, "token_ids", self._outputs.setdefault(ids, ids))
            force_setattr(sequence, "text", self._outputs.setdefault(text, text))

    def _unstarted(self, index: int, cell: int) -> Launch:
        """A launch that failed before it was loaded, or whose first line is lost."""
        self._check_cell(cell)
        self._launches[index] = Launch(index=index, cell=cell, started_at=self._header.started_at)
        return self._launches[index]

    def _check_cell(self, cell: int) -> None:
        if not 0 <= cell < len(self._header.configurations):
            raise BadLineError(
                f"a launch of configuration {cell}: there are {len(self._header.configurations)}"
            )

    def unended(self) -> tuple[int, ...]:
        """The launches whose end has not come."""
        return tuple(index for index in self._launches if index not in self._ended)

    def run(self) -> Run:
        """What has come so far; a launch that has not ended is aborted."""
        launches = tuple(
            dataclasses.replace(launch, measurements=tuple(self._measured.get(index, ())))
            for index, launch in self._launches.items()
        )
        fields = {f.name: getattr(self._header, f.name) for f in dataclasses.fields(Header)}
        del fields["schema"]
        cells = fields.pop("configurations")
        return Run(**fields, cells=cells, launches=launches, is_complete=self._is_complete)


def is_run_file(path: Path) -> bool:
    """Whether the first line is a run file's header."""
    try:
        with path.open("rb") as file:
            return (
                events.name_of(file.readline(MAX_LINE_BYTES).removeprefix(codecs.BOM_UTF8))
                == events.HEADER_NAME
            )
    except (OSError, ValueError, RecursionError):
        return False


def read_run_or_report(path: Path, *, salvage: bool = False) -> tuple[Run, tuple[str, ...]]:
    """The run in a run file or a report, and a sentence on each line of a run file that was left out."""
    with paused_collector():
        if path.suffix == ".jsonl" or is_run_file(path):
            return read_with_warnings(path, salvage=salvage)
        from llmbench.store.importers import read_report

        return read_report(path), ()


@contextlib.contextmanager
def paused_collector() -> Iterator[None]:
    """Collect no garbage in the block, nor what it made later.

    A run is a tree of many small objects and has no cycles; looking for some takes longer than reading it.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()
