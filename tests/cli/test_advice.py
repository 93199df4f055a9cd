"""The advice under an undecided comparison can be pasted: it runs, and measures what was measured."""

import itertools
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from llmbench.analysis.comparison.paired_run import split_sides
from llmbench.store import reader

Run = Callable[..., subprocess.CompletedProcess[str]]
SCRIPT = "first=200ms,next=20ms,launch-noise=6%,noise=1%"
LINES = {"mine": '{"prompt":"alpha beta"}\n{"prompt":"gamma"}\n', "other": '{"prompt":["hello","more"]}\n'}


def advice(llmbench: Run, first: tuple[str, ...], second: tuple[str, ...]) -> list[list[str]]:
    """Two runs of these options are compared: the commands of the advice, and the time it takes stands before them."""
    for name, seed, options in (("m 1", "1", first), ("m2", "2", second)):
        done = llmbench(
            *(
                "run",
                "--engine",
                "scripted",
                "-m",
                SCRIPT,
                "-ic",
                "4",
                "-n",
                "1",
                "--launches",
                "2",
                "--quiet",
            ),
            *("-s", seed, "--name", name, *options),
        )
        assert done.returncode == 0, done.stderr
    done = llmbench("report", "compare", "reports/m 1.jsonl", "reports/m2.jsonl", COLUMNS="400")
    (head,) = [line for line in done.stdout.splitlines() if "to settle the undecided rows" in line]
    assert "(about " in head
    return [shlex.split(line) for line in done.stdout.splitlines() if line.startswith("  llmbench ")]


@pytest.fixture
def prompts(tmp_path: Path) -> None:
    """Prompt files in a folder whose name has to be quoted."""
    (tmp_path / "de ep").mkdir()
    for name, text in LINES.items():
        (tmp_path / "de ep" / f"{name}.jsonl").write_text(text)


@pytest.mark.usefixtures("prompts")
@pytest.mark.parametrize(
    "options",
    [
        ("-pf", "de ep/mine.jsonl", "-pi", "1"),
        ("-pf", "de ep/mine.jsonl", "-pf", "de ep/other.jsonl"),
        ("-p", 'it\'s "quoted"'),
    ],
    ids=" ".join,
)
@pytest.mark.slow
def test_the_command_measures_the_same_prompts(
    llmbench: Run, tmp_path: Path, options: tuple[str, ...]
) -> None:
    """Whatever named them: -pi, several files, chats, quotes; each side's command, for the seeds differ.

    Of the launches that it asks for two are made.
    """
    before = reader.read_run_header
    for number, command in enumerate(advice(llmbench, options, options)):
        assert int(command[-1]) > 2
        done = llmbench(*command[1:-1], "2", "--quiet", "--name", f"again{number}")

        assert done.returncode == 0, done.stderr
        measured, again = (
            before(tmp_path / "reports" / f"{name}.jsonl") for name in ("m 1", f"again{number}")
        )
        assert measured is not None
        assert again is not None
        sides = split_sides(again) if len(again.cells) == 2 else (again,)
        for side in sides:
            hashes = [prompt.sha256 for prompt in side.cells[0].prompts]
            assert hashes == [prompt.sha256 for prompt in measured.cells[0].prompts]


def test_sides_of_other_settings_are_measured_by_ab(llmbench: Run) -> None:
    """Both settings stand in the command, which measures them in turns."""
    (command,) = advice(llmbench, ("-p", "x", "--attention", "pa"), ("-p", "x", "--attention", "sdpa"))

    assert ["llmbench", "ab"] == command[:2]
    assert ["pa", "sdpa"] == [value for name, value in itertools.pairwise(command) if name == "--attention"]
    assert llmbench(*command[1:], "--dry-run").returncode == 0


def test_launches_needed_are_those_of_the_advice(llmbench: Run) -> None:
    """JSON and screen do not contradict each other."""
    (command, *_) = advice(llmbench, ("-p", "x"), ("-p", "x"))
    done = llmbench("report", "compare", "reports/m 1.jsonl", "reports/m2.jsonl", "--csv", "-")

    needed = [int(cells.split(",")[23] or 0) for cells in done.stdout.splitlines()[1:]]
    assert int(command[-1]) in needed
