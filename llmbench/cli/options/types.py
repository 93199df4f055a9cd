"""Types of option values, multi-letter options, and the check of output folders before anything is measured."""

import abc
import difflib
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import click
from click.shell_completion import CompletionItem

from llmbench.cli.options.completion import complete_list
from llmbench.cli.options.help import HelpCommand, dashed
from llmbench.cli.options.llm_bench import SHORT
from llmbench.errors import InputError
from llmbench.machine.topology import parse_list

PATH = click.Path(path_type=Path)
OUTPUT_FILE = click.Path(path_type=Path, dir_okay=False)

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
        if not ctx.resilient_parsing:
            args = _separate(self.params, args)
            if {"-m", "--model"} & set(args) and any(param.name == "models" for param in self.params):
                args = _repeated(self.params, args)
        return super().parse_args(ctx, args)


def _separate(params: Sequence[click.Parameter], args: list[str]) -> list[str]:
    """Arguments with ``-n=2`` as two; raises UsageError on a value stuck to a multi-letter option."""
    takes_value = _with_value(params)
    names = (name for param in params if isinstance(param, click.Option) for name in param.opts)
    short = {name for name in names if not name.startswith("--")}
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


def _with_value(params: Sequence[click.Parameter]) -> dict[str, click.Option]:
    """The options that are followed by a value, by name."""
    options = [param for param in params if isinstance(param, click.Option)]
    return {
        name: option
        for option in options
        if not (option.is_flag or isinstance(option.flag_value, str))
        for name in option.opts
    }


def _repeated(params: Sequence[click.Parameter], args: list[str]) -> list[str]:
    """Arguments with ``-pf a b``, from a shell's ``*``, too, as ``-pf a -pf b``, and ``-pi 0 1`` as ``-pi 0,1``.

    An option names the model, so that no other word is one.
    """
    options, result = _with_value(params), list[str]()
    name, is_value = "", False
    for arg in args:
        option = options.get(dashed(name))
        if is_value or arg.startswith("-") or option is None:
            name, is_value = (name, False) if is_value else (arg, dashed(arg) in options)
            result.append(arg)
        elif option.multiple and option.type is not click.STRING:  # a prompt without quotes is no list
            result += [name, arg]
        elif isinstance(option.type, IntegerList):
            result[-1] += f",{arg}"
        else:
            result.append(arg)
    return result


_Parsed = TypeVar("_Parsed")


class ParsedType(click.ParamType[_Parsed], abc.ABC):
    """What `parse` makes of a text; what has the type *parsed* already, and an empty list, is left as it is."""

    parsed: type = type(None)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> _Parsed:
        """Return the parsed value; raises click's UsageError with the words of `parse`'s ValueError."""
        if value == () or isinstance(value, self.parsed):
            return cast("_Parsed", value)
        try:
            return self.parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)

    @abc.abstractmethod
    def parse(self, value: object) -> _Parsed:
        """Return what a text, or a recipe's list, means; raise ValueError."""


class IntegerList(ParsedType[tuple[int, ...]]):
    """``32,512,2048`` as a tuple of integers of at least *least*, each once unless *may_repeat*."""

    name = "N,..."

    def __init__(self, least: int = 1, *, may_repeat: bool = False) -> None:
        self._least = least
        self._may_repeat = may_repeat

    def parse(self, value: object) -> tuple[int, ...]:
        """Return the integers, in the order given."""
        parts = _parts(value)
        if not all(part.isdecimal() and len(part) < 10 for part in parts):
            raise ValueError(f"{_as_typed(value)!r} is not a list of integers such as 32,512")
        numbers = tuple(int(part) for part in parts)
        if min(numbers) < self._least:
            raise ValueError(f"{min(numbers)} is less than {self._least}")
        if not self._may_repeat:
            _check_repeated(numbers, f" in {_as_typed(value)!r}")
        return numbers


class NumberList(ParsedType[tuple[float, ...]]):
    """``0.5,2`` as a tuple of positive numbers."""

    name = "X,..."

    def parse(self, value: object) -> tuple[float, ...]:
        """Return the numbers, in the order given."""
        try:
            numbers = tuple(map(float, _parts(value)))
        except ValueError:
            numbers = ()
        if not numbers or not all(0 < number < math.inf for number in numbers):
            raise ValueError(f"{_as_typed(value)!r} is not a list of positive numbers such as 0.5,2")
        _check_repeated(numbers)
        return numbers


