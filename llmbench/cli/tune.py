"""``llmbench tune``: the fastest settings of a configuration, proved on launches that the search never saw."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from llmbench.cli.messages import say
from llmbench.cli.model_source import prepared
from llmbench.cli.options.course import Course, blocks_option, course_options
from llmbench.cli.options.load import load_cells
from llmbench.cli.options.resolve import resolve_models
from llmbench.cli.options.sides import read_side, single_options, typed_options
from llmbench.cli.options.table import option, parse_options, recipe_options
from llmbench.cli.options.types import PATH, Command, Size, WordChoice
from llmbench.cli.quality_gate import GATE, gate_options
from llmbench.cli.tune_search import Search
from llmbench.errors import ExitCode, InputError
from llmbench.models.resolve import Side
from llmbench.schema.config import RunConfig
from llmbench.schema.run import WorkloadSettings

METRIC_OF = {"first": "first_token", "next": "tpot", "goodput": "goodput"}
"""What ``--for`` names."""

_GOODPUT = "goodput"
_OF_LOAD = ("server", "concurrency", "request_rate", "goodput")
"""The options that only a search under load has."""

_SERVER = "genai"

_EXAMPLES = """\b
Examples:
  llmbench tune -m models --weight-format int8 --for next --budget 30m
  llmbench tune -m models --weight-format int8 --for first --input-tokens 1024 -ic 16 --max-kld 0.02
  llmbench tune -m models --weight-format int8 --space space.toml
  llmbench tune -m models --weight-format int8 --for goodput --concurrency 8 --goodput ttft:500,tpot:50"""


@click.command(
    cls=Command,
    params=single_options(*_OF_LOAD),
    short_help="The fastest settings, proved.",
    epilog=_EXAMPLES,
)
@click.option(
    "--for",
    "goal",
    type=WordChoice(tuple(METRIC_OF)),
    default="next",
    help="What is to be better: the first token, the next ones, or goodput, the rate of good requests under load.",
)
@click.option(
    "--space",
    type=PATH,
    metavar="FILE.toml",
    help="Candidates: a recipe in which settings have several values.  [default: from engine and machine]",
)
@click.option("--max-memory", type=Size(), help="Drop candidates whose peak memory is above this: 4GiB.")
@click.option("--rounds", type=click.IntRange(min=3), default=8, help="Blocks of the search at most.")
@blocks_option(default=8, help="Blocks of the proof at the end.")
@gate_options
@option("dry_run")
@course_options
@click.pass_context
def command(  # noqa: PLR0917
    ctx: click.Context,
    /,
    goal: str,
    space: Path | None,
    max_memory: int | None,
    rounds: int,
    blocks: int,
    dry_run: bool,
    course: Course,
    **options: Any,
) -> int:
    """Search the fastest settings, then compare them with the default on fresh launches.

    Candidates are measured in the same blocks as the default, and those that are clearly slower are dropped. The
    fastest of many noisy candidates is partly lucky, so that it is then compared with the default on launches that the
    search never saw. That no setting beats the default by 3 % is a result, too. Candidates that lose more quality than
    --max-kld or --min-same-top allow, by default twice what the default loses, are left out.
    """
    gate = {each: options.pop(each) for each in GATE}
    typed = typed_options(ctx, options)
    request_s = course.policy.limits.request_s or 0.0
    found = _of_load(typed, request_s) if goal == _GOODPUT else _of_requests(ctx, options, typed)
    side = found.side.changed(launches=rounds)
    search = Search(
        side=side,
        metric=METRIC_OF[goal],
        workload=found.workload,
        gate=gate,
        max_memory=max_memory,
        course=course.named("tune").with_policy(keep_going=True),
    )
    cells = None if space is None else found.cells(recipe_options(space))
    if dry_run:
        search.rehearse(cells, blocks)
        return ExitCode.OK
    best = search.find(cells)
    if best == side.config:
        say("", "the default is the best of all candidates")
        search.say_bounds()
        return ExitCode.OK
    return search.prove(best, blocks)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Start:
    """Where a search begins, the workload of a load, and the function that returns the configurations of a space."""

    side: Side
    cells: Callable[[Mapping[str, Any]], tuple[RunConfig, ...]]
    workload: WorkloadSettings | None = None


def _of_requests(ctx: click.Context, options: Mapping[str, Any], typed: Mapping[str, Any]) -> _Start:
    """Return the start of a search for the latency of single requests, from what was *typed*."""
    alien = [each for each in _OF_LOAD if each in typed]
    if alien:
        raise InputError(
            f"--{alien[0].replace('_', '-')} is for a search under load", hint="add --for goodput"
        )
    options = {name: value for name, value in options.items() if name not in _OF_LOAD}
    return _Start(
        side=read_side(ctx, None, options, launches=1, prepare=prepared),
        cells=lambda space: _configs(resolve_models(prepared(parse_options({**typed, **space})))),
    )


def _configs(sides: Sequence[Side]) -> tuple[RunConfig, ...]:
    return tuple(side.config for side in sides)


def _of_load(typed: Mapping[str, Any], request_s: float) -> _Start:
    """Return the start of a search for the goodput of a server under load, from what was *typed*."""
    typed = {"server": (_SERVER,), **typed}
    if not typed.get("goodput"):
        raise InputError(
            "--for goodput needs the limits of a good request", hint="write --goodput ttft:500,tpot:50"
        )
    sides, workload = load_cells(typed, request_s=request_s)
    if len(sides) > 1:
        raise InputError(
            f"this is a sweep of {len(sides)} loads, where one is wanted",
            hint="give one value to each option",
        )
    return _Start(
        side=sides[0],
        cells=lambda space: _configs(load_cells({**typed, **space}, request_s=request_s)[0]),
        workload=workload,
    )
