"""The parent: places and starts workers, and yields what they measure as it comes. It prints and writes nothing.

A worker begins a request only when the consumer of these events asks for the next one, so that what was
measured can be on the disk first. The parent blocks on a pipe and never spins.
"""

import contextlib
import dataclasses
from collections.abc import Generator, Sequence
from dataclasses import dataclass

from llmbench.errors import LaunchError
from llmbench.machine.affinity import Binding
from llmbench.measure import plan
from llmbench.measure.supervisor import Worker, WorkerLostError
from llmbench.measure.worker import Check, Loaded, Measure, Measured, Open
from llmbench.schema.config import RunConfig
from llmbench.schema.measurement import Measurement
from llmbench.schema.run import Outcome
from llmbench.store.events import LaunchEnded, LaunchStarted, utc_now

LaunchEvent = LaunchStarted | Measurement | LaunchEnded


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeLimits:
    """How long a phase may take in seconds; ``None`` is without end. *prefix* stands before the worker's command.

    *load_s* is for loading; *request_s* for the first token and for each later one where the engine shows them as
    they come, else for the whole request.
    """

    load_s: float | None = None
    request_s: float | None = None
    prefix: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A launch to make: its place in the plan and on the machine, its configuration, limits, and the model's context.

    With *must_split* it is refused where tensor parallelism is asked for and the engine splits nothing.
    """

    planned: plan.PlannedLaunch
    config: RunConfig
    limits: TimeLimits
    context_tokens: int | None = None
    binding: Binding = Binding()  # noqa: RUF009  it is frozen
    must_split: bool = False


def check_configuration(configs: Sequence[RunConfig], *, limit_s: float | None = None) -> None:
    """Have a worker look whether every configuration could be loaded, so that a sweep does not end in its middle.

    Raises the error of the first that could not.
    """
    for interpreter in dict.fromkeys(config.interpreter for config in configs):
        mine = tuple(config for config in configs if config.interpreter == interpreter)
        with contextlib.closing(Worker(0, interpreter=interpreter)) as worker:
            try:
                worker.ask(Check(configs=mine), phase="check", limit_s=limit_s)
            except WorkerLostError as lost:
                raise LaunchError(lost.failure.message) from lost


def run_launch(task: Task) -> Generator[LaunchEvent]:
    """The events of one launch: started, each measurement, ended.

    Raises LlmbenchError where the worker refuses the configuration before anything is measured.
    """
    prefix = (*task.limits.prefix, *task.binding.prefix)
    with contextlib.closing(Worker(task.planned.index, prefix, task.config.interpreter)) as worker:
        try:
            yield _load(worker, task)
            for request in plan.plan_requests(task.config):
                yield _measure(worker, task, request)
            yield LaunchEnded(launch=task.planned.index, outcome=Outcome.FINISHED)
        except WorkerLostError as lost:
            yield LaunchEnded(
                launch=task.planned.index,
                outcome=Outcome.FAILED,
                failure=lost.failure,
                cell=task.planned.cell,
            )


def _load(worker: Worker, task: Task) -> LaunchStarted:
    """Have the worker load the model."""
    started_at = utc_now()
    loaded = worker.ask(
        Open(
            config=task.config,
            launch=task.planned.index,
            context_tokens=task.context_tokens,
            binding=task.binding,
            must_split=task.must_split,
        ),
        phase="load",
        limit_s=task.limits.load_s,
    )
    if not isinstance(loaded, Loaded):
        raise LaunchError("the worker answered out of turn while loading")
    return LaunchStarted(
        launch=task.planned.index,
        cell=task.planned.cell,
        started_at=started_at,
        block=task.planned.block,
        versions=loaded.versions,
        load_s=loaded.load_s,
        model_cache=loaded.model_cache,
        load_memory=loaded.memory,
        in_force=loaded.in_force,
        held=dataclasses.replace(loaded.held, warnings=(*task.binding.warnings, *loaded.held.warnings)),
    )


def _measure(worker: Worker, task: Task, request: plan.PlannedRequest) -> Measurement:
    """Have the worker measure one request."""
    name = "warm-up" if request.is_warmup else "iteration"
    reply = worker.ask(
        Measure(prompt=request.prompt, iteration=request.iteration, is_warmup=request.is_warmup),
        phase=f"{name} {request.iteration}, prompt {request.prompt}",
        limit_s=task.limits.request_s,
    )
    if not isinstance(reply, Measured):
        raise LaunchError("the worker answered out of turn while measuring")
    return reply.measurement
