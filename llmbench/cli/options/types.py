"""Types of option values, multi-letter options, and the check of output folders before anything is measured."""

import difflib
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import click
from click.shell_completion import CompletionItem

from llmbench.cli.options.completion import complete_list
from llmbench.cli.options.help import HelpCommand
from llmbench.cli.options.llm_bench import SHORT
from llmbench.errors import InputError
from llmbench.machine.topology import parse_list

_DURATION = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>ms|s|m|min|h)?")
ARGUMENTS = "llmbench.arguments"
"""Where a command's context keeps its arguments as they were typed."""

_SECONDS = {None: 1.0, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


class Command(HelpCommand):
    """A command with multi-letter short options, such as ``-ic 16``.

    click takes ``-rjx.json`` for ``-r jx.json``, and ``-n=2`` for the value "=2"; here a value follows a space or
    an equals sign, and nothing sticks to a multi-letter option.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments, equals signs split off and stuck values refused."""
        ctx.meta[ARGUMENTS] = tuple(args)
        return super().parse_args(ctx, args if ctx.resilient_parsing else _separate(self.params, args))


def _separate(params: Sequence[click.Parameter], args: list[str]) -> list[str]:
    """Arguments with ``-n=2`` as two; raises UsageError on a value stuck to a multi-letter option."""
    options = [param for param in params if isinstance(param, click.Option)]
    takes_value = {
        name
        for option in options
        if not (option.is_flag or isinstance(option.flag_value, str))
        for name in option.opts
    }
    short = {name for option in options for name in option.opts if not name.startswith("--")}
    multi = [name for name in short if len(name) > 2]
    result: list[str] = []
    is_value = False
    for arg in args:
        name, equals, value = arg.partition("=")
        if not is_value and name in SHORT and name not in short:
            raise click.NoSuchOption(name)
        if is_value or arg == "-" or not arg.startswith("-") or arg.startswith("--"):
            result.append(arg)
        elif equals and name in short:
            result += [name, value]
        else:
            stuck = next((m for m in multi if arg.startswith(m) and arg not in short), None)
            if stuck:
                raise click.UsageError(f"{arg!r}: write a space after {stuck}: {stuck} {arg[len(stuck) :]}")
            result.append(arg)
        is_value = not is_value and arg in takes_value
    return result


_Value = TypeVar("_Value", int, float, str)


class IntegerList(click.ParamType[tuple[int, ...]]):
    """``32,512,2048`` as a tuple of integers of at least *least*, each once unless *may_repeat*."""

    name = "N,..."

    def __init__(self, least: int = 1, *, may_repeat: bool = False) -> None:
        self._least = least
        self._may_repeat = may_repeat

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Return the integers, in the order given."""
        if value == ():
            return ()
        parts = _parts(value)
        if not all(part.isdecimal() and len(part) < 10 for part in parts):
            self.fail(f"{_as_typed(value)!r} is not a list of integers such as 32,512", param, ctx)
        numbers = tuple(int(part) for part in parts)
        if min(numbers) < self._least:
            self.fail(f"{min(numbers)} is less than {self._least}", param, ctx)
        if not self._may_repeat and (twice := _repeated(numbers)) is not None:
            self.fail(f"{twice} is listed twice in {_as_typed(value)!r}; list each value once", param, ctx)
        return numbers


class NumberList(click.ParamType[tuple[float, ...]]):
    """``0.5,2`` as a tuple of positive numbers."""

    name = "X,..."

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        """Return the numbers, in the order given."""
        if value == ():
            return ()
        try:
            numbers = tuple(map(float, _parts(value)))
        except ValueError:
            numbers = ()
        if not numbers or not all(0 < number < math.inf for number in numbers):
            self.fail(f"{_as_typed(value)!r} is not a list of positive numbers such as 0.5,2", param, ctx)
        if (twice := _repeated(numbers)) is not None:
            self.fail(f"{twice:g} is listed twice; list each value once", param, ctx)
        return numbers


class WordChoice(click.Choice[str]):
    """One of several words, which an error spells as help does."""

    def get_invalid_choice_message(self, value: object, ctx: click.Context | None) -> str:  # noqa: ARG002
        """Return what may be given, and what was probably meant."""
        near = difflib.get_close_matches(str(value), self.choices, n=1)
        meant = f"; did you mean {near[0]}?" if near else ""
        return f"{value!r} is not one of {', '.join(self.choices)}{meant}"


class RangeList(click.ParamType[tuple[int, ...]]):
    """``0,2-3`` as a tuple of numbers."""

    name = "N,N-N"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Return the numbers, ascending; a recipe's list has its parts already."""
        if value == ():
            return ()
        text = _as_typed(value)
        try:
            numbers = parse_list(text)
        except InputError as error:
            self.fail(f"{error.message}; {error.hint}", param, ctx)
        if not numbers:
            self.fail(f"{text!r} is not a list of numbers; write it like 0,2-3", param, ctx)
        return numbers


class WordList(click.ParamType[tuple[str, ...]]):
    """``pa,sdpa`` as a tuple of words, each one of *choices*, whatever its case, where there are any."""

    name = "TEXT,..."

    def __init__(self, choices: Sequence[str] = ()) -> None:
        self._choices = choices
        self.name = f"{'|'.join(choices)},..." if choices else "TEXT,..."

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Return the words, in the order given."""
        if value == ():
            return ()
        words = [part.lower() if self._choices else part for part in _parts(value)]
        wrong = [word for word in words if word and self._choices and word not in self._choices]
        if wrong or not all(words):
            allowed = ", ".join(self._choices) or "words with commas between"
            self.fail(f"{(wrong or [_as_typed(value)])[0]!r} is not one of {allowed}", param, ctx)
        if (twice := _repeated(words)) is not None:
            self.fail(f"{twice} is listed twice in {_as_typed(value)!r}; list each value once", param, ctx)
        return tuple(words)

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002  click's signature
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[CompletionItem]:
        """Return the choices that may end the list."""
        return complete_list(self._choices, incomplete)


def _parts(value: object) -> list[str]:
    """What stands between commas; a recipe's list has its parts already."""
    parts = value if isinstance(value, tuple) else str(value).split(",")
    return [str(part).strip() for part in parts]


def _repeated(values: Sequence[_Value]) -> _Value | None:
    """The first value that is in a list again; ``None`` where each stands once."""
    return next((value for number, value in enumerate(values) if value in values[:number]), None)


def _as_typed(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


LLM_BENCH = "llm-bench"
LOGS = ("compact", LLM_BENCH)
"""What is printed of each request: one line of ours, or the lines of llm_bench that people's scripts read."""


class Duration(click.ParamType[float]):
    """``90s``, ``20m`` or ``2h`` as seconds; a bare number is seconds. Zero only if *may_be_zero*."""

    name = "TIME"

    def __init__(self, *, may_be_zero: bool = False) -> None:
        self._may_be_zero = may_be_zero

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return seconds."""
        if isinstance(value, float):
            return value
        found = _DURATION.fullmatch(str(value).strip())
        if not found:
            self.fail(f"{value!r} is not a duration such as 90s, 20m or 2h", param, ctx)
        seconds = float(found["number"]) * _SECONDS[found["unit"]]
        if not seconds and not self._may_be_zero:
            self.fail(f"{value!r} is no time at all; write a duration such as 90s, 20m or 2h", param, ctx)
        return seconds


_SHARE = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*%")


class ShareType(click.ParamType[float]):
    """``2%`` as 0.02; more than nothing, and less than the whole."""

    name = "N%"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The share."""
        if isinstance(value, float):
            return value
        found = _SHARE.fullmatch(str(value).strip())
        if not found or not 0 < float(found["number"]) < 100:
            self.fail(f"{value!r} is not a percentage such as 2%", param, ctx)
        return float(found["number"]) / 100


_SIZE = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[KMGT]iB)")
_BYTES = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


class Size(click.ParamType[int]):
    """``900MiB`` or ``4GiB`` as bytes."""

    name = "SIZE"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return bytes."""
        if isinstance(value, int):
            return value
        found = _SIZE.fullmatch(str(value).strip())
        if not found:
            self.fail(f"{value!r} is not a size such as 900MiB or 4GiB", param, ctx)
        return round(float(found["number"]) * _BYTES[found["unit"]])


def check_folder(path: Path, option: str) -> None:
    """Refuse, before anything is loaded, an output folder that could not be written."""
    above = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    if not above.is_dir():
        raise InputError(f"{option} {path}: {above} is not a folder", hint="choose another folder")
    if not os.access(above, os.W_OK | os.X_OK):
        raise InputError(f"{option} {path}: {above} cannot be written", hint="choose another folder")
