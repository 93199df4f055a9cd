import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

RunCommand = Callable[..., subprocess.CompletedProcess[str]]
SCRIPT = "first=100ms,next=10ms,noise=0.5%"


@pytest.mark.parametrize(
    ("reported", "output"),
    [
        (",cold=1", "Stable over the iterations; 1 warm-up was enough; output identical in all launches."),
        (
            ",cold=3",
            "note: P0: 3 warm-ups would have been needed, 1 was made: the first 2 measured iterations",
        ),
        (",drift=2%", "note: P0: not stable: first token +1"),
        (",stray=3", "note: P0 variant 0: launches 1 and 2 part at token 3 of 8, and in 8 more variants"),
    ],
)
def test_a_run_says_what_it_was_told_to_be(
    llmbench: RunCommand, tmp_path: Path, reported: str, output: str
) -> None:
    """A slow start, a drift and launches that stray stand below the table of the run and of its report."""
    arguments = ("--engine", "scripted", "--input-tokens", "32", "-n", "8", "-ic", "8", "--launches", "2")
    ran = llmbench("run", "-m", SCRIPT + reported, *arguments, "--output-dir", "runs", "--name", "told", "-v")

    path = next((tmp_path / "runs").glob("*.jsonl"))
    assert output in " ".join(ran.stdout.split())
    assert output in " ".join(llmbench("report", "show", "-v", str(path)).stdout.split())


def test_two_runs_that_chose_other_tokens(llmbench: RunCommand, tmp_path: Path) -> None:
    """The run file has the tokens: a comparison of two says on screen and in JSON where they part."""
    arguments = (
        "--engine",
        "scripted",
        "--input-tokens",
        "32",
        "-n",
        "2",
        "-ic",
        "8",
        "--output-dir",
        "runs",
    )
    llmbench("run", "-m", SCRIPT, *arguments, "--name", "base")
    llmbench("run", "-m", SCRIPT, *arguments, "--name", "other")
    base, other = tmp_path / "runs" / "base.jsonl", tmp_path / "runs" / "other.jsonl"
    lines = [json.loads(line) for line in other.read_text().splitlines()]
    requests = [line for line in lines if line["event"] == "measurement"]
    requests[2]["sequences"][0]["token_ids"][4] += 1
    other.write_text("".join(f"{json.dumps(line)}\n" for line in lines))

    compared = llmbench("report", "compare", str(base), str(other), "--json", "told.json")

    assert "greedy tokens: part in 1 of 3 variants, first at token 5 (P0 variant 2)" in compared.stdout
    reported = json.loads((tmp_path / "told.json").read_text())["comparisons"][0]["agreement"]
    assert (3, [(2, 5, 8)]) == (
        reported["variants"],
        [(each["variant"], each["token"], each["tokens"]) for each in reported["partings"]],
    )
