"""What each engine can do, as data; what it cannot is refused before anything is loaded."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import cast

from llmbench.engines.base import Engine
from llmbench.errors import InputError
from llmbench.schema.config import COMPILER, RunConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Ability:
    """Something that not every engine can do: its name in a sentence, its option, and whether it is asked for."""

    name: str
    option: str
    is_asked: Callable[[RunConfig], bool]


PAGED = Ability(name="paged attention", option="--attention pa", is_asked=lambda c: c.attention == "pa")
SCHEDULER = Ability(name="a scheduler", option="--cb-config", is_asked=lambda c: bool(c.scheduler))
BATCH = Ability(name="batches", option="-bs", is_asked=lambda c: c.batch_size > 1)
BEAMS = Ability(name="beam search", option="--num-beams", is_asked=lambda c: c.num_beams > 1)
SAMPLING = Ability(name="sampling", option="--do-sample", is_asked=lambda c: c.do_sample)
STREAMING = Ability(name="streaming", option="--streaming", is_asked=lambda c: c.is_streamed)
DRAFT = Ability(
    name="speculative decoding", option="--draft-model", is_asked=lambda c: c.draft_model is not None
)
LOOKUP = Ability(
    name="prompt lookup", option="--max-ngram-size", is_asked=lambda c: c.max_ngram_size is not None
)
ADAPTERS = Ability(name="LoRA adapters", option="--lora", is_asked=lambda c: bool(c.lora))
EARLY_END = Ability(
    name="an early end of text", option="--end-token-stopping", is_asked=lambda c: c.stop_at_eos
)
COMPILING = Ability(
    name="torch.compile", option="--torch-compile", is_asked=lambda c: COMPILER in c.properties
)

ABILITIES = (
    *(PAGED, SCHEDULER, BATCH, BEAMS, SAMPLING, DRAFT, LOOKUP),
    *(ADAPTERS, STREAMING, EARLY_END, COMPILING),
)
"""Every ability, in the order in which a lack of it is told."""

CAN: dict[str, frozenset[Ability]] = {
    "genai with pa": frozenset(
        {PAGED, SCHEDULER, BATCH, BEAMS, SAMPLING, DRAFT, LOOKUP, ADAPTERS, STREAMING, EARLY_END}
    ),
    "genai with sdpa": frozenset({BATCH, SAMPLING, ADAPTERS, STREAMING, EARLY_END}),
    "core": frozenset({BATCH, EARLY_END}),
    "optimum": frozenset({BATCH, BEAMS, SAMPLING, EARLY_END}),
    "torch": frozenset({BATCH, BEAMS, SAMPLING, EARLY_END, COMPILING}),
    "scripted": frozenset({PAGED, BATCH, LOOKUP, EARLY_END}),
}
"""What each way to run a model can do; GenAI has two, by the kind of attention.

SDPA could search with beams, but the forward passes it tells then are 40 % of the time (seen with GenAI 2026.4.1).
"""

_SPOKEN = {"genai with pa": "GenAI's paged attention", "genai with sdpa": "GenAI's SDPA"}
_UNCOUNTED = "the engine counts tokens it threw away again, so its steps do not add up"
_UNATTRIBUTED = "the engine does not tell how many tokens of a step each sequence got"
_CLASHES: tuple[tuple[tuple[Ability, ...], str], ...] = (
    ((BEAMS, DRAFT), "a draft is checked against one sequence, not against beams"),
    ((BEAMS, LOOKUP), "a guess is checked against one sequence, not against beams"),
    ((SAMPLING, DRAFT), _UNCOUNTED),
    ((SAMPLING, LOOKUP), _UNCOUNTED),
    ((BATCH, DRAFT), _UNATTRIBUTED),
    ((BATCH, LOOKUP), _UNATTRIBUTED),
    ((BEAMS, SAMPLING), "beam search chooses by the sum of probabilities and does not sample"),
    ((BEAMS, STREAMING), "no token of a beam search is final before its end, so nothing can be streamed"),
    ((BATCH, STREAMING), "GenAI streams a single sequence only"),
    (
        (BATCH, BEAMS, EARLY_END),
        "the engine does not tell which search of a batch ended when, so they must have the same length",
    ),
)
"""Abilities that do not go together in any engine, and why."""


def backend(config: RunConfig) -> str:
    """The way to run a model that a configuration names: a key of `CAN`."""
    return f"genai with {config.attention}" if config.engine == "genai" else config.engine


def check_abilities(config: RunConfig) -> None:
    """Raise an InputError that names what the engine cannot do, and what can."""
    asked = [ability for ability in ABILITIES if ability.is_asked(config)]
    able = CAN[backend(config)]
    lacking = [ability for ability in asked if ability not in able]
    if lacking:
        names = " and ".join(f"{ability.name} ({ability.option})" for ability in lacking)
        raise InputError(f"{_spoken(backend(config))} has no {names}", hint=_advice(asked))
    for together, why in _CLASHES:
        if all(ability in asked for ability in together):
            options = " and ".join(ability.option for ability in together)
            raise InputError(f"{options} do not go together: {why}", hint="leave one of them out")


def _spoken(name: str) -> str:
    """A way to run a model as a sentence names it."""
    return _SPOKEN.get(name, f"the {name} engine")


def _advice(asked: list[Ability]) -> str:
    """Which engines can do all that was asked, as options; paged attention is GenAI's default, and may be given up."""
    able = list(_able(frozenset(asked))) or list(_able(frozenset(asked) - {PAGED}))
    if not able:
        return "no engine does all of it at once; leave something out"
    return f"use {' or '.join(able)}"


def _able(asked: frozenset[Ability]) -> Iterator[str]:
    """The options that choose each engine with all these abilities; the one that is only a script is left out."""
    for name, abilities in CAN.items():
        if asked <= abilities and name != "scripted":
            engine, _, attention = name.partition(" with ")
            yield f"--engine {engine}" + (f" --attention {attention}" if attention else "")


_MODULES = {
    "genai": ("openvino.genai", "GenaiEngine"),
    "core": ("openvino.core", "CoreEngine"),
    "optimum": ("transformers.optimum", "OptimumEngine"),
    "torch": ("transformers.torch", "TorchEngine"),
    "scripted": ("scripted", "ScriptedEngine"),
}


def find_engine(name: str) -> Engine:
    """The engine of that name; its packages are imported here, not before."""
    module, kind = _MODULES[name]
    return cast("Engine", getattr(import_module(f"llmbench.engines.{module}"), kind)())
