"""Every deliberate error, its exit code, and a hint with the remedy."""

import contextlib
import enum
from collections.abc import Iterable, Iterator
from typing import ClassVar


class ExitCode(enum.IntEnum):
    """What the process tells the shell; stable within a major version."""

    OK = 0
    REGRESSION = 1
    USAGE = 2
    STRICT = 3
    MACHINE = 4
    LAUNCH = 5
    OUTPUT = 6
    BUG = 70
    INTERRUPTED = 130
    TERMINATED = 143


_PRECEDENCE = (
    ExitCode.USAGE,
    ExitCode.OUTPUT,
    ExitCode.MACHINE,
    ExitCode.LAUNCH,
    ExitCode.REGRESSION,
    ExitCode.STRICT,
)


def worst(codes: Iterable[ExitCode]) -> ExitCode:
    """The exit code that wins where several hold: 2 > 6 > 4 > 5 > 1 > 3."""
    found = set(codes)
    return next((code for code in _PRECEDENCE if code in found), ExitCode.OK)


class LlmbenchError(Exception):
    """A deliberate error: one line on what was wrong, and a hint that says what to do."""

    exit_code: ClassVar[ExitCode]

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class InputError(LlmbenchError):
    """Usage, configuration, or a file that cannot be read or is empty."""

    exit_code = ExitCode.USAGE


class StrictError(LlmbenchError):
    """Refused under ``--strict`` only."""

    exit_code = ExitCode.STRICT


class MachineError(LlmbenchError):
    """The machine lacks what was requested: device, engine, package, sockets, threads, affinity."""

    exit_code = ExitCode.MACHINE


class LaunchError(LlmbenchError):
    """A launch crashed, ran out of memory or of time, or a row is missing."""

    exit_code = ExitCode.LAUNCH


class OutputError(LlmbenchError):
    """Results could not be written."""

    exit_code = ExitCode.OUTPUT


def cause_of(error: Exception) -> str:
    """Return an error in words: the system's without its number and the path, which the message has already."""
    return (isinstance(error, OSError) and error.strerror) or str(error)


@contextlib.contextmanager
def readable(what: object, *, hint: str | None = None, also: type[Exception] = OSError) -> Iterator[None]:
    """Turn an OSError of the block, or the error *also*, into the InputError that *what* cannot be read."""
    try:
        yield
    except (OSError, also) as error:
        raise InputError(f"{what} cannot be read: {cause_of(error)}", hint=hint) from error


_BY_CODE: dict[int, type[LlmbenchError]] = {
    kind.exit_code: kind for kind in (InputError, StrictError, MachineError, LaunchError, OutputError)
}


def error_from_code(code: int, message: str, *, hint: str | None) -> LlmbenchError:
    """The error a worker reported, rebuilt in its parent."""
    return _BY_CODE.get(code, LaunchError)(message, hint=hint)
