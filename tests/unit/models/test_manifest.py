"""The manifest: written whole, read with suspicion."""

import dataclasses
import json
from pathlib import Path

import pytest

from llmbench.errors import InputError, OutputError
from llmbench.models.manifest import (
    MANIFEST_NAME,
    FileRecord,
    Manifest,
    ModelSource,
    Recipe,
    Timings,
    read_manifest,
    write_manifest,
)

MANIFEST = Manifest(
    schema=1,
    created_at="2026-01-02T03:04:05+00:00",
    source=ModelSource(kind="hub", id="example/tiny", revision="0" * 40),
    recipe=Recipe(weight_format="int4", ratio=0.8, group_size=64, is_symmetric=True),
    versions={"openvino": "2026.4.1"},
    context_tokens=8192,
    files={"openvino_model.bin": FileRecord(sha256="ab" * 32, bytes=1234)},
    agreement=0.75,
    warnings=("a warning",),
    timings=Timings(export_s=80.5, verify_s=12.0, hash_s=None),
)


def _change(folder: Path, **changes: object) -> None:
    """Write the manifest with some keys changed by hand."""
    write_manifest(folder, MANIFEST)
    path = folder / MANIFEST_NAME
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_reads_what_was_written(tmp_path: Path) -> None:
    """A manifest survives the way to the disk and back."""
    write_manifest(tmp_path, MANIFEST)

    assert MANIFEST == read_manifest(tmp_path)
    assert [MANIFEST_NAME] == [file.name for file in tmp_path.iterdir()]


def test_an_ir_made_elsewhere_has_none(tmp_path: Path) -> None:
    """A missing manifest is no error."""
    assert read_manifest(tmp_path) is None


def test_writing_replaces(tmp_path: Path) -> None:
    """A second manifest takes the first one's place."""
    write_manifest(tmp_path, MANIFEST)
    other = dataclasses.replace(MANIFEST, agreement=None, agreement_note="not measured: no source")

    write_manifest(tmp_path, other)

    assert other == read_manifest(tmp_path)


def test_an_unwritable_folder_is_an_output_error(tmp_path: Path) -> None:
    """What cannot be written names the file."""
    with pytest.raises(OutputError, match=MANIFEST_NAME):
        write_manifest(tmp_path / "missing", MANIFEST)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"agreement": 1.5}, "agreement"),
        ({"context_tokens": "8192"}, "context_tokens"),
        ({"source": {"kind": "mirror", "id": "x"}}, "kind"),
        ({"files": {"a": {"sha256": "AB", "bytes": 1}}}, "sha256"),
        ({"files": {"a": {"sha256": "ab" * 32, "bytes": -1}}}, "bytes"),
        ({"files": {"../a": {"sha256": "ab" * 32, "bytes": 1}}}, "not the name of a file"),
        ({"files": {"": {"sha256": "ab" * 32, "bytes": 1}}}, "not the name of a file"),
    ],
)
def test_a_value_that_cannot_be_is_named(changes: dict[str, object], reason: str, tmp_path: Path) -> None:
    """Each impossible value is an input error that names the file and the place."""
    _change(tmp_path, **changes)

    with pytest.raises(InputError, match=reason) as caught:
        read_manifest(tmp_path)

    assert str(tmp_path / MANIFEST_NAME) in caught.value.message


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", ""),
        (b'{"schema": 1,', ""),
        (b"[]", ""),
        (b"\xff\xfe", ""),
        (b'{"schema": 1, "schema": 1}', "duplicate key 'schema'"),
        (b'{"schema": 1, "agreement": NaN}', "NaN is not JSON"),
        (b"[" * 100_000, ""),
        (b" " * (5 << 20), "it has 5242880 bytes"),
    ],
    ids=["empty", "cut", "list", "bytes", "twice", "nan", "deep", "large"],
)
def test_a_damaged_file_is_named(content: bytes, reason: str, tmp_path: Path) -> None:
    """Whatever stands in the file, the error is one line that names it."""
    (tmp_path / MANIFEST_NAME).write_bytes(content)

    with pytest.raises(InputError, match=f"{MANIFEST_NAME} is damaged: .*{reason}"):
        read_manifest(tmp_path)


def test_another_schema_says_which_is_read(tmp_path: Path) -> None:
    """A later schema is not guessed at."""
    _change(tmp_path, schema=3)

    with pytest.raises(InputError, match="schema 3; this llmbench reads 1"):
        read_manifest(tmp_path)
