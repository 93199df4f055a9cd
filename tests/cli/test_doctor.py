import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from llmbench.cli import doctor
from llmbench.cli.main import invoke
from llmbench.errors import ExitCode
from llmbench.machine import bandwidth
from llmbench.machine.checks import Finding, Weight
from tests import two_sockets

SPOILT = Finding(check="a", weight=Weight.SPOILS, found="a fault", effect="it spoils", remedy="mend it")
NOTE = Finding(check="b", weight=Weight.NOTE, found="a fact", effect="it matters little")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder for these tests alone."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def reported(cache: Path) -> dict[str, Any]:
    """The doctor's JSON of this machine."""
    done = subprocess.run(
        [sys.executable, "-m", "llmbench", "doctor", "--json"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "XDG_CACHE_HOME": str(cache)},
    )
    return json.loads(done.stdout)


@pytest.mark.slow
def test_json_has_everything_that_was_looked_at(reported: dict[str, Any]) -> None:
    """Topology, engine, devices, bandwidth and findings, each under its name, in base units."""
    assert reported["environment"]["topology"]["cpus"]
    assert reported["devices"]["CPU"]["FULL_DEVICE_NAME"]
    assert reported["bandwidth"]["all"]["bytes_per_s"] > 1e8
    assert reported["split"]["without"] >= 1
    assert 0.0 <= reported["load"]["total"] <= 1.0
    assert {"check", "weight", "found", "effect", "remedy"} == set(reported["findings"][0])


@pytest.mark.slow
def test_the_bandwidth_is_kept_for_runs(reported: dict[str, Any], cache: Path) -> None:
    """What a triad got is in the cache folder, with its day, and a run on this machine reads it from there."""
    (file,) = (cache / "llmbench/bandwidth").glob("*.json")
    kept = bandwidth.load_bandwidth(file)

    assert kept is not None
    assert reported["bandwidth"]["all"]["bytes_per_s"] == kept.bytes_per_s
    assert kept.measured_at.startswith("20")


def test_text_draws_the_machine_and_says_what_to_type(capsys: pytest.CaptureFixture[str]) -> None:
    """Sockets and nodes, then findings with their remedy, then one line that counts."""
    assert ExitCode.OK == invoke(["doctor", "--no-bandwidth"])
    lines = capsys.readouterr().out.splitlines()

    assert any(line.startswith("socket 0: cores ") for line in lines)
    assert any(line.strip().startswith("node 0: ") for line in lines)
    assert any("→" in line for line in lines)
    assert "would disturb a measurement" in lines[-1]
    assert all(len(line) <= 160 for line in lines)


@pytest.mark.parametrize(
    ("found", "strict", "code"),
    [
        ((NOTE, SPOILT), True, ExitCode.MACHINE),
        ((NOTE, SPOILT), False, ExitCode.OK),
        ((NOTE,), True, ExitCode.OK),
        ((), True, ExitCode.OK),
    ],
)
def test_strict_is_exit_4_when_something_spoils(
    found: tuple[Finding, ...],
    strict: bool,  # noqa: FBT001
    code: ExitCode,
) -> None:
    """A job can stop before it measures; without --strict, or with notes alone, the doctor only tells."""
    assert code == doctor.doctor_exit_code(found, strict=strict)


@pytest.mark.slow
def test_an_engine_that_does_not_start_is_a_finding(tmp_path: Path) -> None:
    """The doctor is for broken machines: it names the fault, goes on, and is exit 4 with --strict."""
    (tmp_path / "openvino.py").write_text(
        "raise ImportError('libopenvino.so: cannot open shared object file')\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "llmbench", "doctor", "--no-bandwidth", "--strict"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{Path.cwd()}"},
    )

    assert ExitCode.MACHINE == done.returncode
    assert "OpenVINO does not start: libopenvino.so: cannot open" in " ".join(done.stdout.split())


@pytest.mark.slow
def test_two_sockets_are_both_drawn_and_split_is_seen(tmp_path: Path) -> None:
    """On the emulated pair: two sockets, two nodes, a bandwidth each, and a policy that adds threads."""
    reason = two_sockets.unavailable()
    if reason:
        pytest.skip(reason)
    command = two_sockets.command(sys.executable, "-m", "llmbench", "doctor", "--json")
    seen = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    assert {0, 1} == {cpu["socket"] for cpu in seen["environment"]["topology"]["cpus"]}
    assert {"all", "0", "1"} == set(seen["bandwidth"])
    assert seen["split"]["with_policy"] == 2 * seen["split"]["without"]
    assert "one-socket" not in {finding["check"] for finding in seen["findings"]}


@pytest.mark.slow
def test_sockets_that_are_not_split_are_found() -> None:
    """Held to one of two sockets the policy adds nothing; the doctor names what may be used."""
    reason = two_sockets.unavailable()
    if reason:
        pytest.skip(reason)
    doctor_here = [sys.executable, "-m", "llmbench", "doctor", "--json", "--no-bandwidth"]
    cpu = min(os.sched_getaffinity(0))
    pinned = f"import os, sys; os.sched_setaffinity(0, [{cpu}]); os.execv(sys.argv[1], sys.argv[1:])"
    command = two_sockets.command(sys.executable, "-c", pinned, *doctor_here)
    seen = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    assert {"no-split", "affinity"} <= {finding["check"] for finding in seen["findings"]}
