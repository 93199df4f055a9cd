"""A pipeline's networks as IR: a folder a stage, compared with its source, and a recipe that runs them."""

import re
from pathlib import Path

import pytest

from llmbench.convert.recipe import ConvertedPipeline, convert_pipeline, is_pipeline
from llmbench.engines.catalog import find_engine
from llmbench.errors import InputError, StrictError
from llmbench.models.manifest import read_manifest
from llmbench.models.pipeline import find_pipeline
from llmbench.schema.config import Prompt, RunConfig
from tests import toy_pipeline

STEPS = """
[[stages]]
name = "{0}"
step = "letter_ids"
parameters = {{ vocabulary = 100 }}
inputs = {{ text = "text" }}
outputs = {{ row = "ids" }}
"""


def recipe_of(folder: Path) -> Path:
    """The toy without code: its letters are a step of ours, and what the network gives is its audio."""
    path = toy_pipeline.write(folder)
    text = path.read_text()
    first = text[: text.index("[[stages]]")].replace('"audio", kind', '"doubled", kind')
    network = re.search(r'\[\[stages\]\]\nname = "double".*?(?=\n\[\[stages\]\])', text, re.DOTALL)
    assert network is not None
    path.write_text(first + STEPS.format("letters") + "\n" + network[0])
    return path


def test_each_stage_has_a_folder_with_its_manifest(tmp_path: Path) -> None:
    """Constants are FP16, outputs are those of the source, and the new recipe uses the IR."""
    path = recipe_of(tmp_path / "source")
    made = convert_pipeline(path, tmp_path / "out", text="Hello", weight_format="fp16", report=lambda _: None)

    (stage,) = made.stages
    assert ("double", tmp_path / "out/double") == (stage.name, stage.folder)
    assert pytest.approx(1.0) == stage.cosine
    manifest = read_manifest(stage.folder)
    assert manifest is not None
    assert ("pipeline", "toy/double") == (manifest.source.kind, manifest.source.id)
    assert {"openvino_model.bin", "openvino_model.xml"} == set(manifest.files)
    found = find_pipeline(made.recipe)
    assert str(tmp_path / "out/double/openvino_model.xml") == found.models["double"]
    prompts = (Prompt(set="p", index=0, text="Hello"),)
    config = RunConfig(
        model=str(made.recipe), engine="pipeline", task="pipeline", attention="sdpa", prompts=prompts
    )
    find_engine("pipeline", "pipeline").check(config)


def test_a_stage_that_gives_other_values_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the stage's name."""
    monkeypatch.setattr("llmbench.convert.recipe.LEAST_STAGE_COSINE", 2.0)
    path = recipe_of(tmp_path / "source")
    with pytest.raises(StrictError, match="stage double gives other values than its source"):
        convert_pipeline(path, tmp_path / "out", text="Hello", weight_format="fp32", report=lambda _: None)


def test_code_that_is_not_trusted_and_a_folder_that_is_not_empty_are_refused(tmp_path: Path) -> None:
    """Code is run to compare the stages, and stays beside the recipe."""
    code = toy_pipeline.write(tmp_path / "code")
    with pytest.raises(InputError, match=r"stage letters runs .*steps\.py"):
        convert_pipeline(code, tmp_path / "out", text="Hello", weight_format="fp16", report=lambda _: None)
    made = convert_pipeline(
        code, tmp_path / "out", text="Hello", weight_format="fp16", report=lambda _: None, trusts_code=True
    )
    assert find_pipeline(made.recipe, trusts_code=True).code["letters"] == tmp_path / "out/steps.py"
    with pytest.raises(InputError, match="is not empty"):
        convert_pipeline(
            recipe_of(tmp_path / "a"),
            tmp_path / "a",
            text="Hello",
            weight_format="fp16",
            report=lambda _: None,
        )


def test_a_recipe_is_known_by_its_stages(tmp_path: Path) -> None:
    """One of options alone is none of a pipeline."""
    assert is_pipeline(str(recipe_of(tmp_path)))
    (tmp_path / "b.toml").write_text("num-iters = 3")
    assert not is_pipeline(str(tmp_path / "b.toml"))
    assert not is_pipeline("HuggingFaceTB/SmolLM2-135M-Instruct")


@pytest.mark.convert
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_program_of_pytorch_is_a_stage_and_compared_by_pytorch(tmp_path: Path) -> None:
    """Of any length; a file that is no program is refused with the stage's name."""
    import torch

    class Double(torch.nn.Module):
        def forward(self, x: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
            return torch.relu(x * factor)

    path = recipe_of(tmp_path)
    shapes = {"x": {1: torch.export.Dim("n", min=2, max=99)}, "factor": None}
    program = torch.export.export(Double(), (torch.ones(1, 5), torch.ones(1, 1)), dynamic_shapes=shapes)
    torch.export.save(program, tmp_path / "double.pt2")
    path.write_text(
        path.read_text().replace("double.xml", "double.pt2").replace('doubled = "y"', 'doubled = "relu"')
    )

    def convert(name: str, *, trusts_code: bool = True) -> ConvertedPipeline:
        return convert_pipeline(
            path,
            tmp_path / name,
            text="Hello",
            weight_format="fp32",
            report=lambda _: None,
            trusts_code=trusts_code,
        )

    with pytest.raises(InputError, match="which may run code when it is read"):
        convert("a", trusts_code=False)
    made = convert("out")
    (stage,) = made.stages

    assert pytest.approx(1.0) == stage.cosine
    assert find_pipeline(made.recipe).models["double"].endswith("openvino_model.xml")
    (tmp_path / "double.pt2").write_bytes(b"PK no program")
    with pytest.raises(InputError) as caught:
        convert("b")
    assert "stage double: double.pt2 is not a program of torch.export" in caught.value.message
