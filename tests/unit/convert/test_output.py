"""Where a conversion goes: refused early, built apart, renamed whole, and nothing of a person's removed."""

import dataclasses
from pathlib import Path

import pytest

from llmbench.convert import output
from llmbench.errors import InputError, OutputError
from llmbench.models.manifest import Manifest, ModelSource, Recipe, write_manifest

SOURCE = ModelSource(kind="hub", id="example/tiny", revision="0" * 40)
RECIPE = Recipe(weight_format="int4", ratio=1.0, group_size=128, is_symmetric=False)
XML = (
    '<net><layers><layer id="0" type="Const"><data element_type="f32" shape="1" offset="0" size="4" />'
    "</layer></layers></net>"
)


def _stand(target: Path, recipe: Recipe = RECIPE) -> Manifest:
    """A conversion that stands whole in *target*."""
    target.mkdir(parents=True)
    for part in ("openvino_model", "openvino_tokenizer", "openvino_detokenizer"):
        (target / f"{part}.xml").write_text(XML)
        (target / f"{part}.bin").write_bytes(bytes(4))
    manifest = Manifest(
        schema=1,
        created_at="2026-01-02T03:04:05+00:00",
        source=SOURCE,
        recipe=recipe,
        versions={},
        context_tokens=None,
        files={},
    )
    write_manifest(target, manifest)
    return manifest


def test_the_seed_layout() -> None:
    """One folder a precision, below pytorch/dldt."""
    assert Path("out/pytorch/dldt/INT4") == output.target_folder(Path("out"), "int4")


def test_a_free_place_is_free(tmp_path: Path) -> None:
    """A missing folder and an empty one can be made."""
    (tmp_path / "empty").mkdir()

    for name in ("missing", "empty"):
        assert output.existing_conversion(tmp_path / name, SOURCE, RECIPE, overwrite=False) is None


def test_the_same_conversion_stands(tmp_path: Path) -> None:
    """Same source and recipe: its manifest is the answer, nothing is to be done."""
    manifest = _stand(tmp_path / "INT4")

    assert manifest == output.existing_conversion(tmp_path / "INT4", SOURCE, RECIPE, overwrite=False)


@pytest.mark.parametrize(
    ("source", "recipe", "reported"),
    [
        (SOURCE, dataclasses.replace(RECIPE, group_size=64), "group size 64"),
        (SOURCE, dataclasses.replace(RECIPE, is_symmetric=True), "requested: .* symmetric"),
        (dataclasses.replace(SOURCE, revision="f" * 40), RECIPE, "ffffffffffff"),
    ],
)
def test_another_conversion_is_refused(
    source: ModelSource, recipe: Recipe, reported: str, tmp_path: Path
) -> None:
    """What stands there and what was asked for are both told, and --overwrite is the remedy."""
    _stand(tmp_path / "INT4")

    with pytest.raises(InputError, match=reported) as caught:
        output.existing_conversion(tmp_path / "INT4", source, recipe, overwrite=False)

    assert "--overwrite" in str(caught.value.hint)
    assert output.existing_conversion(tmp_path / "INT4", source, recipe, overwrite=True) is None


def test_a_damaged_conversion_does_not_stand(tmp_path: Path) -> None:
    """The same recipe is no reason to keep a folder that lacks a file."""
    _stand(tmp_path / "INT4")
    (tmp_path / "INT4" / "openvino_model.bin").unlink()

    with pytest.raises(InputError, match=r"openvino_model\.bin is missing"):
        output.existing_conversion(tmp_path / "INT4", SOURCE, RECIPE, overwrite=False)


@pytest.mark.parametrize("overwrite", [True, False])
def test_what_is_no_model_is_never_replaced(tmp_path: Path, *, overwrite: bool) -> None:
    """A person's folder stays, whatever is asked."""
    (tmp_path / "INT4").mkdir()
    (tmp_path / "INT4" / "thesis.txt").write_text("years of work")

    with pytest.raises(InputError, match="INT4 exists"):
        output.existing_conversion(tmp_path / "INT4", SOURCE, RECIPE, overwrite=overwrite)


def test_a_partial_folder_becomes_the_target(tmp_path: Path) -> None:
    """What was built is what stands, and nothing else is left."""
    target = tmp_path / "pytorch" / "dldt" / "INT4"

    with output.partial_folder(target) as partial:
        (partial / "a.txt").write_text("whole")
        assert not target.exists()
        output.finish(partial, target)

    assert ["a.txt"] == [file.name for file in target.iterdir()]
    assert [target] == list(target.parent.iterdir())


def test_an_older_conversion_is_replaced_whole(tmp_path: Path) -> None:
    """Files of the old one do not mix with the new one's."""
    target = tmp_path / "INT4"
    _stand(target)

    with output.partial_folder(target) as partial:
        (partial / "a.txt").write_text("new")
        output.finish(partial, target)

    assert ["a.txt"] == [file.name for file in target.iterdir()]
    assert [target] == list(tmp_path.iterdir())


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    """The partial folder goes, and the folders that were made for it."""

    def fail() -> None:
        with output.partial_folder(tmp_path / "out" / "pytorch" / "dldt" / "INT4") as partial:
            (partial / "a.txt").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()

    assert [tmp_path / "out"] == list(tmp_path.rglob("*"))


def test_what_a_kill_left_is_removed(tmp_path: Path) -> None:
    """Files, folders and links of a conversion that was killed; what a link points to stays."""
    outside = tmp_path / "model.gguf"
    outside.write_text("a person's file")
    stale = tmp_path / "INT4.partial"
    (stale / ".tmp").mkdir(parents=True)
    (stale / ".tmp" / "weights.bin").write_text("half")
    (stale / "model.gguf").symlink_to(outside)
    (stale / "folder").symlink_to(tmp_path)

    with output.partial_folder(tmp_path / "INT4") as partial:
        assert [] == output.files_of(partial)
        assert [".lock"] == [entry.name for entry in partial.iterdir()]

    assert "a person's file" == outside.read_text()


def test_two_conversions_do_not_share_a_folder(tmp_path: Path) -> None:
    """The second is refused, and the first one's files stay."""
    with output.partial_folder(tmp_path / "INT4") as partial:
        (partial / "a.txt").write_text("first")
        second = output.partial_folder(tmp_path / "INT4")
        with pytest.raises(InputError, match="another llmbench convert is writing"), second:
            pass
        assert "first" == (partial / "a.txt").read_text()


def test_a_place_that_is_no_folder_is_refused_early(tmp_path: Path) -> None:
    """A file on the way is named, by both checks."""
    (tmp_path / "file").write_text("")

    with pytest.raises(InputError, match="is not a folder"):
        output.check_writable(tmp_path / "file" / "out")
    with (
        pytest.raises(InputError, match="cannot be written"),
        output.partial_folder(tmp_path / "file" / "INT4"),
    ):
        pass


def test_a_place_that_can_be_made_is_fine(tmp_path: Path) -> None:
    """Folders that do not exist yet are no obstacle, and are not made by looking."""
    output.check_writable(tmp_path / "a" / "b")

    assert [] == list(tmp_path.iterdir())


def test_too_little_disk_is_told_before_it_is_full(tmp_path: Path) -> None:
    """Needed and free are both told."""
    output.check_space(tmp_path, 1)

    with pytest.raises(OutputError, match=r"takes about .* GiB; .* free"):
        output.check_space(tmp_path, 1 << 60)
