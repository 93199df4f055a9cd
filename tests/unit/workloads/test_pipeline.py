"""A toy pipeline of code and a real network, run as a launch runs it."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from llmbench.analysis.metrics.table import METRICS
from llmbench.engines.catalog import find_engine
from llmbench.errors import InputError
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.measurement import Measurement
from llmbench.workloads.base import LaunchContext, Observation, find_workload
from tests import builders, toy_pipeline


def config(recipe: Path, texts: Sequence[str] = ("Hello",)) -> RunConfig:
    prompts = tuple(Prompt(set="p", index=index, text=text) for index, text in enumerate(texts))
    return RunConfig(
        model=str(recipe),
        engine="pipeline",
        task="pipeline",
        attention="sdpa",
        prompts=prompts,
        trusts_recipe_code=True,
    )


def observed(recipe: Path, texts: Sequence[str] = ("Hello", "Hello")) -> list[Observation]:
    """The requests of each text, one after the other in one launch."""
    chosen = config(recipe, texts)
    session = find_engine("pipeline", "pipeline").open(chosen)
    work = find_workload("pipeline").open(chosen, session, LaunchContext(index=0, beat=lambda *_: None))
    found = []
    for number in range(len(texts)):
        request = work.prepare(number, 0)
        request.run()
        found.append(request.observe())
    return found


def measured(observation: Observation) -> Measurement:
    fields = {
        field.name: getattr(observation, field.name)
        for field in dataclasses.fields(observation)
        if field.name != "conditions"
    }
    return builders.request_of(**fields)


def test_each_stage_is_timed_and_the_times_add_up(tmp_path: Path) -> None:
    """A voice that takes 20 ms takes nearly all of the request, and what no stage covers is little."""
    m = measured(observed(toy_pipeline.write(tmp_path, pause=0.02))[1])
    times = {stage.name: stage.duration_ns for stage in m.stages}

    assert ["letters", "double", "voice"] == list(times)
    assert 20_000_000 <= times["voice"] <= m.end_ns - m.start_ns
    assert 0 <= m.end_ns - m.start_ns - sum(times.values()) < 0.02 * (m.end_ns - m.start_ns)
    assert [stage.at_ns for stage in m.stages] == sorted(stage.at_ns or 0 for stage in m.stages)


def test_real_time_factor_is_processing_over_audio(tmp_path: Path) -> None:
    """50 samples at 100 Hz are half a second."""
    m = measured(observed(toy_pipeline.write(tmp_path))[1])
    wall = (m.end_ns - m.start_ns) / 1e9

    assert ("audio", 50, 0.5) == (m.outputs[0].kind, m.outputs[0].count, m.outputs[0].audio_s)
    assert pytest.approx(wall / 0.5) == METRICS["rtf"].of(m)
    assert pytest.approx(0.5 / wall) == METRICS["rtfx"].of(m)
    assert 0 < (METRICS["first_audio"].of(m) or 0) <= wall


def test_a_request_that_compiled_does_not_count(tmp_path: Path) -> None:
    """The first of each length; the network's shape is dynamic."""
    found = observed(toy_pipeline.write(tmp_path), ["Hello", "Hello", "Hello you", "Hello"])

    assert [1, 0, 1, 0] == [len(each.suspicions) for each in found]
    assert "stage double compiled for new shapes" in found[2].suspicions[0]


@pytest.mark.parametrize(
    ("level", "fault"), [("float('nan')", "stage voice returned NaN"), ("0.0", "the audio is silent")]
)
def test_nan_and_silence_do_not_count(tmp_path: Path, level: str, fault: str) -> None:
    """With the stage's name."""
    assert any(fault in each for each in observed(toy_pipeline.write(tmp_path, level=level))[1].suspicions)


def test_denormal_numbers_do_not_count(tmp_path: Path) -> None:
    """They slow arithmetic down on most machines, and trained networks give none."""
    (found,) = [
        each
        for each in observed(toy_pipeline.write(tmp_path, level="1e-42"))[1].suspicions
        if "denormal" in each
    ]

    assert found.startswith("stage voice returned 100% denormal numbers in 'audio'")


