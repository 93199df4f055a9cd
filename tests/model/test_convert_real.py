"""A real model, converted: the weights are its source's, the text is English, and each format runs."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from llmbench.convert import verification
from llmbench.convert.pipeline import Converted
from llmbench.models import locate
from llmbench.models.manifest import read_manifest
from tests import outcome
from tests.conftest import RunCommand
from tests.model.conftest import FORMATS

pytestmark = [pytest.mark.model, pytest.mark.convert]
QUESTION = "Why is the sky blue? Answer in plain English."
COMMON = {"the", "a", "an", "is", "of", "and", "to", "for", "in", "that", "it", "on", "with", "as"}


@pytest.fixture
def response(llmbench_workers: RunCommand, tmp_path: Path) -> Callable[[Path], str]:
    """What a model says to the question, 64 tokens through its own chat template, as ``run`` keeps it."""

    def ask(folder: Path) -> str:
        asked = ("-m", str(folder), "-p", QUESTION, "--apply-chat-template", "-ic", "64")
        once = ("-n", "1", "--warmups", "0", "--foreign-cpu-limit", "1")
        done = llmbench_workers("run", *asked, *once, "--output-dir", ".", "--name", "answer")
        run = outcome.measured_run(done, tmp_path / "answer.jsonl")
        return str(run.launches[0].measurements[0].sequences[0].text)

    return ask


def _check_english(text: str, common: int) -> None:
    """Words between spaces, *common* of the commonest among them, no token's inner spelling."""
    words = re.findall(r"[a-z]+", text.lower())
    assert not re.search(r"[ĠĊ\ufffd]|<\|", text), text
    assert len(words) > 25, text
    assert text.count(" ") > 20, text
    assert max(map(len, words)) < 25, text
    assert len(COMMON & set(words)) >= common, text


def test_each_format_agrees_as_it_should(conversions: dict[str, Converted]) -> None:
    """No warning for a sound conversion, and coarser weights agree less."""
    agreement = [conversions[name].manifest.agreement for name in FORMATS]

    assert all(share is not None for share in agreement)
    assert sorted(agreement, reverse=True) == agreement
    assert all(share >= verification.EXPECTED[name] for share, name in zip(agreement, FORMATS, strict=True))
    assert not any(conversions[name].manifest.warnings for name in FORMATS)


def test_each_format_is_smaller_than_the_last(conversions: dict[str, Converted]) -> None:
    """269 MB of bfloat16 become as much fp16, half as int8, a third as int4 with int8 ends."""
    sizes = [conversions[name].manifest.files["openvino_model.bin"].bytes for name in FORMATS]

    assert 269_000_000 == pytest.approx(sizes[0], rel=0.02)
    assert 0.5 == pytest.approx(sizes[1] / sizes[0], abs=0.02)
    assert 0.25 < sizes[2] / sizes[0] < 0.4


@pytest.mark.parametrize(("name", "common"), [("fp16", 5), ("int8", 5), ("int4", 3)])
def test_each_format_is_whole_and_answers(
    name: str, common: int, conversions: dict[str, Converted], response: Callable[[Path], str]
) -> None:
    """The files are the manifest's, and the answer is English, on the subject. int4 repeats itself more."""
    model = locate.locate(conversions[name].folder)
    locate.check_model_files(model)
    locate.verify(model)
    assert 8192 == model.context_tokens

    text = response(model.path)

    assert "sky" in text.lower()
    _check_english(text, common)


def test_a_gguf_keeps_its_weights_and_its_template(
    demo_gguf: Path, response: Callable[[Path], str], llmbench_workers: RunCommand, tmp_path: Path
) -> None:
    """Its own format and context, no agreement claimed, nothing written beside the file; then it runs."""
    beside = sorted(demo_gguf.parent.iterdir())

    done = llmbench_workers("convert", "--model-id", str(demo_gguf), "--output-dir", "out")

    assert 0 == done.returncode, done.stderr
    assert "not measured" in done.stdout
    assert beside == sorted(demo_gguf.parent.iterdir())
    model = locate.locate(tmp_path / "out")
    locate.check_model_files(model)
    locate.verify(model)
    manifest = read_manifest(model.path)
    assert manifest is not None
    assert ("INT4", "Q4_1", 8192) == (
        model.path.name,
        manifest.recipe.weight_format,
        manifest.context_tokens,
    )
    assert manifest.agreement is None
    assert "im_start" in (model.path / "openvino_tokenizer.xml").read_text(encoding="utf-8")
    assert [] == [entry for entry in model.path.iterdir() if entry.is_symlink() or entry.is_dir()]
    _check_english(response(model.path), 5)
