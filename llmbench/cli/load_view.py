"""What ``load`` shows while it runs, and at its end."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from llmbench.analysis.report import Report, summarize_run
from llmbench.cli.block_view import BlockView
from llmbench.cli.messages import say
from llmbench.cli.outputs import Screen, write_output
from llmbench.cli.run_view import Display, ReportView, View
from llmbench.render.terminal.plots import render_load_curves
from llmbench.render.terminal.report import render_report
from llmbench.runner.session import SessionEvent
from llmbench.schema.measurement import Measurement
from llmbench.schema.run import Run
from llmbench.schema.units import counted
from llmbench.store.events import LaunchEnded, LaunchStarted


class _LoadCourse(View):
    """Shows how far each launch is; requests are too many for a line each."""

    _measured_count = _errors = _before = 0
    _began = 0.0

    def show(self, event: SessionEvent) -> None:
        """Show one event of the session."""
        if isinstance(event, LaunchStarted):
            self._measured_count = self._errors = self._before = 0
            self._began = time.monotonic()
        super().show(event)

    def _measured(self, measurement: Measurement, reasons: Sequence[str]) -> None:
        del reasons
        if measurement.is_warmup:
            self._before += not self._measured_count
            return
        self._measured_count += 1
        self._errors += measurement.error is not None

    def _describe(self) -> Iterator[str]:
        if not self._number:
            return
        yield f"launch {self._number}/{self._count}{self._apart[self._configurations.index(self._config)]}"
        if self._request is None and not self._before:
            yield "starting the server" if time.monotonic() > self._launch_at else "cooling down"
            return
        yield (
            f"{self._measured_count}/{counted(self._config.iterations, 'request')}"
            if self._measured_count
            else f"bringing the load up: {self._before}/{self._config.warmups}"
        )
        if self._errors:
            yield f"{self._errors} failed"
        left_s = self._pace.left_s(time.monotonic())
        yield "" if left_s is None else f"{left_s:.0f} s left"


class LoadBlockView(_LoadCourse, BlockView):
    """What ``ab`` shows under load: how far each launch is, and the ratio of each block as it ends."""


class LoadView(_LoadCourse, ReportView):
    """What ``load`` shows: each launch as its server is ready and as it ends; *html* is the page to write."""

    def __init__(self, display: Display, *, html: Path | None, salvage: bool = False) -> None:
        super().__init__(display, salvage=salvage)
        self._html = html

    def show(self, event: SessionEvent) -> None:
        """Show one event of the session; of a run file that is read, what was left out."""
        super().show(event)
        if isinstance(event, LaunchEnded) and event.failure is None:
            errors = f", {self._errors} failed" if self._errors else ""
            seconds = time.monotonic() - self._began
            self._say(f"  {counted(self._measured_count, 'request')}{errors} in {seconds:.0f} s")

    def _loaded(self, event: LaunchStarted) -> None:
        apart = self._apart[event.configuration]
        self._say(f"launch {self._number}/{self._count}{apart}: ready in {event.load_s or 0.0:.2f} s")

    def _interrupted(self, run: Run, path: Path) -> None:
        self._html = None
        super()._interrupted(run, path)

    def _show_report(self, run: Run, path: Path) -> Report:
        """Show the report with its curves, and write the page."""
        summarized = summarize_run(run)
        with contextlib.suppress(SystemExit, OSError):
            render_report(summarized, screen := Screen(), is_explained=self._display.is_explained)
            render_load_curves(summarized, screen)
        if self._html is not None:
            from llmbench.render.html.page import page

            write_output(self._html, page([summarized]))
        say(f"written: {path}")
        return summarized