CUT = """
[[stages]]
name = "upper"
model = "double.xml"
inputs = { half = "doubled" }
outputs = { above = "y" }

[[stages]]
name = "lower"
model = "double.xml"
inputs = { x = "row", factor = "factor" }
outputs = { inner = "half" }
"""


def test_a_network_is_cut_at_a_tensor_inside(tmp_path: Path) -> None:
    """One file is two stages: what lies above the tensor ``half``, and what lies below."""
    chosen = config(toy_pipeline.write(tmp_path, more=CUT))
    compiled = find_engine("pipeline", "pipeline").open(chosen).compiled  # type: ignore[attr-defined]
    row = np.array([[-1.0, 3.0]], dtype=np.float32)

    assert [[0.0, 3.0]] == compiled["upper"].infer({"half": row})["above"].tolist()
    lower = compiled["lower"].infer({"x": row, "factor": np.array([[2.0]])})
    assert [[-2.0, 6.0]] == lower["inner"].tolist()


LOOPS = """
[[stages]]
name = "powers"
model = "double.xml"
repeat = 3
inputs = { x = "row", factor = "factor" }
outputs = { power = "y" }
feedback = { x = "power" }

[[stages]]
name = "rows"
model = "double.xml"
over = ["x"]
batch = 1
inputs = { x = "row", factor = "factor" }
outputs = { each = "y" }
"""


def test_a_stage_repeats_with_feedback_and_runs_over_rows(tmp_path: Path) -> None:
    """Three calls double three times."""
    chosen = config(toy_pipeline.write(tmp_path, more=LOOPS))
    session = find_engine("pipeline", "pipeline").open(chosen)
    work = find_workload("pipeline").open(chosen, session, LaunchContext(index=0, beat=lambda *_: None))
    request = work.prepare(0, 0)
    request.run()
    values = request._state.values  # type: ignore[attr-defined]

    assert (8 * values["row"]).tolist() == values["power"].tolist()
    assert (2 * values["row"]).tolist() == values["each"].tolist()
    assert 3 == [stage.name for stage in request.observe().stages].count("powers")


@pytest.mark.parametrize(
    ("stage", "fault"),
    [
        ('inputs = { x = "row" }\noutputs = { z = "y" }', "stage more: nothing is given for factor"),
        (
            'inputs = { x = "row", factor = "factor" }\noutputs = { z = "w" }',
            "more: the network has no tensor 'w'",
        ),
        ('inputs = { v = "row" }\noutputs = { z = "y" }', "more: the network has no tensor 'v'"),
    ],
)
def test_a_network_that_does_not_fit_its_stage_is_refused_before_loading(
    tmp_path: Path, stage: str, fault: str
) -> None:
    """By the check that comes before the first launch."""
    recipe = toy_pipeline.write(tmp_path, more=f'[[stages]]\nname = "more"\nmodel = "double.xml"\n{stage}\n')
    with pytest.raises(InputError) as caught:
        find_engine("pipeline", "pipeline").check(config(recipe))
    assert fault in caught.value.message


def test_an_output_that_fits_no_input_names_both_stages(tmp_path: Path) -> None:
    """[1, ?] is no [1, 3, 4]."""
    more = """
[[stages]]
name = "narrow"
model = "double.xml"
shapes = { x = [1, 3], factor = [1, 1] }
inputs = { x = "row", factor = "factor" }
outputs = { three = "y" }

[[stages]]
name = "wide"
model = "double.xml"
shapes = { x = [1, 5], factor = [1, 1] }
inputs = { x = "three", factor = "factor" }
outputs = { five = "y" }
"""
    with pytest.raises(InputError) as caught:
        find_engine("pipeline", "pipeline").check(config(toy_pipeline.write(tmp_path, more=more)))
    assert "stage wide: input 'x' of shape [1,5] does not fit 'three' of stage narrow" in caught.value.message
