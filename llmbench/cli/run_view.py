"""What the commands that measure show while a run goes on, and at its end."""

import abc
import contextlib
import dataclasses
import os
import shlex
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import click

from llmbench.analysis import report, validity
from llmbench.analysis.attention import effective_alarms
from llmbench.analysis.report import Report, distinguish
from llmbench.cli.messages import complain, say, shown, warn
from llmbench.cli.options.course import Course
from llmbench.cli.options.resolve import check_locations
from llmbench.cli.options.types import LLM_BENCH, LOGS
from llmbench.errors import ExitCode, OutputError, worst
from llmbench.files.atomic import write_atomically
from llmbench.machine.interference import watch_interference
from llmbench.models.resolve import Side
from llmbench.render.terminal import run_log
from llmbench.render.terminal.live import LiveLine
from llmbench.render.text import appended, load_time
from llmbench.runner import session
from llmbench.runner.forecast import Pace
from llmbench.runner.launchers import default_launcher
from llmbench.runner.plan import PlannedRequest, plan_requests
from llmbench.runner.session import LaunchBegun, RunBegun, RunFileRead, SessionEvent
from llmbench.schema.config import RunConfig
from llmbench.schema.measurement import Measurement
from llmbench.schema.progress import Progress
from llmbench.schema.run import Run
from llmbench.schema.units import counted, format_duration
from llmbench.store import reader
from llmbench.store.events import LaunchEnded, LaunchStarted

_WATCHED_S = 0.5
_LOOKED_AT = 50
"""Requests of a launch that judge the last one while it goes on; all of them judge it in the end."""


