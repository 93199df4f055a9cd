"""Models on disk: found where a person points, and every fault of their files named before anything loads."""

import dataclasses
import hashlib
import json
import shlex
import time
from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest

from llmbench.errors import InputError
from llmbench.models import integrity, locate
from llmbench.models.manifest import MANIFEST_NAME, FileRecord, Manifest, ModelSource, Recipe, write_manifest

XML = """<?xml version="1.0"?>
<net name="Model0" version="11">
	<layers>
		<layer id="0" name="a" type="Const" version="opset1">
			<data element_type="f32" shape="8" offset="0" size="32" />
		</layer>
		<layer id="1" name="b" type="Const" version="opset1">
			<data element_type="f32" shape="2" offset="32" size="8" />
		</layer>
	</layers>
</net>
"""
NAMES = [f"{part}{end}" for part in integrity.PARTS for end in (".xml", ".bin")]


def make_ir(folder: Path) -> Path:
    """An IR folder whose networks need 40 bytes of constants each."""
    folder.mkdir(parents=True)
    for part in integrity.PARTS:
        (folder / f"{part}.xml").write_text(XML)
        (folder / f"{part}.bin").write_bytes(bytes(40))
    return folder


def add_manifest(folder: Path) -> Manifest:
    """Give the files of *folder* a manifest that is true."""
    manifest = Manifest(
        schema=1,
        created_at="2026-01-02T03:04:05+00:00",
        source=ModelSource(kind="hub", id="example/tiny", revision="0" * 40),
        recipe=Recipe(weight_format="int8", is_symmetric=False),
        versions={},
        context_tokens=8192,
        files={
            file.name: FileRecord(
                sha256=hashlib.sha256(file.read_bytes()).hexdigest(), bytes=file.stat().st_size
            )
            for file in folder.iterdir()
        },
    )
    write_manifest(folder, manifest)
    return manifest


def make_gguf(path: Path) -> Path:
    """A GGUF of 32 weights and a context of 2,048 tokens."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(2048)
    writer.add_tensor("output_norm.weight", np.ones(32, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache folder of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_finds_the_folder_itself(tmp_path: Path) -> None:
    """An IR folder is the model; so is the network file in it."""
    folder = make_ir(tmp_path / "INT8")

    expected = locate.Model(path=folder, kind="ir")
    assert [expected, expected] == [locate.locate(folder), locate.locate(str(folder / "openvino_model.xml"))]


def test_finds_the_one_ir_below_a_parent(tmp_path: Path) -> None:
    """The seed layout: the output folder of a conversion names its only model."""
    folder = make_ir(tmp_path / "model" / "pytorch" / "dldt" / "INT8")

    assert folder == locate.locate(tmp_path / "model").path


def test_several_are_listed_with_what_to_type(tmp_path: Path) -> None:
    """Two models below a parent: both named, and a choice that can be typed."""
    for precision in ("INT8", "FP16"):
        make_ir(tmp_path / "pytorch" / "dldt" / precision)

    with pytest.raises(InputError, match="contains 2 models") as caught:
        locate.locate(tmp_path)

    assert all(name in caught.value.message for name in ("INT8", "FP16"))
    hint = caught.value.hint or ""
    assert hint.startswith(f"choose one: -m {tmp_path / 'pytorch' / 'dldt' / 'FP16'};")
    assert hint.endswith("--weight-format fp16,int8")


def test_a_weight_format_chooses_among_several(tmp_path: Path) -> None:
    """By the folder's name in the seed layout, whatever the manifest says; elsewhere by the manifest."""
    seed = [make_ir(tmp_path / "pytorch" / "dldt" / name) for name in ("INT8", "FP16")]
    add_manifest(seed[1])
    other = make_ir(tmp_path / "elsewhere" / "tiny-ov")
    add_manifest(other)

    assert seed == [locate.locate(tmp_path / "pytorch", weight_format=name).path for name in ("int8", "fp16")]
    assert other == locate.locate(tmp_path / "elsewhere", weight_format="int8").path
    assert seed[0] == locate.locate(seed[0], weight_format="int8").path


