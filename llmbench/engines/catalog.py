"""Find an engine by its name, and refuse what it cannot do before anything is loaded."""

from collections.abc import Callable, Iterator
from importlib import import_module
from typing import cast

from llmbench.engines.base import Engine
from llmbench.errors import InputError
from llmbench.files.package_data import check_installed
from llmbench.schema.config import RunConfig
from llmbench.schema.engines import ENGINES, Capability
from llmbench.schema.settings.any_workload import COMPILER

_IS_REQUESTED: dict[Capability, Callable[[RunConfig], bool]] = {
    Capability.PAGED: lambda c: c.attention == "pa",
    Capability.SCHEDULER: lambda c: bool(c.scheduler),
    Capability.BATCH: lambda c: c.batch_size > 1,
    Capability.BEAMS: lambda c: c.num_beams > 1,
    Capability.SAMPLING: lambda c: c.do_sample,
    Capability.DRAFT: lambda c: c.draft_model is not None,
    Capability.LOOKUP: lambda c: c.max_ngram_size is not None,
    Capability.ADAPTERS: lambda c: bool(c.lora),
    Capability.STREAMING: lambda c: c.is_streamed,
    Capability.EARLY_END: lambda c: c.stop_at_eos,
    Capability.COMPILING: lambda c: COMPILER in c.properties,
    Capability.IMAGES: lambda c: c.has_images,
}

_UNCOUNTED = "the engine counts tokens it threw away again, so its steps do not add up"
_UNATTRIBUTED = "the engine does not report how many tokens of a step each sequence got"
_CLASHES: tuple[tuple[tuple[Capability, ...], str], ...] = (
    ((Capability.BEAMS, Capability.DRAFT), "a draft is checked against one sequence, not against beams"),
    ((Capability.BEAMS, Capability.LOOKUP), "a guess is checked against one sequence, not against beams"),
    ((Capability.SAMPLING, Capability.DRAFT), _UNCOUNTED),
    ((Capability.SAMPLING, Capability.LOOKUP), _UNCOUNTED),
    ((Capability.BATCH, Capability.DRAFT), _UNATTRIBUTED),
    ((Capability.BATCH, Capability.LOOKUP), _UNATTRIBUTED),
    (
        (Capability.BEAMS, Capability.SAMPLING),
        "beam search chooses by the sum of probabilities and does not sample",
    ),
    (
        (Capability.BEAMS, Capability.STREAMING),
        "no token of a beam search is final before its end, so nothing can be streamed",
    ),
    ((Capability.BATCH, Capability.STREAMING), "GenAI can stream only one sequence"),
    ((Capability.IMAGES, Capability.BATCH), "a request with images has one sequence"),
    *(
        ((Capability.IMAGES, other), f"vision-language models are measured without {other.title}")
        for other in (Capability.BEAMS, Capability.DRAFT, Capability.LOOKUP, Capability.ADAPTERS)
    ),
    (
        (Capability.BATCH, Capability.BEAMS, Capability.EARLY_END),
        "the engine does not report when each search of a batch ended, so they must have the same length",
    ),
)
"""Capabilities that exclude each other in every engine, and why."""

_ATTENTIONS = {"pa": "paged attention", "sdpa": "SDPA"}


def find_engine(name: str, workload: str = "text") -> Engine:
    """Return the engine of that name for a kind of work; its packages are imported here, not before.

    Raises:
        InputError: it does not do this kind of work.
    """
    factory = ENGINES[name].factory_of(workload)
    if factory is None:
        able = [
            other for other, info in ENGINES.items() if not info.is_simulated and info.factory_of(workload)
        ]
        raise InputError(
            f"{ENGINES[name].title} does not do {workload}", hint=f"use --engine {' or '.join(able)}"
        )
    module, _, kind = factory.partition(":")
    return cast("Engine", getattr(import_module(f"llmbench.engines.{module}"), kind)())


def check_capabilities(config: RunConfig) -> None:
    """Raise an InputError that names what the engine cannot do, and what can."""
    requested = [capability for capability in Capability if _IS_REQUESTED[capability](config)]
    info = config.engine_info
    able = info.capabilities_with(config.attention)
    lacking = [capability for capability in requested if capability not in able]
    if lacking:
        has_choice = len(info.capabilities) > 1
        title = f"{info.title}'s {_ATTENTIONS[config.attention]}" if has_choice else info.title
        names = " and ".join(f"{capability.title} ({capability.option})" for capability in lacking)
        raise InputError(f"{title} has no {names}", hint=_advice(frozenset(requested)))
    for together, why in _CLASHES:
        if set(together) <= set(requested):
            options = " and ".join(capability.option for capability in together)
            raise InputError(f"{options} do not go together: {why}", hint="leave one of them out")


def check_packages(config: RunConfig, *additional: str) -> None:
    """Raise a MachineError that names what of the engine's packages and *additional* ones is not installed."""
    info = config.engine_info
    check_installed((*info.packages, *additional), user=info.title, extra=info.extra)


def _advice(requested: frozenset[Capability]) -> str:
    """Which engines can do all of it; paged attention is GenAI's default, and may be given up."""
    able = list(_able(requested)) or list(_able(requested - {Capability.PAGED}))
    return f"use {' or '.join(able)}" if able else "no engine does all of it at once; leave something out"


def _able(requested: frozenset[Capability]) -> Iterator[str]:
    for name, info in ENGINES.items():
        for attention, capabilities in info.capabilities.items():
            if requested <= capabilities and "text" in info.workloads and not info.is_simulated:
                choice = f" --attention {attention}" if len(info.capabilities) > 1 else ""
                yield f"--engine {name}{choice}"
