import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from llmbench.analysis.comparison.rule import COMPARED
from llmbench.analysis.history import setup_of
from llmbench.analysis.noise import calibration
from llmbench.analysis.noise.calibration import (
    CalibrationSession,
    NoiseSeries,
    add_session,
    calibration_file,
    load_calibration,
    session_of,
)
from llmbench.errors import LaunchError, OutputError
from llmbench.schema.measurement import Conditions
from llmbench.schema.run import Run

BuildRun = Callable[..., Run]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "llmbench/calibrations"


def test_a_session_has_the_logarithms_of_launch_medians(story_of: BuildRun) -> None:
    """Launches of 100, 102 and 99 ms: their logarithms in seconds, for each prompt and metric, with their blocks."""
    run = story_of(launches=3)
    run = dataclasses.replace(
        run, launches=tuple(dataclasses.replace(each, block=each.index + 7) for each in run.launches)
    )
    session = session_of(run)
    first = next(series for series in session.series if series.metric == "first_token")

    assert pytest.approx([math.log(0.1), math.log(0.102), math.log(0.099)]) == first.logs
    assert (7, 8, 9) == session.blocks
    assert ("P0", run.cells[0].prompts[0].sha256) == (first.label, first.prompt)
    assert 2 * len(COMPARED) == len(session.series)  # two prompts
    assert 0.0 == first.iteration_sd  # the iterations of a story's launch are the same


def test_the_iterations_of_a_launch_vary_by_themselves(story_of: BuildRun) -> None:
    """Two iterations of 100 and 110 ms: their logarithms differ by log 1.1, a deviation of that over root 2."""
    run = story_of(launches=3)
    launches = []
    for launch in run.launches:
        slow = launch.measurements[4]
        at = tuple(type(t)(slow.start_ns + round((t - slow.start_ns) * 1.1)) for t in slow.sequences[0].at_ns)
        sequence = dataclasses.replace(slow.sequences[0], at_ns=at)
        calm = Conditions(wall_s=1.0, cpus=2, worker_s=1.0, interference_s=0.0)
        measured = [
            dataclasses.replace(m, conditions=calm, sequences=(sequence,)) if m is slow else m
            for m in launch.measurements
        ]
        launches.append(dataclasses.replace(launch, measurements=tuple(measured)))

    session = session_of(dataclasses.replace(run, launches=tuple(launches)))

    first = next(series for series in session.series if series.metric == "first_token")
    assert pytest.approx(math.log(1.1) / math.sqrt(2), rel=1e-6) == first.iteration_sd


def test_a_launch_without_a_value_is_left_out(story_of: BuildRun) -> None:
    """Everything of launch 0 was beside a neighbour: two launches are left, which is enough; one is not."""
    noisy = Conditions(wall_s=1.0, cpus=2, worker_s=1.0, interference_s=0.8)

    def spoilt(run: Run, prompts: tuple[int, ...] = (0, 1)) -> Run:
        first = run.launches[0]
        measured = tuple(
            dataclasses.replace(m, conditions=noisy) if m.prompt in prompts else m for m in first.measurements
        )
        return dataclasses.replace(
            run, launches=(dataclasses.replace(first, measurements=measured), *run.launches[1:])
        )

    assert {2} == {len(series.logs) for series in session_of(spoilt(story_of(launches=3))).series}
    assert {2} == {len(series.logs) for series in session_of(spoilt(story_of(launches=3), (1,))).series}
    with pytest.raises(LaunchError, match="valid measurements of everything: 1; noise takes two"):
        session_of(spoilt(story_of(launches=2)))


def test_sessions_are_kept_together(story_of: BuildRun) -> None:
    """The second is added to the first; what is read is what was kept."""
    run = story_of(launches=3)
    setup, session = setup_of(run, 0), session_of(run)

    assert load_calibration(setup) is None
    add_session(setup, session)
    kept = add_session(setup, dataclasses.replace(session, run="another"))

    assert [run.id, "another"] == [each.run for each in kept.sessions]
    assert kept == load_calibration(setup)


