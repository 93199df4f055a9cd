import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from llmbench.schema.run import Outcome
from llmbench.store import reader
from tests.waiting import output_of, wait_until

Run = Callable[..., subprocess.CompletedProcess[str]]
_SCRIPTED = ("--engine", "scripted")
_FAST = ("run", "-m", "first=20ms,second=15ms,next=10ms", *_SCRIPTED, "-n", "2", "-ic", "8")


def _only_run(folder: Path) -> Path:
    (path,) = (folder / "reports").glob("*.jsonl")
    return path


def test_a_run_leaves_a_file_and_prints_lines_and_a_table(llmbench: Run, tmp_path: Path) -> None:
    """Exit 0, the familiar lines and the table on standard output, the run file in reports/."""
    done = llmbench(*_FAST, "-p", "What is openvino?", "-r", "out.csv", "-rj", "out.json")

    assert (0, "") == (done.returncode, done.stderr)
    assert (
        "[ INFO ] [1][P0] First token latency: 20.00 ms, other tokens latency: 10.71 ms/token" in done.stdout
    )
    run = reader.read_run(_only_run(tmp_path))
    assert run.is_complete
    assert len(run.launches[0].measurements) == 3
    assert (tmp_path / "out.csv").is_file()
    assert len(json.loads((tmp_path / "out.json").read_text())["perfdata"]["results"]) == 3


def test_told_latencies_reach_the_table_exactly(llmbench: Run) -> None:
    """What the engine told is what a person reads: first, second and next apart."""
    done = llmbench(*_FAST, "--quiet")

    assert done.returncode == 0
    row = next(line for line in done.stdout.splitlines() if "20.00" in line)
    assert "15.00" in row
    assert "10.00" in row


@pytest.mark.parametrize(
    ("arguments", "code", "output"),
    [
        (["-m", "no/such/model"], 2, "there is no model at no/such/model"),
        ([], 2, "no model was given"),
        (["-m", "fist=1ms", *_SCRIPTED], 2, "'fist=1ms' is not understood"),
        (["-m", "first=1ms", *_SCRIPTED, "-ic", "0"], 2, "output tokens: 0"),
        (["-m", "first=1ms", *_SCRIPTED, "-n", "0"], 2, "iterations: 0"),
        (["-m", "first=1ms", *_SCRIPTED, "-pf", "none.jsonl"], 2, "none.jsonl"),
        (["-m", "first=1ms", *_SCRIPTED, "-p", "x", "--input-tokens", "3"], 2, "choose one"),
        (["-m", "first=1ms", *_SCRIPTED, "-lc", "{bad"], 2, "error: "),
        (["-m", "first=1ms", *_SCRIPTED, "-r", "none/x.csv"], 2, "not a folder"),
        (["-m", "first=1ms", *_SCRIPTED, "--output-dir", "/dev/null"], 2, "not a folder"),
        (["-m", "first=1ms", *_SCRIPTED, "--timeout", "soon"], 2, "20m"),
        (["-m", "first=1ms", *_SCRIPTED, "--no-such-option"], 2, "--no-such-option"),
        (["-m", "first=1ms", *_SCRIPTED, "-ic16"], 2, "-ic 16"),
        (["--resume", "none.jsonl"], 2, "none.jsonl"),
    ],
)
def test_bad_input_is_one_line_and_its_exit_code(
    llmbench: Run, tmp_path: Path, *, arguments: list[str], code: int, output: str
) -> None:
    """What was wrong, where, and what to do; no traceback, and nothing is written."""
    done = llmbench("run", *arguments)

    assert code == done.returncode, done.stderr
    assert output in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.rglob("*.jsonl")) == []


def test_a_name_is_not_taken_twice(llmbench: Run) -> None:
    """A run file that exists is refused, or replaced when asked."""
    assert llmbench(*_FAST, "--name", "mine").returncode == 0
    again = llmbench(*_FAST, "--name", "mine")

    assert again.returncode == 2
    assert "exists" in again.stderr
    assert llmbench(*_FAST, "--name", "mine", "--overwrite").returncode == 0


