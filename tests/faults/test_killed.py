"""A run that is killed at any instant loses nothing that was finished, doubles nothing, and leaves nobody behind."""

import collections
import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from llmbench.runner import plan
from llmbench.schema.run import Outcome, Run
from llmbench.store import reader
from tests.waiting import wait_until

from .conftest import SCRIPTED, Marked

row_1 = pytest.mark.fault(1, "parent killed with -9 at any point")


def _measurements(content: bytes) -> list[bytes]:
    """The measurement lines that are whole."""
    lines = content.split(b"\n")[:-1]
    return [line for line in lines if b'"event":"measurement"' in line]


def _assert_nothing_doubled(run: Run) -> None:
    """Each finished launch has every request once; there are as many of each configuration as were asked for."""
    finished = [launch for launch in run.launches if launch.outcome is Outcome.FINISHED]
    assert {index: cell.launches for index, cell in enumerate(run.cells)} == collections.Counter(
        launch.cell for launch in finished
    )
    for launch in finished:
        asked = [(r.iteration, r.prompt) for r in plan.plan_requests(run.config_of(launch))]
        assert asked == [(m.iteration, m.prompt) for m in launch.measurements]
    indices = [launch.index for launch in run.launches]
    assert sorted(set(indices)) == indices == list(range(len(indices)))


class _Victim:
    """A run of three launches of ten requests that is killed again and again, and gone on with."""

    def __init__(self, marked: Marked, seed: int) -> None:
        self.marked = marked
        self.path = marked.folder / "reports/victim.jsonl"
        self.rng = random.Random(seed)  # noqa: S311  instants, not secrets
        self.lasts_s = 0.5

    def _command(self) -> list[str]:
        if self.path.exists() and self.path.read_bytes().count(b"\n"):
            return ["run", "--resume", "reports/victim.jsonl"]
        script = "first=1ms,next=1ms,sleep=5ms"
        options = ["-n", "4", "-ic", "4", "--launches", "3", "--name", "victim", "--overwrite"]
        return ["run", "-m", script, *SCRIPTED, "--input-tokens", "3,4", *options]

    def kill_once(self) -> None:
        """Start or go on, kill at a random instant, and hold the file against what was printed and what it was."""
        before = self.path.read_bytes() if self.path.exists() else b""
        start = time.monotonic()
        process = self.marked.start(*self._command())
        try:
            process.wait(timeout=self.rng.uniform(0, 1.2 * self.lasts_s))
            self.lasts_s = time.monotonic() - start
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
        printed, _ = process.communicate()
        after = self.path.read_bytes() if self.path.exists() else b""
        reported = printed.count("First token latency")
        kept = _measurements(after)
        assert len(kept) >= reported + len(_measurements(before))
        assert kept[: len(_measurements(before))] == _measurements(before)
        if after.count(b"\n"):
            reader.read_run(self.path)
        if process.returncode == 0:
            run = reader.read_run(self.path)
            assert run.is_complete
            _assert_nothing_doubled(run)
            self.path.unlink()


@row_1
@pytest.mark.parametrize(("seed", "kills"), [(0, 12), pytest.param(2, 200, marks=pytest.mark.nightly)])
@pytest.mark.slow
def test_row_01_nothing_is_lost_or_doubled_whenever_the_parent_is_killed(
    marked: Marked, seed: int, kills: int
) -> None:
    """At random instants, 200 of them by night: every request reported is in the file, byte for byte, to the end."""
    victim = _Victim(marked, seed)
    for _ in range(kills):
        victim.kill_once()
    marked.assert_gone()
    if victim.path.exists() and victim.path.read_bytes().count(b"\n"):
        process = marked.start("run", "--resume", "reports/victim.jsonl", "--quiet")
        _, output = process.communicate()
        assert process.returncode == 0, output
        _assert_nothing_doubled(reader.read_run(victim.path))


@row_1
@pytest.mark.slow
def test_row_01_the_worker_dies_with_its_parent_and_the_run_goes_on_where_it_stopped(marked: Marked) -> None:
    """The kernel ends the worker; what was measured is shown, and resuming makes the cut launch again, whole."""
    process = marked.start(
        "run", "-m", "first=1ms,hang@8", *SCRIPTED, "-n", "9", "-ic", "4", "--name", "cut", "--timeout", "1h"
    )
    path = marked.folder / "reports/cut.jsonl"
    wait_until(lambda: path.exists() and len(_measurements(path.read_bytes())) == 7, "seven requests")
    assert len(marked.alive()) == 2
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    marked.assert_gone()

    shown = marked.start("report", "show", "reports/cut.jsonl")
    out, _ = shown.communicate()
    assert "cut short" in out
    run = reader.read_run(path)
    assert [Outcome.ABORTED] == [launch.outcome for launch in run.launches]
    assert 7 == len(run.launches[0].measurements)


@row_1
@pytest.mark.slow
def test_row_01_a_run_is_resumed_only_where_its_launches_can_be_pooled(
    marked: Marked, tmp_path: Path
) -> None:
    """Another CPU, kernel or version: refused with all that changed, and the file is left as it was."""
    marked.start("run", "-m", "first=1ms", *SCRIPTED, "-n", "1", "--name", "cut").communicate()
    path = tmp_path / "reports/cut.jsonl"
    header, *rest = path.read_text().splitlines()
    changed = json.loads(header)
    changed["environment"]["cpu_model"] = "Another CPU"
    changed["environment"]["versions"]["openvino"] = "1.0"
    path.write_text("\n".join([json.dumps(changed), *rest[:2]]) + '\n{"event": "measu')
    before = path.read_bytes()
    process = marked.start("run", "--resume", "reports/cut.jsonl")
    _, output = process.communicate()

    assert process.returncode == 2
    assert "the CPU (Another CPU then" in output
    assert "openvino (1.0 then" in output
    assert before == path.read_bytes()


@row_1
@pytest.mark.slow
def test_row_01_an_interleaved_comparison_goes_on_in_the_blocks_it_lacks(marked: Marked) -> None:
    """Launches of one block are compared with each other: after a kill and a resume each block has one of each."""
    process = marked.start(
        *(
            "ab",
            "-m",
            "first=20ms,sleep=10ms",
            "-m",
            "first=21ms,sleep=10ms",
            *SCRIPTED,
            "-n",
            "3",
            "-ic",
            "4",
        ),
        *("--blocks", "3", "--name", "pair"),
    )
    path = marked.folder / "reports/pair.jsonl"
    wait_until(lambda: path.exists() and len(_measurements(path.read_bytes())) >= 10, "ten requests")
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    resumed = marked.start("run", "--resume", "reports/pair.jsonl", "--quiet")
    _, output = resumed.communicate()
    run = reader.read_run(path)

    assert resumed.returncode == 0, output
    _assert_nothing_doubled(run)
    finished = [(x.block, x.cell) for x in run.launches if x.outcome is Outcome.FINISHED]
    assert {(block, cell) for block in range(3) for cell in range(2)} == set(finished)
    compared = marked.start("report", "compare", "reports/pair.jsonl")
    compared.communicate()
    assert compared.returncode == 0
