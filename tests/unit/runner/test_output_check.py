"""The tokens of a loaded engine against those that the model's manifest expects."""

import dataclasses
from pathlib import Path
from typing import Any, cast

import pytest

from llmbench.engines.base import EngineRequest, EngineSession
from llmbench.engines.scripted import ScriptedEngine
from llmbench.errors import StrictError
from llmbench.models.manifest import GreedyTokens, Manifest, ModelSource, Recipe, write_manifest
from llmbench.runner.output_check import check_greedy_tokens
from llmbench.schema.config import Prompt, RunConfig

EXPECTED = GreedyTokens(
    prompt=(1, 2, 3), tokens={"pa": (), "sdpa": ()}, sure=3, agreement={"pa": 1.0, "sdpa": 1.0}
)


@pytest.fixture
def session() -> EngineSession:
    """A loaded engine that always chooses the same tokens."""
    prompt = Prompt(set="check", index=0, tokens=1)
    return ScriptedEngine().open(RunConfig(model="first=1ms,next=1ms", engine="scripted", prompts=(prompt,)))


@pytest.fixture
def chosen(session: EngineSession) -> tuple[int, ...]:
    """What it chooses after the manifest's prompt."""
    made = session.generate(EngineRequest(input_ids=(EXPECTED.prompt,), output_tokens=6))
    return made.sequences[0].token_ids


def _model(folder: Path, expected: GreedyTokens | None) -> Path:
    manifest = Manifest(
        schema=1,
        created_at="2026-01-02T03:04:05+00:00",
        source=ModelSource(kind="folder", id="m"),
        recipe=Recipe(weight_format="fp16"),
        versions={},
        context_tokens=None,
        files={},
        expected=expected,
    )
    write_manifest(folder, manifest)
    return folder


def _check(
    folder: Path,
    session: EngineSession,
    *,
    expected: GreedyTokens | None,
    is_strict: bool = False,
    **changes: Any,
) -> tuple[str, ...]:
    prompt = Prompt(set="check", index=0, tokens=1)
    config = RunConfig(model=str(_model(folder, expected)), prompts=(prompt,), **changes)
    return check_greedy_tokens(config, cast("EngineSession", session), is_strict=is_strict)


def _with(tokens: tuple[int, ...], **changes: Any) -> GreedyTokens:
    return dataclasses.replace(EXPECTED, tokens={"pa": tokens, "sdpa": tokens}, **changes)


def test_equal_tokens_are_no_news(tmp_path: Path, session: EngineSession, chosen: tuple[int, ...]) -> None:
    """Nor are those that differ only where the model was not sure."""
    assert () == _check(tmp_path, session, expected=_with(chosen))
    assert () == _check(tmp_path, session, expected=_with((*chosen[:2], 77, 78), sure=2))


def test_other_tokens_are_reported_and_refused_when_strict(
    tmp_path: Path, session: EngineSession, chosen: tuple[int, ...]
) -> None:
    """Both rows are named; in the case of --strict nothing is measured."""
    other = _with((chosen[0] + 1, *chosen[1:]))

    (note,) = _check(tmp_path, session, expected=other)

    assert note.startswith(f"WRONG TOKENS: the first greedy tokens are {list(chosen[:3])}")
    with pytest.raises(StrictError, match="the manifest expects"):
        _check(tmp_path, session, expected=other, is_strict=True)


def test_what_convert_found_is_reported(
    tmp_path: Path, session: EngineSession, chosen: tuple[int, ...]
) -> None:
    """Of the kind of attention in use; the other one is the remedy."""
    known = _with(chosen, agreement={"pa": 0.25, "sdpa": 1.0})

    (note,) = _check(tmp_path, session, expected=known)

    assert "25% agreed" in note
    assert "use --attention sdpa" in note
    assert () == _check(tmp_path, session, expected=known, attention="sdpa")
    assert () == _check(tmp_path, session, expected=known, engine="core", attention="sdpa")


@pytest.mark.parametrize(
    "changes",
    [
        {"warmups": 0},
        {"do_sample": True},
        {"num_beams": 2},
        {"lora": ("a.safetensors",)},
        {"engine": "torch"},
    ],
)
def test_what_cannot_be_compared_is_not(
    changes: dict[str, Any], tmp_path: Path, session: EngineSession, chosen: tuple[int, ...]
) -> None:
    """A first request that is measured stays the first; sampled and adapted tokens are others."""
    assert () == _check(tmp_path, session, expected=_with((chosen[0] + 1, *chosen[1:])), **changes)
    assert () == _check(tmp_path, session, expected=None)
