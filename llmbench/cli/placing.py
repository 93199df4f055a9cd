"""The options that say where launches run and whether they are split, and what is said of them before measuring."""

import os
import textwrap
from collections.abc import Mapping, Sequence

import click

from llmbench import place
from llmbench.analysis.placement_proof import Effect
from llmbench.config import POLICY, TENSOR_PARALLEL, RunConfig
from llmbench.errors import InputError, MachineError
from llmbench.recipes import RunValue
from llmbench.system.topology import parse_list

_WIDTH = 100
MARK = f"tensor_parallel={Effect.INEFFECTIVE.value}"


class NumberList(click.ParamType[tuple[int, ...]]):
    """``0,2-3`` as a tuple of numbers."""

    name = "N,N-N"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """The numbers, ascending; a recipe's list has its parts already."""
        if value == ():
            return ()
        text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        try:
            numbers = parse_list(text)
        except InputError as error:
            self.fail(f"{error.message}; {error.hint}", param, ctx)
        if not numbers:
            self.fail(f"{text!r} is no list of numbers; write it like 0,2-3", param, ctx)
        return numbers


PLACEMENT_OPTIONS = (
    click.option(
        "--sockets",
        type=NumberList(),
        default=(),
        help="Run on these sockets, threads and memory: 0, or 0,1.",
    ),
    click.option("--numa-nodes", type=NumberList(), default=(), help="Run on the CPUs of these NUMA nodes."),
    click.option("--cores", type=NumberList(), default=(), help="Run on these CPUs, by number."),
    click.option("--membind", type=NumberList(), default=(), help="Take memory from these NUMA nodes only."),
    click.option(
        "--interleave",
        type=NumberList(),
        default=(),
        help="Spread memory page by page over these NUMA nodes.",
    ),
    click.option(
        "--tensor-parallel",
        is_flag=True,
        help=f"Split every matrix multiplication over the sockets: -lc {POLICY}={TENSOR_PARALLEL}.",
    ),
)
"""Options of every subcommand that measures; the parameters have the names of `RunConfig`'s fields."""


def with_policy(properties: Mapping[str, RunValue]) -> dict[str, RunValue]:
    """The properties and ``--tensor-parallel`` together; refused where they contradict each other."""
    given = properties.get(POLICY, TENSOR_PARALLEL)
    if given != TENSOR_PARALLEL:
        raise InputError(
            f"--tensor-parallel was given, and -lc sets {POLICY} to {given!r}", hint="keep one of the two"
        )
    return {**properties, POLICY: TENSOR_PARALLEL}


def check_places(cells: Sequence[RunConfig], *, is_strict: bool) -> None:
    """Find every configuration's place before anything is loaded; warn, loudly, where nothing will be split.

    Raises ``MachineError`` where the machine has less than was asked for, and under *is_strict* where tensor
    parallelism would split nothing.
    """
    found = [place.warn_of_no_split(config, place.find(config)) for config in cells]
    for sentence in dict.fromkeys(filter(None, found)):
        if is_strict:
            raise MachineError(
                sentence,
                hint="run it on a machine of two sockets, or without --strict: its rows are marked then",
            )
        _shout("TENSOR PARALLELISM WILL DO NOTHING HERE", f"{sentence}. Every row is marked {MARK}.")


def _shout(title: str, sentence: str) -> None:
    """A warning that no one can miss, on standard error."""
    lines = ["!" * _WIDTH, title, *textwrap.wrap(sentence, _WIDTH - 4), "!" * _WIDTH]
    for line in lines:
        text = line if line.startswith("!!!") else f"!!! {line}"
        click.echo(click.style(text, fg="red", bold=True) if "NO_COLOR" not in os.environ else text, err=True)
