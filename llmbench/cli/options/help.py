"""Help texts: options in groups, rarer ones behind ``--help-all``, and one spelling of values."""

import functools
import re
import shutil
import textwrap
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click

from llmbench.cli.messages import colored

_Command = TypeVar("_Command", bound=Callable[..., Any])

OTHER = "Options"
"""The section of options that are in no group."""

_NARROW, _LEAST, _TERM = 60, 24, 30
_GLUE = "\N{NO-BREAK SPACE}"
_HELP_ALL = "llmbench.help_all"
_VALUES = {"integer": "N", "float": "X", "path": "PATH"}
"""What values look like, by the name of their type."""


def dashed(token: str) -> str:
    """Return ``--model-id`` for ``--model_id``."""
    return token.replace("_", "-")


class GroupedOption(click.Option):
    """An option that help lists in its *group*, and if it *is_rare* only with ``--help-all``."""

    def __init__(self, *values: Any, group: str = OTHER, is_rare: bool = False, **attributes: Any) -> None:
        super().__init__(*values, **attributes)
        self.group, self.is_rare = group, is_rare


def added(*options: Callable[[_Command], _Command]) -> Callable[[_Command], _Command]:
    """Return the decorator that adds options to a command, in their order."""
    return lambda command: functools.reduce(lambda found, add: add(found), reversed(options), command)


class HelpFormatter(click.HelpFormatter):
    """A formatter as wide as the terminal, however narrow, with coloured headings and terms."""

    def __init__(
        self, indent_increment: int = 2, width: int | None = None, max_width: int | None = None
    ) -> None:
        columns = min(shutil.get_terminal_size().columns, max_width or 80) - 2
        super().__init__(indent_increment, max(columns, _LEAST) if width is None else width, max_width)

    def write_heading(self, heading: str) -> None:
        """Write the heading of a section."""
        self.write(f"{'':>{self.current_indent}}{colored(f'{heading}:', bold=True)}\n")

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = _TERM, col_spacing: int = 2) -> None:
        """Write terms and what they mean side by side, or where that is too narrow below each other."""
        if self.width >= _NARROW:
            super().write_dl([(colored(term, fg="cyan"), text) for term, text in rows], col_max, col_spacing)
            return
        for term, text in rows:
            self.write(f"{'':>{self.current_indent}}{colored(term.strip(), fg='cyan')}\n")
            with self.indentation(), self.indentation():
                self.write_text(text)


class HelpContext(click.Context):
    """A context whose help is written by `HelpFormatter`, and asked for by ``-h`` as well.

    click keeps a command's option of help as it was when first asked for, so that no parent may be what names it.
    """

    formatter_class = HelpFormatter

    def __init__(self, command: click.Command, **settings: Any) -> None:
        super().__init__(command, **{"help_option_names": ["-h", "--help"]} | settings)


class HelpCommand(click.Command):
    """A command whose help lists options by group."""

    context_class = HelpContext

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return the parameters, and ``--help-all`` where there is more than ``--help`` lists."""
        found = super().get_params(ctx)
        return [*found, _HELP_ALL_OPTION] if any(map(_is_rare, found)) else found

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a section for each group, in the order of its first option."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            if isinstance(param, click.Option) and (ctx.meta.get(_HELP_ALL) or not _is_rare(param)):
                record = param.get_help_record(ctx)
                if record:
                    row = (_spec(param, record[0], ctx), record[1].replace("]  [", "; "))
                    sections.setdefault(getattr(param, "group", OTHER), []).append(row)
        widest = min(_TERM, max(len(term) for rows in sections.values() for term, _ in rows))
        for title, rows in sections.items():
            with formatter.section(title):
                formatter.write_dl([(term.ljust(widest), text) for term, text in rows])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the examples as they are to be typed, a long one on several lines."""
        if self.epilog:
            with formatter.section("Examples"):
                for line in filter(None, map(str.strip, self.epilog.splitlines())):
                    if line not in {"\b", "Examples:"}:
                        formatter.write(_continued(line, formatter))


def _continued(command: str, formatter: click.HelpFormatter) -> str:
    """Return a command line in lines of the formatter's width, each but the last ending in a backslash.

    What is in quotes is not broken, and where there is room an option stays with its value.
    """
    indent = " " * formatter.current_indent
    if len(indent + command) <= formatter.width + 2:
        return f"{indent}{command}\n"
    glued = re.sub(r"'.*?'|\".*?\"", lambda quoted: quoted[0].replace(" ", _GLUE), command)
    glued = re.sub(r" (?!-)", _GLUE, glued) if formatter.width >= _NARROW else glued
    deeper = f"{indent}  "
    longest = max(map(len, glued.split()))
    lines = textwrap.wrap(
        glued,
        formatter.width - 2,
        initial_indent=indent,
        subsequent_indent=deeper if len(deeper) + longest <= formatter.width else indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return " \\\n".join(lines).replace(_GLUE, " ") + "\n"


class HelpGroup(HelpCommand, click.Group):
    """A group whose help, and that of its subcommands, is written by `HelpFormatter`."""

    command_class = HelpCommand

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the subcommands, then the options."""
        self.format_commands(ctx, formatter)
        super().format_options(ctx, formatter)


def _is_rare(param: click.Parameter) -> bool:
    return getattr(param, "is_rare", False)


def _spec(option: click.Option, usual: str, ctx: click.Context) -> str:
    if option.is_flag:
        return usual
    return f"{usual.removesuffix(option.make_metavar(ctx)).rstrip()} {values_of(option)}"


def values_of(option: click.Option) -> str:
    """Return what the values of an option look like; click writes ``[a|b]``, INTEGER and FLOAT."""
    if option.metavar is not None:
        return option.metavar
    if isinstance(option.type, click.Choice):
        return "|".join(map(str, option.type.choices))
    name = str(option.type.name)
    return _VALUES.get(name.removesuffix(" range"), name.upper() if name.isalpha() else name)


def _show_all(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        ctx.meta[_HELP_ALL] = True
        click.echo(ctx.get_help(), color=ctx.color)
        ctx.exit()


_HELP_ALL_OPTION = click.Option(
    ["--help-all"],
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_all,
    help="Show every option and exit.",
)
