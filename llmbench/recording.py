"""Measure and keep: what the runner yields goes to the run file before the next request begins."""

import dataclasses
import hashlib
import re
from collections.abc import Generator, Iterable, Sequence
from pathlib import Path

from llmbench import events, ir, place, plan, runner, store
from llmbench._version import __version__
from llmbench.config import RunConfig
from llmbench.convert import sources
from llmbench.digests import cache_folder
from llmbench.errors import InputError, LaunchError, MachineError
from llmbench.events import Header, LaunchEnded, RunEnded
from llmbench.redaction import REDACTED, redact, redact_tree
from llmbench.run import Launch, Outcome, Provenance, Run
from llmbench.run_file import RunFile
from llmbench.runner import Event, Limits
from llmbench.store import Contents
from llmbench.system import cgroup, environment, exhaustion
from llmbench.units import format_bytes

_WRITTEN_TO = re.compile(r"(_DIR|_PATH|_FILE|_FOLDER)$|DUMP", re.IGNORECASE)
"""Names of properties that hold a path the engine may write to; ``CACHE_DIR`` is the one that is known."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is measured: the path handed to the engine, and what is known of it."""

    path: str
    provenance: Provenance
    context_tokens: int | None = None


def find_subject(model: str, *, engine: str, is_verified: bool = True) -> Subject:
    """The model at a path, checked file by file; under the scripted engine, the script itself.

    Raises:
        InputError: no model there, or files that are missing, truncated or not those that were converted.
    """
    if engine == "scripted":
        return Subject(
            path=model, provenance=Provenance(path=model, known=True, source="script", source_id="script")
        )
    if engine == "torch":
        return _published(Path(model).expanduser())
    found = ir.locate(model)
    ir.check_files(found)
    if is_verified:
        ir.verify(found)
    if engine == "core" and found.kind == "gguf":
        raise InputError(
            f"the core engine needs an IR; {found.path} is a GGUF file",
            hint=f"llmbench convert --model-id {found.path} --output-dir models",
        )
    origin = dataclasses.replace(ir.provenance(found), stamp=_stamp(found.path))
    return Subject(path=str(found.path), provenance=origin, context_tokens=found.context_tokens)


def _published(folder: Path) -> Subject:
    """A Hugging Face folder, as PyTorch runs it."""
    source = sources.inspect_folder(folder, trusts_remote_code=False)
    origin = Provenance(
        path=str(folder),
        known=True,
        source=source.kind,
        source_id=source.id,
        revision=source.revision,
        content_sha256=source.revision,
        context_tokens=ir.context_of_config(folder / "config.json"),
        stamp=_stamp(folder),
    )
    return Subject(path=str(folder), provenance=origin, context_tokens=origin.context_tokens)


def _stamp(model: Path) -> str:
    """A hash over names, sizes and times of a model's files."""
    files = sorted(file for file in model.iterdir() if file.is_file()) if model.is_dir() else [model]
    states = [(file.name, file.stat()) for file in files]
    lines = [f"{name}:{state.st_size}:{state.st_mtime_ns}\n" for name, state in states]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def check_memory(path: str) -> None:
    """Refuse, before loading, weights that memory cannot hold: the engine would be killed, or swap for hours.

    Raises:
        LaunchError: the files of weights are larger than the memory available.
    """
    place = Path(path)
    files = place.glob("*.bin") if place.is_dir() else [place]
    needed = sum(file.stat().st_size for file in files if file.is_file())
    available = exhaustion.available_bytes()
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
    quota = cgroup.read(root).cpus
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


def check_lengths(config: RunConfig, context_tokens: int | None) -> None:
    """Refuse, before loading, a synthetic input that the model's context does not hold."""
    longest = max((prompt.tokens or 0) for prompt in config.prompts)
    if context_tokens is not None and longest + config.output_tokens > context_tokens:
        raise InputError(
            f"{longest} input + {config.output_tokens} output tokens make {longest + config.output_tokens}; "
            f"the model's context holds {context_tokens}",
            hint="ask for fewer --input-tokens or a smaller -ic",
        )


def new_header(cells: tuple[RunConfig, ...], subject: Subject, *, name: str | None = None) -> Header:
    """The header of a run about to begin: its id, its configuration, this machine."""
    label = "scripted" if cells[0].engine == "scripted" else subject.path
    return Header(
        id=name or store.new_id(label),
        started_at=events.utc_now(),
        version=__version__,
        cells=cells,
        environment=environment.capture(),
        provenance=subject.provenance,
    )


def run_file_path(header: Header, folder: Path) -> Path:
    """Where a run is kept: ``<folder>/<id>.jsonl``."""
    name = header.id
    is_plain = name.isprintable() and "/" not in name and not name.startswith(".") and name == redact(name)
    return folder / f"{name if is_plain else store.slug(name)}.jsonl"


