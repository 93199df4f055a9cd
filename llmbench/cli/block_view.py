"""What the commands that measure two sides in blocks show, and how they measure them."""

import dataclasses
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from llmbench.analysis.comparison.compare import SIDES
from llmbench.analysis.comparison.paired_run import compare_sides, finished_blocks
from llmbench.analysis.report import distinguish
from llmbench.analysis.stages import request_metric
from llmbench.cli.messages import shown
from llmbench.cli.options.course import Course
from llmbench.cli.run_view import View
from llmbench.models.resolve import Side
from llmbench.render.text import appended, change
from llmbench.runner.blocks import Stop
from llmbench.runner.plan import plan_launches
from llmbench.schema.run import Run, WorkloadSettings
from llmbench.store import reader


class BlockView(View):
    """What ``ab`` and ``calibrate`` show: the ratio of each block as it ends."""

    def __init__(self, *, is_quiet: bool) -> None:
        super().__init__(is_quiet=is_quiet)
        self._blocks = 0

    def _ended(self) -> None:
        if self._is_quiet:
            return
        run = reader.read_run(self.path)
        made = finished_blocks(run)
        if made > self._blocks:
            last = max(launch.block or 0 for launch in run.launches)
            launches = tuple(launch for launch in run.launches if launch.block == last)
            found = compare_sides(dataclasses.replace(run, launches=launches)).primary
            ratios = ", ".join(
                f"{request_metric(each.metric).title} {change(each.ratio.ratio)}" for each in found
            )
            text = f"block {made} of {run.cells[0].launches}: {ratios or 'nothing that counts'}"
            click.echo(shown(text), err=True)
        self._blocks = made

    def _interrupted(self, run: Run, path: Path) -> None:
        click.echo(shown(f"compare them with: llmbench report compare {shlex.quote(str(path))}"), err=True)
        super()._interrupted(run, path)


def measure_blocks(
    sides: Sequence[Side],
    course: Course,
    *,
    stop: Stop | None = None,
    first_launch: int = 0,
    workload: WorkloadSettings | None = None,
    show: type[BlockView] = BlockView,
) -> tuple[Run, Path]:
    """Measure the sides in as many blocks as their configurations have launches; return the run and its file.

    *stop* may end it early, by default that of the course. Launches are numbered, and shuffled inside a block, from
    *first_launch*. *show* is the view on the run.
    """
    cells = tuple(side.config for side in sides)
    planned = plan_launches(cells, seed=cells[0].seed + first_launch, first_index=first_launch)
    view = show(is_quiet=course.is_quiet)
    run = view.measure(sides, course, planned=planned, stop=stop or course.stop, workload=workload)
    return run, view.path


def describe_block(sides: Sequence[Side]) -> Iterator[str]:
    """What each side is, a line each: its model and what sets it apart."""
    apart = distinguish([side.config for side in sides])
    for name, side, settings in zip(SIDES, sides, apart, strict=True):
        others = {key: value for key, value in settings.items() if key != "model"}
        yield f"{name}: {side.config.model}{appended(others)}"