class WordChoice(click.Choice[str]):
    """One of several words, which an error spells as help does."""

    def get_invalid_choice_message(self, value: object, ctx: click.Context | None) -> str:  # noqa: ARG002
        """Return what may be given, and what was probably meant."""
        near = difflib.get_close_matches(str(value), self.choices, n=1)
        meant = f"; did you mean {near[0]}?" if near else ""
        return f"{value!r} is not one of {', '.join(self.choices)}{meant}"


class RangeList(ParsedType[tuple[int, ...]]):
    """``0,2-3`` as a tuple of numbers."""

    name = "N,N-N"

    def parse(self, value: object) -> tuple[int, ...]:
        """Return the numbers, ascending; a recipe's list has its parts already."""
        text = _as_typed(value)
        try:
            numbers = parse_list(text)
        except InputError as error:
            raise ValueError(f"{error.message}; {error.hint}") from error
        if not numbers:
            raise ValueError(f"{text!r} is not a list of numbers; write it like 0,2-3")
        return numbers


class WordList(ParsedType[tuple[str, ...]]):
    """``pa,sdpa`` as a tuple of words, each one of *choices*, whatever its case, where there are any."""

    name = "TEXT,..."

    def __init__(self, choices: Sequence[str] = ()) -> None:
        self._choices = choices
        self.name = f"{'|'.join(choices)},..." if choices else "TEXT,..."

    def parse(self, value: object) -> tuple[str, ...]:
        """Return the words, in the order given."""
        words = [part.lower() if self._choices else part for part in _parts(value)]
        wrong = [word for word in words if word and self._choices and word not in self._choices]
        if wrong or not all(words):
            allowed = ", ".join(self._choices) or "words with commas between"
            raise ValueError(f"{(wrong or [_as_typed(value)])[0]!r} is not one of {allowed}")
        _check_repeated(words, f" in {_as_typed(value)!r}")
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


def _check_repeated(values: Sequence[float | str], where: str = "") -> None:
    """Raise ValueError on a value that is in a list again."""
    for number, value in enumerate(values):
        if value in values[:number]:
            text = value if isinstance(value, str | int) else f"{value:g}"
            raise ValueError(f"{text} is listed twice{where}; list each value once")


def _as_typed(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


LLM_BENCH = "llm-bench"
LOGS = ("compact", LLM_BENCH)
"""What is printed of each request: one line of ours, or the lines of llm_bench that people's scripts read."""


class Duration(ParsedType[float]):
    """``90s``, ``20m`` or ``2h`` as seconds; a bare number is seconds. Zero only if *may_be_zero*."""

    name = "TIME"
    parsed = float

    def __init__(self, *, may_be_zero: bool = False) -> None:
        self._may_be_zero = may_be_zero

    def parse(self, value: object) -> float:
        """Return seconds."""
        found = _DURATION.fullmatch(str(value).strip())
        if not found:
            raise ValueError(f"{value!r} is not a duration such as 90s, 20m or 2h")
        seconds = float(found["number"]) * _SECONDS[found["unit"]]
        if not seconds and not self._may_be_zero:
            raise ValueError(f"{value!r} is no time at all; write a duration such as 90s, 20m or 2h")
        return seconds


_SHARE = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*%")


class ShareType(ParsedType[float]):
    """``2%`` as 0.02; more than nothing, and less than the whole."""

    name = "N%"
    parsed = float

    def parse(self, value: object) -> float:
        """Return the share."""
        found = _SHARE.fullmatch(str(value).strip())
        if not found or not 0 < float(found["number"]) < 100:
            raise ValueError(f"{value!r} is not a percentage such as 2%")
        return float(found["number"]) / 100


_SIZE = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[KMGT]iB)")
_BYTES = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


class Size(ParsedType[int]):
    """``900MiB`` or ``4GiB`` as bytes."""

    name = "SIZE"
    parsed = int

    def parse(self, value: object) -> int:
        """Return bytes."""
        found = _SIZE.fullmatch(str(value).strip())
        if not found:
            raise ValueError(f"{value!r} is not a size such as 900MiB or 4GiB")
        return round(float(found["number"]) * _BYTES[found["unit"]])


def check_folder(path: Path, option: str) -> None:
    """Refuse, before anything is loaded, an output folder that could not be written."""
    above = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    if not above.is_dir():
        raise InputError(f"{option} {path}: {above} is not a folder", hint="choose another folder")
    if not os.access(above, os.W_OK | os.X_OK):
        raise InputError(f"{option} {path}: {above} cannot be written", hint="choose another folder")
