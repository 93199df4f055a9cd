import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from llmbench.schema.run import Outcome
from llmbench.store import reader as store
from tests.waiting import output_of, wait_until

Run = Callable[..., subprocess.CompletedProcess[str]]
NOISE = "noise=1%,launch-noise=1.5%"
FAST = f"first=20ms,next=10ms,{NOISE}"
SLOW = f"first=22ms,next=11ms,{NOISE}"
OPTIONS = ("--engine", "scripted", "-n", "2", "-ic", "8", "-p", "one two three", "--name", "x")


def ab(llmbench: Run, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command under the scripted engine."""
    return llmbench("ab", *OPTIONS, *arguments)


@pytest.mark.slow
def test_ten_percent_a_token_is_found(llmbench_process: Run, tmp_path: Path) -> None:
    """B spends 10 % more on every token: regressed, exit 1, in real worker processes and every file."""
    files = ("--md", "x.md", "--html", "x.html", "--junit", "x.xml", "--json", "x.json", "--csv", "x.csv")
    done = ab(llmbench_process, "-m", FAST, "-m", SLOW, "--blocks", "8", *files)

    assert done.returncode == 1, done.stderr
    assert "B is slower: first token +" in done.stdout
    assert "block 8 of 8: first token" in done.stderr
    assert "regressed" in (tmp_path / "x.md").read_text()
    assert ET.parse(tmp_path / "x.xml").getroot().find(".//failure") is not None  # noqa: S314  our own file
    reported = json.loads((tmp_path / "x.json").read_text())["comparisons"][0]
    assert ("regressed", True) == (reported["verdict"], reported["rule"]["is_paired"])
    assert (tmp_path / "x.csv").read_text().count("regressed") >= 2


def test_the_same_is_not_called_slower(llmbench: Run) -> None:
    """A against itself: no regression, exit 0."""
    done = ab(llmbench, "-m", FAST, "--blocks", "5")

    assert done.returncode == 0, done.stdout
    assert "regressed" not in done.stdout
    assert "A and B are the same" in done.stderr
    assert "llmbench calibrate" in done.stderr


def test_a_and_b_keep_their_names(llmbench: Run) -> None:
    """In the table, in the sentence and in the lines above."""
    shown = ab(llmbench, "-m", FAST, "-m", SLOW, "--blocks", "5").stdout

    assert "A and B of x" in shown
    assert re.search(r"^prompt +metric +A +B +unit", shown, re.MULTILINE)
    assert "B is slower" in shown
    assert "candidate" not in shown


def test_a_block_has_one_launch_of_each_in_random_order(llmbench: Run, tmp_path: Path) -> None:
    """The run file holds both sides; launches pair by block, and neither side always comes first."""
    assert ab(llmbench, "-m", FAST, "-m", SLOW, "--blocks", "6", "--quiet").returncode == 1
    run = store.read_run(tmp_path / "reports/x.jsonl")
    order = [(launch.block, launch.cell) for launch in run.launches]

    assert [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5] == [block for block, _ in order]
    assert {(block, cell) for block in range(6) for cell in (0, 1)} == set(order)
    assert {0, 1} == {cell for _, cell in order[::2]}
    assert [FAST, SLOW] == [config.model for config in run.cells]
    assert run.is_complete
    assert all(launch.environment is None for launch in run.launches)


def test_the_run_file_is_compared_again(llmbench: Run) -> None:
    """``report compare FILE`` says what ``ab`` said; the exit code is its own rule's."""
    first = ab(llmbench, "-m", FAST, "-m", SLOW, "--blocks", "6")
    again = llmbench("report", "compare", "reports/x.jsonl", "--fail-on-regression")

    assert (1, 1) == (first.returncode, again.returncode)
    assert first.stdout.endswith(again.stdout)


def test_it_stops_when_the_intervals_are_narrow(llmbench: Run) -> None:
    """Without noise two blocks would do; five are made, and the verdict says that it stopped early."""
    done = ab(llmbench, "-m", "first=20ms,next=10ms", "--blocks", "8", "--until", "2%")

    assert done.returncode == 0, done.stdout
    assert "Nothing changed" in done.stdout
    assert "Stopped early, after 5 of 8 blocks." in " ".join(done.stdout.split())


def test_it_goes_on_while_the_intervals_are_wide(llmbench: Run) -> None:
    """Launches that differ by 30 % do not make an interval of 1 % in six blocks."""
    done = ab(llmbench, "-m", "first=20ms,next=10ms,launch-noise=30%", "--blocks", "6", "--until", "1%")

    assert "block 6 of 6" in done.stderr
    assert "Stopped early" not in done.stdout


@pytest.mark.slow
def test_it_stops_when_time_is_out(llmbench: Run, tmp_path: Path) -> None:
    """No block begins that would end after the budget; what there is, is compared."""
    done = ab(llmbench, "-m", f"{FAST},sleep=40ms", "--blocks", "50", "--budget", "2s")

    assert done.returncode == 0, done.stdout
    made = len(store.read_run(tmp_path / "reports/x.jsonl").launches) // 2
    assert 1 <= made <= 8  # of six requests of 40 ms each
    assert f"after {made} of 50 blocks" in " ".join(done.stdout.split())


@pytest.mark.slow
def test_an_alarm_is_confirmed_on_fresh_launches(llmbench: Run, tmp_path: Path) -> None:
    """What is really slower is slower again; the second run file has other launches, and the exit code is 1."""
    done = ab(llmbench, "-m", FAST, "-m", SLOW, "--blocks", "5", "--confirm", "--json", "x.json")

    assert done.returncode == 1, done.stdout
    assert "Confirmed on 5 fresh blocks." in " ".join(done.stdout.split())
    runs = [store.read_run(tmp_path / f"reports/{name}.jsonl") for name in ("x", "x-confirm")]
    assert not set.intersection(*({launch.index for launch in run.launches} for run in runs))
    reported = json.loads((tmp_path / "x.json").read_text())["comparisons"]
    assert [True, True] == [each["alarms"] > 0 for each in reported]


@pytest.mark.slow
def test_an_alarm_that_does_not_hold_fails_nobody(llmbench: Run, tmp_path: Path) -> None:
    """With this seed the launches of B happen to be slow at first, and are not when measured again."""
    lucky = ("-s", "1812", "--blocks", "3", "--confirm", "--json", "x.json")
    done = ab(llmbench, "-m", "first=20ms,next=10ms,launch-noise=8%", *lucky)

    assert done.returncode == 0, done.stdout
    assert "measuring again what seems slower" in done.stdout
    assert "Not confirmed on 3 fresh blocks." in " ".join(done.stdout.split())
    reported = json.loads((tmp_path / "x.json").read_text())["comparisons"]
    assert [0, 0] == [each["alarms"] for each in reported]


def test_recipes_say_what_the_sides_are(llmbench: Run, tmp_path: Path) -> None:
    """A.toml and B.toml; what stands on the command line is for both, and prompts there replace a recipe's."""
    for name, first in (("a", "20ms"), ("b", "30ms")):
        recipe = f'model = "first={first},next=10ms"\nengine = "scripted"\nprompt = "{name}"\nlaunches = 7\n'
        (tmp_path / f"{name}.toml").write_text(recipe)
    done = llmbench(
        *("ab", "a.toml", "b.toml", "--name", "x", "--blocks", "2", "-ic", "4", "-n", "1", "-p", "same")
    )

    assert done.returncode == 1, done.stderr
    cells = store.read_run(tmp_path / "reports/x.jsonl").cells
    assert ["first=20ms,next=10ms", "first=30ms,next=10ms"] == [cell.model for cell in cells]
    assert {("same", 4, 1, 2)} == {
        (cell.prompts[0].text, cell.output_tokens, cell.iterations, cell.launches) for cell in cells
    }
    assert "A: first=20ms" in done.stdout


def test_an_option_given_twice_is_for_a_and_then_for_b(llmbench: Run, tmp_path: Path) -> None:
    """Properties, which ``run`` joins, are one set a side here; what differs stands under what changed."""
    done = ab(llmbench, "-m", "first=20ms", "-lc", "NUM_STREAMS=1", "-lc", "NUM_STREAMS=2", "--blocks", "2")

    assert done.returncode == 0, done.stderr
    cells = store.read_run(tmp_path / "reports/x.jsonl").cells
    assert [{"NUM_STREAMS": 1}, {"NUM_STREAMS": 2}] == [dict(cell.properties) for cell in cells]
    assert "changed: NUM_STREAMS: 1 -> 2" in done.stdout


def test_what_differs_on_purpose_is_compared(llmbench: Run) -> None:
    """A batch of two against one, and 8 tokens against 6: asked for, so no reason not to compare."""
    done = ab(llmbench, "-m", "first=20ms,next=10ms", "-bs", "1", "-bs", "2", "-ic", "6", "--blocks", "2")

    assert done.returncode == 0, done.stdout
    assert "not compared" not in done.stdout
    assert "changed: batch_size: 1 -> 2" in done.stdout


@pytest.mark.slow
def test_the_python_of_another_environment_measures(llmbench_workers: Run, tmp_path: Path) -> None:
    """A worker of B is started by the interpreter that its recipe names, and tells its own versions."""
    (tmp_path / "b.toml").write_text(
        f'model = "first=20ms"\nengine = "scripted"\npython = "{sys.executable}"\n'
    )
    (tmp_path / "a.toml").write_text('model = "first=20ms"\nengine = "scripted"\n')
    done = llmbench_workers("ab", "a.toml", "b.toml", "--name", "x", "--blocks", "2", "-n", "1", "-ic", "4")

    assert done.returncode == 0, done.stderr
    run = store.read_run(tmp_path / "reports/x.jsonl")
    assert [None, sys.executable] == [cell.interpreter for cell in run.cells]
    assert f"changed: interpreter: not set -> {sys.executable}" in done.stdout.replace("\n", "")
    assert {".".join(map(str, sys.version_info[:3]))} == {
        run.software_of(launch.cell)["python"] for launch in run.launches
    }


@pytest.mark.parametrize(
    ("arguments", "code", "output"),
    [
        ([], 2, "no model was given"),
        (["-m", "a", "-m", "b", "-m", "c"], 2, "--model was given 3 times"),
        (["a.toml", "b.toml", "c.toml"], 2, "3 recipes were given"),
        (["a.toml", "b.toml"], 2, "a.toml"),
        (["-m", "first=1ms", "--threads", "1,2"], 2, "side A is a sweep of 2 configurations"),
        (["-m", "first=1ms", "--threads", "many"], 2, "'many' is not a list of integers"),
        (["-m", "first=1ms", "--blocks", "1"], 2, "--blocks"),
        (["-m", "first=1ms", "--until", "2"], 2, "2%"),
        (["-m", "first=1ms", "--until", "0%"], 2, "0%"),
        (["-m", "first=1ms", "--budget", "soon"], 2, "20m"),
        (["-m", "first=1ms", "--threshold", "tpot=x"], 2, "tpot=3%"),
        (["-m", "first=1ms", "--md", "none/x.md"], 2, "--md none/x.md"),
        (["-m", "first=1ms", "--output-dir", "/dev/null"], 2, "not a folder"),
        (["-m", "first=1ms", "--python", "no/python"], 2, "no/python cannot be started"),
        (["-m", "fist=1ms"], 2, "'fist=1ms' is not understood"),
    ],
)
def test_bad_input_is_one_line_and_its_exit_code(
    llmbench: Run, tmp_path: Path, *, arguments: list[str], code: int, output: str
) -> None:
    """What was wrong and what to do, before anything is measured."""
    done = ab(llmbench, *arguments)

    assert code == done.returncode, done.stderr
    assert output in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.rglob("*.jsonl")) == []


