"""The command line: one file a subcommand, imported when it is called; `main` turns errors into exit codes."""

import errno
import io
import os
import signal
import sys
import traceback
from importlib import import_module
from types import FrameType
from typing import Any, NoReturn, cast

import click

from llmbench._version import __version__
from llmbench.cli.messages import complain, shown
from llmbench.errors import ExitCode, LlmbenchError

SUBCOMMANDS = {
    "run": "Measure a model: first token, second token, and the later ones.",
    "ab": "Compare two configurations, measured in turns; exit 1 where the second is slower.",
    "calibrate": "Measure one configuration against itself: what a gate on this machine is worth.",
    "convert": "Turn a Hugging Face model or a GGUF file into OpenVINO IR, and verify it.",
    "sockets": "One socket, the other, both, both with tensor parallelism: what a second socket brings.",
    "report": "Show, export and compare runs.",
    "profile": "Where the time of the first and of the next tokens goes, by operation.",
    "doctor": "Say what on this machine would spoil a measurement.",
    "demo": "The whole path on a small real model; offline once fetched.",
}


class Interrupted(BaseException):
    """SIGTERM arrived; a BaseException, so that nothing but `main` takes it for its own."""


class Subcommands(click.Group):
    """A group that imports a subcommand's module only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        """The subcommands, in the order people need them."""
        return list(SUBCOMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The subcommand's click object, imported now."""
        if cmd_name not in SUBCOMMANDS:
            return None
        return cast("click.Command", import_module(f"llmbench.cli.{cmd_name}").command)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The list of subcommands, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(SUBCOMMANDS.items()))


def _dashed(token: str) -> str:
    """``--model_id`` is ``--model-id``."""
    return token.replace("_", "-")


@click.command(
    cls=Subcommands,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "token_normalize_func": _dashed,
        "max_content_width": 100,
        "show_default": True,
    },
    epilog="Start with: llmbench demo",
)
@click.version_option(__version__, prog_name="llmbench")
def cli() -> None:
    """How long does a language model make a person wait, on this machine?

    llmbench converts models to OpenVINO IR, runs them on one CPU socket or on two, times the first token, the
    second and each later one, and compares runs so that a CI job can trust the verdict.
    """


def _on_sigterm(_number: int, _frame: FrameType | None) -> NoReturn:
    """SIGTERM ends the run in order: workers are ended and what was measured is kept."""
    raise Interrupted


def _quiet_exit(code: int) -> NoReturn:
    """Leave without a second error if standard output is closed."""
    try:
        if sys.stdout is not None:  # None where descriptor 1 was closed from the start
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(code)


def _open_standard_descriptors() -> None:
    """Put the null device where descriptor 0, 1 or 2 was closed, or a file of ours would take its number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def invoke(arguments: list[str]) -> int:
    """Run one command line and return its exit code."""
    try:
        return int(cast("Any", cli.main(arguments, prog_name="llmbench", standalone_mode=False)) or 0)
    except (KeyboardInterrupt, click.Abort, Interrupted) as error:
        is_term = isinstance(error, Interrupted)
        click.echo("terminated" if is_term else "interrupted", err=True)
        return ExitCode.TERMINATED if is_term else ExitCode.INTERRUPTED
    except BrokenPipeError:
        return ExitCode.OK
    except Exception as error:  # noqa: BLE001  the process boundary
        return _report_error(error)


def _report_error(error: Exception) -> int:
    """Say what went wrong, and return the exit code; a bug keeps its traceback and has a code of its own."""
    match error:
        case LlmbenchError():
            complain(error.message, hint=error.hint)
            return int(error.exit_code)
        case click.ClickException():
            context: click.Context | None = getattr(error, "ctx", None)
            complain(error.format_message(), hint=f"{context.command_path} --help" if context else None)
            return error.exit_code
        case OSError(errno=errno.ENOSPC | errno.EDQUOT | errno.EFBIG):
            where = f" for {error.filename}" if error.filename else ""
            complain(f"{error.strerror}{where}", hint="make room, and try again")
            return ExitCode.OUTPUT
    click.echo(shown("".join(traceback.format_exception(error))), err=True)
    click.echo("This is a bug in llmbench; please report it with the lines above.", err=True)
    return ExitCode.BUG


def main() -> NoReturn:
    """The entry point of the command ``llmbench``."""
    if not sys.platform.startswith("linux"):
        click.echo("error: llmbench measures on Linux only", err=True)
        sys.exit(ExitCode.MACHINE)
    _open_standard_descriptors()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a locale without a character must not cost a measurement
            stream.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGTERM, _on_sigterm)
    _quiet_exit(invoke(sys.argv[1:]))
