"""What ``run`` and ``demo`` share: measure, keep, show, and say how it ended."""

import contextlib
import dataclasses
import itertools
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from llmbench.analysis import report
from llmbench.analysis.comparison.paired_run import SIDES, compare_sides, finished_blocks, is_narrow
from llmbench.analysis.metrics import METRICS
from llmbench.analysis.report import Report, distinguish
from llmbench.cli.messages import complain, say, shown, warn
from llmbench.cli.options.resolve import check_places
from llmbench.cli.options.sides import Side
from llmbench.cli.options.types import Duration
from llmbench.errors import ExitCode, OutputError, worst
from llmbench.models.resolve import Subject
from llmbench.render.terminal import run_log
from llmbench.render.terminal.live import LiveLine
from llmbench.render.text import change, load_time
from llmbench.runner import plan, session
from llmbench.runner.launchers.base import LaunchEvent, TimeLimits
from llmbench.runner.plan import PlannedLaunch
from llmbench.runner.resume import find_resumption
from llmbench.schema.config import RunConfig
from llmbench.schema.measurement import Measurement
from llmbench.schema.run import Outcome, Run
from llmbench.store import reader
from llmbench.store.events import Header, LaunchEnded, LaunchStarted
from llmbench.store.writer import RunFile


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """Where results go: the run file's folder and name, and reports in llm_bench's layouts."""

    folder: Path
    name: str | None = None
    csv: Path | None = None
    json: Path | None = None
    overwrite: bool = False


class View:
    """What a person sees while a run goes on."""

    def __init__(self, live: LiveLine, cells: Sequence[RunConfig], *, is_quiet: bool) -> None:
        self._live = live
        self._cells = cells
        self._is_quiet = is_quiet
        self._config = cells[0]
        self._cells_shown: set[int] = set()
        self._apart = [
            "".join(f", {name}={value or 'not set'}" for name, value in settings.items())
            for settings in report.distinguish(cells)
        ]

    def show(self, event: LaunchEvent) -> None:
        """One event, as lines on standard output and on the live line."""
        match event:
            case LaunchStarted():
                self._config = self._cells[event.configuration]
                self._say(
                    f"launch {event.launch + 1}{self._apart[event.configuration]}: "
                    f"loaded in {load_time(event.load_s or 0.0, event.model_cache)}"
                )
                if event.configuration not in self._cells_shown:
                    self._say(*run_log.effective_lines(event.effective, self._config))
                    self._say(*run_log.pinning_lines(event.pinned, event.effective.split))
                self._cells_shown.add(event.configuration)
            case Measurement():
                self._live.measured(event, self._config)
                self._say(*run_log.request_lines(event, self._config))
            case LaunchEnded(failure=failure) if failure is not None:
                complain(f"launch {event.launch + 1}: {failure.message}")
                for line in failure.log[-5:]:
                    click.echo(shown(f"  | {click.unstyle(line)}"), err=True)

    def _say(self, *texts: str) -> None:
        if self._is_quiet:
            return
        if not self._live.shares_screen:
            say(*texts)
            return
        for text in texts:
            self._live.above(shown(text))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """How a run goes: its limits, whether it goes on after a failed launch, what it says and what it fails on.

    *order_seed* shuffles the launches of a round; ``None`` keeps the order given.
    """

    limits: TimeLimits
    order_seed: int | None = None
    keep_going: bool = False
    is_strict: bool = False
    is_quiet: bool = False


def measure_and_show(
    cells: tuple[RunConfig, ...], subjects: Sequence[Subject], outputs: Outputs, ways: Ways
) -> int:
    """Measure some configurations, each of its model, write everything, show the table; the exit code.

    What was measured stays in the run file whatever ends the run; a file without a measurement is removed.
    """
    check_places(cells, is_strict=ways.is_strict)
    session.check_paths(cells, outputs.folder)
    header = session.new_header(cells, subjects, name=outputs.name)
    path = session.run_file_path(header, outputs.folder)
    with RunFile.create(path, header, overwrite=outputs.overwrite) as file, contextlib.ExitStack() as undo:
        undo.callback(_remove_if_empty, path)
        planned = plan.plan_launches(cells, seed=ways.order_seed)
        code = _measure_into(file, cells, planned, subjects=subjects, outputs=outputs, ways=ways)
        undo.pop_all()
    return code


