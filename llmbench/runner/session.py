"""Measure and keep: what the runner yields goes to the run file before the next request begins."""

import dataclasses
import re
from collections.abc import Generator, Iterable, Sequence
from pathlib import Path

from llmbench._version import __version__
from llmbench.errors import InputError, LaunchError, MachineError
from llmbench.files.cache import cache_folder
from llmbench.files.redaction import redact
from llmbench.machine import cgroup, environment, memory
from llmbench.models.resolve import Subject
from llmbench.runner import pinning, plan
from llmbench.runner.launchers import default_launcher
from llmbench.runner.launchers.base import Launcher, LaunchEvent, Task, TimeLimits
from llmbench.schema.config import RunConfig
from llmbench.schema.measurement import Measurement
from llmbench.schema.run import Outcome
from llmbench.schema.units import format_bytes
from llmbench.store import events, reader
from llmbench.store.events import Header, LaunchEnded, RunEnded
from llmbench.store.writer import RunFile

_WRITTEN_TO = re.compile(r"(_DIR|_PATH|_FILE|_FOLDER)$|DUMP", re.IGNORECASE)
"""Names of properties that hold a path the engine may write to; ``CACHE_DIR`` is the one that is known."""


def check_memory(path: str) -> None:
    """Refuse, before loading, weights that memory cannot hold: the engine would be killed, or swap for hours.

    Raises:
        LaunchError: the files of weights are larger than the memory available.
    """
    place = Path(path)
    files = place.glob("*.bin") if place.is_dir() else [place]
    needed = sum(file.stat().st_size for file in files if file.is_file())
    available = memory.available_bytes()
    if available is not None and needed > available:
        raise LaunchError(
            f"out of memory before it is loaded: the weights of {path} take {format_bytes(needed)}; "
            f"{format_bytes(available)} are available",
            hint="take a smaller --weight-format, end what holds memory, or raise the container's limit",
        )


def check_quota(config: RunConfig, root: Path = Path("/")) -> None:
    """Refuse more threads than the control group of this process gives CPU time to; they would be stopped in turn.

    Raises:
        MachineError: the threads that were asked for, and what the group gives.
    """
    asked = config.threads or config.properties.get("INFERENCE_NUM_THREADS")
    quota = cgroup.read_limits(root).cpus
    if quota is not None and isinstance(asked, int) and asked > max(quota, 1):
        raise MachineError(
            f"asked {asked} threads, and this container may use {quota:g} CPUs' worth of time",
            hint="give it whole CPUs (docker run --cpuset-cpus), or ask for fewer --threads",
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
        place = Path(str(value)).expanduser().resolve()
        if not any(place.is_relative_to(root) for root in allowed):
            raise InputError(
                f"property {name} leads to {place}, outside {allowed[0]} and {allowed[1]}",
                hint=f"write -lc {name}={folder / 'cache'}",
            )


def new_header(
    cells: tuple[RunConfig, ...], subjects: Sequence[Subject], *, name: str | None = None
) -> Header:
    """The header of a run about to begin: its id, its configurations and the model of each, this machine."""
    names = dict.fromkeys(Path(subject.path).name for subject in subjects)
    label = "scripted" if cells[0].engine_info.is_simulated else "-".join(names)
    origins = tuple(subject.provenance for subject in subjects)
    return Header(
        id=name or reader.new_id(label),
        started_at=events.utc_now(),
        version=__version__,
        configurations=cells,
        environment=environment.capture(),
        provenance=origins[0],
        origins=() if len(set(origins)) == 1 else origins,
    )


def run_file_path(header: Header, folder: Path) -> Path:
    """Where a run is kept: ``<folder>/<id>.jsonl``."""
    name = header.id
    is_plain = name.isprintable() and "/" not in name and not name.startswith(".") and name == redact(name)
    return folder / f"{name if is_plain else reader.slug(name)}.jsonl"


def record(
    file: RunFile,
    cells: tuple[RunConfig, ...],
    planned: Iterable[plan.PlannedLaunch],
    *,
    limits: TimeLimits,
    subjects: Sequence[Subject],
    keep_going: bool = False,
    must_split: bool = False,
    launcher: Launcher | None = None,
) -> Generator[LaunchEvent]:
    """Each event after it is on the disk; a failed launch is the last one unless *keep_going*.

    *subjects* are the models of the cells. The next request begins when the next event is asked for. With *must_split*
    a launch is refused where tensor parallelism is asked for and splits nothing.
    """
    launcher = launcher or default_launcher()
    places = [pinning.find_placement(config) for config in cells]
    for config in cells:
        check_quota(config)
    for model in {config.model for config in cells if not config.engine_info.is_simulated}:
        check_memory(model)
    for launch in planned:
        task = Task(
            planned=launch,
            config=cells[launch.cell],
            limits=limits,
            context_tokens=subjects[launch.cell].context_tokens,
            binding=places[launch.cell].binding,
            must_split=must_split,
        )
        has_failed = False
        for observed in launcher.launch(task):
            event = _mark(observed, subjects[launch.cell].faults)
            file.append(event)
            yield event
            has_failed = isinstance(event, LaunchEnded) and event.outcome is Outcome.FAILED
        if has_failed and not keep_going:
            break
    else:
        file.append(RunEnded(ended_at=events.utc_now()))


def _mark(event: LaunchEvent, faults: tuple[str, ...]) -> LaunchEvent:
    """The event; a measurement with what is wrong with the weights, for which it does not count."""
    if not isinstance(event, Measurement):
        return event
    return dataclasses.replace(event, suspicions=(*event.suspicions, *faults))


def planned_requests(cells: tuple[RunConfig, ...], planned: Sequence[plan.PlannedLaunch]) -> int:
    """How many requests some launches make."""
    counts = {index: sum(1 for _ in plan.plan_requests(cell)) for index, cell in enumerate(cells)}
    return sum(counts[launch.cell] for launch in planned)
