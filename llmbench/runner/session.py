"""Measure, and keep each event on the disk before the next request begins: the only way a run is made."""

import contextlib
import dataclasses
import pkgutil
import re
import shlex
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from llmbench._version import __version__
from llmbench.errors import InputError, LaunchError
from llmbench.files.cache import cache_folder
from llmbench.machine import environment, memory
from llmbench.machine.allocator import allocator_variables
from llmbench.machine.covariates import read_settings
from llmbench.models.gguf_file import gguf_parts
from llmbench.models.resolve import ModelInfo, check_images, check_lengths, complete, find_model_info
from llmbench.runner import limits, pinning, plan
from llmbench.runner.blocks import Stop, launches_until
from llmbench.runner.launchers import default_launcher
from llmbench.runner.launchers.base import Launcher, LaunchEvent, Task, TimeLimits
from llmbench.runner.plan import PlannedLaunch
from llmbench.runner.protocol import Check, Open
from llmbench.runner.resume import find_resumption
from llmbench.schema.config import RunConfig
from llmbench.schema.measurement import Measurement
from llmbench.schema.progress import Progress
from llmbench.schema.run import Outcome, Run, WorkloadSettings
from llmbench.schema.tasks import TASKS
from llmbench.schema.units import format_bytes
from llmbench.store import events, reader
from llmbench.store.events import Header, LaunchEnded, RunEnded
from llmbench.store.writer import RunFile, refuse_existing
from llmbench.workloads.base import find_workload

_WRITTEN_TO = re.compile(r"(_DIR|_PATH|_FILE|_FOLDER)$|DUMP", re.IGNORECASE)
"""Names of properties that contain a path the engine may write to; ``CACHE_DIR`` is the one that is known."""


def check_memory(path: str) -> None:
    """Refuse, before loading, weights that memory cannot hold: the engine would be killed, or swap for hours.

    Raises:
        LaunchError: the files of weights are larger than the memory available.
    """
    location = Path(path)
    files = location.glob("*.bin") if location.is_dir() else gguf_parts(location)
    needed = sum(file.stat().st_size for file in files if file.is_file())
    available = memory.available_bytes()
    if available is not None and needed > available:
        raise LaunchError(
            f"out of memory before it is loaded: the weights of {path} take {format_bytes(needed)}; "
            f"{format_bytes(available)} are available",
            hint="use a smaller --weight-format, free memory, or raise the container's limit",
        )


def check_paths(cells: Iterable[RunConfig], folder: Path) -> None:
    """Refuse a property that would have the engine write outside the output folder and the cache folder.

    Raises:
        InputError: the property, where it leads, and where it may lead.
    """
    allowed = (folder.resolve(), cache_folder().resolve())
    for name, value in {(name, value) for cell in cells for name, value in cell.properties.items()}:
        if not _WRITTEN_TO.search(name) or not value:
            continue
        location = Path(str(value)).expanduser().resolve()
        cache = folder / "cache"
        if not any(location.is_relative_to(root) for root in allowed):
            raise InputError(
                f"property {name} leads to {location}, outside {allowed[0]} and {allowed[1]}",
                hint=f"write -lc {shlex.quote(f'{name}={cache}')}",
            )


