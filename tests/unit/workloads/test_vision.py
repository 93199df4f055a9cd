"""Questions about images: what goes to the engine, and what is observed of its answer."""

import dataclasses
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import cast

import pytest

from llmbench.engines.base import Generation
from llmbench.engines.scripted import ScriptedSession, read_script
from llmbench.errors import InputError
from llmbench.schema import measurement
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.measurement import Stage, StageSource
from llmbench.schema.units import Nanoseconds
from llmbench.workloads.base import LaunchContext, find_workload
from llmbench.workloads.images import describe_image
from llmbench.workloads.vision import OpenVision, VisionWorkload, stage_doubts
from tests import pictures

CONTEXT = LaunchContext(index=0, beat=lambda _tokens, _at_ns: None)


def config(folder: Path, *prompts: Prompt, **changes: object) -> RunConfig:
    image = describe_image(pictures.picture(folder / "a.png", 40, 30))
    found = prompts or (Prompt(set="text", index=0, text="what is it"),)
    with_images = tuple(dataclasses.replace(prompt, images=(image,)) for prompt in found)
    return RunConfig(model=str(folder), prompts=with_images, engine="scripted", output_tokens=4, **changes)  # type: ignore[arg-type]


def opened(found: RunConfig, context_tokens: int | None = None) -> OpenVision:
    session = ScriptedSession(read_script("first=10ms,next=1ms,vision=1ms"), found)
    context = dataclasses.replace(CONTEXT, context_tokens=context_tokens)
    return find_workload("vision").open(found, session, context)  # type: ignore[return-value]


def generation(first_ms: float, stages_ms: Sequence[float], source: StageSource) -> Generation:
    names = ("tokenization", "vision_encoder", "text_embedding", "prefill")
    return Generation(
        start_ns=Nanoseconds(0),
        end_ns=Nanoseconds(10**10),
        sequences=(measurement.Sequence(input_tokens=9, at_ns=(Nanoseconds(round(first_ms * 1e6)),)),),
        stages=tuple(
            Stage(name=name, duration_ns=round(ms * 1e6), source=source)
            for name, ms in zip(names, stages_ms, strict=False)
        ),
    )


def test_image_tokens_are_those_beyond_the_text(tmp_path: Path) -> None:
    """1,200 pixels are 6 tokens of the scripted engine; with 2 tokens a slice these are 3 slices."""
    (tmp_path / "config.json").write_text(json.dumps({"mm_tokens_per_image": 2}))
    request = opened(config(tmp_path)).prepare(0, 1)
    request.run()

    observed = request.observe()

    (sequence,) = observed.sequences
    assert (9, 6, 3) == (sequence.input_tokens, sequence.image_tokens, sequence.image_slices)
    assert ["tokenization", "vision_encoder", "text_embedding", "prefill"] == [
        s.name for s in observed.stages
    ]
    assert observed.image_decoding_ns
    assert () == observed.suspicions


def test_slices_are_unknown_where_the_model_does_not_tell_their_tokens(tmp_path: Path) -> None:
    """Its configuration may say nothing of them."""
    request = opened(config(tmp_path)).prepare(0, 1)
    request.run()

    assert request.observe().sequences[0].image_slices is None


def test_later_turns_of_a_chat_have_no_image_of_their_own(tmp_path: Path) -> None:
    """The engine has it from the first turn."""
    turns = (
        Prompt(set="c", index=0, text="what is it", earlier=()),
        Prompt(set="c", index=0, text="and now", earlier=("what is it",)),
    )
    work = opened(config(tmp_path, *turns))

    calls = (cast("partial[Generation]", work.prepare(number, 0).call) for number in (0, 1))
    first, later = (call.args[0].question for call in calls)

    assert first is not None
    assert later is not None
    assert [(1, True, False), (0, True, True)] == [
        (len(found.images), found.is_chat, found.is_later) for found in (first, later)
    ]
    request = work.prepare(1, 0)
    request.run()
    assert request.observe().image_decoding_ns is None


@pytest.mark.parametrize(
    ("first_ms", "stages_ms", "source", "is_doubted"),
    [
        (1000, (5, 600, 5, 380), StageSource.ENGINE, False),
        (1000, (5, 600, 5, 369), StageSource.ENGINE, True),
        (1000, (5, 600, 5, 411), StageSource.ENGINE, True),
        (20, (1, 4, 1, 10), StageSource.ENGINE, False),
        (1000, (5, 600, 5, 200), StageSource.CLOCK, False),
        (1000, (5, 600), StageSource.ENGINE, False),
    ],
    ids=["1 %", "2.1 % less", "2.1 % more", "4 ms", "our own clock", "prefilled in chunks"],
)
def test_stages_and_first_token_agree_within_two_percent(
    *, first_ms: float, stages_ms: tuple[float, ...], source: StageSource, is_doubted: bool
) -> None:
    """Else the measurement says which clock reported what."""
    doubts = list(stage_doubts(generation(first_ms, stages_ms, source)))

    assert is_doubted == bool(doubts)
    if doubts:
        assert f"the engine's stages add up to {sum(stages_ms)} ms" in doubts[0]
        assert "the first token came after 1000 ms on our clock (tokenization 5 ms, " in doubts[0]


def test_images_beyond_the_context_are_refused_before_loading(tmp_path: Path) -> None:
    """10 tokens of text and output are left beside images of 100 tokens each."""
    (tmp_path / "config.json").write_text(json.dumps({"mm_tokens_per_image": 100}))
    found = config(tmp_path)
    session = ScriptedSession(read_script("first=1ms"), found)

    VisionWorkload().check(found, session, 107)
    with pytest.raises(
        InputError, match=r"1 x 100 or more tokens of images, 3 tokens of text and 4 output .* 107"
    ):
        VisionWorkload().check(found, session, 106)
    VisionWorkload().check(dataclasses.replace(found, ignores_context_limit=True), session, 106)


class _Template(ScriptedSession):
    """A codec whose template drops what is no plain word."""

    def encode(self, text: str, *, chat: bool) -> tuple[int, ...]:
        kept = " ".join(word for word in text.split() if word.isalpha()) if chat else text
        return super().encode(kept, chat=chat)


def test_a_template_that_drops_the_image_token_is_refused(tmp_path: Path) -> None:
    """Only where a template is applied."""
    (tmp_path / "config.json").write_text(json.dumps({"image_token_index": 7}))
    (tmp_path / "tokenizer.json").write_text(json.dumps({"added_tokens": [{"id": 7, "content": "<image>"}]}))
    found = config(tmp_path, apply_chat_template=True)
    script = read_script("first=1ms")

    VisionWorkload().check(found, ScriptedSession(script, found), None)
    VisionWorkload().check(
        dataclasses.replace(found, apply_chat_template=False), _Template(script, found), None
    )
    with pytest.raises(InputError, match="has no image token: it drops '<image>'"):
        VisionWorkload().check(found, _Template(script, found), None)