class View:
    """What every such command shows of a run: the live line, failures, and after an interruption how to go on.

    *path* is the run file, once it is open; *salvage* says to read around damaged lines of it. *launcher* makes the
    launches, and knows how many tokens the request under way has.
    """

    def __init__(self, *, is_quiet: bool, salvage: bool = False) -> None:
        self.path: Path
        self.launcher = default_launcher()
        self._is_begun = self._is_warned = False
        self._is_quiet = is_quiet
        self._salvage = salvage
        self._live = LiveLine(lambda: (), is_shown=False)
        self._leaving = contextlib.ExitStack()
        self._configurations: Sequence[RunConfig] = ()
        self._apart: Sequence[str] = ()
        self._config: RunConfig
        self._count = self._number = 0
        self._pace: Pace
        self._requests: Iterator[PlannedRequest] = iter(())
        self._request: PlannedRequest | None = None
        self._launch_at = 0.0
        self._seen: list[Measurement] = []
        self._last = ""
        self._preparing = contextlib.ExitStack()
        self._steps: LiveLine | None = None
        self._step = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._preparing.close()
        self._leaving.close()
        if error is None or isinstance(error, Exception) or not self._is_begun or not self.path.exists():
            return
        run = reader.read_run(self.path, salvage=self._salvage)
        if session.is_empty(run):
            return
        kept = sum(len(launch.measurements) for launch in run.launches)
        click.echo(shown(f"{kept} measurements are kept in {self.path}"), err=True)
        self._interrupted(run, self.path)

    def measure(self, sides: Sequence[Side], course: Course, **more: Any) -> Run:
        """Measure under this view, once placements are found; *more* are other arguments of `session.measure`."""
        cells = [side.config for side in sides]
        check_locations(cells, is_strict=course.policy.must_split)
        with self:
            return session.measure(
                cells,
                models=[side.model_info for side in sides],
                outputs=course.outputs,
                policy=course.policy,
                launcher=self.launcher,
                on_event=self.show,
                **more,
            )

    def resume(self, path: Path, course: Course, *, model: str | None = None) -> Run:
        """Go on under this view with a run that was cut short, see `session.resume`."""

        def show(event: SessionEvent) -> None:
            """Check the CPUs of the run before it goes on, and show each event."""
            if isinstance(event, RunBegun):
                check_locations(event.configurations, is_strict=course.policy.must_split)
            self.show(event)

        with self:
            return session.resume(
                path,
                model=model,
                salvage=self._salvage,
                folder=course.outputs.folder,
                policy=course.policy,
                launcher=self.launcher,
                on_event=show,
            )

    def show(self, event: SessionEvent) -> None:
        """Show one event of the session; of a run file that is read, what was left out."""
        match event:
            case RunFileRead():
                warn(*event.warnings)
                if event.is_complete:
                    click.echo(shown(f"{event.path} is complete; nothing is left to do"), err=True)
            case Progress():
                self._prepare(event)
            case RunBegun():
                self._begin(event)
            case LaunchBegun():
                self._begin_launch(event)
            case LaunchStarted():
                self._pace.loaded(time.monotonic())
                self._request = next(self._requests, None)
                with self._live.paused():
                    self._warn_of_attention(event)
                self._loaded(event)
            case Measurement():
                self._pace.measured(time.monotonic())
                self._request = next(self._requests, None)
                self._seen.append(event)
                reasons = self._reasons(event)
                self._last = f"INVALID: {reasons[0]}" if reasons else f"last: {run_log.latency_text(event)}"
                self._measured(event, reasons)
            case LaunchEnded():
                with self._live.paused():
                    _complain_of(event)
                    self._ended()

    def _prepare(self, event: Progress) -> None:
        """Show a step of what must be there before the first launch: a line as it begins, and a moving one of it."""
        if not self._is_begun and self._steps is None:
            line = LiveLine(lambda: (self._step,), is_shown=not self._is_quiet)
            self._steps = self._preparing.enter_context(line)
        if event.share is None and not self._is_quiet and self._steps is not None:
            with self._steps.paused():
                click.echo(shown(event.label), err=True)
        self._step = event.label if event.share is None else f"{event.label} {event.share:.0%}"

    def _begin(self, event: RunBegun) -> None:
        self._preparing.close()
        self.path, self._is_begun = event.path, True
        self._configurations = event.configurations
        self._apart = [appended(settings) for settings in distinguish(event.configurations)]
        self._number, self._count = event.made, event.made + len(event.planned)
        self._pace = Pace(event.configurations, event.planned)
        _warn_of_interference(event.configurations)
        self._live = self._leaving.enter_context(LiveLine(self._describe, is_shown=not self._is_quiet))

    def _begin_launch(self, event: LaunchBegun) -> None:
        self._number += 1
        self._config = self._configurations[event.planned.cell]
        self._seen = []
        self._launch_at = time.monotonic() + event.cooldown_s
        self._pace.begin_launch(event.planned.cell, self._launch_at, cooldown_s=event.cooldown_s)
        self._requests, self._request = plan_requests(self._config), None

    def _describe(self) -> Iterator[str]:
        """Yield what is under way now, the parts that matter most first; called from another thread."""
        if not self._number:
            return
        now, request = time.monotonic(), self._request
        yield f"launch {self._number}/{self._count}"
        if self._config.is_load and self._seen:
            yield counted(len(self._seen), "request")
        elif request is None:
            yield "cooling down" if now < self._launch_at else "loading the model"
        else:
            tokens = self.launcher.tokens()
            count = "" if tokens is None else f" {tokens}/{counted(self._config.output_tokens, 'token')}"
            where = run_log.position(self._config, prompt=request.prompt, iteration=request.iteration)
            yield f"{where}{count}"
        left = self._pace.left_s(now)
        yield "" if left is None else f"{format_duration(left)} left"
        yield self._last

    def _reasons(self, measurement: Measurement) -> tuple[str, ...]:
        """Return why a request does not count; of a load only errors are known before its end."""
        if self._config.is_load:
            return measurement.suspicions if measurement.error else ()
        if measurement.is_warmup:
            return ()
        return validity.reasons(measurement, self._config, self._seen[-_LOOKED_AT:])

    def _warn_of_attention(self, event: LaunchStarted) -> None:
        """Warn, once per run, of wrong tokens, and of an attention that is not the default one or not fused."""
        found = effective_alarms(event.effective)
        if not found or self._is_warned:
            return
        proof = event.effective.attention_proof
        is_fallback = proof is not None and proof.fallback is not None
        warn(
            *found[:-1],
            f"{found[-1]}; name --attention sdpa to measure it as it is" if is_fallback else found[-1],
        )
        self._is_warned = True

    def _loaded(self, event: LaunchStarted) -> None:
        """Show a launch that has loaded its model."""

    def _measured(self, measurement: Measurement, reasons: Sequence[str]) -> None:
        """Show a request that was measured, and why it is not valid."""

    def _ended(self) -> None:
        """Show what a launch came to that has ended."""

    def _interrupted(self, run: Run, path: Path) -> None:
        click.echo(shown(f"resume with: {_resume_command(run, path)}"), err=True)

    def _say(self, *texts: str, is_whole: bool = False) -> None:
        if not self._is_quiet:
            with self._live.paused():
                say(*texts, is_whole=is_whole)


