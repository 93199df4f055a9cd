"""What is left to do of a run that was cut short, and whether its launches could be pooled with new ones."""

import dataclasses
from collections.abc import Sequence

from llmbench._version import __version__
from llmbench.errors import InputError
from llmbench.files.redaction import REDACTED, redact_tree
from llmbench.machine import environment
from llmbench.models.resolve import ModelInfo, complete, find_model_info, identity
from llmbench.runner import plan
from llmbench.schema.config import RunConfig
from llmbench.schema.limits import ResourceLimits, describe_limits
from llmbench.schema.run import Launch, Provenance, Run
from llmbench.store.reader import Contents


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Resumption:
    """A run that was cut short, ready to go on.

    *cells* and *model_infos* are what it measures and the model of each, *planned* the launches still to make.
    *aborted* are those to be marked so: they were cut short, or have lost a line, and are made again whole.
    """

    run: Run
    cells: tuple[RunConfig, ...]
    model_infos: tuple[ModelInfo, ...]
    planned: tuple[plan.PlannedLaunch, ...]
    aborted: tuple[int, ...]


def find_resumption(contents: Contents, *, model: str | None = None) -> Resumption:
    """What is left to do of a run; *model* is where its model is now, ``None`` where it was.

    Of several models *model* is a folder that contains all their IRs, identified by weight format.

    Raises:
        InputError: the machine, the software or the model has changed, or a secret that the run needs was not kept.
    """
    run = contents.run
    first = run.cells[0]
    _check_unredacted(run, model)
    model_infos = _model_infos(run, model)
    check_same(run, [model_info.provenance for model_info in model_infos])
    whole = [launch for launch in run.launches if _is_whole(run, launch)]
    broken = {launch.index for launch in run.finished}
    broken -= {launch.index for launch in whole}
    next_index = max((launch.index for launch in run.launches), default=-1) + 1
    cells = run.cells
    if model is not None:
        cells = tuple(
            dataclasses.replace(cell, model=model_info.path)
            for cell, model_info in zip(cells, model_infos, strict=True)
        )
    return Resumption(
        run=run,
        cells=cells,
        model_infos=model_infos,
        planned=plan.remaining(
            cells,
            {(launch.block, launch.cell) for launch in whole},
            next_index=next_index,
            seed=first.seed if len(cells) > 1 else None,
        ),
        aborted=tuple(sorted(broken.union(contents.unended))),
    )


def _is_whole(run: Run, launch: Launch) -> bool:
    requested = {(request.iteration, request.prompt) for request in plan.plan_requests(run.config_of(launch))}
    made = {(m.iteration, m.prompt) for m in launch.measurements}
    return launch.is_finished and (made == requested or run.workload.is_concurrent)


def _check_unredacted(run: Run, model: str | None) -> None:
    if model is None and any(REDACTED in origin.path for origin in (run.provenance, *run.origins)):
        raise InputError(
            "the path of the model contained a secret, which was not recorded", hint="give it again with -m"
        )
    kept = [dataclasses.replace(cell, model="") for cell in run.cells]
    if any(REDACTED in repr(cell) for cell in kept):
        raise InputError(
            "the configuration contained a secret, which was not recorded", hint="start a new run instead"
        )


def _model_infos(run: Run, model: str | None) -> tuple[ModelInfo, ...]:
    """The model of each cell of a run as it is now; each is looked at once."""
    if run.origins and model is not None and not all(cell.weight_format for cell in run.cells):
        raise InputError("the run measures several models; -m names one", hint="put them where they were")
    found: dict[tuple[str, str | None], ModelInfo] = {}
    model_infos = []
    for number, cell in enumerate(run.cells):
        weight_format = cell.weight_format if run.origins and model is not None else None
        location = model or run.origin_of(number).path
        if (location, weight_format) not in found:
            found[location, weight_format] = find_model_info(
                location,
                engine=cell.engine,
                is_verified=cell.is_verified,
                weight_format=weight_format,
                task=cell.task,
                trusts_code=cell.trusts_recipe_code,
            )
        model_infos.append(complete(found[location, weight_format], cell))
    return tuple(model_infos)


def _limits(then: ResourceLimits | None, now: ResourceLimits | None) -> dict[str, tuple[str, str]]:
    """Each limit that changes latency, then and now; nothing where one was not recorded."""
    if then is None or now is None:
        return {}
    before, after = describe_limits(then), describe_limits(now)
    return {f"the {name}": (before[name], after[name]) for name in before if name != "memory limit"}


def check_same(run: Run, origins: Sequence[Provenance]) -> None:
    """Refuse to go on with a run on another machine or with other models: its launches could not be pooled.

    *origins* are those of the models now, one per cell.
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
        **{
            f"the {name}": (then.settings[name], now.settings[name])
            for name in then.settings.keys() & now.settings.keys() - {"frequency governor"}
        },
        **_limits(then.limits, now.limits),
        "the environment variables of the engine": (
            redact_tree(dict(then.variables), ()),
            redact_tree(dict(now.variables), ()),
        ),
        "the model's files": (
            [
                identity(run.origin_of(cell), is_verified=config.is_verified)
                for cell, config in enumerate(run.cells)
            ],
            [
                identity(origin, is_verified=config.is_verified)
                for origin, config in zip(origins, run.cells, strict=True)
            ],
        ),
        "the draft model and the adapters": (
            [run.origin_of(cell).companions for cell in range(len(origins))],
            [origin.companions for origin in origins],
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
