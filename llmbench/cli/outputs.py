"""Files that a command writes: refused before anything is read or measured if they would cost data, written whole."""

import collections
import contextlib
import errno
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import click
from rich.console import Console

from llmbench.cli.messages import complain, shown
from llmbench.errors import ExitCode, InputError
from llmbench.files.atomic import write_atomically
from llmbench.store import reader

STANDARD_OUTPUT = Path("-")
"""What stands for standard output, as ``/dev/stdout`` does."""


def check_outputs(outputs: Mapping[str, Path | None], inputs: Iterable[Path] = ()) -> dict[str, Path]:
    """Return the outputs that were requested, by option; refuse one that could not be written or would cost data.

    Never replaced are a run file, a file that the command reads (*inputs*, and whatever else its command line names),
    whatever links lead to them, and another output of the same command.
    """
    wanted = {option: path for option, path in outputs.items() if path is not None}
    named = collections.Counter(map(_identity, _named_files())) - collections.Counter(
        map(_identity, wanted.values())
    )
    read = {*map(_identity, inputs), *named} - {None}
    written: dict[Path, str] = {}
    for option, path in wanted.items():
        if not is_standard_output(path):
            check_output(path, option)
        if _identity(path) in read:
            raise InputError(f"{option} {path} is a file that this command reads", hint=_OTHER_NAME)
        name = STANDARD_OUTPUT if is_standard_output(path) else path.parent.resolve() / path.name
        if name in written and not path.is_char_device():
            raise InputError(f"{written[name]} and {option} both write to {path}", hint=_OTHER_NAME)
        written[name] = option
    return wanted


def _named_files() -> Iterator[Path]:
    """Every value of the command line that may be a file: models, prompts, properties, adapters, and the outputs."""
    context = click.get_current_context(silent=True)
    values = list(context.params.values()) if context else []
    while values:
        value = values.pop()
        if isinstance(value, str | Path):
            yield Path(value)
        elif isinstance(value, tuple | list):
            values += value


_OTHER_NAME = "name another file"


def check_output(path: Path, option: str) -> None:
    """Refuse a file that could not be written, or that is a run file, which contains every measured time."""
    if path.is_dir() or not path.parent.is_dir():
        what = "is a folder" if path.is_dir() else f"is in {path.parent}, which is not a folder"
        raise InputError(f"{option} {path} {what}", hint="name a file in a folder that exists")
    if path.is_file() and (path.suffix == ".jsonl" or reader.is_run_file(path)):
        raise InputError(f"{option} {path} would replace a run file or a prompt file", hint=_OTHER_NAME)
    if not _is_writable(path):
        raise InputError(f"{option} {path} cannot be written", hint="check its permissions")


def check_run_file(outputs: Mapping[str, Path], folder: Path, name: str | None) -> None:
    """Refuse an output that is the run file which the command is going to write, where that has a *name*."""
    run_file = reader.run_file_path(folder, name) if name else None
    for option, path in outputs.items():
        if (
            run_file is not None
            and path.parent.resolve() / path.name == run_file.parent.resolve() / run_file.name
        ):
            raise InputError(f"{option} {path} is the file of the run itself", hint=_OTHER_NAME)


def is_standard_output(path: Path) -> bool:
    """Whether a path stands for standard output, or is the very file that it goes to."""
    if path in {STANDARD_OUTPUT, Path("/dev/stdout")}:
        return True
    with contextlib.suppress(OSError, ValueError, AttributeError):
        return path.is_file() and os.path.samestat(path.stat(), os.fstat(sys.stdout.fileno()))
    return False


def _identity(path: Path) -> tuple[int, int] | None:
    """What all links to a file share; ``None`` where there is no file."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return (found.st_dev, found.st_ino) if path.is_file() else None


def _is_device(path: Path) -> bool:
    return path.exists() and not path.is_file()


def _is_writable(path: Path) -> bool:
    """Whether a file can be made beside *path* and renamed over it.

    It is tried, for a folder may grant it and refuse it, as those of the kernel do. A full disk may have room later.
    """
    if _is_device(path):
        return os.access(path, os.W_OK)
    if path.exists() and not os.access(path, os.W_OK):
        return False
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent):
            return True
    except OSError as error:
        return error.errno == errno.ENOSPC


def write_output(path: Path, text: str) -> None:
    """Write a file whole, and report it on standard error; ``-`` is standard output."""
    if is_standard_output(path):
        print_text(text)
        return
    write_atomically(path, text)
    click.echo(shown(f"written: {path}"), err=True)


def print_text(text: str) -> None:
    """Print a text on standard output; nowhere once its reader has left."""
    try:
        click.echo(text, nl=False)
    except BrokenPipeError:
        _discard_standard_output()


class Screen(Console):
    """A console on standard output whose reader may leave early, as ``head`` does, at no cost to the exit code."""

    def on_broken_pipe(self) -> None:
        """Print nothing more."""
        self.quiet = True
        _discard_standard_output()


def print_on_screen(render: Callable[[Console], None]) -> ExitCode:
    """Have something rendered on standard output; return 6 where that takes no more, as on a full disk."""
    try:
        render(Screen())
    except OSError as error:
        _discard_standard_output()
        complain(f"standard output cannot be written: {error.strerror}", hint="make room, and print it again")
        return ExitCode.OUTPUT
    return ExitCode.OK


def _discard_standard_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