def _resume_command(run: Run, path: Path) -> str:
    command = "load" if run.workload.is_concurrent else "run"
    return f"llmbench {command} --resume {shlex.quote(str(path))}"


def _complain_of(ended: LaunchEnded) -> None:
    if (failure := ended.failure) is not None:
        complain(f"launch {ended.launch + 1}: {failure.message}", hint=failure.hint)
        for line in failure.log[-5:] if failure.hint is None else ():
            click.echo(shown(f"  | {click.unstyle(line)}"), err=True)


def _warn_of_interference(cells: Sequence[RunConfig]) -> None:
    """Say before anything is loaded that other processes will make results invalid, and which they are."""
    limits = [cell.foreign_cpu_limit for cell in cells if not cell.engine_info.is_simulated]
    if not limits or min(limits) >= 1:
        return
    load = watch_interference(os.sched_getaffinity(0), _WATCHED_S)
    warning = run_log.interference_warning(load, min(limits))
    if warning is not None:
        warn(warning)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Display:
    """How a run is shown: reports in llm_bench's layouts beside the card, the card only, and if doubts fail it.

    *log* is what is printed of each request, see `LOGS`; with *is_explained* notes and definitions follow the card.
    One that *is_lenient* shows invalid rows, marked, and does not fail for them.
    """

    csv: Path | None = None
    json: Path | None = None
    is_quiet: bool = False
    is_strict: bool = False
    is_explained: bool = False
    is_lenient: bool = False
    log: str = LOGS[0]


class ReportView(View, abc.ABC):
    """What commands show that end with a report, also after an interruption; *display* says how."""

    def __init__(self, display: Display, *, salvage: bool = False) -> None:
        super().__init__(is_quiet=display.is_quiet, salvage=salvage)
        self._display = display

    def measure_and_show(self, sides: Sequence[Side], course: Course, **more: Any) -> ExitCode:
        """Do what `measure` does, write everything, show the report; return the exit code."""
        run = self.measure(sides, course, **more)
        summarized = self._show_report(run, self.path)
        if self._display.is_lenient:
            return ExitCode.LAUNCH if run.lacks_launches else ExitCode.OK
        return _exit_code(summarized, self.path, is_strict=self._display.is_strict)

    def resume_and_show(self, path: Path, course: Course, *, model: str | None = None) -> ExitCode:
        """Go on with a run that was cut short, and show the whole; return the exit code. See `session.resume`."""
        run = self.resume(path, course, model=model)
        return _exit_code(self._show_report(run, path), path, is_strict=self._display.is_strict)

    @abc.abstractmethod
    def _show_report(self, run: Run, path: Path) -> Report:
        """Show the report of a run and write the files that were requested; return the report."""

    def _interrupted(self, run: Run, path: Path) -> None:
        super()._interrupted(run, path)
        with contextlib.suppress(OSError):
            self._show_report(run, path)


