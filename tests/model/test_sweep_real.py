"""A sweep over two IRs of a real model, beside each other as convert lays them out."""

import csv
import dataclasses
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from llmbench.models.manifest import read_manifest, write_manifest
from llmbench.store import reader
from tests import outcome

pytestmark = pytest.mark.model
Run = Callable[..., subprocess.CompletedProcess[str]]
SWEEP = (
    *("run", "-m", "models", "--weight-format", "int4,int8", "--input-tokens", "16", "-n", "1", "-ic", "4"),
    *("--foreign-cpu-limit", "1", "--order", "given", "--name", "x", "-r", "x.csv", "-rj", "x.json"),
)


@pytest.fixture
def models(demo_ir: Path, tmp_path: Path) -> Path:
    """The demo's IR, and the same weights below another name with a manifest that calls them so."""
    folder = tmp_path / "models" / "pytorch" / "dldt"
    for name in ("int4", "int8"):
        location = shutil.copytree(demo_ir, folder / name.upper())
        manifest = read_manifest(location)
        assert manifest is not None
        recipe = dataclasses.replace(manifest.recipe, weight_format=name)
        write_manifest(location, dataclasses.replace(manifest, recipe=recipe))
    return folder


def test_two_irs_are_measured_in_launches_of_their_own(
    llmbench_workers: Run, models: Path, tmp_path: Path
) -> None:
    """Cut short after the first and gone on with, every report tells them apart, and they compare with each other."""
    done = llmbench_workers(*SWEEP)
    path = tmp_path / "reports" / "x.jsonl"
    outcome.measured_run(done, path)
    lines = path.read_bytes().splitlines(keepends=True)
    ends = [number for number, line in enumerate(lines) if b'"event":"launch ended"' in line]
    path.write_bytes(b"".join(lines[: ends[0] + 2]))
    resumed = llmbench_workers("run", "--resume", str(path), "-r", "x.csv", "-rj", "x.json")
    outcome.assert_measured(resumed)

    run = reader.read_run(path)
    assert run.is_complete
    finished = [launch.cell for launch in run.launches if launch.outcome.value == "finished"]
    assert [0, 1] == finished
    assert [str(Path("models/pytorch/dldt") / name) for name in ("INT4", "INT8")] == [
        cell.model for cell in run.cells
    ]
    assert {16} == {m.input_tokens for launch in run.launches for m in launch.measurements}
    for shown in (done.stdout, resumed.stdout):
        rows = [line.split() for line in shown.splitlines() if line.startswith("P0")]
        assert [["P0", "int4", "16"], ["P0", "int8", "16"]] == [row[:3] for row in rows]
    with (tmp_path / "x.csv").open() as file:
        assert {"int4", "int8"} == {row["precision"] for row in csv.DictReader(file)}
    results = json.loads((tmp_path / "x.json").read_text())["perfdata"]["results"]
    assert {"int4", "int8"} == {result["precision"] for result in results}