def test_sides_without_a_common_prompt_are_refused(llmbench: Run, tmp_path: Path) -> None:
    """Nothing could be paired, so nothing is measured."""
    for name in ("a", "b"):
        (tmp_path / f"{name}.toml").write_text(
            f'model = "first=1ms"\nengine = "scripted"\nprompt = "{name}"\n'
        )
    done = llmbench("ab", "a.toml", "b.toml")

    assert done.returncode == 2
    assert "no prompt in common" in done.stderr


def test_a_crash_ends_it_with_what_was_measured(llmbench_workers: Run, tmp_path: Path) -> None:
    """Exit 5, the blocks before it are compared, and the run is marked as cut short."""
    done = ab(llmbench_workers, "-m", "first=20ms", "-m", "first=20ms,crash=SIGSEGV@2", "--blocks", "3")

    assert done.returncode == 5, done.stderr
    assert "SIGSEGV" in done.stderr
    assert not store.read_run(tmp_path / "reports/x.jsonl").is_complete


def test_busy_neighbours_make_a_row_missing(llmbench: Run) -> None:
    """Nothing that counts is exit 5, never 0."""
    done = ab(llmbench, "-m", "first=1s,next=1ms,interference=20%", "--blocks", "2")

    assert done.returncode == 5
    assert "without a valid request" in done.stderr
    assert "nothing that counts" in done.stderr


