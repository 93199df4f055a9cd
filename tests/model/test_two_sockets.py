"""The two-socket path on a real model, on this machine's cores taken for two sockets: function, not speed-up."""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmbench.analysis import placement_proof, validity
from llmbench.analysis.placement_proof import Effect
from llmbench.schema.run import Run
from llmbench.store import reader
from tests import two_sockets
from tests.outcome import assert_measured, measured_again

pytestmark = pytest.mark.model
Done = subprocess.CompletedProcess[str]
Call = Callable[..., Done]
BUSY = 0.2
"""Beside more of others' CPU time than this, who worked may be hidden."""


@pytest.fixture
def pair(tmp_path: Path) -> Call:
    """Runs the command on the emulated pair, in an empty folder; skipped with the kernel's reason where it cannot."""
    reason = two_sockets.unavailable()
    if reason:
        pytest.skip(reason)
    root = Path(__file__).parents[2]
    (tmp_path / "model_configs").symlink_to(root / "model_configs")

    def call(*arguments: str, **changes: str) -> Done:
        return subprocess.run(
            two_sockets.command(sys.executable, "-m", "llmbench", *arguments),
            cwd=tmp_path,
            env={**os.environ, "NO_COLOR": "1", "COLUMNS": "160", **changes},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    return call


def _arguments(model: Path, *more: str) -> tuple[str, ...]:
    """A short run under the name x."""
    return ("run", "-m", str(model), "-n", "2", "-ic", "12", "--foreign-cpu-limit", "1", "--name", "x", *more)


def _run(folder: Path) -> Run:
    """The run that was kept."""
    return reader.read_run(folder / "reports/x.jsonl")


def _others(run: Run) -> float:
    """What others took of the CPUs in the first launch."""
    return validity.interference_share(run.launches[0].measurements) or 0.0


def _one_socket_only() -> None:
    """Skip where there is more than one socket to begin with."""
    if len({Path(p).read_text() for p in two_sockets.CPUS.glob("cpu*/topology/physical_package_id")}) > 1:
        pytest.skip("this machine has more than one socket")


def test_the_seed_command_for_one_socket(pair: Call, demo_ir: Path, tmp_path: Path) -> None:
    """Without the policy: one stream, one request, the threads of one socket, no policy, nothing marked."""
    done = pair(*_arguments(demo_ir))

    assert_measured(done)
    assert "nstream=1, nireq=1, threads=1" in done.stdout
    assert "distribution policy=none" in done.stdout
    run = _run(tmp_path)
    assert placement_proof.effect(run, 0) is None
    assert (0, 1) == run.launches[0].pinned.sockets


def test_the_seed_command_for_two_sockets(pair: Call, demo_ir: Path, tmp_path: Path) -> None:
    """With ov_distributed_config.json: the policy in force, threads of both, both sockets seen at work, no warning."""
    done = pair(*_arguments(demo_ir, "-bs", "1", "-lc", "ov_distributed_config.json", "--strict"))

    assert_measured(done)
    assert "nstream=1, nireq=1, threads=2" in done.stdout
    assert "distribution policy=TENSOR_PARALLEL" in done.stdout
    assert "threads 1 without the policy, 2 with it: split over 2 sockets" in done.stdout
    assert "!!!" not in done.stderr
    run = _run(tmp_path)
    assert Effect.EFFECTIVE is placement_proof.effect(run, 0)
    found = placement_proof.prove(run, 0)
    assert found is not None
    assert ((0, 1), ()) == (found.requested, found.idle)
    assert sum(found.placement.pages.values()) > 100 << 20
    assert sum(found.loaded.values()) > 100 << 20
    if _others(run) < BUSY:
        assert found.is_proved
        assert "both sockets worked: " in done.stdout


@pytest.mark.parametrize("attention", [pytest.param("pa", marks=pytest.mark.nightly), "sdpa"])
def test_threads_of_both_sockets_work_under_either_attention(
    pair: Call, demo_ir: Path, tmp_path: Path, attention: str
) -> None:
    """The CPU time of the worker's threads is shared by both sockets, whatever else runs there."""
    done = pair(*_arguments(demo_ir, "--tensor-parallel", "--attention", attention, "-n", "1", "-ic", "24"))

    assert_measured(done)
    found = placement_proof.prove(_run(tmp_path), 0)
    assert found is not None
    assert min(placement_proof.shares(found.placement)) > 0.15


def test_a_socket_is_held_to(pair: Call, demo_ir: Path, tmp_path: Path) -> None:
    """On socket 1 only its CPUs are used; memory, which cannot be bound here, is said not to be."""
    done = pair(*_arguments(demo_ir, "--sockets", "1"))

    assert_measured(done)
    run = _run(tmp_path)
    pinned = run.launches[0].pinned
    placed = placement_proof.prove(run, 0)
    assert (1,) == pinned.sockets
    assert "memory is not bound to node 1" in pinned.warnings[0]
    assert placed is not None
    assert [1] == [work.socket for work in placed.placement.sockets]
    assert "socket 1 worked (these launches were pinned to it): 100 % of the CPU time" in done.stdout


def test_without_numactl_threads_are_held_all_the_same(pair: Call, demo_ir: Path, tmp_path: Path) -> None:
    """By affinity, and the run says that memory is not bound and what to install; asking for memory is exit 4."""
    done = pair(*_arguments(demo_ir, "--sockets", "0"), PATH=str(tmp_path))

    assert_measured(done)
    (launch,) = _run(tmp_path).launches
    assert ((0,), "default") == (launch.pinned.sockets, launch.pinned.memory)
    assert "numactl is not installed" in launch.pinned.warnings[0]
    refused = pair(*_arguments(demo_ir, "--membind", "0", "--overwrite"), PATH=str(tmp_path))
    assert (4, True) == (refused.returncode, "without numactl" in refused.stderr)


def test_two_sockets_without_the_policy_are_threads_of_one(pair: Call, demo_ir: Path, tmp_path: Path) -> None:
    """Less than asked is exit 4 and no figure; with a thread a core both are used."""
    refused = pair(*_arguments(demo_ir, "--sockets", "0,1"))

    assert refused.returncode == 4
    assert "sockets 0-1 were requested, but the engine uses the threads of one (1)" in refused.stderr
    assert "add --tensor-parallel, or --threads 2" in refused.stderr
    assert list(tmp_path.glob("reports/*")) == []


@pytest.mark.parametrize(
    ("options", "output"),
    [
        (("--sockets", "2"), "socket 2 was requested; this machine has 2 (0-1)"),
        (("--sockets", "0,1,2,3"), "socket 2-3 was requested"),
        (("--membind", "1"), "memory on node 1 was requested; this process may use node 0"),
        (("--interleave", "0,1"), "memory on node 1 was requested"),
        (("--tensor-parallel", "-d", "GPU"), "splits over CPU sockets; it was requested with -d GPU"),
    ],
)
def test_what_the_machine_does_not_have_is_exit_4(
    pair: Call, demo_ir: Path, tmp_path: Path, *, options: tuple[str, ...], output: str
) -> None:
    """One line, before anything is loaded; no run file."""
    done = pair(*_arguments(demo_ir, *options))

    assert done.returncode == 4, done.stderr
    assert output in done.stderr
    assert list(tmp_path.glob("reports/*")) == []


def test_a_misspelt_policy_is_exit_2(pair: Call, demo_ir: Path) -> None:
    """The engine's own word for it, and no figure."""
    done = pair(*_arguments(demo_ir, "-lc", "MODEL_DISTRIBUTION_POLICY=TENSOR_PARALEL"))

    assert done.returncode == 2
    assert "does not take 'TENSOR_PARALEL'" in done.stderr


def test_on_one_socket_the_policy_is_loud_and_marked(
    llmbench_workers: Call, demo_ir: Path, tmp_path: Path
) -> None:
    """It runs, and nobody can take it for a split: before measuring, in the table, in both CSV layouts."""
    _one_socket_only()
    done = llmbench_workers(*_arguments(demo_ir, "--tensor-parallel", "-r", "out.csv"))

    assert_measured(done)
    assert "!!! TENSOR PARALLELISM WILL DO NOTHING HERE" in done.stderr
    assert "1 socket seen (socket 0, CPUs" in done.stderr
    assert "INEFFECTIVE: tensor parallelism split nothing" in done.stdout
    with (tmp_path / "out.csv").open() as file:
        assert {True} == {"tensor_parallel=ineffective" in row["model"] for row in csv.DictReader(file)}
    tidy = llmbench_workers("report", "csv", "reports/x.jsonl")
    marks = [row["tensor_parallel"] for row in csv.DictReader(tidy.stdout.splitlines())]
    assert {"ineffective"} == set(marks), tidy.stderr


def test_strict_refuses_before_loading(llmbench_workers: Call, demo_ir: Path, tmp_path: Path) -> None:
    """On one socket, under --strict: exit 4, and nothing was loaded or written."""
    _one_socket_only()
    done = llmbench_workers(*_arguments(demo_ir, "--tensor-parallel", "--strict"))

    assert done.returncode == 4
    assert "splits nothing here" in done.stderr
    assert "loaded" not in done.stdout
    assert list(tmp_path.glob("reports/*")) == []


SHORT = ("-n", "1", "-ic", "5", "--blocks", "2", "--foreign-cpu-limit", "1")


@pytest.mark.alone
def test_sockets_gives_its_whole_table(pair: Call, demo_ir: Path, tmp_path: Path) -> None:
    """Four setups, two lengths, two blocks: every latency and memory, their speed-ups, the proof and the sentence."""
    table = (
        "sockets",
        "-m",
        str(demo_ir),
        "--input-tokens",
        "16,64",
        *SHORT,
        "--name",
        "x",
        "--overwrite",
        "-v",
    )
    done = measured_again(lambda: pair(*table))

    for title in ("first token, ms", "second token, ms", "next tokens, ms/token", "peak memory, MiB"):
        assert title in done.stdout
    for setup in ("socket 0 alone", "socket 1 alone", "both ", "both, tensor parallel"):
        assert 8 <= sum(setup in line for line in done.stdout.splitlines())
    assert "Tensor parallelism over 2 sockets: first token" in done.stdout
    assert "Against both sockets without the policy: first token" in done.stdout
    run = _run(tmp_path)
    assert pair("sockets", "--show", "reports/x.jsonl", "-v").stdout == done.stdout
    assert [0, 0, 0, 0, 1, 1, 1, 1] == sorted(launch.block or 0 for launch in run.launches)
    assert [1, 1, 2, 2] == [_threads(run, cell) for cell in range(4)]
    assert [None, None, None, Effect.EFFECTIVE] == [placement_proof.effect(run, cell) for cell in range(4)]


def _threads(run: Run, cell: int) -> int:
    """The threads in force in the launches of a cell."""
    (found,) = {x.effective.properties["INFERENCE_NUM_THREADS"] for x in run.launches if x.cell == cell}
    return int(found)


def test_sockets_stops_within_its_budget(pair: Call, demo_ir: Path, tmp_path: Path) -> None:
    """A budget too small for two blocks makes one, whole, and says that one has no interval."""
    done = pair(
        "sockets",
        "-m",
        str(demo_ir),
        "--input-tokens",
        "8",
        *SHORT,
        "--budget",
        "1s",
        "--name",
        "x",
        "--json",
    )

    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert 1 == found["blocks"]
    assert 4 == len(_run(tmp_path).launches)
    assert {None} == {r["high"] for ratios in found["over_both"].values() for r in ratios.values()}


def test_sockets_needs_two(llmbench_workers: Call, demo_ir: Path) -> None:
    """On one socket: exit 4, and what to do instead."""
    _one_socket_only()
    done = llmbench_workers("sockets", "-m", str(demo_ir))

    assert done.returncode == 4
    assert "two sockets are needed; this machine has 1" in done.stderr
    assert "llmbench profile" in done.stderr
