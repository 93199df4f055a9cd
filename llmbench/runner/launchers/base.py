"""What a launcher is, and the events of a launch: they are the same wherever its worker runs.

A worker begins a request only when the consumer of these events requests the next one, so that what was
measured can be on the disk first.
"""

import dataclasses
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from llmbench.errors import ExitCode, LaunchError
from llmbench.runner import plan
from llmbench.runner.protocol import (
    AllMeasured,
    Check,
    Loaded,
    Measure,
    Measured,
    Next,
    Open,
    Refused,
    Response,
    WorkerCommand,
)
from llmbench.schema.load import LoadWindow
from llmbench.schema.measurement import Measurement
from llmbench.schema.run import Failure, Outcome
from llmbench.store.events import LaunchEnded, LaunchStarted, utc_now

LaunchEvent = LaunchStarted | Measurement | LaunchEnded
_Kind = TypeVar("_Kind")


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeLimits:
    """How long a phase may take in seconds; ``None`` is without end.

    *load_s* is for loading; *request_s* for the first token and for each later one where the engine shows them as
    they come, else for the whole request.
    """

    load_s: float | None = None
    request_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A launch to make: its position in the plan, what its worker is to *load*, and its time limits."""

    planned: plan.PlannedLaunch
    load: Open
    limits: TimeLimits


class Launcher(Protocol):
    """Where launches are made."""

    def launch(self, task: Task) -> Generator[LaunchEvent]:
        """Yield the events of one launch: started, each measurement, ended.

        Raises LlmbenchError where the worker refuses the configuration before anything is measured.
        """

    def tokens(self) -> int | None:
        """Return how many output tokens the request under way has so far; ``None`` where that is not known."""

    def check(self, command: Check, *, limit_s: float | None = None) -> None:
        """Raise the error of the first configuration that a worker could not load, so that no sweep ends midway."""


class WorkerLostError(Exception):
    """The worker ended, or had to be ended, without a response."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class WorkerLink(Protocol):
    """A worker as a launcher reaches it."""

    def ask(self, command: WorkerCommand, *, phase: str, limit_s: float | None) -> Response:
        """Return the worker's response to a command.

        Raises:
            LlmbenchError: the worker refused it.
            WorkerLostError: it died, failed, or was silent for more than *limit_s* seconds.
        """


def accept(reply: Response | Refused, *, phase: str, log: Sequence[str] = ()) -> Response:
    """Return a response; raise the error of a refusal, WorkerLostError where it is that the launch has failed."""
    if not isinstance(reply, Refused):
        return reply
    if reply.exit_code == ExitCode.LAUNCH:
        message = f"{reply.message} ({phase})"
        raise WorkerLostError(Failure(phase=phase, message=message, log=tuple(log), hint=reply.hint))
    raise reply.error


def launch_events(task: Task, worker: WorkerLink) -> Generator[LaunchEvent]:
    """Yield the events of one launch by a worker that has just begun."""
    try:
        yield _load(worker, task)
        window = None
        if task.load.workload.is_concurrent:
            window = yield from _measure_load(worker, task)
        else:
            for request in plan.plan_requests(task.load.config):
                yield _measure(worker, task, request)
        yield LaunchEnded(launch=task.planned.index, outcome=Outcome.FINISHED, window=window)
    except WorkerLostError as lost:
        yield LaunchEnded(
            launch=task.planned.index,
            outcome=Outcome.FAILED,
            failure=lost.failure,
            configuration=task.planned.cell,
        )


def _load(worker: WorkerLink, task: Task) -> LaunchStarted:
    started_at = utc_now()
    loaded = _expect(Loaded, worker.ask(task.load, phase="load", limit_s=task.limits.load_s))
    return LaunchStarted(
        launch=task.planned.index,
        configuration=task.planned.cell,
        started_at=started_at,
        block=task.planned.block,
        environment={"versions": loaded.versions},
        load_s=loaded.load_s,
        model_cache=loaded.model_cache,
        load_memory=loaded.memory,
        effective=loaded.effective,
        pinned=dataclasses.replace(
            loaded.pinned, warnings=(*task.load.binding.warnings, *loaded.pinned.warnings)
        ),
    )


def _measure(worker: WorkerLink, task: Task, request: plan.PlannedRequest) -> Measurement:
    name = "warm-up" if request.is_warmup else "iteration"
    command = Measure(prompt=request.prompt, iteration=request.iteration, is_warmup=request.is_warmup)
    phase = f"{name} {request.iteration}, prompt {request.prompt}"
    return _expect(Measured, worker.ask(command, phase=phase, limit_s=task.limits.request_s)).measurement


def _measure_load(worker: WorkerLink, task: Task) -> Generator[LaunchEvent, None, LoadWindow]:
    """Yield the requests of a load as they end, and return what they had in common."""
    while True:
        response = worker.ask(Next(), phase="the requests", limit_s=task.limits.request_s)
        if isinstance(response, AllMeasured):
            return response.window
        yield _expect(Measured, response).measurement


def _expect(kind: type[_Kind], response: Response) -> _Kind:
    if not isinstance(response, kind):
        raise LaunchError(f"unexpected response of the worker: {type(response).__name__}")
    return response
