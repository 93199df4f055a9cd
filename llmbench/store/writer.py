"""A run file while it is written: opened for append and locked, one write and one sync a line.

Writing is ours, because a line must be one ``write`` call; what a line says is in ``events``.
"""

import contextlib
import dataclasses
import errno
import fcntl
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import msgspec

from llmbench.errors import InputError, OutputError, cause_of
from llmbench.files.atomic import sync
from llmbench.files.redaction import secret_values
from llmbench.schema.measurement import Measurement
from llmbench.store.events import (
    RUN_SCHEMA,
    BadLineError,
    Event,
    Header,
    LaunchStarted,
    decode,
    encode,
    schema_of,
)

_TAIL_BYTES = 1 << 16


class RunFile:
    """A run file open for append and locked for this process; *measurements* counts those it contains."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.measurements = 0
        self._environment: dict[str, object] = {}
        self._descriptor = descriptor
        self._hidden = secret_values(os.environ)
        self._is_torn = False

    @classmethod
    def create(cls, path: Path, header: Header, *, overwrite: bool = False) -> Self:
        """A new file that contains the header; with *overwrite*, replace one that exists and is not in use.

        Raises:
            InputError: it exists, or another process writes to it.
            OutputError: it cannot be written; an older one is unchanged.
        """
        with _unopened(path, overwrite=overwrite), contextlib.ExitStack() as stack:
            path.parent.mkdir(parents=True, exist_ok=True)
            if overwrite and path.exists():
                stack.enter_context(cls(path, _opened(path, os.O_RDONLY)))
            target = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part") if overwrite else path
            file = cls(path, _opened(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
            undo = stack.enter_context(contextlib.ExitStack())
            undo.callback(target.unlink, missing_ok=True)
            undo.callback(file.close)
            file.append(header)
            target.rename(path)
            sync(path.parent)
            undo.pop_all()
        return file

    @classmethod
    def reopen(cls, path: Path) -> Self:
        """Open a run file that was cut short, to go on; a torn last line is cut off by the first append.

        Raises:
            InputError: it is not there, another process writes to it, or it has an older schema: lines of two schemas
                never are in one file.
        """
        with _unopened(path, is_there=True):
            file = cls(path, _opened(path, os.O_RDWR))
        try:
            file._read_header()
        except BaseException:
            file.close()
            raise
        file._is_torn = True
        return file

    def _read_header(self) -> None:
        with self.path.open("rb") as lines:
            line = lines.readline()
        schema = schema_of(line)
        if schema < RUN_SCHEMA:
            raise InputError(
                f"{self.path} has schema {schema}: it can be read and compared, but not resumed",
                hint="start a new run, and compare it with this one",
            )
        with contextlib.suppress(BadLineError):
            self._use(decode(line))

    def _use(self, event: Event) -> Event:
        """Return an event as it is written: of a launch's environment, what differs from the header's."""
        if isinstance(event, Header):
            self._environment = msgspec.to_builtins(event.environment, str_keys=True)
        if not isinstance(event, LaunchStarted) or event.environment is None:
            return event
        usual = self._environment
        own = {name: value for name, value in event.environment.items() if usual.get(name, ...) != value}
        return dataclasses.replace(event, environment=own or None)

    def append(self, event: Event) -> None:
        """Write one event and wait until it is on the disk.

        Raises:
            OutputError: the disk is full or gone; what was in the file before is unchanged.
        """
        line = encode(self._use(event), self._hidden)
        before = os.fstat(self._descriptor).st_size
        try:
            if self._is_torn:
                before = self._mend(before)
            written = os.write(self._descriptor, line)
            os.fsync(self._descriptor)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, before)
            raise self._unwritten(cause_of(error)) from error
        if written < len(line):
            os.ftruncate(self._descriptor, before)
            raise self._unwritten("No space left on device")
        self.measurements += isinstance(event, Measurement)

    def _mend(self, size: int) -> int:
        """Cut a torn last line off, or give a whole one its newline; the size after that."""
        with self.path.open("rb") as file:
            tail = b""
            while len(tail) < size and b"\n" not in tail:
                file.seek(max(size - len(tail) - _TAIL_BYTES, 0))
                tail = file.read(size - file.tell())
        tail = tail[tail.rfind(b"\n") + 1 :]
        try:
            decode(tail)
        except BadLineError:
            os.ftruncate(self._descriptor, size - len(tail))
        else:
            os.write(self._descriptor, b"\n")
        self._is_torn = False
        return os.fstat(self._descriptor).st_size

    def _unwritten(self, why: str) -> OutputError:
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


def refuse_existing(path: Path) -> None:
    """Raise an InputError where there is such a file."""
    if path.is_file():
        raise InputError(f"{path} exists", hint="choose another --name, or --overwrite")


@contextlib.contextmanager
def _unopened(path: Path, *, overwrite: bool = False, is_there: bool = False) -> Iterator[None]:
    """Turn what the system says of a file that cannot be opened into an error with a remedy.

    A file that *is_there* was written before.
    """
    try:
        yield
    except FileExistsError as error:
        if not overwrite:
            refuse_existing(path)
        raise InputError(f"{path.parent} is not a folder", hint="choose another --output-dir") from error
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise InputError(f"{path} is a symbolic link", hint="name the file that it leads to") from error
        why = cause_of(error)
        hint = (
            "llmbench report history lists the run files there are"
            if is_there
            else "choose another --output-dir"
        )
        raise InputError(f"{path} cannot be opened: {why}", hint=hint) from error


def _opened(path: Path, flags: int) -> int:
    """A descriptor for append, locked for this process; a symbolic link is not followed.

    The lock is the open file's (flock), for a lock of fcntl's kind is lost when the process closes any other
    descriptor of the same file, as reading it does.
    """
    descriptor = os.open(path, flags | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = _holder(os.fstat(descriptor))
        os.close(descriptor)
        who = f"process {holder}" if holder else "another process"
        raise InputError(
            f"{path} is in use by {who}", hint="wait for it to end, or choose another --name"
        ) from error
    return descriptor


def _holder(state: os.stat_result) -> int | None:
    """The process that holds the lock of a file, from ``/proc/locks``; ``None`` where it does not tell."""
    locks = Path("/proc/locks").read_text() if Path("/proc/locks").exists() else ""
    for line in locks.splitlines():
        fields = line.split()
        if fields[1] == "FLOCK" and fields[5].rpartition(":")[2] == str(state.st_ino) and int(fields[4]) > 0:
            return int(fields[4])
    return None
