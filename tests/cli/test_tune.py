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


@pytest.mark.slow
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
    assert "beats the default by 3 %" in done.stdout or "the default is the best" in done.stdout
    assert "by the race any of 4 candidates is at most 1.0" in done.stdout
    assert "times as fast (95 % for all together)" in done.stdout
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


def test_a_dry_run_names_the_candidates_and_runs_nothing(
    llmbench: RunCommand, space: str, tmp_path: Path
) -> None:
    """The default and three others of the space, the blocks, and no file; without a space the settings found."""
    done = llmbench("tune", "-m", SCRIPT, "--space", space, *OPTIONS, "--dry-run")
    found = llmbench("tune", "-m", SCRIPT, *OPTIONS, "--dry-run")

    tried = [line for line in done.stdout.splitlines() if line.startswith("would try: ")]
    assert ["would try: default", *(f"would try: NUM_STREAMS={n}" for n in (1, 2, 3, 4))] == tried
    assert "5 candidates in up to 4 blocks; a proof of 5 blocks; nothing was run" in done.stdout
    assert "then combinations of those that help" in found.stdout
    assert not list(tmp_path.glob("reports/*"))


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--sockets", "7"), 4, "socket"),
        (("--max-kld", "0.1"), 2, "--max-kld and --min-same-top need an IR"),
        (("--space", "none.toml"), 2, "none.toml"),
    ],
)
def test_a_dry_run_refuses_what_the_search_would(
    llmbench: RunCommand, space: str, *, options: tuple[str, ...], code: int, words: str
) -> None:
    """Before its first launch, with the same code and words."""
    search = ("tune", "-m", SCRIPT, "--space", space, *OPTIONS, *options)
    done = [llmbench(*search, "--dry-run"), llmbench(*search)]

    assert [code, code] == [each.returncode for each in done]
    assert all(words in each.stderr for each in done)


def test_a_default_without_a_valid_launch_is_no_winner(llmbench: RunCommand, space: str) -> None:
    """Every request of it is disturbed: exit 5, and no candidate is compared with nothing."""
    done = llmbench("tune", "-m", f"{SCRIPT},interference=30%", "--space", space, *OPTIONS)

    assert 5 == done.returncode
    assert "no launch of the default is valid" in done.stderr
    assert "other processes used" in done.stderr
    assert "--foreign-cpu-limit 1" in done.stderr.splitlines()[-1]
    assert "the best" not in done.stdout


def test_quality_is_not_limited_where_it_cannot_be_read(llmbench: RunCommand, space: str) -> None:
    """A script has no logits."""
    done = llmbench("tune", "-m", SCRIPT, "--space", space, *OPTIONS, "--max-kld", "0.1")

    assert 2 == done.returncode
    assert "--max-kld and --min-same-top need an IR" in done.stderr


LIMITS = ("--goodput", "ttft:1000", "--concurrency", "2")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--concurrency", "2"), "--concurrency is for a search under load"),
        (("--for", "goodput"), "--for goodput needs the limits of a good request"),
        (("--for", "goodput", *LIMITS, "--attention", "sdpa"), "--attention"),
        (("--for", "goodput", *LIMITS[:3], "1,2"), "a sweep of 2 loads"),
    ],
)
def test_what_belongs_to_another_search_is_refused(
    llmbench: RunCommand, arguments: tuple[str, ...], message: str
) -> None:
    """Before anything is measured, with what to write instead."""
    engine = () if "goodput" in arguments else ("--engine", "scripted")
    server = ("--server", "scripted") if "goodput" in arguments else ()

    done = llmbench("tune", "-m", SCRIPT, *engine, *server, *arguments)

    assert 2 == done.returncode
    assert message in done.stderr


@pytest.mark.nightly
def test_the_known_optimum_of_a_server_under_load_is_proved(
    llmbench_workers: RunCommand, space: str, tmp_path: Path
) -> None:
    """Three streams take half: goodput nearly doubles, on launches of the server that the search never saw."""
    script = "first=20ms,next=4ms,slots=2,NUM_STREAMS.3=50%"
    done = llmbench_workers(
        *("tune", "-m", script, "--for", "goodput", "--server", "scripted", *LIMITS, "--space", space),
        *("-n", "20", "-ic", "10", "--rounds", "3", "--blocks", "4", "--name", "t"),
        *("--foreign-cpu-limit", "1"),
    )

    assert not done.returncode, done.stderr
    assert "NUM_STREAMS=3 is 1." in done.stdout
    assert "times the default's goodput" in done.stdout
    assert "measure it again: llmbench load --server scripted" in done.stdout
    assert {"NUM_STREAMS": 3} == json.loads((tmp_path / "reports/t.properties.json").read_text())
