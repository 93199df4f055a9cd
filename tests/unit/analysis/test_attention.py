import dataclasses
from collections.abc import Callable

import pytest

from llmbench.analysis import attention
from llmbench.analysis.report import summarize_run
from llmbench.schema.attention import CACHED, PAGED, PLAIN, AttentionProof, Fusion
from llmbench.schema.run import WRONG_TOKENS, EffectiveSettings, Run
from tests.unit.analysis.comparison.test_compare import compared

BuildRun = Callable[..., Run]


def settings(kind: str | None, fused: int = 30, **proof: str) -> EffectiveSettings:
    """Effective settings of a model of 30 layers."""
    fusion = Fusion(fused=fused, layers=30)
    return EffectiveSettings(
        attention=kind, attention_proof=AttentionProof(evidence="engine log", fusion=fusion, **proof)
    )


def using(run: Run, effective: EffectiveSettings) -> Run:
    """The run, with these settings in every launch."""
    launches = tuple(
        dataclasses.replace(
            launch,
            effective=dataclasses.replace(
                launch.effective,
                attention=effective.attention,
                attention_proof=effective.attention_proof,
            ),
        )
        for launch in run.launches
    )
    return dataclasses.replace(run, launches=launches)


GOOD = settings(PAGED)
FALLBACK = settings(PLAIN, 0, fallback="why")
FUSED_ATTENTION = "fused attention (SDPA)"
THAN_NEEDED = "than they need to"


@pytest.mark.parametrize(
    ("effective", "marks", "words"),
    [
        (GOOD, (), ""),
        (settings(CACHED, request="--attention sdpa"), (), ""),
        (EffectiveSettings(attention="SDPA"), (), ""),
        (
            FALLBACK,
            ("attention=fallback",),
            "FALLBACK: plain attention was used instead of paged attention, the default: why: only 0 of 30 layers use "
            + FUSED_ATTENTION,
        ),
        (
            settings(CACHED, fallback="a linear model"),
            ("attention=fallback",),
            "FALLBACK: SDPA with KV cache was used instead of paged attention, the default: a linear model",
        ),
        (
            settings(CACHED, 28),
            ("attention=plain",),
            f"PLAIN ATTENTION: only 28 of 30 layers use {FUSED_ATTENTION}, so next tokens take longer {THAN_NEEDED}",
        ),
    ],
)
def test_what_is_not_the_best_attention_stands_beside_every_figure(
    story_of: BuildRun, effective: EffectiveSettings, marks: tuple[str, ...], words: str
) -> None:
    """An alarm of the run, and a mark of each row; older runs without a proof have neither."""
    report = summarize_run(using(story_of(), effective))

    assert [words] * bool(words) == [
        text for text in report.alarms if "ATTENTION" in text or "FALLBACK" in text
    ]
    assert {marks} == {row.marks for row in report.rows}


@pytest.mark.parametrize(
    ("effective", "marks"), [(GOOD, ("tokens=wrong",)), (FALLBACK, ("tokens=wrong", "attention=fallback"))]
)
def test_wrong_tokens_stand_beside_every_figure(
    story_of: BuildRun, effective: EffectiveSettings, marks: tuple[str, ...]
) -> None:
    """An alarm before any other of the attention, once for all launches, and a mark of each row."""
    note = f"{WRONG_TOKENS}: paged attention chooses other tokens than this model does"
    run = using(story_of(), effective)
    launches = tuple(
        dataclasses.replace(launch, effective=dataclasses.replace(launch.effective, notes=("a note", note)))
        for launch in run.launches
    )
    report = summarize_run(dataclasses.replace(run, launches=launches))

    assert 1 == report.alarms.count(note)
    assert {marks} == {row.marks for row in report.rows}


@pytest.mark.parametrize(
    ("effective", "text"),
    [
        (GOOD, "paged attention (default)"),
        (settings(CACHED, request="--attention sdpa"), "SDPA with KV cache (--attention sdpa)"),
        (FALLBACK, "plain attention, 0 of 30 layers fused (instead of paged attention)"),
        (EffectiveSettings(attention="SDPA"), "SDPA"),
    ],
)
def test_a_description_has_kind_layers_and_request(effective: EffectiveSettings, text: str) -> None:
    """Layers only where not all are fused."""
    assert text == attention.describe_attention(effective)


def test_a_comparison_lists_a_change_of_attention_first(story_of: BuildRun) -> None:
    """Before threads and versions, and as a doubt beside the verdict, since the same attention was requested."""
    base = using(story_of(), GOOD)
    after = dataclasses.replace(
        using(story_of(), FALLBACK),
        environment=dataclasses.replace(base.environment, kernel="6.2", versions={"openvino": "2026.5.0"}),
    )

    found = compared(base, after)

    first, *others = found.changes
    change = "paged attention (default)", "plain attention, 0 of 30 layers fused (instead of paged attention)"
    assert ("effective: attention", *change) == (first.name, first.base, first.candidate)
    assert {"openvino", "kernel"} <= {each.name for each in others}
    assert f"the attention changed, though none was requested: {' -> '.join(change)}" in found.doubts


def test_attention_that_was_requested_is_listed_and_no_doubt(story_of: BuildRun) -> None:
    """Who names two kinds of attention compares them."""
    base = using(story_of(), GOOD)
    after = using(story_of(), settings(CACHED, request="--attention sdpa"))
    cells = tuple(dataclasses.replace(cell, attention="sdpa") for cell in after.cells)

    found = compared(base, dataclasses.replace(after, cells=cells))

    assert "effective: attention" == found.changes[0].name
    assert not any("attention" in text for text in found.doubts)


@pytest.mark.parametrize(
    ("base", "candidate", "is_same"),
    [
        (EffectiveSettings(attention="SDPA"), settings(CACHED), True),
        (EffectiveSettings(attention=PAGED), GOOD, True),
        (EffectiveSettings(attention="SDPA"), GOOD, False),
        (GOOD, GOOD, True),
        (settings(CACHED), settings(CACHED, 28), False),
    ],
)
def test_runs_of_older_versions_are_compared_by_what_they_recorded(
    base: EffectiveSettings, candidate: EffectiveSettings, *, is_same: bool
) -> None:
    """They called everything that is not paged SDPA, and proved nothing."""
    assert is_same == attention.has_same_attention(base, candidate)