def test_another_configuration_is_kept_apart(story_of: BuildRun) -> None:
    """Threads, CPU and prompts tell setups apart; versions and the number of launches do not."""
    run = story_of(launches=3)
    cell = run.cells[0]
    other_cpu = dataclasses.replace(run.environment, cpu_model="Other CPU")
    newer = dataclasses.replace(run.environment, versions={"openvino": "2027.1"})
    changed = [
        dataclasses.replace(run, cells=(dataclasses.replace(cell, threads=3),)),
        dataclasses.replace(run, cells=(dataclasses.replace(cell, prompts=cell.prompts[:1]),)),
        dataclasses.replace(run, environment=other_cpu),
    ]
    same = [
        dataclasses.replace(run, cells=(dataclasses.replace(cell, launches=9),)),
        dataclasses.replace(run, environment=newer),
    ]
    here = calibration_file(setup_of(run, 0))

    assert len({here, *(calibration_file(setup_of(each, 0)) for each in changed)}) == 4
    assert {here} == {calibration_file(setup_of(each, 0)) for each in same}


def test_only_the_last_fifty_sessions_are_kept(story_of: BuildRun, cache: Path) -> None:
    """A file that grows with every night would never end."""
    run = story_of(launches=3)
    setup, session = setup_of(run, 0), session_of(run)
    for number in range(52):
        add_session(setup, dataclasses.replace(session, run=str(number)))

    kept = load_calibration(setup)
    assert kept is not None
    assert [str(number) for number in range(2, 52)] == [each.run for each in kept.sessions]
    assert [calibration_file(setup)] == list(cache.iterdir())  # no temporary file is left


@pytest.mark.parametrize("content", ["", "{", '{"schema": 1}', "[]"])
def test_a_damaged_calibration_is_none(story_of: BuildRun, cache: Path, content: str) -> None:
    """It can be made again, so it is no reason to stop; adding replaces it."""
    setup = setup_of(story_of(launches=3), 0)
    cache.mkdir(parents=True)
    calibration_file(setup).write_text(content)

    assert load_calibration(setup) is None
    assert 1 == len(add_session(setup, session_of(story_of(launches=3))).sessions)


def test_a_calibration_of_another_schema_is_none(story_of: BuildRun) -> None:
    """What another version wrote is not misread."""
    setup = setup_of(story_of(launches=3), 0)
    add_session(setup, session_of(story_of(launches=3)))
    reported = json.loads(calibration_file(setup).read_text()) | {"schema": 99}
    calibration_file(setup).write_text(json.dumps(reported))

    assert load_calibration(setup) is None


def test_a_cache_that_cannot_be_written_is_said(story_of: BuildRun, cache: Path) -> None:
    """A file stands where the folder should."""
    cache.parent.mkdir(parents=True)
    cache.write_text("in the way")

    with pytest.raises(OutputError, match="cannot be written"):
        add_session(setup_of(story_of(launches=3), 0), session_of(story_of(launches=3)))


def test_no_secret_is_kept(story_of: BuildRun) -> None:
    """A property that holds a token leaves no trace of it in the file."""
    run = story_of(launches=3)
    cell = dataclasses.replace(run.cells[0], properties={"X": "hf_abcdefghijklmnop1234"})
    setup = setup_of(dataclasses.replace(run, cells=(cell,)), 0)
    add_session(setup, session_of(run))

    assert "hf_abcdefghijklmnop1234" not in calibration_file(setup).read_text()


def test_the_types_say_what_they_hold() -> None:
    """A calibration is built of plain values."""
    series = NoiseSeries(prompt="p", label="P0", metric="tpot", logs=(0.0, 0.1))
    session = CalibrationSession(
        run="r", started_at="2026-01-01", software={}, blocks=(0, 0), series=(series,)
    )

    assert (
        calibration.CALIBRATION_SCHEMA
        == calibration.Calibration(named={}, prompts=("p",), sessions=(session,)).schema
    )