def _remove_if_empty(path: Path) -> None:
    """Remove a run file that tells nothing of any launch."""
    if is_empty(reader.read_run(path)):
        path.unlink(missing_ok=True)


def resume(
    path: Path, outputs: Outputs, ways: Ways, *, model: str | None = None, salvage: bool = False
) -> int:
    """Go on with a run that was cut short, if configuration, machine and model are the same; the exit code.

    *model* is where its model is now, if it has moved; *salvage* reads around damaged lines.
    """
    with RunFile.reopen(path) as file:
        contents = reader.read_contents(path, salvage=salvage)
        warn(*contents.warnings)
        file.measurements = sum(len(launch.measurements) for launch in contents.run.launches)
        if contents.run.is_complete and not salvage:
            click.echo(shown(f"{path} is complete; nothing is left to do"), err=True)
            return run_exit_code(show_run(contents.run, outputs, path), ways)
        left = find_resumption(contents, model=model)
        check_places(left.cells, is_strict=ways.is_strict)
        session.check_paths(left.cells, outputs.folder)
        for launch in left.aborted:
            file.append(LaunchEnded(launch=launch, outcome=Outcome.ABORTED))
        return _measure_into(
            file,
            left.cells,
            left.planned,
            subjects=left.subjects,
            outputs=outputs,
            ways=ways,
            salvage=salvage,
        )


def _measure_into(
    file: RunFile,
    cells: tuple[RunConfig, ...],
    planned: Sequence[plan.PlannedLaunch],
    *,
    subjects: Sequence[Subject],
    outputs: Outputs,
    ways: Ways,
    salvage: bool = False,
) -> int:
    """Make the planned launches, each event on the disk before the next; then show and judge the whole run."""
    events = session.record(
        file,
        cells,
        planned,
        limits=ways.limits,
        subjects=subjects,
        keep_going=ways.keep_going,
        must_split=ways.is_strict,
    )
    total = session.planned_requests(cells, planned)
    with contextlib.ExitStack() as leaving:
        leaving.push(lambda _, error, __: _leave(file, outputs, error, salvage=salvage))
        live = leaving.enter_context(LiveLine(total, is_shown=not ways.is_quiet))
        leaving.enter_context(contextlib.closing(events))
        view = View(live, cells, is_quiet=ways.is_quiet)
        live.say("loading the model")
        for event in events:
            view.show(event)
    return run_exit_code(show_run(reader.read_run(file.path, salvage=salvage), outputs, file.path), ways)


def _leave(file: RunFile, outputs: Outputs, error: BaseException | None, *, salvage: bool) -> None:
    """Show what a run that was interrupted holds, and how to go on with it; other errors speak for themselves."""
    if error is None or isinstance(error, Exception):
        return
    path = file.path
    run = reader.read_run(path, salvage=salvage)
    if is_empty(run):
        return
    kept = sum(len(launch.measurements) for launch in run.launches)
    click.echo(shown(f"{kept} measurements are kept in {path}"), err=True)
    click.echo(shown(f"go on with: llmbench run --resume {shlex.quote(str(path))}"), err=True)
    with contextlib.suppress(OSError):
        show_run(run, outputs, path)


def is_empty(run: Run) -> bool:
    """Whether nothing is known of any launch."""
    return not any(launch.measurements or launch.failure for launch in run.launches)


def show_run(run: Run, outputs: Outputs, path: Path) -> Report:
    """The table on standard output, the files that were asked for, and where everything is; the report shown.

    Raises OutputError where a file could not be written; the table is shown and the others are written all the same.
    """
    from rich.console import Console

    from llmbench.render import csv, json
    from llmbench.render.terminal.report import render_report

    summarized = report.summarize_run(run)
    with contextlib.suppress(
        SystemExit, OSError
    ):  # rich's answer to a closed standard output, and a full one's
        render_report(summarized, Console())
    written, errors = [path], []
    for file, write in ((outputs.csv, csv.write_llm_bench_csv), (outputs.json, json.write_llm_bench_json)):
        try:
            if file is not None:
                write(run, file)
                written.append(file)
        except OutputError as error:
            errors.append(error)
    say(*(f"written: {file}" for file in written))
    if errors:
        raise errors[0]
    return summarized


