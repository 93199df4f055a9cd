"""Vision-language models through ``convert``: exported, verified with a picture in the prompt, and profiled."""

import json
from pathlib import Path

import pytest

from llmbench.convert.generation import Generated
from llmbench.convert.vision import _IrReading, _read_ir
from llmbench.models.locate import locate
from tests import conversions
from tests.command import RunCommand

pytestmark = [pytest.mark.model, pytest.mark.convert]


@pytest.fixture(scope="module")
def tiny_ir() -> Path:
    """A LLaVA of two layers, as ``convert`` makes it."""
    return conversions.vision_ir(conversions.vision_source(None))


def test_a_vision_language_model_is_converted_and_verified(
    llmbench_workers: RunCommand, tiny_ir: Path
) -> None:
    """Its lines have the sizes of images, the agreement with a picture in the prompt, and attention by part."""
    source, out = conversions.vision_source(None), tiny_ir.parents[2]
    fixed = ("convert", "--model-id", str(source), "--output-dir", str(out), "--weight-format", "fp32")
    done = llmbench_workers(*fixed, "--require-sdpa")
    manifest = locate(tiny_ir).manifest

    assert 0 == done.returncode, done.stderr
    assert "  images     56 x 56 pixels, patches of 14" in done.stdout.splitlines()
    assert f"llmbench run -m {tiny_ir} --images FILE" in done.stdout
    line = "attention: 2 of 2 layers use fused attention (SDPA); vision tower 2 of 2"
    assert line == done.stdout.splitlines()[-1]
    assert manifest is not None
    assert (manifest.agreement or 0) > 0.99
    assert () == manifest.warnings


def test_profile_counts_the_vision_tower_apart(llmbench_workers: RunCommand, tiny_ir: Path) -> None:
    """It is executed inside of a Subgraph, which is no loss; the language model has its cache."""
    done = llmbench_workers("profile", "-m", str(tiny_ir), "--input-tokens", "8", "-ic", "4", "--json")
    assert 0 == done.returncode, done.stderr
    found = json.loads(done.stdout)["attention"]

    assert {"SDPA with KV cache": 2} == found["language model"]["executed"]
    assert {"fused into a Subgraph": 2} == found["vision tower"]["executed"]


@pytest.mark.nightly
def test_image_sizes_that_genai_does_not_read_are_noticed(tiny_ir: Path, tmp_path: Path) -> None:
    """Without the sizes GenAI takes its defaults: another number of tokens, and so other text."""
    for file in tiny_ir.iterdir():
        if file.name != "llmbench_manifest.json":
            (tmp_path / file.name).symlink_to(file)
    (tmp_path / "preprocessor_config.json").unlink()
    (tmp_path / "preprocessor_config.json").write_text("{}")

    read = _read_ir(tmp_path)

    assert isinstance(read, _IrReading)
    assert isinstance(read.generated, Generated)
    assert read.counts is None or read.counts[0] != read.counts[1]


@pytest.mark.nightly
@pytest.mark.parametrize("has_slices", [False, True])
def test_a_real_language_part_agrees_with_a_picture_in_the_prompt(
    demo_gguf: Path, *, has_slices: bool
) -> None:
    """SmolLM2 as the language part of a LLaVA and of a LLaVA-NeXT: nearly all next tokens, in fp16."""
    source = conversions.vision_source(demo_gguf, has_slices=has_slices)
    found = conversions.converted(source, "fp16")["fp16"]

    assert (found.manifest.agreement or 0) > 0.95
    assert () == found.manifest.warnings
    assert ["language model", "vision tower"] == list(found.attention)
    assert all(fusion.is_whole for fusion in found.attention.values())