def test_a_weight_format_that_is_not_there_names_those_that_are(tmp_path: Path) -> None:
    """Of a parent and of an IR's own folder, one without a manifest too; the remedy makes the one asked for."""
    folder = make_ir(tmp_path / "pytorch" / "dldt" / "INT8")
    unknown = make_ir(tmp_path / "tiny-ov")

    with pytest.raises(InputError, match="contains no IR with int4 weights") as caught:
        locate.locate(tmp_path, weight_format="int4")
    assert f"there is int8 ({folder}), an unknown one ({unknown})" in caught.value.message
    assert "--weight-format int4" in str(caught.value.hint)
    with pytest.raises(InputError, match=rf"there is int8 \({folder}\)$"):
        locate.locate(folder, weight_format="int4")


def test_a_weight_format_of_two_models_is_no_choice(tmp_path: Path) -> None:
    """Both are listed, and the remedy does not name the format again."""
    folders = [make_ir(tmp_path / name / "pytorch" / "dldt" / "INT8") for name in ("a", "b")]

    with pytest.raises(InputError, match="contains 2 models") as caught:
        locate.locate(tmp_path, weight_format="int8")

    assert f"choose one: -m {folders[0]}" == caught.value.hint


def test_a_gguf_keeps_its_weights(tmp_path: Path) -> None:
    """There is nothing to choose from."""
    path = make_gguf(tmp_path / "tiny.gguf")

    with pytest.raises(InputError, match="which keeps its weights"):
        locate.locate(path, weight_format="int8")


@pytest.mark.parametrize(
    ("files", "hint"),
    [
        ((), "llmbench run ORGANISATION/MODEL"),
        (("config.json",), "convert it first"),
        (("tiny.gguf",), "give the file itself"),
    ],
)
def test_a_folder_without_an_ir_says_what_to_do(files: tuple[str, ...], hint: str, tmp_path: Path) -> None:
    """The remedy fits what the folder does hold."""
    for name in files:
        (tmp_path / name).write_text("{}")

    with pytest.raises(InputError, match="contains no model") as caught:
        locate.locate(tmp_path)

    assert hint in str(caught.value.hint)


@pytest.mark.parametrize(("name", "reported"), [("mistyped", "mistyped"), ("", "an empty path")])
def test_a_path_that_is_not_there_is_named(name: str, reported: str) -> None:
    """A mistyped path is the message; an empty one, as an unset variable gives, is not this folder."""
    with pytest.raises(InputError, match=f"there is no model at {reported}"):
        locate.locate(name)


def test_a_file_that_is_no_gguf_is_refused(tmp_path: Path) -> None:
    """The ending alone makes no GGUF."""
    path = tmp_path / "model.gguf"
    path.write_text("hello")

    with pytest.raises(InputError, match="neither a folder nor a GGUF"):
        locate.locate(path)


@pytest.mark.parametrize("is_full", [True, False], ids=["full", "empty"])
@pytest.mark.parametrize("below", [True, False], ids=["parent", "itself"])
def test_a_partial_folder_is_refused(tmp_path: Path, *, below: bool, is_full: bool) -> None:
    """A conversion that was cut short is no model, whole as it may look or hardly begun."""
    folder = tmp_path / "pytorch" / "dldt" / "INT8.partial"
    if is_full:
        make_ir(folder)
    else:
        folder.mkdir(parents=True)

    with pytest.raises(InputError, match="interrupted conversion") as caught:
        locate.locate(tmp_path if below else folder)

    assert "run the same llmbench convert again" in str(caught.value.hint)


def test_a_partial_folder_beside_a_whole_one_is_passed_over(tmp_path: Path) -> None:
    """One whole model below a parent is enough."""
    make_ir(tmp_path / "INT4.partial")
    folder = make_ir(tmp_path / "INT8")

    assert folder == locate.locate(tmp_path).path


def test_symlinks_are_not_followed_down(tmp_path: Path) -> None:
    """A link to the folder above does not multiply its models."""
    folder = make_ir(tmp_path / "INT8")
    (folder / "loop").symlink_to(tmp_path)

    assert folder == locate.locate(tmp_path).path


def test_a_whole_ir_passes(tmp_path: Path) -> None:
    """Files that fit each other need no manifest."""
    locate.check_model_files(locate.locate(make_ir(tmp_path / "INT8")))


def test_every_missing_file_is_listed_at_once(tmp_path: Path) -> None:
    """A folder with only a network lacks its weights and both tokenizers: five files."""
    folder = make_ir(tmp_path / "INT8")
    for name in NAMES[1:]:
        (folder / name).unlink()

    with pytest.raises(InputError) as caught:
        locate.check_model_files(locate.locate(folder))

    assert all(f"{name} is missing" in caught.value.message for name in NAMES[1:])


