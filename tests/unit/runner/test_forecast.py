import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from llmbench.models.resolve import ModelInfo
from llmbench.runner import plan
from llmbench.runner.forecast import forecast
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.run import Launch, Provenance, Run
from tests import run_files

BuildRun = Callable[..., Run]


def _config(tokens: int, **changes: object) -> RunConfig:
    config = RunConfig(
        model="models/tiny/pytorch/dldt/INT8",
        prompts=(Prompt(set="s", index=0, tokens=tokens),),
        output_tokens=11,
        iterations=1,
    )
    return dataclasses.replace(config, **changes)  # type: ignore[arg-type]


def test_an_earlier_run_of_the_model_tells_what_each_part_takes(story_of: BuildRun, tmp_path: Path) -> None:
    """100 ms for 32 tokens in, 11.67 ms a token, loaded in 2.5 and 3.5 s, and another second and a half to start."""
    run = story_of(noise=(1.0, 1.0, 1.0))
    run_files.write(run, tmp_path / "earlier.jsonl")
    model_info = ModelInfo(path=run.provenance.path, provenance=run.provenance)
    cells = (_config(32), _config(64, launches=2))
    found = forecast(cells, plan.plan_launches(cells), [model_info] * len(cells), tmp_path)

    assert found is not None
    request = 0.05 + 0.1 + 10 * 0.035 / 3
    expected = (1.5 + 3.0 + 2 * request) + 2 * (1.5 + 3.0 + 2 * (request + 0.1))
    assert pytest.approx(expected, rel=0.02) == found.seconds
    assert "earlier.jsonl" in found.basis


def test_another_model_s_run_tells_nothing(story_of: BuildRun, tmp_path: Path) -> None:
    """Then the size of the weights tells a floor, and says that it is a guess."""
    run_files.write(story_of(), tmp_path / "earlier.jsonl")
    (tmp_path / "damaged.jsonl").write_text("not a run\n")
    model = tmp_path / "model"
    model.mkdir()
    (model / "openvino_model.bin").write_bytes(bytes(10_000_000))
    model_info = ModelInfo(path=str(model), provenance=Provenance(path=str(model)))
    cells = (_config(100),)
    found = forecast(cells, plan.plan_launches(cells), [model_info] * len(cells), tmp_path)

    assert found is not None
    assert "an estimate from 10 MiB" in found.basis
    # a token takes 1 ms: 1.5 + 4 to start and load, and twice 0.05 + 1 + 100/10 + 10 of them
    assert pytest.approx(1.504 + 2 * (0.05 + 0.021)) == found.seconds


def _slow(story_of: BuildRun) -> list[Launch]:
    """Launches of the first cell that took fifty times as long, numbered after those of the other."""
    launches = story_of(50.0).launches
    return [
        dataclasses.replace(
            launch,
            index=launch.index + len(launches),
            load_s=100.0,
            measurements=tuple(
                dataclasses.replace(m, launch=m.launch + len(launches)) for m in launch.measurements
            ),
        )
        for launch in launches
    ]


def test_each_model_of_a_sweep_is_judged_by_itself(story_of: BuildRun, tmp_path: Path) -> None:
    """One by an earlier run in which it was the second model, the other by its weights."""
    run = story_of(noise=(1.0, 1.0, 1.0))
    other = dataclasses.replace(run.provenance, path="elsewhere", content_sha256="cd" * 32)
    earlier = dataclasses.replace(
        run,
        cells=(dataclasses.replace(run.cells[0], model="elsewhere"), run.cells[0]),
        provenance=other,
        origins=(other, run.provenance),
        launches=(*_slow(story_of), *(dataclasses.replace(launch, cell=1) for launch in run.launches)),
    )
    run_files.write(earlier, tmp_path / "earlier.jsonl")
    model = tmp_path / "model"
    model.mkdir()
    (model / "openvino_model.bin").write_bytes(bytes(10_000_000))
    known = ModelInfo(path=run.provenance.path, provenance=run.provenance)
    new = ModelInfo(path=str(model), provenance=Provenance(path=str(model)))
    cells = (_config(32), _config(100, model=str(model)))
    found = forecast(cells, plan.plan_launches(cells), [known, new], tmp_path)

    assert found is not None
    alone = [
        forecast((cell,), plan.plan_launches((cell,)), [s], tmp_path)
        for cell, s in zip(cells, (known, new), strict=True)
    ]
    assert None not in alone
    assert pytest.approx(sum(each.seconds for each in alone if each)) == found.seconds
    assert alone[0] is not None
    assert pytest.approx(1.5 + 3.0 + 2 * (0.05 + 0.1 + 10 * 0.035 / 3), rel=0.02) == alone[0].seconds
    assert "earlier.jsonl; an estimate from 10 MiB" in found.basis


def test_a_script_takes_no_time_worth_telling(tmp_path: Path) -> None:
    """Nor does a model that is not there."""
    cells = (_config(100),)
    script = ModelInfo(path="first=1ms", provenance=Provenance(path="first=1ms", source="script"))
    nothing = ModelInfo(path=str(tmp_path), provenance=Provenance(path=str(tmp_path)))

    assert forecast(cells, plan.plan_launches(cells), [script], tmp_path) is None
    assert forecast(cells, plan.plan_launches(cells), [nothing], tmp_path) is None