def run_exit_code(summarized: Report, ways: Ways) -> ExitCode:
    """5 where a launch is missing or a row has nothing that counts; 3 with ``--strict`` where anything is invalid."""
    run = summarized.run
    finished = sum(launch.outcome is Outcome.FINISHED for launch in run.launches)
    asked_rows = sum(len(cell.prompts) for cell in run.cells)
    codes = set()
    if finished < sum(cell.launches for cell in run.cells):
        codes.add(ExitCode.LAUNCH)
    if sum(row.launches > 0 for row in summarized.rows) < asked_rows:
        complain(
            "a row has no valid measurement, and its notes say why; busy neighbours (llmbench doctor) "
            "can be let count with --foreign-cpu-limit 1"
        )
        codes.add(ExitCode.LAUNCH)
    if ways.is_strict and any(row.invalid for row in summarized.rows):
        codes.add(ExitCode.STRICT)
    return worst(codes)


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
    session.check_paths(cells, outputs.folder)
    for config in cells:
        if not config.engine_info.is_simulated:
            session.check_memory(config.model)
    header = _header(sides, outputs.name)
    path = session.run_file_path(header, outputs.folder)
    with RunFile.create(path, header, overwrite=outputs.overwrite) as file, contextlib.ExitStack() as leaving:
        leaving.push(lambda _, error, __: _blocks_leave(path, error))
        planned = _until_due(file, cells, stop, first_launch=first_launch)
        _blocks_measure_into(file, sides, ways, planned)
    return path


def _header(sides: Sequence[Side], name: str | None) -> Header:
    """The header of the run, with both models where there are two."""
    return session.new_header(
        tuple(side.config for side in sides), [side.subject for side in sides], name=name
    )


def _blocks_measure_into(
    file: RunFile, sides: Sequence[Side], ways: Ways, planned: Iterator[PlannedLaunch]
) -> None:
    """Make the blocks, each event on the disk before the next, and tell of each block as it ends."""
    cells = tuple(side.config for side in sides)
    events = session.record(
        file,
        cells,
        planned,
        limits=ways.limits,
        subjects=[side.subject for side in sides],
        keep_going=ways.keep_going,
        must_split=ways.is_strict,
    )
    total = session.planned_requests(cells, plan.plan_launches(cells))
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
    launches = plan.plan_launches(cells, seed=cells[0].seed + first_launch)
    for _, block in itertools.groupby(launches, key=lambda launch: launch.block):
        block_began = time.monotonic()
        if longest_s and stop.is_due(reader.read_run(file.path), block_began - began, longest_s):
            return
        for launch in block:
            yield dataclasses.replace(launch, index=first_launch + launch.index)
        longest_s = max(longest_s, time.monotonic() - block_began)


def _tell_block(file: RunFile, told: int) -> int:
    """A line on standard error for a block that has ended since *told* of them had; how many have."""
    run = reader.read_run(file.path)
    made = finished_blocks(run)
    if made > told:
        last = max(launch.block or 0 for launch in run.launches)
        launches = tuple(launch for launch in run.launches if launch.block == last)
        found = compare_sides(dataclasses.replace(run, launches=launches)).primary
        ratios = ", ".join(f"{METRICS[each.metric].title} {change(each.ratio.ratio)}" for each in found)
        said = f"block {made} of {run.cells[0].launches}: {ratios or 'nothing that counts'}"
        click.echo(shown(said), err=True)
    return made


def _blocks_leave(path: Path, error: BaseException | None) -> None:
    """After an error remove a run file without a measurement; say of one that was interrupted how to go on."""
    if error is None:
        return
    run = reader.read_run(path)
    if is_empty(run):
        path.unlink(missing_ok=True)
    elif not isinstance(error, Exception):
        kept = sum(len(launch.measurements) for launch in run.launches)
        name = shlex.quote(str(path))
        click.echo(shown(f"{kept} measurements are kept in {path}"), err=True)
        click.echo(shown(f"compare them with: llmbench report compare {name}"), err=True)
        click.echo(shown(f"go on with: llmbench run --resume {name}"), err=True)


def describe_block(sides: Sequence[Side]) -> Iterator[str]:
    """What each side is, a line each: its model and what sets it apart."""
    apart = distinguish([side.config for side in sides])
    for name, side, settings in zip(SIDES, sides, apart, strict=True):
        told = "".join(f", {key}={value or 'not set'}" for key, value in settings.items() if key != "model")
        yield f"{name}: {side.config.model}{told}"
