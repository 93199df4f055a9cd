"""Two sides measured in blocks: one fresh launch of each, in random order, so that drift falls on both."""

import contextlib
import dataclasses
import itertools
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from llmbench import plan, recording, store
from llmbench.analysis.comparison.paired_run import SIDES, compare_sides, finished_blocks, is_narrow
from llmbench.analysis.metrics import METRICS
from llmbench.analysis.report import distinguish
from llmbench.cli.measuring import Outputs, View, Ways, is_empty
from llmbench.cli.messages import shown
from llmbench.cli.options import Duration
from llmbench.cli.placing import check_places
from llmbench.cli.sides import Side
from llmbench.config import RunConfig
from llmbench.events import Header, LaunchEnded
from llmbench.plan import PlannedLaunch
from llmbench.render.live import LiveLine
from llmbench.render.text import change
from llmbench.run import Run
from llmbench.run_file import RunFile

_Command = TypeVar("_Command", bound=Callable[..., Any])

LEAST_BLOCKS = 5
"""Intervals from fewer blocks are narrow by chance too often to stop at."""


_OPTIONS = (
    click.option("--budget", type=Duration(), help="Begin no block that would end after so long."),
    click.option(
        "--output-dir", type=click.Path(path_type=Path), default="reports", help="Where the run file goes."
    ),
    click.option("--name", help="Name of the run and of its file.  [default: time, model, short id]"),
    click.option("--overwrite", is_flag=True, help="Replace a run file of that name."),
    click.option("--timeout", type=Duration(), default="20m", help="For loading, and for each request."),
    click.option("--keep-going", is_flag=True, help="Go on with the next launch when one fails."),
    click.option("--quiet", is_flag=True, help="Only the table and the files."),
)


def block_options(command: _Command) -> _Command:
    """Add the options of every command that measures in blocks."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """When to stop before the last block: after *budget_s* seconds, or when intervals reach at most *until* (a share).

    ``None`` is never. To stop at a width costs little: of intervals that may stop from five blocks on, 5 to 8 % miss
    the truth where 5 % should, and the thresholds of the rule come on top.
    """

    budget_s: float | None = None
    until: float | None = None

    def is_due(self, run: Run, elapsed_s: float, next_s: float) -> bool:
        """Whether another block, which will take about *next_s* seconds, is too much or not needed."""
        if self.budget_s is not None and elapsed_s + next_s > self.budget_s:
            return True
        if self.until is None or finished_blocks(run) < LEAST_BLOCKS:
            return False
        return is_narrow(compare_sides(run), self.until)


def measure_blocks(
    sides: Sequence[Side], outputs: Outputs, ways: Ways, stop: Stop, *, first_launch: int = 0
) -> Path:
    """Measure the sides in as many blocks as their configurations have launches; the run file.

    Launches are numbered from *first_launch*, so that those of a second go are others than those of the first. What
    was measured stays in the file whatever ends it; a file without a measurement is removed.
    """
    cells = tuple(side.config for side in sides)
    check_places(cells, is_strict=ways.is_strict)
    recording.check_paths(cells, outputs.folder)
    for config in cells:
        if config.engine != "scripted":
            recording.check_memory(config.model)
    header = _header(sides, outputs.name)
    path = recording.run_file_path(header, outputs.folder)
    with RunFile.create(path, header, overwrite=outputs.overwrite) as file, contextlib.ExitStack() as leaving:
        leaving.push(lambda _, error, __: _leave(path, error))
        planned = _until_due(file, cells, stop, first_launch=first_launch)
        _measure_into(file, sides, ways, planned)
    return path


def _header(sides: Sequence[Side], name: str | None) -> Header:
    """The header of the run, with both models where there are two."""
    return recording.new_header(
        tuple(side.config for side in sides), [side.subject for side in sides], name=name
    )


def _measure_into(file: RunFile, sides: Sequence[Side], ways: Ways, planned: Iterator[PlannedLaunch]) -> None:
    """Make the blocks, each event on the disk before the next, and tell of each block as it ends."""
    cells = tuple(side.config for side in sides)
    events = recording.record(
        file,
        cells,
        planned,
        limits=ways.limits,
        subjects=[side.subject for side in sides],
        keep_going=ways.keep_going,
        must_split=ways.is_strict,
    )
    total = recording.planned_requests(cells, plan.launches(cells))
    with LiveLine(total, is_shown=not ways.is_quiet) as live, contextlib.closing(events):
        view = View(live, cells, is_quiet=True)
        live.say("loading the model")
        told = 0
        for event in events:
            view.show(event)
            if isinstance(event, LaunchEnded) and not ways.is_quiet:
                told = _tell_block(file, told)


def _until_due(
    file: RunFile, cells: tuple[RunConfig, ...], stop: Stop, *, first_launch: int
) -> Iterator[PlannedLaunch]:
    """The launches of block after block, shuffled inside each, until it is time to stop."""
    began = time.monotonic()
    longest_s = 0.0
    launches = plan.launches(cells, seed=cells[0].seed + first_launch)
    for _, block in itertools.groupby(launches, key=lambda launch: launch.block):
        block_began = time.monotonic()
        if longest_s and stop.is_due(store.read(file.path), block_began - began, longest_s):
            return
        for launch in block:
            yield dataclasses.replace(launch, index=first_launch + launch.index)
        longest_s = max(longest_s, time.monotonic() - block_began)


def _tell_block(file: RunFile, told: int) -> int:
    """A line on standard error for a block that has ended since *told* of them had; how many have."""
    run = store.read(file.path)
    made = finished_blocks(run)
    if made > told:
        last = max(launch.block or 0 for launch in run.launches)
        launches = tuple(launch for launch in run.launches if launch.block == last)
        found = compare_sides(dataclasses.replace(run, launches=launches)).primary
        ratios = ", ".join(f"{METRICS[each.metric].title} {change(each.ratio.ratio)}" for each in found)
        said = f"block {made} of {run.cells[0].launches}: {ratios or 'nothing that counts'}"
        click.echo(shown(said), err=True)
    return made


def _leave(path: Path, error: BaseException | None) -> None:
    """After an error remove a run file without a measurement; say of one that was interrupted how to go on."""
    if error is None:
        return
    run = store.read(path)
    if is_empty(run):
        path.unlink(missing_ok=True)
    elif not isinstance(error, Exception):
        kept = sum(len(launch.measurements) for launch in run.launches)
        name = shlex.quote(str(path))
        click.echo(shown(f"{kept} measurements are kept in {path}"), err=True)
        click.echo(shown(f"compare them with: llmbench report compare {name}"), err=True)
        click.echo(shown(f"go on with: llmbench run --resume {name}"), err=True)


def describe(sides: Sequence[Side]) -> Iterator[str]:
    """What each side is, a line each: its model and what sets it apart."""
    apart = distinguish([side.config for side in sides])
    for name, side, settings in zip(SIDES, sides, apart, strict=True):
        told = "".join(f", {key}={value or 'not set'}" for key, value in settings.items() if key != "model")
        yield f"{name}: {side.config.model}{told}"
