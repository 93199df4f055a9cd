"""The command line: one file per subcommand, imported when it is called; `main` turns errors into exit codes."""

import difflib
import errno
import io
import os
import re
import shlex
import signal
import sys
import traceback
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, cast

import click

from llmbench._version import __version__
from llmbench.cli.messages import complain, shown
from llmbench.cli.options.help import HelpGroup, dashed
from llmbench.cli.options.llm_bench import REPLACEMENTS
from llmbench.errors import ExitCode, InputError, LlmbenchError

SUBCOMMANDS = {
    "run": "Measure a model: first token, second token, time per token.",
    "ab": "Compare two configurations, measured in turns; exit 1 if the second is slower.",
    "calibrate": "Measure how much results vary on this machine when nothing changes.",
    "tune": "Find the fastest settings, and prove them on fresh launches.",
    "bisect": "Find the version of an engine that made a model slower or faster.",
    "quality": "Show what a weight format or cache precision costs in output quality, beside latency.",
    "convert": "Convert a Hugging Face model or a GGUF file to OpenVINO IR, and verify it.",
    "sockets": "Measure what a second socket brings: one, the other, both, tensor parallel.",
    "load": "Measure a server under load: goodput, rates and percentiles, with intervals.",
    "rag": "Index documents for retrieval (-t rag).",
    "report": "Show, export and compare runs; without arguments the last run.",
    "config": "Write a recipe: the options of a run in a file.",
    "profile": "Show which operators take the time of the first and of the next tokens.",
    "serve": "Serve a model with the OpenAI protocol, to test servers under load against it.",
    "doctor": "Find what would disturb measurements on this machine.",
    "demo": "Download a small model and measure it; works offline afterwards.",
}


class Interrupted(BaseException):
    """SIGTERM arrived; a BaseException, so that nothing but `main` takes it for its own."""


class Subcommands(HelpGroup):
    """A group that imports a subcommand's module only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  click's signature
        """Return the subcommands, in the order people need them."""
        return list(SUBCOMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Return the subcommand's click object, imported now."""
        if cmd_name not in SUBCOMMANDS:
            return None
        return cast("click.Command", import_module(f"llmbench.cli.{cmd_name}").command)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the subcommand that the arguments call; raise InputError with what may have been meant."""
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as error:
            raise _unknown_command(args) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the list of subcommands, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(SUBCOMMANDS.items()))


def _unknown_command(args: list[str]) -> InputError:
    name = args[0]
    near = difflib.get_close_matches(name.lower(), SUBCOMMANDS, n=1)
    if near:
        hint = f"did you mean {near[0]}? {shlex.join(['llmbench', near[0], *args[1:]])}"
    elif "/" in name or name.endswith(".gguf"):
        hint = f"to measure a model: {shlex.join(['llmbench', 'run', *args])}"
    else:
        hint = f"the commands are {', '.join(SUBCOMMANDS)}"
    return InputError(f"there is no command {name!r}", hint=hint)


def _install_completion(ctx: click.Context, _param: click.Parameter, shell: str | None) -> None:
    if shell is None or ctx.resilient_parsing:
        return
    from llmbench.cli.options.completion import install_completion

    for path in install_completion(shell or None, ctx.command):
        click.echo(shown(f"written: {path}"))
    click.echo("Tab completes llmbench in every new shell")
    ctx.exit()


@click.command(
    cls=Subcommands,
    context_settings={
        "token_normalize_func": dashed,
        "max_content_width": 100,
        "show_default": True,
    },
    epilog="""
    llmbench demo
    llmbench convert --model-id HuggingFaceTB/SmolLM2-135M-Instruct --output-dir models --weight-format int8
    llmbench run -m models --input-tokens 32,512 --launches 5
    llmbench report""".lstrip("\n"),
)
@click.version_option(__version__, prog_name="llmbench")
@click.option(
    "--install-completion",
    is_flag=False,
    flag_value="",
    metavar="[bash|zsh|fish]",
    is_eager=True,
    expose_value=False,
    callback=_install_completion,
    help="Install completion for a shell ($SHELL if none is named).",
)
def cli() -> None:
    """LLM latency benchmark for OpenVINO on CPUs.

    Measures the time to the first token (TTFT), to the second and between later ones, on one socket or on two, and
    compares runs with an exit code that a CI job can use.
    """


def _on_sigterm(_number: int, _frame: FrameType | None) -> NoReturn:
    raise Interrupted


def _quiet_exit(code: int) -> NoReturn:
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
    except (BrokenPipeError, SystemExit):  # rich exits with 1 when the reader of standard output is gone
        return ExitCode.OK
    except Exception as error:  # noqa: BLE001  the process boundary
        return _report_error(error)


def _report_error(error: Exception) -> int:
    """Say what went wrong, and return the exit code; a bug keeps its traceback and has a code of its own."""
    match error:
        case LlmbenchError():
            complain(error.message, hint=error.hint)
            return int(error.exit_code)
        case click.exceptions.NoArgsIsHelpError(ctx=click.Context() as group):
            click.echo(group.get_help(), color=group.color)
            return ExitCode.OK
        case click.ClickException():
            context: click.Context | None = getattr(error, "ctx", None)
            usage = f"{context.command_path} --help" if context else None
            complain(_message_of(error), hint=_replacement(error) or _named_model(error) or usage)
            return error.exit_code
        case OSError(errno=errno.ENAMETOOLONG):
            complain("a path is longer than this system allows", hint="use a shorter name")
            return ExitCode.USAGE
        case OSError(errno=errno.ENOSPC | errno.EDQUOT | errno.EFBIG):
            where = f" for {error.filename}" if error.filename else ""
            complain(f"{error.strerror}{where}", hint="make room, and try again")
            return ExitCode.OUTPUT
    click.echo(shown("".join(traceback.format_exception(error))), err=True)
    click.echo("This is a bug in llmbench; please report it with the lines above.", err=True)
    return ExitCode.BUG


def _message_of(error: click.ClickException) -> str:
    is_only_help = isinstance(error, click.NoSuchOption) and list(error.possibilities or ()) == ["--help"]
    is_plain = is_only_help or _replacement(error)  # nobody meant --help
    return error.message if is_plain else error.format_message()


def _named_model(error: click.ClickException) -> str | None:
    """Return what to type where a model was given without its option; ``None`` where the command takes no model."""
    context: click.Context | None = getattr(error, "ctx", None)
    given = re.fullmatch(r"Got unexpected extra arguments? \((\S+).*\)", error.message)
    if context is None or given is None:
        return None
    flags = [param.opts[0] for param in context.command.params if param.name in {"model", "model_id"}]
    return f"to name a model: {context.command_path} {shlex.join([flags[0], given[1]])}" if flags else None


def _replacement(error: click.ClickException) -> str | None:
    """Return what to type instead of an option of llm_bench; ``None`` where it is none."""
    if isinstance(error, click.NoSuchOption) and error.option_name in REPLACEMENTS:
        return f"instead of llm_bench's {error.option_name}: {REPLACEMENTS[error.option_name]}"
    return None


def main() -> NoReturn:
    """The entry point of the command ``llmbench``."""
    if not sys.platform.startswith("linux"):
        click.echo("error: llmbench measures on Linux only", err=True)
        sys.exit(ExitCode.MACHINE)
    if not Path("/proc/self/stat").exists():
        click.echo("error: /proc is not mounted\nhint: mount -t proc proc /proc", err=True)
        sys.exit(ExitCode.MACHINE)
    _open_standard_descriptors()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a locale without a character must not cost a measurement
            stream.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGTERM, _on_sigterm)
    _quiet_exit(invoke(sys.argv[1:]))