def record(
    file: RunFile,
    cells: tuple[RunConfig, ...],
    planned: Iterable[plan.PlannedLaunch],
    *,
    limits: Limits,
    context_tokens: int | None = None,
    keep_going: bool = False,
    must_split: bool = False,
) -> Generator[Event]:
    """Each event after it is on the disk; a failed launch is the last one unless *keep_going*.

    The next request begins when the next event is asked for. With *must_split* a launch is refused where tensor
    parallelism is asked for and splits nothing.
    """
    places = [place.find(config) for config in cells]
    for config in cells:
        check_quota(config)
    for model in {config.model for config in cells if config.engine != "scripted"}:
        check_memory(model)
    for launch in planned:
        task = runner.Task(
            planned=launch,
            config=cells[launch.cell],
            limits=limits,
            context_tokens=context_tokens,
            binding=places[launch.cell].binding,
            must_split=must_split,
        )
        has_failed = False
        for event in runner.run_launch(task):
            file.append(event)
            yield event
            has_failed = isinstance(event, LaunchEnded) and event.outcome is Outcome.FAILED
        if has_failed and not keep_going:
            break
    else:
        file.append(RunEnded(ended_at=events.utc_now()))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Resumption:
    """A run that was cut short, ready to go on.

    *cells* and *subject* are what it measures, *planned* the launches still to make. *aborted* are those to be marked
    so: they were cut short, or have lost a line, and are made again whole.
    """

    run: Run
    cells: tuple[RunConfig, ...]
    subject: Subject
    planned: tuple[plan.PlannedLaunch, ...]
    aborted: tuple[int, ...]


def find_resumption(contents: Contents, *, model: str | None = None) -> Resumption:
    """What is left to do of a run; *model* is where its model is now, ``None`` where it was.

    Raises:
        InputError: the machine, the software or the model has changed, or a secret that the run needs was not kept.
    """
    run = contents.run
    first = run.cells[0]
    _check_unredacted(run, model)
    if model is not None and run.origins:
        raise InputError("the run measures several models; -m names one", hint="put them where they were")
    subjects = _subjects(run, model)
    check_same(run, [subject.provenance for subject in subjects])
    whole = [launch for launch in run.launches if _is_whole(run, launch)]
    broken = {launch.index for launch in run.launches if launch.outcome is Outcome.FINISHED}
    broken -= {launch.index for launch in whole}
    next_index = max((launch.index for launch in run.launches), default=-1) + 1
    cells = run.cells
    if model is not None:
        cells = tuple(dataclasses.replace(cell, model=subjects[0].path) for cell in cells)
    return Resumption(
        run=run,
        cells=cells,
        subject=subjects[0],
        planned=plan.remaining(
            cells,
            {(launch.block, launch.cell) for launch in whole},
            next_index=next_index,
            seed=first.seed if len(cells) > 1 else None,
        ),
        aborted=tuple(sorted(broken.union(contents.unended))),
    )


def _is_whole(run: Run, launch: Launch) -> bool:
    """Whether a launch finished and has every measurement that was planned."""
    asked = {(request.iteration, request.prompt) for request in plan.requests(run.config_of(launch))}
    made = {(m.iteration, m.prompt) for m in launch.measurements}
    return launch.outcome is Outcome.FINISHED and made == asked


def _check_unredacted(run: Run, model: str | None) -> None:
    """Refuse a configuration in which a secret stood, which was not written down."""
    if model is None and REDACTED in run.provenance.path:
        raise InputError(
            "the path of the model held a secret, which was not kept", hint="give it again with -m"
        )
    kept = [dataclasses.replace(cell, model="") for cell in run.cells]
    if any(REDACTED in repr(cell) for cell in kept):
        raise InputError(
            "the configuration held a secret, which was not kept", hint="start a new run instead"
        )


def _subjects(run: Run, model: str | None) -> list[Subject]:
    """The models of a run as they are now, one a cell, or one for all."""
    cells = range(len(run.cells)) if run.origins else range(1)
    return [
        find_subject(
            model or run.origin_of(cell).path,
            engine=run.cells[cell].engine,
            is_verified=run.cells[cell].is_verified,
        )
        for cell in cells
    ]


def check_same(run: Run, origins: Sequence[Provenance]) -> None:
    """Refuse to go on with a run on another machine or with other models: its launches could not be pooled.

    *origins* are those of the models now, one a cell, or one for all.
    """
    now, then = environment.capture(), run.environment
    compared = {
        "llmbench": (run.version, __version__),
        "the CPU": (then.cpu_model, now.cpu_model),
        "the CPUs of the machine": (len(then.topology.cpus), len(now.topology.cpus)),
        "the sockets of the machine": (len(then.topology.sockets), len(now.topology.sockets)),
        "the CPUs this process may use": (then.topology.allowed, now.topology.allowed),
        "the kernel": (then.kernel, now.kernel),
        "the frequency governor": (then.governor, now.governor),
        "the environment variables of the engine": (
            redact_tree(dict(then.variables), ()),
            redact_tree(dict(now.variables), ()),
        ),
        "the model's files": (
            [_identity(run.origin_of(cell), run) for cell in range(len(origins))],
            [_identity(origin, run) for origin in origins],
        ),
        **{
            f"the version of {name}": (then.versions.get(name), now.versions.get(name))
            for name in ("openvino", "openvino-genai", "openvino-tokenizers", "python")
        },
    }
    changed = [f"{what} ({a} then, {b} now)" for what, (a, b) in compared.items() if a != b]
    if changed:
        raise InputError(
            f"cannot resume, for its launches could not be pooled; what changed: {'; '.join(changed)}",
            hint="start a new run instead",
        )


def _identity(origin: Provenance, run: Run) -> str | None:
    """What tells one model from another: the hash of its content where that was verified, else of sizes and times."""
    return origin.content_sha256 if origin.content_sha256 and run.cells[0].is_verified else origin.stamp


def planned_requests(cells: tuple[RunConfig, ...], planned: Sequence[plan.PlannedLaunch]) -> int:
    """How many requests some launches make."""
    counts = {index: sum(1 for _ in plan.requests(cell)) for index, cell in enumerate(cells)}
    return sum(counts[launch.cell] for launch in planned)
