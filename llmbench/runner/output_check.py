"""Does the loaded engine choose the tokens that the model's manifest expects? Checked before anything is measured.

The check is one short request, after loading and outside every measurement; it is left out where the first request
would be measured, and where tokens are not chosen greedily from the model alone.
"""

from pathlib import Path
from typing import cast

from llmbench.engines.base import EngineRequest, EngineSession, LoadedModel
from llmbench.errors import StrictError
from llmbench.models.manifest import LEAST_AGREEMENT, GreedyTokens, read_manifest
from llmbench.schema.config import RunConfig
from llmbench.schema.engines import ModelKind
from llmbench.schema.run import WRONG_TOKENS

_CHECKED = 4
"""Tokens compared at most: later ones depend on the rounding of earlier ones."""

_TITLES = {"pa": "paged attention", "sdpa": "SDPA"}


def check_greedy_tokens(config: RunConfig, session: LoadedModel, *, is_strict: bool) -> tuple[str, ...]:
    """Return a sentence if the effective settings give other tokens than the model; with *is_strict* refuse it.

    Raises:
        StrictError: the sentence, and what to do.
    """
    expected = _expected(config)
    if expected is None:
        return ()
    fault = _known_fault(config, expected) or _observed_fault(
        config, cast("EngineSession", session), expected
    )
    if fault is None:
        return ()
    if is_strict:
        raise StrictError(fault, hint=_remedy(config, expected))
    return (f"{WRONG_TOKENS}: {fault}; {_remedy(config, expected)}",)


def _expected(config: RunConfig) -> GreedyTokens | None:
    """Return what the manifest expects; ``None`` where there is none, or tokens come from elsewhere."""
    if not config.task_info.is_generating:
        return None
    info = config.engine_info
    if ModelKind.IR not in info.models or "text" not in info.workloads or not Path(config.model).is_dir():
        return None
    if config.do_sample or config.num_beams > 1 or (config.lora and not config.is_lora_idle):
        return None
    manifest = read_manifest(Path(config.model))
    return None if manifest is None else manifest.expected


def _known_fault(config: RunConfig, expected: GreedyTokens) -> str | None:
    """Return what ``convert`` found of this kind of attention, in GenAI, which alone has two."""
    if len(config.engine_info.capabilities) < 2:
        return None
    share = expected.agreement.get(config.attention)
    if share is None or share >= LEAST_AGREEMENT:
        return None
    return (
        f"{_TITLES[config.attention]} chooses other tokens than this model does: {share:.0%} agreed when it was "
        "converted"
    )


def _observed_fault(config: RunConfig, session: EngineSession, expected: GreedyTokens) -> str | None:
    """Return how the first greedy tokens differ from those expected, as far as the model was sure of them."""
    wanted = next(iter(_right(expected).values()), ())[: min(expected.sure, _CHECKED)]
    if not wanted or config.warmups == 0:
        return None
    made = session.generate(EngineRequest(input_ids=(expected.prompt,), output_tokens=len(wanted)))
    found = made.sequences[0].token_ids[: len(wanted)]
    if found == wanted:
        return None
    return f"the first greedy tokens are {list(found)}; the manifest expects {list(wanted)}"


def _right(expected: GreedyTokens) -> dict[str, tuple[int, ...]]:
    return {kind: row for kind, row in expected.tokens.items() if expected.agreement[kind] >= LEAST_AGREEMENT}


def _remedy(config: RunConfig, expected: GreedyTokens) -> str:
    able = [kind for kind in _right(expected) if kind != config.attention]
    if len(config.engine_info.capabilities) > 1 and able and config.attention not in _right(expected):
        return f"use --attention {able[0]}"
    return (
        "the engine or its properties compute something else: compare with -lc EXECUTION_MODE_HINT=ACCURACY"
    )
