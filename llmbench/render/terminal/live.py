"""The live line of a run: what is measured now, the last latencies, and the time left. Drawn on events only."""

import contextlib
import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from llmbench.analysis import metrics
from llmbench.schema.config import RunConfig
from llmbench.schema.measurement import Measurement
from llmbench.schema.units import format_duration, format_number


class LiveLine:
    """A progress bar on standard error where that is a terminal; elsewhere nothing, for lines are printed.

    It starts no thread and redraws when something was measured.
    """

    def __init__(self, total: int, *, is_shown: bool) -> None:
        console = Console(stderr=True)
        self._is_shown = is_shown and console.is_terminal
        self.shares_screen = self._is_shown and sys.stdout.isatty()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=12),
            MofNCompleteColumn(),
            TextColumn("{task.fields[last]}"),
            console=console,
            auto_refresh=False,
            transient=True,
        )
        self._total = total
        self._done = 0
        self._requests_started = 0.0
        self._task = self._progress.add_task("starting", total=total, last="")

    def __enter__(self) -> Self:
        if self._is_shown:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_shown:
            with contextlib.suppress(OSError):
                self._progress.stop()

    def above(self, text: str) -> None:
        """Print a line of standard output above the live line; both are on the same screen."""
        self._progress.console.print(text, markup=False, highlight=False, emoji=False, soft_wrap=True)

    def say(self, phase: str) -> None:
        """Name the phase that begins now."""
        self._draw(description=phase)

    def measured(self, measurement: Measurement, config: RunConfig) -> None:
        """Count a request and show its latencies and the time left."""
        now = time.monotonic()
        if not self._done:
            self._requests_started = now
        self._done += 1
        first, later = (metrics.METRICS[name].of(measurement) for name in metrics.HEADLINES)
        shown = [format_number(None if value is None else value * 1e3) for value in (first, later)]
        left = ""
        if self._done > 1:
            each = (now - self._requests_started) / (self._done - 1)
            left = f", {format_duration(each * (self._total - self._done))} left"
        label = config.prompts[measurement.prompt].label
        kind = "warm-up" if measurement.is_warmup else "iteration"
        self._draw(
            description=f"{kind} {measurement.iteration}, {label}",
            advance=1,
            last=f"first {shown[0]} ms, next {shown[1]} ms{left}",
        )

    def _draw(self, *, description: str, advance: int = 0, last: str | None = None) -> None:
        if not self._is_shown:
            return
        self._progress.update(self._task, description=description, advance=advance)
        if last is not None:
            self._progress.update(self._task, last=last)
        self._progress.refresh()
