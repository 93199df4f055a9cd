"""What is read for quality, and how a configuration that loses too much counts in a run."""

import dataclasses
from pathlib import Path

import pytest

from llmbench.analysis.quality import Estimate, Quality, QualityLimits
from llmbench.analysis.report import summarize_run
from llmbench.errors import InputError
from llmbench.models.resolve import ModelInfo, Side, find_model_info
from llmbench.runner import session
from llmbench.runner.launchers.inline import InlineLauncher
from llmbench.runner.quality import LANGUAGES, Trial, quality_cell, read_texts, with_faults
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.run import Provenance

PROMPT = Prompt(set="text", index=0, text="Hello")
TRIAL = Trial(
    base=ModelInfo(path="base", provenance=Provenance(path="base")), texts=(PROMPT,), blocks=3, block_tokens=8
)


def _quality(kld: float) -> Quality:
    return Quality(
        cell=1,
        blocks=3,
        tokens=9,
        kld=Estimate(value=kld),
        kld_p99=kld,
        kld_max=kld,
        same_top=Estimate(value=1.0),
        log_ratio=Estimate(value=0.0),
        perplexity=1.0,
        base_perplexity=1.0,
    )


def test_texts_are_read_with_model_properties_and_attention_alone() -> None:
    """What guesses tokens, and how many are made, changes no distribution: such configurations are read once."""
    config = RunConfig(model="m", prompts=(PROMPT,), properties={"KV_CACHE_PRECISION": "u4"}, threads=2)
    guessing = dataclasses.replace(config, max_ngram_size=3, output_tokens=7, launches=5)

    found = quality_cell(config, TRIAL)

    assert quality_cell(guessing, TRIAL) == found
    assert ("likelihood", "pa", {"KV_CACHE_PRECISION": "u4"}, 2, 3, 0) == (
        found.engine,
        found.attention,
        found.properties,
        found.threads,
        found.iterations,
        found.warmups,
    )
    assert "sdpa" == quality_cell(dataclasses.replace(config, engine="core"), TRIAL).attention
    assert (
        "pa" == quality_cell(dataclasses.replace(config, engine="server", attention="sdpa"), TRIAL).attention
    )


def test_adapters_are_read_with_unless_no_request_uses_them() -> None:
    """Their files and weights; those that are only loaded change nothing."""
    config = RunConfig(model="m", prompts=(PROMPT,), lora=("a", "b"), lora_alphas=(0.5, 2.0))

    found = quality_cell(config, TRIAL)
    idle = quality_cell(dataclasses.replace(config, is_lora_idle=True), TRIAL)

    assert (("a", "b"), (0.5, 2.0)) == (found.lora, found.lora_alphas)
    assert ((), ()) == (idle.lora, idle.lora_alphas)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"engine": "torch"}, "which the torch engine does not run"),
        ({"task": "text_embed", "output_tokens": 0}, "the task is text_embed"),
    ],
)
def test_what_shows_no_logits_is_refused(changes: dict[str, object], message: str) -> None:
    """With what to do instead."""
    config = RunConfig(model="m", prompts=(PROMPT,), **changes)  # type: ignore[arg-type]

    with pytest.raises(InputError, match=message):
        quality_cell(config, TRIAL)


def test_texts_are_cut_and_files_that_are_no_text_refused(tmp_path: Path) -> None:
    """A text is stored in the run file: so many characters for each token that is read."""
    (tmp_path / "long.txt").write_text("ä" * 1000, encoding="utf-8")
    (tmp_path / "bad.txt").write_bytes(b"\xff\xfe")

    english, own = read_texts(("en", str(tmp_path / "long.txt")), 10)

    assert (160, "ä" * 160) == (len(english.text or ""), own.text)
    with pytest.raises(InputError, match="cannot be read"):
        read_texts((str(tmp_path / "bad.txt"),), 10)


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_language_has_a_text_of_its_own(language: str) -> None:
    """Long enough for a block of 256 tokens, whatever the tokenizer makes of it."""
    (found,) = read_texts((language,), 1 << 20)

    assert len((found.text or "").encode()) > 1500
    assert language == found.set


def test_a_configuration_that_loses_too_much_is_measured_and_does_not_count(tmp_path: Path) -> None:
    """Its rows are invalid, with the reason; those of the other configuration count."""
    config = RunConfig(model="first=1ms,next=1ms", engine="scripted", prompts=(PROMPT,), output_tokens=4)
    faster = dataclasses.replace(config, model="first=1ms,next=0.5ms")
    sides = [
        Side(model_info=find_model_info(each.model, engine="scripted"), config=each)
        for each in (config, faster)
    ]
    gated = with_faults(sides, [_quality(0.1), _quality(0.3)], QualityLimits(max_kld=0.2))
    models = [side.model_info for side in gated]

    outputs = session.Outputs(folder=tmp_path, name="gated")
    run = session.measure((config, faster), models=models, outputs=outputs, launcher=InlineLauncher())

    good, bad = summarize_run(run).rows
    assert (1, 0) == (good.launches, bad.launches)
    assert "KL divergence 0.3 nats is above --max-kld 0.2" in " ".join(bad.warnings)