def _truncate(size: int) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(path.read_bytes()[:size])


@pytest.mark.parametrize(
    ("name", "damage", "fault"),
    [
        ("openvino_model.xml", _truncate(200), "openvino_model.xml is truncated at 200 bytes"),
        ("openvino_model.xml", _truncate(0), "openvino_model.xml is empty"),
        ("openvino_model.xml", Path.unlink, "openvino_model.xml is missing"),
        ("openvino_model.xml", lambda path: path.write_text("hello"), "is not an IR (5 bytes)"),
        ("openvino_model.bin", _truncate(39), "is truncated at 39 bytes; openvino_model.xml needs 40"),
        ("openvino_model.bin", _truncate(0), "openvino_model.bin is empty; openvino_model.xml needs 40"),
        ("openvino_model.bin", Path.unlink, "openvino_model.bin is missing"),
        ("openvino_detokenizer.bin", _truncate(3), "openvino_detokenizer.bin is truncated at 3 bytes"),
    ],
)
def test_a_damaged_file_is_named_with_its_size(
    name: str, damage: Callable[[Path], object], fault: str, tmp_path: Path
) -> None:
    """Without a manifest, the network file tells how long its weights must be."""
    folder = make_ir(tmp_path / "INT8")
    damage(folder / name)

    with pytest.raises(InputError) as caught:
        locate.check_model_files(locate.locate(folder))

    assert fault in caught.value.message


def test_sizes_are_compared_with_the_manifest(tmp_path: Path) -> None:
    """With a manifest, every file it lists must have its size; both numbers are told."""
    folder = make_ir(tmp_path / "INT8")
    (folder / "config.json").write_text("{}")
    add_manifest(folder)
    (folder / "openvino_model.bin").write_bytes(bytes(41))
    (folder / "config.json").unlink()

    with pytest.raises(InputError) as caught:
        locate.check_model_files(locate.locate(folder))

    assert "openvino_model.bin has 41 bytes; the manifest has 40" in caught.value.message
    assert "config.json is missing" in caught.value.message


def test_a_flipped_bit_is_found(tmp_path: Path) -> None:
    """Same size, other content: refused, with both digests."""
    folder = make_ir(tmp_path / "INT8")
    manifest = add_manifest(folder)
    time.sleep(0.15)
    model = locate.locate(folder)
    locate.verify(model)
    (folder / "openvino_model.bin").write_bytes(bytes(39) + b"\x01")

    locate.check_model_files(model)
    with pytest.raises(InputError, match=r"openvino_model\.bin is not the file that was converted") as caught:
        locate.verify(model)

    assert manifest.files["openvino_model.bin"].sha256 in caught.value.message


def test_without_a_manifest_there_is_nothing_to_verify(tmp_path: Path) -> None:
    """An IR made elsewhere runs, marked as of unknown origin."""
    model = locate.locate(make_ir(tmp_path / "INT8"))

    locate.verify(model)

    found = locate.provenance(model)
    assert (False, None, None) == (found.known, found.source_id, found.content_sha256)


def test_provenance_is_the_manifests(tmp_path: Path) -> None:
    """Source, revision, format and one digest over all files."""
    folder = make_ir(tmp_path / "INT8")
    add_manifest(folder)

    found = locate.provenance(locate.locate(folder))

    assert (True, "hub", "example/tiny", "0" * 40) == (
        found.known,
        found.source,
        found.source_id,
        found.revision,
    )
    assert ("int8", 8192) == (found.weight_format, found.context_tokens)
    assert 64 == len(str(found.content_sha256))


def test_the_content_digest_follows_the_content(tmp_path: Path) -> None:
    """Two folders of the same files have one digest; another byte gives another."""
    same = []
    for name in ("one", "two"):
        folder = make_ir(tmp_path / name)
        add_manifest(folder)
        same.append(locate.provenance(locate.locate(folder)).content_sha256)
    other = make_ir(tmp_path / "other")
    (other / "openvino_model.bin").write_bytes(b"\x01" * 40)
    add_manifest(other)

    assert same[0] == same[1] != locate.provenance(locate.locate(other)).content_sha256


