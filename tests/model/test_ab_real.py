import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from llmbench.analysis.validity import interference_share
from llmbench.schema.run import Run as Measured
from llmbench.store import reader

pytestmark = [pytest.mark.model, pytest.mark.alone]
Run = Callable[..., subprocess.CompletedProcess[str]]
SMALL = ("-n", "2", "-ic", "8", "--foreign-cpu-limit", "1", "--name", "x", "--quiet")


def taken(run: Measured) -> float:
    """The share of the CPUs that others took while it was measured, on average over launches."""
    shares = [interference_share(launch.measurements) or 0.0 for launch in run.launches]
    return sum(shares) / len(shares)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="takes two CPUs")
def test_one_thread_instead_of_two_is_slower(llmbench_workers: Run, demo_ir: Path, tmp_path: Path) -> None:
    """Half of the threads: regressed, exit 1. Among busy neighbours two wait for each other, so that says nothing.

    Measured up to three times, for a gate must not fail because something else ran meanwhile.
    """
    threads = ("--threads", "2", "--threads", "1", "--input-tokens", "256", "--blocks", "6", "--overwrite")
    for _ in range(3):
        done = llmbench_workers("ab", "-m", str(demo_ir), *threads, *SMALL)
        assert done.returncode in {0, 1}, done.stderr
        share = taken(reader.read_run(tmp_path / "reports/x.jsonl"))
        if share > 0.2:
            pytest.skip(f"other processes used {share:.0%} of the CPUs")
        if "B is slower: first token +" in done.stdout:
            break
    assert done.returncode == 1, done.stdout
    assert "B is slower: first token +" in done.stdout
    assert "changed: threads: 2 -> 1" in done.stdout


def another_environment(folder: Path, *startup: str) -> Path:
    """The Python of a new environment that sees these packages, and runs these lines whenever it starts."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True, timeout=60)
    (library,) = folder.glob("lib/python*/site-packages")
    lines = [*(path for path in sys.path if path.endswith("-packages")), *startup]
    (library / "these.pth").write_text("\n".join(lines))
    return folder / "bin/python"


SLOWER = """
import sys
import time

sys.modules["openvino_telemetry"] = None
import openvino

wait = openvino.InferRequest.wait


def wait_and_spin(self, *given):
    began = time.perf_counter()
    answer = wait(self, *given)
    until = time.perf_counter() + 0.1 * (time.perf_counter() - began)
    while time.perf_counter() < until:
        pass
    return answer


openvino.InferRequest.wait = wait_and_spin
"""
"""An engine in which every forward pass takes a tenth longer: the thread that waits for it spins."""


def test_a_spin_of_a_tenth_a_token_is_found(llmbench_workers: Run, demo_ir: Path, tmp_path: Path) -> None:
    """An engine that is a tenth slower is slower, or the machine too noisy to tell; it is never unchanged.

    The engine is that of another environment, which sees these packages: its worker tells its versions.
    """
    (tmp_path / "slower.py").write_text(SLOWER)
    python = another_environment(tmp_path / "other", str(tmp_path), "import slower")
    environments = ("--python", sys.executable, "--python", str(python))
    options = ("--engine", "core", "--input-tokens", "64", "--blocks", "6", *SMALL, "--overwrite")
    for _ in range(3):  # as --confirm does: what fails once by chance is measured again
        done = llmbench_workers("ab", "-m", str(demo_ir), *environments, *options, "--json", "ab.json")
        assert done.returncode in {0, 1}, done.stderr
        run = reader.read_run(tmp_path / "reports/x.jsonl")
        assert run.is_complete
        assert [sys.executable, str(python)] == [cell.interpreter for cell in run.cells]
        assert run.software_of(0)["openvino"] == run.software_of(1)["openvino"]
        (found,) = json.loads((tmp_path / "ab.json").read_text())["comparisons"]
        tpot = next(change for change in found["changes"] if change["metric"] == "tpot")
        is_noisy = tpot["smallest_visible"] is None or tpot["smallest_visible"] > 0.05
        is_found = tpot["verdict"] == "regressed" or (is_noisy and tpot["verdict"] == "inconclusive")
        if is_found and tpot["high"] > 1.05:
            return
    pytest.fail(done.stdout)