def test_busy_neighbours_make_a_row_missing(llmbench: Run) -> None:
    """Measurements under too much foreign CPU do not count; with none left, the exit code is 5."""
    done = llmbench(*_FAST[:2], "first=1s,next=1ms,interference=20%", *_FAST[3:])

    assert done.returncode == 5
    assert "1 row without a valid request: other processes used 20%" in done.stderr
    assert "llmbench doctor" in done.stderr
    assert re.search(r"P0 .* 1000! ", done.stdout)
    assert "INVALID" in done.stdout


def test_a_launch_that_is_all_invalid_is_named_before_the_next_one(llmbench: Run) -> None:
    """Once, with what Ctrl-C keeps; the first request has its reason at once, the others a mark."""
    done = llmbench(*_FAST[:2], "first=1s,next=1ms,interference=20%", *_FAST[3:], "--launches", "3")

    assert 1 == done.stderr.count("every request of this launch is invalid: other processes used 20%")
    assert "2 launches to come, Ctrl-C stops and keeps what was measured" in done.stderr
    assert 1 == done.stdout.count("  INVALID (!): other processes used 20%")
    assert 5 == done.stdout.count(" tokens/s !\n")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.slow
def test_an_interrupted_run_keeps_and_resumes(
    llmbench: Run, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    """What was measured is kept and shown, the resume command is printed, and it works."""
    command = [sys.executable, "-m", "llmbench", "run", "-m", "first=1ms,sleep=40ms", *_SCRIPTED]
    command += ["-n", "24", "--launches", "2", "-ic", "4", "--name", "cut"]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONFAULTHANDLER": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    path = tmp_path / "reports/cut.jsonl"
    wait_until(lambda: path.exists() and path.read_bytes().count(b"\n") > 30, "the second launch")
    os.kill(process.pid, number)
    out, err = output_of(process)

    assert code == process.returncode
    assert "llmbench run --resume reports/cut.jsonl" in err
    assert "written: reports/cut.jsonl" in out
    kept = sum(len(launch.measurements) for launch in reader.read_run(path).launches)
    assert kept > 25

    done = llmbench("run", "--resume", "reports/cut.jsonl", "--quiet")
    assert done.returncode == 0, done.stderr
    run = reader.read_run(path)
    assert run.is_complete
    outcomes = [launch.outcome for launch in run.launches]
    assert [Outcome.FINISHED, Outcome.ABORTED, Outcome.FINISHED] == outcomes
    assert [25, 25] == [len(x.measurements) for x in run.launches if x.outcome is Outcome.FINISHED]


def test_a_finished_run_has_nothing_to_resume(llmbench: Run) -> None:
    """Resuming a complete run shows it and is fine."""
    llmbench(*_FAST, "--name", "whole")
    done = llmbench("run", "--resume", "reports/whole.jsonl")

    assert done.returncode == 0
    assert "is complete" in done.stderr


def test_resume_takes_no_second_configuration(llmbench: Run) -> None:
    """What to measure stands in the run file already."""
    llmbench(*_FAST, "--name", "whole")
    done = llmbench("run", "--resume", "reports/whole.jsonl", "-n", "7")

    assert done.returncode == 2
    assert "num_iters" in done.stderr


def test_a_recipe_gives_defaults(llmbench: Run, tmp_path: Path) -> None:
    """RUN.toml holds options; what is typed wins."""
    (tmp_path / "r.toml").write_text('model = "first=7ms"\nengine = "scripted"\nnum-iters = 3\n')
    done = llmbench("run", "-c", "r.toml", "-n", "4", "--name", "x")

    assert done.returncode == 0, done.stderr
    assert len(reader.read_run(tmp_path / "reports/x.jsonl").launches[0].measurements) == 5


@pytest.mark.slow
def test_help_is_light(tmp_path: Path) -> None:
    """--help and report show import no engine, no torch, no pandas."""
    program = (
        "import sys\nfrom llmbench.cli.main import invoke\n"
        "assert invoke(['--help']) == 0\nassert invoke(['run', '--help']) == 0\n"
        "heavy = {'openvino', 'openvino_genai', 'torch', 'transformers', 'optimum', 'pandas', 'scipy', 'numpy'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, cwd=tmp_path, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
