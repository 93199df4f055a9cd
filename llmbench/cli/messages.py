"""Messages on the terminal: without secrets, and without characters that steer a terminal."""

import os
import shutil
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from llmbench.files.redaction import redact

if TYPE_CHECKING:
    from llmbench.schema.run import Run


def colored(text: str, **style: Any) -> str:
    """Return the text in a style, unless NO_COLOR is set; click drops it where there is no terminal."""
    return text if os.environ.get("NO_COLOR") else click.style(text, **style)


def shown(text: str) -> str:
    """Return the text as a terminal may have it; its lines stay lines."""
    from llmbench.render.text import plain

    return "\n".join(plain(line) for line in redact(text).split("\n"))


def folded(text: str, *, err: bool = False) -> str:
    """Return what a terminal may have, its long lines broken between words; elsewhere they stay whole."""
    stream, safe = sys.stderr if err else sys.stdout, shown(text)
    if stream is None or not stream.isatty():
        return safe
    wrapper = textwrap.TextWrapper(
        shutil.get_terminal_size().columns,
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    lines = safe.split("\n")
    return "\n".join(wrapper.fill(line) if len(line) > wrapper.width else line for line in lines)


def say(*texts: str, is_whole: bool = False) -> None:
    """Print lines on standard output; once that takes no more, nowhere: no measurement is lost for it.

    Text that *is_whole*, as a command to copy, is not folded.
    """
    try:
        for text in texts:
            click.echo(shown(text) if is_whole else folded(text))
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if not isinstance(error, BrokenPipeError):  # a reader such as head has seen what it wanted
            warn(f"nothing more is printed: {error.strerror}")


def warn(*texts: str) -> None:
    """Print warnings on standard error."""
    for text in texts:
        line = folded(f"warning: {text}", err=True)
        click.echo(line.replace("warning:", colored("warning:", fg="yellow"), 1), err=True)


def complain(error: str, *, hint: str | None = None) -> None:
    """Print what was wrong and what to do, a line each, on standard error; the hint stays whole, to be copied."""
    line = folded(f"error: {error}", err=True)
    click.echo(line.replace("error:", colored("error:", fg="red", bold=True), 1), err=True)
    if hint:
        click.echo(f"{colored('hint:', fg='cyan')} {shown(hint)}", err=True)


def say_json(value: object) -> None:
    """Print a value as indented JSON on standard output."""
    import msgspec

    say(msgspec.json.format(msgspec.json.encode(value)).decode(), is_whole=True)


salvage_option = click.option("--salvage", is_flag=True, help="Read around damaged lines of a run file.")


def load_run(path: Path, *, salvage: bool = False) -> "Run":
    """Return the run in a file, as `llmbench.load` reads it; warns on standard error of what was left out."""
    from llmbench.store.reader import read_run_or_report

    run, warnings = read_run_or_report(path, salvage=salvage)
    warn(*warnings)
    return run
