"""``tune`` on the scripted engine: a known optimum is found and written, and none is found where there is none."""

import json
import tomllib
from pathlib import Path

import pytest

from tests.command import RunCommand

SCRIPT = "first=100ms,next=10ms,launch-noise=1%"
OPTIONS = ("--engine", "scripted", "-n", "1", "-ic", "4", "--rounds", "4", "--blocks", "5", "--name", "t")


@pytest.fixture
def space(tmp_path: Path) -> str:
    """Four numbers of streams."""
    (tmp_path / "space.toml").write_text("[properties]\nNUM_STREAMS = [1, 2, 3, 4]\n")
    return "space.toml"


def test_the_known_optimum_is_proved_and_written(llmbench: RunCommand, space: str, tmp_path: Path) -> None:
    """Three streams take four fifths: the proof, properties for -lc, and a recipe that measures it again."""
    done = llmbench("tune", "-m", f"{SCRIPT},NUM_STREAMS.3=80%", "--space", space, *OPTIONS)

    assert not done.returncode, done.stderr
    assert "NUM_STREAMS=3 is 1.2" in done.stdout
    assert "on 5 fresh pairs" in done.stdout
    assert {"NUM_STREAMS": 3} == json.loads((tmp_path / "reports/t.properties.json").read_text())
    recipe = tomllib.loads((tmp_path / "reports/t.toml").read_text())
    assert ("scripted", {"NUM_STREAMS": 3}) == (recipe["engine"], recipe["properties"])
    again = llmbench("run", "-c", "reports/t.toml", "-lc", "reports/t.properties.json")
    assert not again.returncode, again.stderr


@pytest.mark.slow
def test_without_an_optimum_nothing_is_recommended(llmbench: RunCommand, space: str, tmp_path: Path) -> None:
    """All settings are the same: the answer says so, and no file is written."""
    done = llmbench("tune", "-m", SCRIPT, "--space", space, *OPTIONS)

    assert not done.returncode, done.stderr
    assert "beats the default by 3 %" in done.stdout or "the default is the fastest" in done.stdout
    assert not (tmp_path / "reports/t.toml").exists()


@pytest.mark.slow
def test_the_proof_is_made_of_launches_that_the_search_never_saw(
    llmbench: RunCommand, space: str, tmp_path: Path
) -> None:
    """Their numbers, by which the scripted engine varies, are others."""
    llmbench("tune", "-m", f"{SCRIPT},NUM_STREAMS.3=80%", "--space", space, *OPTIONS)

    def launches(part: str) -> set[int]:
        lines = (tmp_path / f"reports/t-{part}.jsonl").read_text().splitlines()
        return {json.loads(line)["launch"] for line in lines if '"launch started"' in line}

    assert 10 == len(launches("proof"))
    assert not launches("race") & launches("proof")
