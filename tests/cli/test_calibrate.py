import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from llmbench.schema.run import Outcome
from llmbench.store import reader

Run = Callable[..., subprocess.CompletedProcess[str]]
SCRIPT = "first=20ms,next=10ms,noise=1%,launch-noise=1.5%"
OPTIONS = ("--engine", "scripted", "-n", "3", "-ic", "6", "-p", "one two")


@pytest.fixture
def calibrate(llmbench: Run, tmp_path: Path) -> Run:
    """Calibrates a script; what is kept is kept in the test's own folder."""

    def run(*arguments: str, script: str = SCRIPT) -> subprocess.CompletedProcess[str]:
        given = ("calibrate", *OPTIONS, "-m", script, *arguments)
        return llmbench(*given, XDG_CACHE_HOME=str(tmp_path / "cache"))

    return run


def words(done: subprocess.CompletedProcess[str]) -> str:
    """What was printed, on one line."""
    return " ".join(done.stdout.split())


def test_the_noise_that_was_told_is_found(calibrate: Run, tmp_path: Path) -> None:
    """Launches of a script that differ by 1.5 %, what shows a change among them, and what a gate is worth."""
    done = calibrate("--blocks", "6", "--name", "x")

    assert done.returncode == 0, done.stderr
    row = next(line for line in done.stdout.splitlines() if " first " in line and "P0" in line)
    iteration, launch = (float(share) for share in re.findall(r"(\d+\.\d) %", row)[:2])
    assert 0.4 < iteration < 2.0, row
    assert 0.7 < launch < 2.8, row
    assert "A gate of 5 + 5 launches here sees changes from" in words(done)
    assert "false-alarm rate: " in words(done)
    assert "of unchanged builds" in words(done)
    assert "A against A: " in words(done)
    assert "calibrate again at another time of day" in words(done)
    run = reader.read_run(tmp_path / "reports/x.jsonl")
    assert run.cells[0] == run.cells[1]
    assert 12 == len(run.launches)
    (kept,) = (tmp_path / "cache/llmbench/calibrations").iterdir()
    assert f"kept: {kept}" in done.stdout


@pytest.mark.slow
def test_sessions_are_compared(calibrate: Run) -> None:
    """A second calibration tells how sessions differ, and what that does to a gate."""
    calibrate("--blocks", "3", "--quiet")
    done = calibrate("--blocks", "3", "--quiet", script=SCRIPT.replace("20ms", "24ms"))

    assert done.returncode == 0, done.stderr
    assert "from 12 launches in 2 sessions" in words(done)
    assert "if measured in another session" in words(done)


@pytest.mark.slow
def test_a_gate_is_judged_as_it_is_set(calibrate: Run) -> None:
    """Its launches and thresholds."""
    done = calibrate("--blocks", "4", "--launches", "3", "--threshold", "all=0.1%", "--quiet")

    assert done.returncode == 0, done.stderr
    assert "A gate of 3 + 3 launches" in words(done)
    assert "less than" not in words(done)


@pytest.mark.slow
def test_a_comparison_is_told_of_it(calibrate: Run, llmbench: Run, tmp_path: Path) -> None:
    """``report compare`` and ``ab`` note the noise of the machine where that configuration was calibrated."""
    calibrate("--blocks", "4", "--quiet")
    cache = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    noisy = "first=20ms,next=10ms,launch-noise=20%"
    done = llmbench("ab", *OPTIONS, "-m", noisy, "--blocks", "4", "--name", "x", "--quiet", **cache)

    assert "note: calibrated on 20" in done.stdout
    assert "times as much as when this machine was calibrated; is it busy?" in words(done)
    again = llmbench("report", "compare", "reports/x.jsonl", **cache)
    assert "note: calibrated on 20" in again.stdout
    other = llmbench("ab", *OPTIONS, "-m", noisy, "-bs", "2", "--blocks", "2", "--quiet", **cache)
    assert "calibrated on" not in other.stdout


def test_a_recipe_says_what_to_calibrate(llmbench: Run, tmp_path: Path) -> None:
    """The same recipe that run takes."""
    (tmp_path / "bench.toml").write_text(
        f'model = "{SCRIPT}"\nengine = "scripted"\nlaunches = 9\nnum-iters = 1\n'
    )
    cache = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = llmbench("calibrate", "bench.toml", "--blocks", "2", "-ic", "4", "--quiet", "--name", "x", **cache)

    assert done.returncode == 0, done.stderr
    (cell, _) = reader.read_run(tmp_path / "reports/x.jsonl").cells
    assert (1, 4, 2) == (cell.iterations, cell.output_tokens, cell.launches)


@pytest.mark.parametrize(
    ("arguments", "code", "output"),
    [
        (["--blocks", "1"], 2, "--blocks"),
        (["--launches", "1"], 2, "--launches"),
        (["--threads", "1,2"], 2, "this is a sweep of 2 configurations, where one is wanted"),
        (["--threshold", "load=1%"], 2, "load"),
        (["none.toml"], 2, "none.toml"),
    ],
)
def test_bad_input_is_named(
    calibrate: Run, tmp_path: Path, *, arguments: list[str], code: int, output: str
) -> None:
    """Before anything is measured."""
    done = calibrate(*arguments)

    assert code == done.returncode
    assert output in done.stderr
    assert list(tmp_path.rglob("*.jsonl")) == []


def test_too_few_launches_are_no_calibration(calibrate: Run, tmp_path: Path) -> None:
    """Busy neighbours spoil everything: nothing is kept, and the exit code says so."""
    done = calibrate("--blocks", "2", script="first=1s,next=1ms,interference=20%")

    assert done.returncode == 5
    assert "noise takes two" in done.stderr
    assert not (tmp_path / "cache/llmbench/calibrations").exists()


def test_a_launch_that_fails_ends_it(llmbench_workers: Run, tmp_path: Path) -> None:
    """Nothing is left to calibrate by; what was measured is kept."""
    crash = ("-m", f"{SCRIPT},crash=SIGKILL@4")
    done = llmbench_workers("calibrate", *OPTIONS, *crash, "--blocks", "3", "--name", "x")

    assert done.returncode == 5
    outcomes = [launch.outcome for launch in reader.read_run(tmp_path / "reports/x.jsonl").launches]
    assert [Outcome.FAILED] == outcomes
