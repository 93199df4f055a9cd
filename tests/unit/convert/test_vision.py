import json
from pathlib import Path

import pytest

from llmbench.convert import vision
from llmbench.convert.preflight import VISION, _check_architecture
from llmbench.errors import LaunchError, MachineError
from llmbench.models.sources import VISION_FAMILIES

CLIP = {
    "image_processor": {"crop_size": {"height": 56, "width": 56}, "size": {"shortest_edge": 56}},
    "patch_size": 14,
}


def write(folder: Path, **files: object) -> Path:
    """A folder with some JSON files."""
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def test_what_genai_reads_is_made_of_what_transformers_5_writes(tmp_path: Path) -> None:
    """Sizes of the image part, and the patches beside it or in the model's configuration."""
    config = {"vision_config": {"patch_size": 7}, "image_grid_pinpoints": [[56, 112], [112, 56]]}
    out = write(tmp_path / "out", processor_config=CLIP, config=config)

    sentence = vision.write_preprocessor(write(tmp_path / "source"), out)

    written = json.loads((out / "preprocessor_config.json").read_text())
    assert (
        CLIP["image_processor"]
        | {
            "patch_size": 14,
            "image_grid_pinpoints": config["image_grid_pinpoints"],
        }
        == written
    )
    assert "56 x 56 pixels, patches of 14, slices in 2 layouts" == sentence


def test_a_published_file_is_kept(tmp_path: Path) -> None:
    """What the model was published with decides where both are there."""
    source = write(
        tmp_path / "source", preprocessor_config={"size": {"shortest_edge": 336}, "patch_size": 14}
    )
    out = write(tmp_path / "out", processor_config={"image_processor": {"size": {"shortest_edge": 224}}})

    assert "shortest edge 336 pixels, patches of 14" == vision.write_preprocessor(source, out)


def test_a_model_without_image_sizes_is_refused(tmp_path: Path) -> None:
    """GenAI would take sizes of its own, in silence."""
    with pytest.raises(LaunchError, match="has the sizes of images"):
        vision.write_preprocessor(write(tmp_path / "source"), write(tmp_path / "out"))


@pytest.mark.parametrize(
    ("preprocessor", "sentence"),
    [
        ({"size": {"height": 896, "width": 448}}, "896 x 448 pixels"),
        ({"min_pixels": 3136, "max_pixels": 12845056}, "at least 3136 pixels, at most 12845056 pixels"),
        ({"do_resize": True}, "as the model's code has them"),
    ],
)
def test_sizes_are_described(preprocessor: dict[str, object], sentence: str) -> None:
    """Fixed ones, and bounds."""
    assert sentence == vision.describe_sizes(preprocessor)


def test_a_picture_of_another_size_is_warned_about() -> None:
    """The prompt has another number of tokens than the model's own processor makes."""
    (warning,) = vision._count_warnings((586, 26))

    assert "makes 586 tokens of a prompt with a picture, the model's own processor makes 26" in warning
    assert () == tuple(vision._count_warnings((26, 26)))
    assert () == tuple(vision._count_warnings((43, 44)))
    assert () == tuple(vision._count_warnings(None))


@pytest.mark.convert
def test_families_with_code_of_their_own_have_the_exporter_s_range() -> None:
    """Our table has the ranges of the installed optimum-intel; each is refused with it, before weights are read."""
    for model_type, family in VISION_FAMILIES.items():
        with pytest.raises(MachineError) as caught:
            _check_architecture(model_type, VISION)

        hint = str(caught.value.hint)
        assert f"pip install 'transformers{family.transformers}'" in hint, model_type
        assert f"{family.title} also needs {family.packages}" in hint, model_type