def test_strict_fails_on_what_is_undecided(llmbench: Run) -> None:
    """Two blocks of a noisy script decide nothing: 0, and 3 where that was asked for."""
    noisy = ("-m", "first=20ms,next=10ms,launch-noise=20%", "--blocks", "2")

    assert ab(llmbench, *noisy).returncode == 0
    done = ab(llmbench, *noisy, "--strict", "--overwrite")
    assert done.returncode == 3
    assert "llmbench ab -m" in done.stdout


def test_nothing_is_measured_on_a_dry_run(llmbench: Run, tmp_path: Path) -> None:
    """What it would be."""
    done = ab(llmbench, "-m", FAST, "-m", SLOW, "--blocks", "4", "--dry-run")

    assert done.returncode == 0
    assert "blocks: 4, launches: 8; nothing was run" in done.stdout
    assert list(tmp_path.rglob("*.jsonl")) == []


@pytest.mark.slow
def test_an_interrupted_trial_is_kept_compared_and_resumed(tmp_path: Path, llmbench: Run) -> None:
    """What was measured is kept; the commands that it prints work."""
    command = [sys.executable, "-m", "llmbench", "ab", *OPTIONS, "-m", f"{FAST},sleep=50ms", "--blocks", "6"]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONFAULTHANDLER": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    path = tmp_path / "reports/x.jsonl"
    wait_until(lambda: path.exists() and path.read_bytes().count(b"\n") > 17, "two blocks, almost")
    os.kill(process.pid, signal.SIGINT)
    _, err = output_of(process)

    assert process.returncode == 130
    assert "report compare reports/x.jsonl" in err
    assert "Stopped early" in llmbench("report", "compare", "reports/x.jsonl").stdout
    assert "run --resume reports/x.jsonl" in err
    assert llmbench("run", "--resume", "reports/x.jsonl", "--quiet").returncode == 0
    run = store.read_run(path)
    finished = [(each.block, each.cell) for each in run.launches if each.outcome is Outcome.FINISHED]
    assert {(block, cell) for block in range(6) for cell in (0, 1)} == set(finished)
    assert "Stopped early" not in llmbench("report", "compare", "reports/x.jsonl").stdout


@pytest.mark.slow
def test_a_closed_standard_output_hides_no_regression(tmp_path: Path) -> None:
    """Its reader is gone before anything is printed: the files are written, and the exit code is the verdict's."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "llmbench", "ab", *OPTIONS, "-m", "first=20ms", "-m", "first=30ms"]
    done = subprocess.run(
        [*command, "--blocks", "2", "--md", "x.md"],
        check=False,
        cwd=tmp_path,
        env={**os.environ, "LLMBENCH_LAUNCHER": "inline"},
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        timeout=120,
    )
    os.close(writer)

    assert done.returncode == 1, done.stderr
    assert "regressed" in (tmp_path / "x.md").read_text()