@pytest.mark.parametrize(
    ("config", "tokens"),
    [
        ({"max_position_embeddings": 8192}, 8192),
        ({"n_positions": 1024}, 1024),
        ({"text_config": {"max_position_embeddings": 4096}}, 4096),
        ({"max_position_embeddings": None, "text_config": {"n_ctx": 512}}, 512),
        ({"max_position_embeddings": -1}, None),
        ({}, None),
        ([], None),
    ],
)
def test_context_comes_from_the_configuration(config: object, tokens: int | None, tmp_path: Path) -> None:
    """Without a manifest config.json tells, a nested text model's too."""
    folder = make_ir(tmp_path / "INT8")
    (folder / "config.json").write_text(json.dumps(config))

    assert tokens == locate.locate(folder).context_tokens


def test_context_comes_from_the_manifest_first(tmp_path: Path) -> None:
    """What the conversion found out stands over config.json."""
    folder = make_ir(tmp_path / "INT8")
    (folder / "config.json").write_text('{"max_position_embeddings": 5}')
    add_manifest(folder)

    assert 8192 == locate.locate(folder).context_tokens


def test_a_damaged_manifest_is_told_at_once(tmp_path: Path) -> None:
    """It is not taken for a missing one."""
    folder = make_ir(tmp_path / "INT8")
    (folder / MANIFEST_NAME).write_text("{")

    with pytest.raises(InputError, match="is damaged"):
        locate.locate(folder)


def test_a_gguf_is_a_model_with_provenance(tmp_path: Path) -> None:
    """Its metadata tell the context, its content the digest."""
    path = make_gguf(tmp_path / "tiny.gguf")

    model = locate.locate(path)
    found = locate.provenance(model)

    assert locate.Model(path=path, kind="gguf", context_tokens=2048) == model
    assert ("tiny.gguf", "F32", 2048) == (found.source_id, found.weight_format, found.context_tokens)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == found.content_sha256


def test_a_truncated_gguf_is_named_with_both_sizes(tmp_path: Path) -> None:
    """The last tensor's end is what the file must reach."""
    path = make_gguf(tmp_path / "tiny.gguf")
    path.write_bytes(path.read_bytes()[:-100])

    with pytest.raises(InputError, match=f"it has {path.stat().st_size} bytes; its tensors end at"):
        locate.check_model_files(locate.locate(path))


def test_a_model_cannot_be_changed() -> None:
    """A located model is a value."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        locate.Model(path=Path(), kind="ir").path = Path("other")  # type: ignore[misc]


def test_links_that_are_passed_over_are_named(tmp_path: Path) -> None:
    """A folder of links has no model in it; the hint can be pasted, and the link itself is taken."""
    make_ir(tmp_path / "store" / "INT8")
    (tmp_path / "my models").mkdir()
    link = tmp_path / "my models" / "INT8"
    link.symlink_to(tmp_path / "store" / "INT8")

    with pytest.raises(InputError, match=r"symbolic links are not followed: .*INT8") as caught:
        locate.locate(tmp_path / "my models")

    assert caught.value.hint == f"give the link itself: -m '{link}'"
    assert locate.locate(link).path == link


@pytest.mark.parametrize("name", ["my model", "it's; here"])
def test_a_path_in_a_hint_can_be_pasted(tmp_path: Path, name: str) -> None:
    """A shell reads it as one word, in every hint that names what to give instead."""
    parent = tmp_path / name
    for folder in ("a", "b"):
        make_ir(parent / folder)
    gguf_folder, hub_folder = parent / "gguf", parent / "hub"
    for folder in (gguf_folder, hub_folder):
        folder.mkdir()
    (gguf_folder / "m.gguf").write_bytes(b"GGUF")
    (hub_folder / "config.json").write_text("{}")

    for location, path in (
        (parent, parent / "a"),
        (gguf_folder, gguf_folder / "m.gguf"),
        (hub_folder, hub_folder),
    ):
        with pytest.raises(InputError) as caught:
            locate.locate(location)
        assert shlex.quote(str(path)) in (caught.value.hint or "")


def test_a_pointer_of_git_lfs_is_named(tmp_path: Path) -> None:
    """What a clone without LFS leaves in place of a large file."""
    (tmp_path / "m.gguf").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 123\n")

    with pytest.raises(InputError, match=r"m\.gguf is a pointer of Git LFS") as caught:
        locate.locate(tmp_path / "m.gguf")

    assert f"fetch it: git -C {tmp_path} lfs pull" == caught.value.hint