class RunView(ReportView):
    """What ``run`` and ``demo`` show: every request."""

    def __init__(self, display: Display, *, salvage: bool = False) -> None:
        super().__init__(display, salvage=salvage)
        self._cells_shown: set[int] = set()
        self._reasons_shown: set[str] = set()
        self._is_invalid_shown = False

    def _loaded(self, event: LaunchStarted) -> None:
        loading = load_time(event.load_s or 0.0, event.model_cache)
        apart = self._apart[event.configuration]
        self._say(f"launch {self._number}/{self._count}{apart}: loaded in {loading}")
        if event.configuration not in self._cells_shown:
            lines = (
                *run_log.effective_lines(event.effective, self._config),
                *run_log.pinning_lines(event.pinned, event.effective.split),
            )
            is_long = not self._cells_shown or self._display.is_explained or self._is_llm_bench
            self._say(*(line for line in lines if is_long or line.startswith(run_log.NOTE)))
        self._cells_shown.add(event.configuration)

    @property
    def _is_llm_bench(self) -> bool:
        return self._display.log == LLM_BENCH

    def _measured(self, measurement: Measurement, reasons: Sequence[str]) -> None:
        if self._is_llm_bench:
            self._say(*run_log.request_lines(measurement, self._config))
            return
        launch = f"{self._number}/{self._count}"
        self._say(
            run_log.request_line(
                measurement, self._config, launch=launch, reasons=reasons, known=self._reasons_shown
            )
        )
        self._reasons_shown.update(map(run_log.reason_kind, reasons[:1]))

    def _ended(self) -> None:
        reasons = [self._reasons(each) for each in self._seen if not each.is_warmup]
        if self._is_invalid_shown or self._number == self._count or not reasons or not all(reasons):
            return
        self._is_invalid_shown = True
        left = counted(self._count - self._number, "launch", "launches")
        warn(
            f"every request of this launch is invalid: {validity.most_frequent_reason(reasons)}; "
            f"{left} to come, Ctrl-C stops and keeps what was measured"
        )

    def _say(self, *texts: str, is_whole: bool = False) -> None:
        super()._say(*texts, is_whole=is_whole or self._is_llm_bench)

    def _show_report(self, run: Run, path: Path) -> Report:
        """Show the card; a file that cannot be written keeps neither it nor the other files from being there."""
        from rich.console import Console

        from llmbench.render import csv, json
        from llmbench.render.terminal.report import render_report

        display, summarized = self._display, report.summarize_run(run)
        if self._is_llm_bench and not display.is_quiet:
            say(*run_log.average_lines(summarized.evaluation), is_whole=True)
        with contextlib.suppress(
            SystemExit, OSError
        ):  # rich's answers to a closed standard output, a full one
            render_report(summarized, Console(), is_explained=display.is_explained)
        written, errors = [path], []
        for file, text_of in ((display.csv, csv.llm_bench_csv), (display.json, json.llm_bench_json)):
            try:
                if file is not None:
                    write_atomically(file, text_of(summarized.evaluation))
                    written.append(file)
            except OutputError as error:
                errors.append(error)
        say(*(f"written: {file}" for file in written))
        if errors:
            raise errors[0]
        return summarized


def _exit_code(summarized: Report, path: Path, *, is_strict: bool) -> ExitCode:
    """3 with ``--strict`` where anything is invalid; see `whole_code`."""
    has_invalid = is_strict and any(row.invalid for row in summarized.rows)
    whole = whole_code(summarized, resume=_resume_command(summarized.run, path))
    return worst([whole, ExitCode.STRICT if has_invalid else ExitCode.OK])


def whole_code(*reports: Report, resume: str | None = None) -> ExitCode:
    """Return 5 where a launch or a row is missing, and say why; see `explain_missing`."""
    if all(each.is_whole for each in reports):
        return ExitCode.OK
    explain_missing(*reports, resume=resume)
    return ExitCode.LAUNCH


def explain_missing(*reports: Report, resume: str | None = None) -> None:
    """Print, as the last line, why a launch or a row is missing; see `missing_cause`.

    *resume* is the command that goes on after a failed launch, where there is one and something was measured.
    """
    cause, hint = missing_cause(*reports)
    has_failed = any(each.run.failures for each in reports)
    has_measured = any(launch.measurements for each in reports for launch in each.run.launches)
    if has_failed and has_measured and resume:
        hint = f"go on with what is missing: {resume}"
    if cause:
        complain(cause, hint=hint)


def missing_cause(*reports: Report) -> tuple[str, str | None]:
    """Return why a launch or a row is missing: what failed, or makes requests invalid; and a remedy if it is known."""
    failed = [found for each in reports for found in each.run.failures]
    if failed:
        launch, failure = failed[0]
        count = counted(sum(len(each.run.launches) for each in reports), "launch", "launches")
        return f"{len(failed)} of {count} failed; launch {launch.index + 1}: {failure.message}", None
    requests = [request for each in reports for request in each.rejected]
    if not requests:
        return "", None
    is_busy = any(validity.is_disturbed(request.measurement, request.config) for request in requests)
    reason = validity.most_frequent_reason(request.reasons for request in requests)
    rows = {(request.launch.cell, request.prompt) for request in requests}
    hint = "end the other processes (llmbench doctor names them), or accept such results with --foreign-cpu-limit 1"
    return f"{counted(len(rows), 'row')} without a valid request: {reason}", hint if is_busy else None
