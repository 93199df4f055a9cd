"""What ``run`` and ``demo`` share: measure, keep, show, and say how it ended."""

import contextlib
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import click

from llmbench import plan, recording, report, store, validity
from llmbench.config import RunConfig
from llmbench.errors import ExitCode, worst
from llmbench.measurement import Measurement
from llmbench.recording import Subject
from llmbench.render import lines
from llmbench.render.live import LiveLine
from llmbench.run import Outcome, Run
from llmbench.runner import Event, Limits
from llmbench.store import LaunchEnded, LaunchStarted, RunFile


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """Where results go: the run file's folder and name, and reports in llm_bench's layouts."""

    folder: Path
    name: str | None = None
    csv: Path | None = None
    json: Path | None = None
    overwrite: bool = False


class _View:
    """What a person sees while a run goes on."""

    def __init__(self, live: LiveLine, cells: Sequence[RunConfig], *, is_quiet: bool) -> None:
        self._live = live
        self._cells = cells
        self._is_quiet = is_quiet
        self._config = cells[0]
        self._is_first = True

    def show(self, event: Event) -> None:
        """One event, as lines on standard output and on the live line."""
        match event:
            case LaunchStarted():
                self._config = self._cells[event.cell]
                self._say(f"launch {event.launch + 1}: loaded in {event.load_s or 0:.2f} s")
                if self._is_first:
                    self._say(*lines.in_force_lines(event.in_force, self._config))
                self._is_first = False
            case Measurement():
                self._live.measured(event, self._config)
                self._say(*lines.request_lines(event, self._config))
            case LaunchEnded(failure=failure) if failure is not None:
                click.echo(f"error: launch {event.launch + 1}: {failure.message}", err=True)
                for line in failure.log[-5:]:
                    click.echo(f"  | {click.unstyle(line)}", err=True)

    def _say(self, *texts: str) -> None:
        if not self._is_quiet:
            for text in texts:
                click.echo(text)


def measure(
    cells: tuple[RunConfig, ...],
    subject: Subject,
    outputs: Outputs,
    *,
    limits: Limits,
    keep_going: bool = False,
    is_strict: bool = False,
    is_quiet: bool = False,
) -> int:
    """Measure some configurations, write everything, show the table; the exit code.

    What was measured stays in the run file whatever ends the run; a file without a measurement is removed.
    """
    planned = plan.launches(cells)
    header = recording.new_header(cells, subject, name=outputs.name)
    path = recording.run_file_path(header, outputs.folder)
    with RunFile.create(path, header, overwrite=outputs.overwrite) as file:
        events = recording.record(
            file, cells, planned, limits=limits, context_tokens=subject.context_tokens, keep_going=keep_going
        )
        total = recording.planned_requests(cells, planned)
        try:
            with LiveLine(total, is_shown=not is_quiet) as live, contextlib.closing(events):
                view = _View(live, cells, is_quiet=is_quiet)
                live.say("loading the model")
                for event in events:
                    view.show(event)
        except BaseException as error:
            _leave(file, path, outputs, error)
            raise
    run = store.read(path)
    show(run, outputs, path)
    return exit_code(run, planned_launches=len(planned), is_strict=is_strict)


def _leave(file: RunFile, path: Path, outputs: Outputs, error: BaseException) -> None:
    """Remove a run file that holds nothing; show what one that was cut short holds."""
    if file.measurements == 0:
        with contextlib.suppress(OSError):
            path.unlink()
        return
    if isinstance(error, Exception):
        return
    run = store.read(path)
    click.echo(f"{file.measurements} measurements are kept in {path}", err=True)
    click.echo(f"go on with: llmbench run --resume {path}", err=True)
    with contextlib.suppress(OSError):
        show(run, outputs, path)


def show(run: Run, outputs: Outputs, path: Path) -> None:
    """The table on standard output, the files that were asked for, and where everything is."""
    from rich.console import Console

    from llmbench.render import csv, json, screen

    screen.render_report(report.summarize(run), Console())
    written = [path]
    if outputs.csv is not None:
        csv.write_llm_bench(run, outputs.csv)
        written.append(outputs.csv)
    if outputs.json is not None:
        json.write_llm_bench(run, outputs.json)
        written.append(outputs.json)
    for file in written:
        click.echo(f"written: {file}")


def exit_code(run: Run, *, planned_launches: int, is_strict: bool) -> ExitCode:
    """5 where a launch failed or a row is missing; 3 with ``--strict`` where a measurement is invalid."""
    finished = [launch for launch in run.launches if launch.outcome is Outcome.FINISHED]
    valid_rows = set()
    has_invalid = False
    for launch in finished:
        config = run.config_of(launch)
        measured = [m for m in launch.measurements if not m.is_warmup]
        for m in measured:
            if validity.reasons(m, config, launch.measurements):
                has_invalid = True
            else:
                valid_rows.add((launch.cell, m.prompt))
    rows = {(index, prompt) for index, cell in enumerate(run.cells) for prompt in range(len(cell.prompts))}
    codes = set()
    if len(finished) < planned_launches or rows - valid_rows:
        codes.add(ExitCode.LAUNCH)
    if has_invalid and is_strict:
        codes.add(ExitCode.STRICT)
    return worst(codes)
