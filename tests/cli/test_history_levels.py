"""``report history`` names a change of level, offers a command, exits 1 on request, and takes an acceptance."""

import json
from pathlib import Path

import pytest

from tests.command import RunCommand, in_process

FAST, SLOW = "first=100ms,next=10ms,launch-noise=1%", "first=115ms,next=10ms,launch-noise=1%"


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs, of which one is slower."""
    folder = tmp_path_factory.mktemp("measured")
    for name, script in (("fast", FAST), ("slow", SLOW)):
        options = ("--engine", "scripted", "-ic", "4", "-n", "2", "--launches", "3", "--name", name)
        done = in_process(folder, "inline", "run", "-m", script, *options, "--output-dir", ".")
        assert not done.returncode, done.stderr
    return folder


@pytest.fixture
def series(measured: Path, tmp_path: Path) -> Path:
    """Five runs, and five that are slower: two that were measured, copied with names and dates of their own."""
    folder = tmp_path / "runs"
    folder.mkdir()
    for number in range(10):
        head, *lines = (measured / f"{'fast' if number < 5 else 'slow'}.jsonl").read_text().splitlines()
        dated = {"id": f"run{number}", "started_at": f"2026-01-{number + 1:02d}T03:04:00+00:00"}
        (folder / f"run{number}.jsonl").write_text(
            "\n".join([json.dumps(json.loads(head) | dated), *lines, ""])
        )
    return folder


def test_a_change_is_named_with_a_command_and_fails_on_request(llmbench: RunCommand, series: Path) -> None:
    """The sentence has size, run and what it rests on; the exit code is 1 only where that was requested."""
    shown = llmbench("report", "history", "runs")
    failed = llmbench("report", "history", "runs", "--fail-on-regression")

    assert (0, 1) == (shown.returncode, failed.returncode)
    text = " ".join(shown.stdout.split())
    assert "first token changed by +1" in text
    assert "at run5 (2026-01-06 03:04 UTC): 5 runs before, 5 runs since" in text
    assert "llmbench ab -m first=100ms,next=10ms,launch-noise=1% -m first=115ms" in text
    assert "next tokens changed" not in text


def test_an_accepted_change_fails_no_more(llmbench: RunCommand, series: Path) -> None:
    """The note is kept beside the runs, and shown in place of the command."""
    accepted = llmbench("report", "history", "runs", "--accept", "run5", "safer", "--fail-on-regression")
    later = llmbench("report", "history", "runs", "--fail-on-regression", "--html", "page.html")

    assert (0, 0) == (accepted.returncode, later.returncode)
    assert "accepted: safer" in " ".join(later.stdout.split())
    assert "llmbench ab" not in later.stdout
    assert "accepted: safer" in (series.parent / "page.html").read_text()


def test_an_acceptance_of_an_unknown_run_is_refused(llmbench: RunCommand, series: Path) -> None:
    """Nothing is written."""
    done = llmbench("report", "history", "runs", "--accept", "other", "why")

    assert 2 == done.returncode
    assert "is the beginning of 0 runs" in done.stderr
    assert not (series / "accepted.toml").exists()


def test_what_has_no_figure_is_left_out_and_counted(llmbench: RunCommand, series: Path) -> None:
    """A run that was cut short before its first request has no line of its own among those with figures."""
    head = json.loads((series / "run0.jsonl").read_text().splitlines()[0]) | {"id": "cut"}
    head["configurations"][0]["output_tokens"] = 5
    (series / "cut.jsonl").write_text(json.dumps(head) + "\n")

    among_others = llmbench("report", "history", "runs")
    alone = llmbench("report", "history", "runs/cut.jsonl")

    assert "left out: 1 configuration without first_token" in among_others.stderr
    assert "cut" not in among_others.stdout.replace("cut short", "")
    assert "cut" in alone.stdout.split()
