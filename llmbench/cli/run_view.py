"""What the commands that measure show while a run goes on, and at its end."""

import contextlib
import dataclasses
import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import click

from llmbench.analysis import report
from llmbench.analysis.comparison.paired_run import SIDES, compare_sides, finished_blocks
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
from llmbench.runner import session
from llmbench.runner.blocks import Stop
from llmbench.runner.plan import PlannedLaunch, plan_launches
from llmbench.runner.session import Outputs, Policy, RunBegun, RunFileRead, SessionEvent
from llmbench.schema.config import RunConfig
from llmbench.schema.measurement import Measurement
from llmbench.schema.run import SDPA_INSTEAD, Outcome, Run
from llmbench.store import reader
from llmbench.store.events import LaunchEnded, LaunchStarted


class View:
    """What every such command shows of a run: the live line, failures, and after an interruption how to go on.

    *path* is the run file, once it is open; *salvage* says to read around damaged lines of it.
    """

    def __init__(self, *, is_quiet: bool, salvage: bool = False) -> None:
        self.path: Path
        self._is_begun = self._is_warned = False
        self._is_quiet = is_quiet
        self._salvage = salvage
        self._live = LiveLine(0, is_shown=False)
        self._leaving = contextlib.ExitStack()
        self._configurations: Sequence[RunConfig] = ()
        self._config: RunConfig

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._leaving.close()
        if error is None or isinstance(error, Exception) or not self._is_begun or not self.path.exists():
            return
        run = reader.read_run(self.path, salvage=self._salvage)
        if session.is_empty(run):
            return
        kept = sum(len(launch.measurements) for launch in run.launches)
        click.echo(shown(f"{kept} measurements are kept in {self.path}"), err=True)
        self._interrupted(run, self.path)

    def show(self, event: SessionEvent) -> None:
        """Show one event of the session."""
        match event:
            case RunBegun():
                self._begin(event)
            case LaunchStarted():
                self._config = self._configurations[event.configuration]
                self._warn_of_sdpa(event)
                self._loaded(event)
            case Measurement():
                self._live.measured(event, self._config)
                self._measured(event)
            case LaunchEnded(failure=failure):
                if failure is not None:
                    complain(f"launch {event.launch + 1}: {failure.message}", hint=failure.hint)
                    for line in failure.log[-5:] if failure.hint is None else ():
                        click.echo(shown(f"  | {click.unstyle(line)}"), err=True)
                self._ended()

    def _begin(self, event: RunBegun) -> None:
        self.path, self._is_begun = event.path, True
        self._configurations = event.configurations
        self._live = self._leaving.enter_context(LiveLine(event.requests, is_shown=not self._is_quiet))
        self._live.say("loading the model")

    def _warn_of_sdpa(self, event: LaunchStarted) -> None:
        """Warn, once per run, where the model cannot have the paged attention that is the default."""
        replaced = [note for note in event.effective.notes if note.startswith(SDPA_INSTEAD)]
        if replaced and not self._is_warned:
            warn(f"{replaced[0]}; name --attention sdpa to measure it without this warning")
            self._is_warned = True

    def _loaded(self, event: LaunchStarted) -> None:
        """Say what is to be said of a launch that has begun."""

    def _measured(self, measurement: Measurement) -> None:
        """Say what is to be said of a request."""

    def _ended(self) -> None:
        """Say what is to be said when a launch has ended."""

    def _interrupted(self, run: Run, path: Path) -> None:  # noqa: ARG002  others show the run
        """Say how to go on with an interrupted run."""
        click.echo(shown(f"go on with: llmbench run --resume {shlex.quote(str(path))}"), err=True)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Display:
    """How a run is shown: reports in llm_bench's layouts beside the table, the table only, and if doubts fail it."""

    csv: Path | None = None
    json: Path | None = None
    is_quiet: bool = False
    is_strict: bool = False


class _RunView(View):
    """What ``run`` and ``demo`` show: every request."""

    def __init__(self, display: Display, *, salvage: bool = False) -> None:
        super().__init__(is_quiet=display.is_quiet, salvage=salvage)
        self._display = display
        self._cells_shown: set[int] = set()
        self._apart: Sequence[str] = ()

    def show(self, event: SessionEvent) -> None:
        """Show one event of the session; of a run file that is read, what was left out."""
        if isinstance(event, RunFileRead):
            warn(*event.warnings)
            if event.is_complete:
                click.echo(shown(f"{event.path} is complete; nothing is left to do"), err=True)
        super().show(event)

    def _begin(self, event: RunBegun) -> None:
        super()._begin(event)
        self._apart = [
            "".join(f", {name}={value or 'not set'}" for name, value in settings.items())
            for settings in distinguish(event.configurations)
        ]

    def _loaded(self, event: LaunchStarted) -> None:
        loading = load_time(event.load_s or 0.0, event.model_cache)
        self._say(f"launch {event.launch + 1}{self._apart[event.configuration]}: loaded in {loading}")
        if event.configuration not in self._cells_shown:
            self._say(*run_log.effective_lines(event.effective, self._config))
            self._say(*run_log.pinning_lines(event.pinned, event.effective.split))
        self._cells_shown.add(event.configuration)

    def _measured(self, measurement: Measurement) -> None:
        self._say(*run_log.request_lines(measurement, self._config))

    def _interrupted(self, run: Run, path: Path) -> None:
        super()._interrupted(run, path)
        with contextlib.suppress(OSError):
            show_run(run, path, self._display)

    def _say(self, *texts: str) -> None:
        if self._is_quiet:
            return
        if not self._live.shares_screen:
            say(*texts)
            return
        for text in texts:
            self._live.above(shown(text))


