"""Measure and keep: what the runner yields goes to the run file before the next request begins."""

import dataclasses
from collections.abc import Generator, Iterable, Sequence
from pathlib import Path

from llmbench import events, ir, place, plan, runner, store
from llmbench._version import __version__
from llmbench.config import RunConfig
from llmbench.errors import InputError
from llmbench.events import Header, LaunchEnded, RunEnded
from llmbench.run import Outcome, Provenance, Run
from llmbench.run_file import RunFile
from llmbench.runner import Event, Limits
from llmbench.system import environment


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
    found = ir.locate(model)
    ir.check_files(found)
    if is_verified:
        ir.verify(found)
    if engine == "core" and found.kind == "gguf":
        raise InputError(
            f"the core engine needs an IR; {found.path} is a GGUF file",
            hint=f"llmbench convert --model-id {found.path} --output-dir models",
        )
    return Subject(path=str(found.path), provenance=ir.provenance(found), context_tokens=found.context_tokens)


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
    return folder / f"{store.slug(header.id) if '/' in header.id else header.id}.jsonl"


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


def unfinished(run: Run) -> tuple[plan.PlannedLaunch, ...]:
    """The launches that a run cut short has still to make; one that was begun is made again, whole."""
    finished = [launch.cell for launch in run.launches if launch.outcome is Outcome.FINISHED]
    next_index = max((launch.index for launch in run.launches), default=-1) + 1
    return plan.remaining(run.cells, finished, next_index=next_index)


def check_same(run: Run, subject: Subject) -> None:
    """Refuse to go on with a run on another machine or another model: its launches could not be pooled."""
    now = environment.capture()
    then = run.environment
    for what, before, after in (
        ("the CPU", then.cpu_model, now.cpu_model),
        ("the number of CPUs", len(then.topology.cpus), len(now.topology.cpus)),
        ("the CPUs this process may use", then.topology.allowed, now.topology.allowed),
        ("the model's content", run.provenance.content_sha256, subject.provenance.content_sha256),
        ("the engine's version", then.versions.get("openvino"), now.versions.get("openvino")),
        ("GenAI's version", then.versions.get("openvino-genai"), now.versions.get("openvino-genai")),
    ):
        if before != after:
            raise InputError(
                f"cannot resume: {what} was {before} and is {after}", hint="start a new run instead"
            )


def planned_requests(cells: tuple[RunConfig, ...], planned: Sequence[plan.PlannedLaunch]) -> int:
    """How many requests some launches make."""
    counts = {index: sum(1 for _ in plan.requests(cell)) for index, cell in enumerate(cells)}
    return sum(counts[launch.cell] for launch in planned)