def new_header(
    cells: tuple[RunConfig, ...],
    model_infos: Sequence[ModelInfo],
    *,
    name: str | None = None,
    workload: WorkloadSettings | None = None,
) -> Header:
    """The header of a run about to begin: its id, its configurations and the model of each, this machine."""
    names = dict.fromkeys(Path(model_info.path).name.removesuffix(".toml") for model_info in model_infos)
    label = "scripted" if cells[0].engine_info.is_simulated else "-".join(names)
    origins = tuple(model_info.provenance for model_info in model_infos)
    return Header(
        id=name or reader.new_id(label),
        started_at=events.utc_now(),
        version=__version__,
        configurations=cells,
        environment=environment.capture(),
        provenance=origins[0],
        origins=() if len(set(origins)) == 1 else origins,
        workload=workload or WorkloadSettings(),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """Where a run is kept: its folder, and its name (``None``: time, model and a short id)."""

    folder: Path = Path("reports")
    name: str | None = None
    overwrite: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How a run goes: its time limits, and whether it goes on after a failed launch.

    With *must_split* a launch is refused where it has tensor parallelism and the engine splits nothing. Before each
    launch the machine rests for *cooldown_s* seconds, so that what ran before heats no launch more than another.
    """

    limits: TimeLimits = TimeLimits()  # noqa: RUF009  it is frozen
    keep_going: bool = False
    must_split: bool = False
    cooldown_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFileRead:
    """A run file to go on with was read: a sentence on each line left out, and whether nothing is left to do."""

    path: Path
    warnings: Sequence[str]
    is_complete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RunBegun:
    """A run file is open, and the *planned* launches follow; this many were *made* before."""

    path: Path
    configurations: tuple[RunConfig, ...]
    planned: Sequence[PlannedLaunch]
    made: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchBegun:
    """The machine rests for *cooldown_s* seconds, and then a launch is made."""

    planned: PlannedLaunch
    cooldown_s: float = 0.0


PREPARATIONS = {"rag": "llmbench.runner.rag_index:retrieval_ready"}
"""By kind of work, what makes ready what all its launches need: a context manager of configurations and progress."""

SessionEvent = Progress | RunFileRead | RunBegun | LaunchBegun | LaunchEvent
OnEvent = Callable[[SessionEvent], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """What is to be measured and how; *made* and *aborted* are launches of a resumed run.

    The end of those that were aborted is still to be written.
    """

    configurations: tuple[RunConfig, ...]
    models: Sequence[ModelInfo]
    planned: Sequence[PlannedLaunch] = ()
    policy: Policy
    launcher: Launcher
    stop: Stop = Stop()  # noqa: RUF009  it is frozen
    on_event: OnEvent = lambda _: None
    workload: WorkloadSettings
    aborted: Sequence[int] = ()
    made: int = 0

    def check(self, folder: Path) -> tuple[Open, ...]:
        """Return what loads each configuration; refuse, before anything is loaded, what cannot work."""
        check_paths(self.configurations, folder)
        loads = tuple(map(self._load_of, self.configurations, self.models))
        for config in self.configurations:
            limits.check_quota(config)
            allocator_variables(config.allocator)
        for model in {config.model for config in self.configurations if not config.engine_info.is_simulated}:
            check_memory(model)
        self.launcher.check(Check(loads=loads), limit_s=self.policy.limits.load_s)
        return loads

    def _load_of(self, config: RunConfig, model: ModelInfo) -> Open:
        return Open(
            config=config,
            launch=0,
            context_tokens=model.context_tokens,
            binding=pinning.find_placement(config).binding,
            must_split=self.policy.must_split,
            workload=self.workload,
        )

    def ready(self) -> contextlib.AbstractContextManager[None]:
        """Return the block in which what all launches of this kind of work need is there, such as a database."""
        prepare = PREPARATIONS.get(self.workload.kind)
        if prepare is None:
            return contextlib.nullcontext()
        found: contextlib.AbstractContextManager[None] = pkgutil.resolve_name(prepare)(
            self.configurations, self.on_event
        )
        return found

    def measure_into(self, file: RunFile, loads: Sequence[Open]) -> None:
        """Make the launches; a failed one is the last unless the policy says otherwise."""
        self.on_event(
            RunBegun(path=file.path, configurations=self.configurations, planned=self.planned, made=self.made)
        )
        folder, settings = str(file.path.parent), read_settings()
        for index in self.aborted:
            file.append(LaunchEnded(launch=index, outcome=Outcome.ABORTED))
        for launch in launches_until(self.stop, self.planned, lambda: reader.read_run(file.path)):
            load = msgspec.structs.replace(
                loads[launch.cell], launch=launch.index, folder=folder, settings=settings
            )
            task = Task(planned=launch, load=load, limits=self.policy.limits)
            if not self._measure_launch(file, task) and not self.policy.keep_going:
                return
        file.append(RunEnded(ended_at=events.utc_now()))

    def _measure_launch(self, file: RunFile, task: Task) -> bool:
        """Make one launch, each event on the disk before the next is requested; return whether it finished."""
        is_finished = True
        self.on_event(LaunchBegun(planned=task.planned, cooldown_s=self.policy.cooldown_s))
        time.sleep(self.policy.cooldown_s)
        with contextlib.closing(self.launcher.launch(task)) as observed:
            for event in observed:
                kept = _mark(event, self.models[task.planned.cell].faults)
                file.append(kept)
                self.on_event(kept)
                is_finished = not (isinstance(kept, LaunchEnded) and kept.outcome is Outcome.FAILED)
        return is_finished


def measure(  # noqa: PLR0913  the one way to measure
    configurations: Sequence[RunConfig],
    *,
    workload: WorkloadSettings | None = None,
    outputs: Outputs | None = None,
    policy: Policy | None = None,
    launcher: Launcher | None = None,
    models: Sequence[ModelInfo] | None = None,
    planned: Sequence[PlannedLaunch] | None = None,
    stop: Stop | None = None,
    on_event: OnEvent | None = None,
) -> Run:
    """Measure configurations launch by launch, and return the run as its file contains it.

    *workload* is the kind of work that a request is, that of the configurations' task by default.
    *models* are those of the configurations, found here where they are not given. *planned* are the launches, all of
    the configurations' in rounds by default; *stop* may end them early, block by block. *on_event* sees each event once
    it is on the disk. What was measured stays in the file whatever ends the run; one without a measurement is removed.

    Raises:
        LlmbenchError: what cannot be measured, before anything is loaded or by a worker; a failed launch is no error.
    """
    outputs = outputs or Outputs()
    cells, models = _find_models(configurations) if models is None else (tuple(configurations), models)
    workload = workload or workload_of(cells)
    work = _Work(
        configurations=cells,
        models=models,
        planned=plan.plan_launches(cells) if planned is None else planned,
        policy=policy or Policy(),
        launcher=launcher or default_launcher(),
        stop=stop or Stop(),
        on_event=on_event or (lambda _: None),
        workload=workload,
    )
    loads = work.check(outputs.folder)
    header = new_header(cells, models, name=outputs.name, workload=work.workload)
    path = reader.run_file_path(outputs.folder, header.id)
    with (
        work.ready(),
        RunFile.create(path, header, overwrite=outputs.overwrite) as file,
        contextlib.ExitStack() as undo,
    ):
        undo.callback(_remove_if_empty, path)
        work.measure_into(file, loads)
        undo.pop_all()
        return reader.read_run(path)


def check(
    configurations: Sequence[RunConfig],
    models: Sequence[ModelInfo],
    *,
    outputs: Outputs,
    policy: Policy | None = None,
    launcher: Launcher | None = None,
    workload: WorkloadSettings | None = None,
) -> None:
    """Refuse what `measure` would refuse before its first launch; nothing is loaded and nothing is written.

    Raises:
        LlmbenchError: what cannot be measured, or a run of that name exists.
    """
    work = _Work(
        configurations=tuple(configurations),
        models=models,
        policy=policy or Policy(),
        launcher=launcher or default_launcher(),
        workload=workload or workload_of(configurations),
    )
    if outputs.name is not None and not outputs.overwrite:
        refuse_existing(reader.run_file_path(outputs.folder, outputs.name))
    work.check(outputs.folder)


def resume(
    path: Path,
    *,
    model: str | None = None,
    salvage: bool = False,
    folder: Path = Path("reports"),
    policy: Policy | None = None,
    launcher: Launcher | None = None,
    on_event: OnEvent | None = None,
) -> Run:
    """Go on with a run that was cut short, if configuration, machine and model are the same; return the whole run.

    *model* is where its model is now, if it has moved; *salvage* reads around damaged lines. *folder* is where, beside
    the cache, the engine may write.

    Raises:
        InputError: the file cannot be read or is in use, or its launches could not be pooled with new ones.
    """
    on_event = on_event or (lambda _: None)
    with RunFile.reopen(path) as file:
        contents = reader.read_contents(path, salvage=salvage)
        if contents.has_second_run:
            raise InputError(
                f"{path} contains two runs, so neither can be resumed", hint="split the file first"
            )
        is_complete = contents.run.is_complete and not salvage
        file.measurements = sum(len(launch.measurements) for launch in contents.run.launches)
        on_event(RunFileRead(path=path, warnings=contents.warnings, is_complete=is_complete))
        if is_complete:
            return contents.run
        left = find_resumption(contents, model=model)
        work = _Work(
            configurations=left.cells,
            models=left.model_infos,
            planned=left.planned,
            policy=policy or Policy(),
            launcher=launcher or default_launcher(),
            on_event=on_event,
            workload=contents.run.workload,
            aborted=left.aborted,
            made=len(contents.run.launches) - len(left.aborted),
        )
        loads = work.check(folder)
        with work.ready():
            work.measure_into(file, loads)
        return reader.read_run(path, salvage=salvage)


def workload_of(cells: Sequence[RunConfig]) -> WorkloadSettings:
    """Return the kind of work that all configurations are; raise InputError where they are of several."""
    tasks = list(dict.fromkeys(cell.task for cell in cells))
    if len(tasks) > 1:
        raise InputError(
            f"one run measures one task; {', '.join(tasks)} were given", hint="make a run of each"
        )
    return find_workload(TASKS[tasks[0]].workload).settings


def _find_models(configurations: Sequence[RunConfig]) -> tuple[tuple[RunConfig, ...], Sequence[ModelInfo]]:
    """Return the configurations with the paths of their models, and each model with what is loaded beside it."""
    cells, models = [], []
    for config in configurations:
        model = find_model_info(
            config.model,
            engine=config.engine,
            is_verified=config.is_verified,
            weight_format=config.weight_format,
            task=config.task,
            trusts_code=config.trusts_recipe_code,
        )
        cells.append(dataclasses.replace(config, model=model.path, weight_format=model.weight_format))
        models.append(complete(model, cells[-1]))
        check_images(cells[-1], model)
        check_lengths(cells[-1], model.context_tokens)
    return tuple(cells), models


def is_empty(run: Run) -> bool:
    """Return whether nothing is known of any launch."""
    return not any(launch.measurements or launch.failure for launch in run.launches)


def _remove_if_empty(path: Path) -> None:
    if is_empty(reader.read_run(path)):
        path.unlink(missing_ok=True)


def _mark(event: LaunchEvent, faults: tuple[str, ...]) -> LaunchEvent:
    """The event; a measurement with what is wrong with the weights, for which it does not count."""
    if not isinstance(event, Measurement):
        return event
    return dataclasses.replace(event, suspicions=(*event.suspicions, *faults))


def planned_requests(cells: Sequence[RunConfig], planned: Sequence[plan.PlannedLaunch]) -> int:
    """How many requests some launches make."""
    counts = {index: sum(1 for _ in plan.plan_requests(cell)) for index, cell in enumerate(cells)}
    return sum(counts[launch.cell] for launch in planned)