def measure_and_show(
    cells: tuple[RunConfig, ...],
    subjects: Sequence[Subject],
    outputs: Outputs,
    *,
    policy: Policy,
    display: Display,
    planned: Sequence[PlannedLaunch] | None = None,
) -> int:
    """Measure some configurations, each of its model, write everything, show the table; return the exit code."""
    check_places(cells, is_strict=policy.must_split)
    with _RunView(display) as view:
        run = session.measure(
            cells, models=subjects, outputs=outputs, policy=policy, planned=planned, on_event=view.show
        )
    return run_exit_code(show_run(run, view.path, display), is_strict=display.is_strict)


def resume_and_show(
    path: Path,
    folder: Path,
    policy: Policy,
    display: Display,
    *,
    model: str | None = None,
    salvage: bool = False,
) -> int:
    """Go on with a run that was cut short, and show the whole; return the exit code. See `session.resume`."""
    with _RunView(display, salvage=salvage) as view:

        def show(event: SessionEvent) -> None:
            if isinstance(event, RunBegun):
                check_places(event.configurations, is_strict=policy.must_split)
            view.show(event)

        run = session.resume(path, model=model, salvage=salvage, folder=folder, policy=policy, on_event=show)
    return run_exit_code(show_run(run, path, display), is_strict=display.is_strict)


def show_run(run: Run, path: Path, display: Display) -> Report:
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
    for file, write in ((display.csv, csv.write_llm_bench_csv), (display.json, json.write_llm_bench_json)):
        try:
            if file is not None:
                write(summarized.evaluation, file)
                written.append(file)
        except OutputError as error:
            errors.append(error)
    say(*(f"written: {file}" for file in written))
    if errors:
        raise errors[0]
    return summarized


def run_exit_code(summarized: Report, *, is_strict: bool) -> ExitCode:
    """5 where a launch is missing or a row has nothing that counts; 3 with ``--strict`` where anything is invalid."""
    run = summarized.run
    finished = sum(launch.outcome is Outcome.FINISHED for launch in run.launches)
    asked_rows = sum(len(cell.prompts) for cell in run.cells)
    codes = set()
    if finished < sum(cell.launches for cell in run.cells):
        codes.add(ExitCode.LAUNCH)
    if sum(row.launches > 0 for row in summarized.rows) < asked_rows:
        codes.add(ExitCode.LAUNCH)
    if codes:
        explain_missing(summarized)
    if is_strict and any(row.invalid for row in summarized.rows):
        codes.add(ExitCode.STRICT)
    return worst(codes)


def explain_missing(*reports: Report) -> None:
    """Print, as the last line, why a launch or a row is missing: a failed launch, or what makes requests invalid."""
    launches = [launch for each in reports for launch in each.run.launches]
    failed = [launch for launch in launches if launch.failure is not None]
    if failed and failed[0].failure is not None:
        count = f"{len(failed)} of {len(launches)} launches failed"
        complain(f"{count}; launch {failed[0].index + 1}: {failed[0].failure.message}")
        return
    why = [text for each in reports for row in each.rows if not row.launches for text in row.warnings]
    if why:
        is_interference = any("of the CPUs" in text for text in why)
        complain(
            f"a row has no valid measurement: {why[0]}",
            hint="end the other processes (llmbench doctor names them), or let such requests count with "
            "--foreign-cpu-limit 1"
            if is_interference
            else None,
        )


_Command = TypeVar("_Command", bound=Callable[..., Any])

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


class _BlockView(View):
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
            ratios = ", ".join(f"{METRICS[each.metric].title} {change(each.ratio.ratio)}" for each in found)
            text = f"block {made} of {run.cells[0].launches}: {ratios or 'nothing that counts'}"
            click.echo(shown(text), err=True)
        self._blocks = made

    def _interrupted(self, run: Run, path: Path) -> None:
        click.echo(shown(f"compare them with: llmbench report compare {shlex.quote(str(path))}"), err=True)
        super()._interrupted(run, path)


def measure_blocks(
    sides: Sequence[Side],
    outputs: Outputs,
    policy: Policy,
    stop: Stop,
    *,
    is_quiet: bool,
    first_launch: int = 0,
) -> tuple[Run, Path]:
    """Measure the sides in as many blocks as their configurations have launches; return the run and its file.

    Launches are numbered, and shuffled inside a block, from *first_launch*.
    """
    cells = tuple(side.config for side in sides)
    check_places(cells, is_strict=policy.must_split)
    with _BlockView(is_quiet=is_quiet) as view:
        run = session.measure(
            cells,
            models=[side.subject for side in sides],
            outputs=outputs,
            policy=policy,
            planned=plan_launches(cells, seed=cells[0].seed + first_launch, first_index=first_launch),
            stop=stop,
            on_event=view.show,
        )
    return run, view.path


def describe_block(sides: Sequence[Side]) -> Iterator[str]:
    """What each side is, a line each: its model and what sets it apart."""
    apart = distinguish([side.config for side in sides])
    for name, side, settings in zip(SIDES, sides, apart, strict=True):
        told = "".join(f", {key}={value or 'not set'}" for key, value in settings.items() if key != "model")
        yield f"{name}: {side.config.model}{told}"
