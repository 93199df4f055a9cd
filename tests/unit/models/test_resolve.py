"""What is measured: a model, and what is loaded beside it, each known by its content."""

import dataclasses
import hashlib
import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from llmbench.analysis.comparison.differences import changes
from llmbench.errors import InputError
from llmbench.models import locate
from llmbench.models.resolve import ModelInfo, complete, find_model_info
from llmbench.runner.resume import check_same
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.run import Provenance, Run
from tests.unit.models.test_locate import NAMES, XML, add_manifest, make_ir

CONFIG = RunConfig(model="m", prompts=(Prompt(set="s", index=0, text="x"),))
NAN = struct.pack("<f", float("nan"))


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache folder of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder with the files of an IR and a manifest that is true."""
    folder = make_ir(tmp_path / "model")
    add_manifest(folder)
    return folder


def _drafted(model: Path, draft: Path, **fields: object) -> ModelInfo:
    """The model with a draft beside it."""
    config = dataclasses.replace(CONFIG, draft_model=str(draft), **fields)  # type: ignore[arg-type]
    return complete(find_model_info(str(model), engine="genai"), config)


def test_a_draft_is_known_by_its_content(model: Path, tmp_path: Path) -> None:
    """The hash over its manifest's files, like the model's own; without a manifest that of sizes and times."""
    draft = make_ir(tmp_path / "draft")
    alone = _drafted(model, draft).provenance.companions
    add_manifest(draft)
    (known,) = _drafted(model, draft).provenance.companions

    assert [("draft model", locate.provenance(locate.locate(draft)).content_sha256)] == [known]
    assert {"draft model"} == dict(alone).keys()
    assert alone != (known,)


def test_a_draft_that_is_not_what_was_converted_is_refused(model: Path, tmp_path: Path) -> None:
    """It is held against its manifest like the model, unless nothing is."""
    draft = make_ir(tmp_path / "draft")
    add_manifest(draft)
    (draft / NAMES[0]).write_text(XML.replace('name="b"', 'name="c"'))

    with pytest.raises(InputError, match="is not the file that was converted"):
        _drafted(model, draft)
    assert _drafted(model, draft, is_verified=False).provenance.companions


def test_adapters_are_known_by_their_content(model: Path, tmp_path: Path) -> None:
    """The SHA-256 of each file, under its name."""
    files = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    for file in files:
        file.write_bytes(file.name.encode())
    config = dataclasses.replace(CONFIG, lora=tuple(map(str, files)))
    found = complete(find_model_info(str(model), engine="genai"), config)

    assert found.provenance.companions == tuple(
        (f"lora {file.name}", hashlib.sha256(file.read_bytes()).hexdigest()) for file in files
    )


def test_a_run_is_not_resumed_with_another_draft(model: Path, run_of: Callable[..., Run]) -> None:
    """Nor with an adapter of another content under the same name: its launches could not be pooled."""
    origin = find_model_info(str(model), engine="genai").provenance
    then = dataclasses.replace(origin, companions=(("draft model", "a" * 64),))
    run = dataclasses.replace(run_of(), provenance=then, origins=())
    now = dataclasses.replace(origin, companions=(("draft model", "b" * 64),))

    with pytest.raises(InputError, match=r"what changed: .*the draft model and the adapters"):
        check_same(run, [now])


def test_another_draft_is_told_as_what_changed(run_of: Callable[..., Run]) -> None:
    """By the beginning of its hash, beside that of the model."""
    origin = Provenance(path="m", known=True, content_sha256="c" * 64)
    base, candidate = (
        dataclasses.replace(
            run_of(), provenance=dataclasses.replace(origin, companions=(("draft model", letter * 64),))
        )
        for letter in "ab"
    )

    assert [("draft model hash", "a" * 12, "b" * 12)] == [
        (found.name, found.base, found.candidate)
        for found in changes(base, candidate)
        if "draft" in found.name
    ]


def test_weights_that_are_no_numbers_are_a_fault(model: Path, tmp_path: Path) -> None:
    """Of the model, whether its files are held against a manifest or not; and of its draft."""
    bad = make_ir(tmp_path / "bad")
    (bad / "openvino_model.bin").write_bytes(bytes(8) + NAN + bytes(28))
    fault = "NaN weights: 1 of 2 tensors have some (first a)"

    assert () == find_model_info(str(model), engine="genai").faults
    assert (fault,) == find_model_info(str(bad), engine="core", is_verified=False).faults
    assert (f"the draft model: {fault}",) == _drafted(model, bad).faults


def test_a_run_file_without_companions_still_reads() -> None:
    """One of an earlier build has no such key."""
    import msgspec

    raw = json.dumps({"path": "m", "known": True})

    assert () == msgspec.json.decode(raw, type=Provenance).companions
