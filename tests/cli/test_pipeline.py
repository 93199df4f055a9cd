"""``llmbench run -c RECIPE`` of a pipeline: from the recipe to the table of stages, in real processes."""

import json
from pathlib import Path

import pytest

from llmbench.cli.main import invoke
from llmbench.errors import ExitCode
from llmbench.store import reader
from tests import toy_pipeline


@pytest.mark.slow
def test_a_recipe_is_measured_reported_and_traced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two texts and two iterations; the voice, which takes 20 ms, is the heaviest stage of both."""
    monkeypatch.chdir(tmp_path)
    recipe = toy_pipeline.write(tmp_path, pause=0.02)
    options = ["--trust-recipe-code", "--foreign-cpu-limit", "1", "--name", "toy"]
    assert ExitCode.OK == invoke(["run", "-c", str(recipe), *options])
    shown = capsys.readouterr().out

    assert "P1      voice" in shown
    assert "heaviest: voice" in shown
    monkeypatch.setenv("COLUMNS", "40")
    assert ExitCode.OK == invoke(["report", "show", "toy"])
    narrow = capsys.readouterr().out
    assert "end to end" in narrow.splitlines()[3]
    assert "RTF" in shown
    run = reader.read_run(tmp_path / "reports/toy.jsonl")
    assert "pipeline" == run.workload.kind
    assert "toy" == run.model_name
    covered = [
        sum(stage.duration_ns for stage in m.stages) / (m.end_ns - m.start_ns)
        for m in run.launches[0].measurements
    ]
    assert 0.98 <= max(covered) <= 1  # the others lose what this process waits for a CPU between two stages
    assert ExitCode.OK == invoke(["report", "trace", "toy", "trace.json"])
    assert 6 * 4 == sum(
        event["ph"] == "X" for event in json.loads(Path("trace.json").read_text())["traceEvents"]
    )


def test_a_rehearsal_tells_no_time_from_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipeline has no tokens to count; what would be run is shown."""
    monkeypatch.chdir(tmp_path)
    recipe = toy_pipeline.write(tmp_path)
    assert ExitCode.OK == invoke(["run", "-c", str(recipe), "--trust-recipe-code", "--dry-run"])
    shown = capsys.readouterr().out

    assert "about" not in shown
    assert "with pipeline, prompts: 2, 1 warm-up + 2 measured iterations\n" in shown


def test_code_that_is_not_trusted_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything runs; and a recipe cannot trust itself."""
    monkeypatch.chdir(tmp_path)
    recipe = toy_pipeline.write(tmp_path)
    assert ExitCode.USAGE == invoke(["run", "-c", str(recipe)])
    assert "add --trust-recipe-code" in capsys.readouterr().err

    recipe.write_text("trust-recipe-code = true\n" + recipe.read_text())
    assert ExitCode.USAGE == invoke(["run", "-c", str(recipe)])
    assert "cannot trust its own code" in capsys.readouterr().err
