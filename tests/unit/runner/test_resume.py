"""What is left of a run of several models: each is held against what it was."""

import dataclasses
import shutil
from pathlib import Path

import pytest

from llmbench.errors import InputError
from llmbench.models.resolve import find_model_info
from llmbench.runner import session
from llmbench.runner.resume import find_resumption
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.run import Run
from llmbench.store.reader import Contents
from tests.unit.models.test_locate import add_manifest, make_ir

FORMATS = ("int8", "int4")


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache folder of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder with an IR of each format."""
    for name in FORMATS:
        add_manifest(make_ir(tmp_path / "models" / name.upper()))
    return tmp_path / "models"


def begun(models: Path) -> Run:
    """A run of both that was cut short before its first launch."""
    model_infos = [find_model_info(str(models), engine="genai", weight_format=name) for name in FORMATS]
    cells = tuple(
        RunConfig(
            model=model_info.path,
            weight_format=model_info.weight_format,
            prompts=(Prompt(set="s", index=0, tokens=8),),
            launches=2,
        )
        for model_info in model_infos
    )
    header = session.new_header(cells, model_infos)
    fields = {f.name: getattr(header, f.name) for f in dataclasses.fields(header) if f.name != "schema"}
    return Run(cells=fields.pop("configurations"), **fields)


def test_a_run_is_named_after_all_its_models(models: Path) -> None:
    """And knows the origin of each."""
    run = begun(models)

    assert "-INT8-INT4-" in run.id
    assert [str(models / "INT8"), str(models / "INT4")] == [origin.path for origin in run.origins]


def test_each_cell_goes_on_with_its_model(models: Path) -> None:
    """In every launch that was planned."""
    left = find_resumption(Contents(run=begun(models)))

    assert [str(models / "INT8"), str(models / "INT4")] == [
        model_info.path for model_info in left.model_infos
    ]
    assert [0, 0, 1, 1] == sorted(launch.cell for launch in left.planned)


@pytest.mark.parametrize("name", ["INT8", "INT4"])
def test_a_change_of_any_model_is_found(models: Path, name: str) -> None:
    """One that was converted again is another one, with a manifest that is true."""
    run = begun(models)
    (models / name / "openvino_model.bin").write_bytes(b"\x01" * 40)
    (models / name / "llmbench_manifest.json").unlink()
    add_manifest(models / name)

    with pytest.raises(InputError, match="the model's files"):
        find_resumption(Contents(run=run))


def test_models_that_were_moved_are_found_by_their_formats(models: Path, tmp_path: Path) -> None:
    """Below the folder that is named now; one of them alone is not enough."""
    run = begun(models)
    shutil.move(models, tmp_path / "moved")
    left = find_resumption(Contents(run=run), model=str(tmp_path / "moved"))

    assert [str(tmp_path / "moved" / name.upper()) for name in FORMATS] == [cell.model for cell in left.cells]
    with pytest.raises(InputError, match="contains no IR with int4 weights"):
        find_resumption(Contents(run=run), model=str(tmp_path / "moved" / "INT8"))


def test_models_without_a_format_stay_where_they_were(models: Path) -> None:
    """Nothing would tell one from the other."""
    run = begun(models)
    nameless = tuple(dataclasses.replace(cell, weight_format=None) for cell in run.cells)

    with pytest.raises(InputError, match="measures several models; -m names one"):
        find_resumption(Contents(run=dataclasses.replace(run, cells=nameless)), model=str(models))
