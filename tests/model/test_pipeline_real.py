"""The recipes of pipelines on their real parts: voices that speak, a face that is found."""

import json
import subprocess
import time
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from llmbench.analysis.metrics.table import METRICS
from llmbench.analysis.stages import request_metric
from llmbench.cli.options.table import parse_options, recipe_options
from llmbench.engines.catalog import find_engine
from llmbench.engines.openvino.device import import_openvino
from llmbench.runner.configurations import configurations
from llmbench.schema.config import RunConfig
from llmbench.workloads.base import LaunchContext, find_workload
from tests import toy_pipeline
from tests.outcome import measured_run

pytestmark = pytest.mark.model
Run = Callable[..., subprocess.CompletedProcess[str]]
PHRASE = "Hello."


def config(recipe: str, **options: object) -> RunConfig:
    values = parse_options(recipe_options(recipe) | options)
    (found,) = configurations(values, values["model"])
    return found


def values_of(chosen: RunConfig, text: str) -> tuple[dict[str, object], object]:
    """Every value of one request, and the session that made them."""
    session = find_engine("pipeline", "pipeline").open(chosen)
    context = LaunchContext(index=0, beat=lambda *_: None)
    request = find_workload("pipeline").open(chosen, session, context).prepare(0, 0)
    request.run()
    assert chosen.prompts[0].text == text
    return request._state.values, session  # type: ignore[attr-defined]


def test_the_cut_voice_speaks_as_the_whole() -> None:
    """Acoustic model and vocoder make the very samples of the network that they were cut from."""
    chosen = config("tts-two-stage", prompt=(PHRASE,), load_config=('{"INFERENCE_PRECISION_HINT": "f32"}',))
    values, session = values_of(chosen, PHRASE)
    core = import_openvino().Core()
    path = session.found.models["vocoder"]  # type: ignore[attr-defined]
    hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    whole = core.compile_model(path, "CPU", hints)
    inputs = {"input": values["ids"], "input_lengths": values["lengths"], "scales": values["scales"]}
    expected = np.asarray(whole({name: np.asarray(array) for name, array in inputs.items()})[0]).ravel()

    audio = np.asarray(values["audio"]).ravel()
    assert expected.shape == audio.shape
    assert np.abs(expected - audio).max() < 1e-4
    assert 0.02 < np.sqrt(np.mean(audio**2)) < 0.5


@pytest.mark.nightly
def test_kokoro_cut_into_four_speaks_as_the_whole() -> None:
    """The same length and, to a thousandth, the same samples; its parts together take as long, within a quarter.

    Both run in turns, so that what else the machine does falls on both.
    """
    chosen = config("tts-four-stage", prompt=(PHRASE,), load_config=('{"INFERENCE_PRECISION_HINT": "f32"}',))
    values, session = values_of(chosen, PHRASE)
    stages = session.compiled  # type: ignore[attr-defined]
    core = import_openvino().Core()
    hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    whole = core.compile_model(session.found.models["decoder"], "CPU", hints).create_infer_request()  # type: ignore[attr-defined]
    given = {name: np.asarray(values[name]) for name in ("tokens", "style", "speed")}
    times: dict[str, list[float]] = {"whole": [], "parts": []}
    for _ in range(4):
        start = time.perf_counter()
        expected = np.array(whole.infer(given)[0]).ravel()
        times["whole"].append(time.perf_counter() - start)
        start = time.perf_counter()
        for stage in session.found.recipe.stages:  # type: ignore[attr-defined]
            if stage.name in stages:
                stages[stage.name].infer({port: values[name] for port, name in stage.inputs.items()})
        times["parts"].append(time.perf_counter() - start)
    audio = np.asarray(values["audio"]).ravel()

    assert expected.shape == audio.shape
    assert np.abs(expected - audio).max() < 1e-3 * np.abs(expected).max()
    assert 0.75 < min(times["parts"]) / min(times["whole"]) < 1.33


@pytest.mark.alone
def test_rtf_is_that_of_the_wav_file(llmbench: Run, tmp_path: Path) -> None:
    """Wall time over the duration in the file's header; stages and remainder are the wall; shares as the profile's."""
    options = ["-p", "Hello.", "-n", "2", "--foreign-cpu-limit", "1", "--name", "voice"]
    done = llmbench("run", "-c", "tts-two-stage", *options)
    run = measured_run(done, tmp_path / "reports/voice.jsonl")
    with wave.open(str(tmp_path / "reports/hello.wav")) as file:
        assert (1, 2, 22050) == (file.getnchannels(), file.getsampwidth(), file.getframerate())
        duration_s = file.getnframes() / file.getframerate()
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32767
    m = run.launches[0].measurements[-1]
    wall_s = (m.end_ns - m.start_ns) / 1e9

    assert 0.3 < duration_s < 1.2
    assert 0.02 < np.sqrt(np.mean(samples**2)) < 0.5
    assert pytest.approx(wall_s / duration_s, rel=1e-6) == METRICS["rtf"].of(m)
    assert (request_metric("share.unexplained").of(m) or 0) < 0.02
    assert not m.suspicions


@pytest.mark.nightly
def test_shares_agree_with_the_engines_profile(llmbench: Run) -> None:
    """Within a tenth: what operations add up to, and what our clock has for each network."""
    done = llmbench("profile", "-c", "tts-two-stage", "--json")
    assert done.returncode == 0, done.stderr
    stages = json.loads(done.stdout)["stages"]
    walls = {name: each["wall_s"] for name, each in stages.items()}
    sums = {name: sum(each["kinds"].values()) for name, each in stages.items()}

    for name in ("acoustic_model", "vocoder"):
        assert abs(walls[name] / sum(walls.values()) - sums[name] / sum(sums.values())) < 0.1


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("recipe", "text", "heaviest"),
    [
        ("tts-four-stage", "Hello.", "decoder"),
        ("tts-gpt-sovits", "Hello.", "text to semantic"),
        ("lip-sync", "face in the first frame", "lip sync"),
    ],
)
def test_each_recipe_runs(llmbench: Run, recipe: str, text: str, heaviest: str) -> None:
    """And names the stage that takes the most."""
    options = ["-p", text, "-n", "1", "--foreign-cpu-limit", "1"]
    done = llmbench("run", "-c", recipe, *options)
    assert done.returncode == 0, done.stderr
    assert f"heaviest: {heaviest}" in done.stdout


@pytest.mark.nightly
def test_ab_names_the_stage_that_was_slowed(llmbench: Run, tmp_path: Path) -> None:
    """A voice of 100 ms that takes 200 ms in B."""
    recipes = [
        str(toy_pipeline.write(tmp_path / name, pause=pause)) for name, pause in (("a", 0.1), ("b", 0.2))
    ]
    options = ["--blocks", "5", "--trust-recipe-code", "--foreign-cpu-limit", "1"]
    done = llmbench("ab", *recipes, *options)

    assert done.returncode == 1, done.stderr
    assert "The slower stage is voice +" in done.stdout.replace("\n", " ")
