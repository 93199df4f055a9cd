"""What ``run`` and ``demo`` share: measure, keep, show, and say how it ended."""

import contextlib
import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path

import click

from llmbench import plan, recording, store
from llmbench.analysis import report
from llmbench.analysis.report import Report
from llmbench.cli.messages import complain, say, shown, warn
from llmbench.cli.placing import check_places
from llmbench.config import RunConfig
from llmbench.errors import ExitCode, OutputError, worst
from llmbench.events import LaunchEnded, LaunchStarted
from llmbench.measurement import Measurement
from llmbench.render import lines
from llmbench.render.live import LiveLine
from llmbench.render.text import load_time
from llmbench.resumption import find_resumption
from llmbench.run import Outcome, Run
from llmbench.run_file import RunFile
from llmbench.runner import Event, Limits
from llmbench.subject import Subject


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

    def show(self, event: Event) -> None:
        """One event, as lines on standard output and on the live line."""
        match event:
            case LaunchStarted():
                self._config = self._cells[event.cell]
                self._say(
                    f"launch {event.launch + 1}{self._apart[event.cell]}: "
                    f"loaded in {load_time(event.load_s or 0.0, event.model_cache)}"
                )
                if event.cell not in self._cells_shown:
                    self._say(*lines.in_force_lines(event.in_force, self._config))
                    self._say(*lines.held_lines(event.held, event.in_force.split))
                self._cells_shown.add(event.cell)
            case Measurement():
                self._live.measured(event, self._config)
                self._say(*lines.request_lines(event, self._config))
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

    limits: Limits
    order_seed: int | None = None
    keep_going: bool = False
    is_strict: bool = False
    is_quiet: bool = False


def measure(cells: tuple[RunConfig, ...], subjects: Sequence[Subject], outputs: Outputs, ways: Ways) -> int:
    """Measure some configurations, each of its model, write everything, show the table; the exit code.

    What was measured stays in the run file whatever ends the run; a file without a measurement is removed.
    """
    check_places(cells, is_strict=ways.is_strict)
    recording.check_paths(cells, outputs.folder)
    header = recording.new_header(cells, subjects, name=outputs.name)
    path = recording.run_file_path(header, outputs.folder)
    with RunFile.create(path, header, overwrite=outputs.overwrite) as file, contextlib.ExitStack() as undo:
        undo.callback(_remove_if_empty, path)
        planned = plan.launches(cells, seed=ways.order_seed)
        code = _measure_into(file, cells, planned, subjects=subjects, outputs=outputs, ways=ways)
        undo.pop_all()
    return code


def _remove_if_empty(path: Path) -> None:
    """Remove a run file that tells nothing of any launch."""
    if is_empty(store.read(path)):
        path.unlink(missing_ok=True)


def resume(
    path: Path, outputs: Outputs, ways: Ways, *, model: str | None = None, salvage: bool = False
) -> int:
    """Go on with a run that was cut short, if configuration, machine and model are the same; the exit code.

    *model* is where its model is now, if it has moved; *salvage* reads around damaged lines.
    """
    with RunFile.reopen(path) as file:
        contents = store.read_contents(path, salvage=salvage)
        warn(*contents.warnings)
        file.measurements = sum(len(launch.measurements) for launch in contents.run.launches)
        if contents.run.is_complete and not salvage:
            click.echo(shown(f"{path} is complete; nothing is left to do"), err=True)
            return exit_code(show(contents.run, outputs, path), ways)
        left = find_resumption(contents, model=model)
        check_places(left.cells, is_strict=ways.is_strict)
        recording.check_paths(left.cells, outputs.folder)
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
    events = recording.record(
        file,
        cells,
        planned,
        limits=ways.limits,
        subjects=subjects,
        keep_going=ways.keep_going,
        must_split=ways.is_strict,
    )
    total = recording.planned_requests(cells, planned)
    with contextlib.ExitStack() as leaving:
        leaving.push(lambda _, error, __: _leave(file, outputs, error, salvage=salvage))
        live = leaving.enter_context(LiveLine(total, is_shown=not ways.is_quiet))
        leaving.enter_context(contextlib.closing(events))
        view = View(live, cells, is_quiet=ways.is_quiet)
        live.say("loading the model")
        for event in events:
            view.show(event)
    return exit_code(show(store.read(file.path, salvage=salvage), outputs, file.path), ways)


def _leave(file: RunFile, outputs: Outputs, error: BaseException | None, *, salvage: bool) -> None:
    """Show what a run that was interrupted holds, and how to go on with it; other errors speak for themselves."""
    if error is None or isinstance(error, Exception):
        return
    path = file.path
    run = store.read(path, salvage=salvage)
    if is_empty(run):
        return
    kept = sum(len(launch.measurements) for launch in run.launches)
    click.echo(shown(f"{kept} measurements are kept in {path}"), err=True)
    click.echo(shown(f"go on with: llmbench run --resume {shlex.quote(str(path))}"), err=True)
    with contextlib.suppress(OSError):
        show(run, outputs, path)


def is_empty(run: Run) -> bool:
    """Whether nothing is known of any launch."""
    return not any(launch.measurements or launch.failure for launch in run.launches)


def show(run: Run, outputs: Outputs, path: Path) -> Report:
    """The table on standard output, the files that were asked for, and where everything is; the report shown.

    Raises OutputError where a file could not be written; the table is shown and the others are written all the same.
    """
    from rich.console import Console

    from llmbench.render import csv, json, screen

    summarized = report.summarize(run)
    with contextlib.suppress(
        SystemExit, OSError
    ):  # rich's answer to a closed standard output, and a full one's
        screen.render_report(summarized, Console())
    written, errors = [path], []
    for file, write in ((outputs.csv, csv.write_llm_bench), (outputs.json, json.write_llm_bench)):
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


def exit_code(summarized: Report, ways: Ways) -> ExitCode:
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
