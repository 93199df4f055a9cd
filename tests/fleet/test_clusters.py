import os
import re
import signal
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from llmbench.analysis.report import summarize_run
from llmbench.errors import ExitCode
from llmbench.fleet.folder import FleetFolder
from llmbench.schema.run import Outcome
from llmbench.store import reader
from tests.command import SCREEN, RunCommand
from tests.fleet.clusters import HOSTS, Ray, Slurm
from tests.waiting import wait_until

SCRIPT = "first=20ms,next=2ms,launch-noise=1.5%,noise=1%"
SLOW = f"{SCRIPT},sleep=0.4s"
RUN = ("-p", "x", "-ic", "8", "-n", "3", "--launches", "3")
SLURM = "slurm:partition=bench,nodes=2"


def _run(script: str, name: str, *options: str, on: str = SLURM) -> tuple[str, ...]:
    return ("run", "--engine", "scripted", "-m", script, *RUN, "--on", on, "--name", name, *options)


def _measured(folder: Path, host: str) -> int:
    """Requests in a host's run file, warm-ups included."""
    return sum(len(launch.measurements) for launch in reader.read_run(folder / f"{host}.jsonl").launches)


def _whole(folder: Path) -> set[int]:
    """Requests of the launches that finished; one that was cut short is in the file as well, and made again."""
    runs = [reader.read_run(folder / f"{host}.jsonl") for host in HOSTS]
    finished = [[each for each in run.launches if each.outcome is Outcome.FINISHED] for run in runs]
    return {sum(len(launch.measurements) for launch in launches) for launches in finished}


@pytest.mark.slow
def test_two_hosts_of_slurm_give_one_report(on_slurm: RunCommand, tmp_path: Path) -> None:
    """Both hosts measure the whole sweep; the report has a row for each, and a run file of each is kept."""
    done = on_slurm(*_run(SCRIPT, "fleet"))

    assert ExitCode.OK == done.returncode, done.stderr
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith("P0 ")]
    assert [["P0", "1", host] for host in HOSTS] == [row[:3] for row in rows]
    assert {12} == {_measured(tmp_path / "reports/fleet", host) for host in HOSTS}


@pytest.mark.nightly
def test_a_job_that_is_preempted_goes_on(slurm: Slurm, tmp_path: Path) -> None:
    """SIGTERM, as before a time limit: the driver submits the rest, and what was measured stays as it was."""
    folder = tmp_path / "reports/fleet"
    driver = _start(slurm, tmp_path, *_run(SLOW, "fleet"))
    wait_until(lambda: (folder / "n2.jsonl").exists() and _measured(folder, "n2") >= 3, "requests")
    slurm.call(
        "scancel", "--signal=TERM", "--full", slurm.call("squeue", "-h", "-w", "n2", "-o", "%i").strip()
    )
    wait_until((folder / "n2.ending.json").exists, "the job to end")
    kept = (folder / "n2.jsonl").read_bytes()
    out, err = driver.communicate(timeout=120)

    assert ExitCode.OK == driver.returncode, out + err
    assert {12} == _whole(folder)
    assert (folder / "n2.jsonl").read_bytes().startswith(kept[: kept.rindex(b"\n", 0, -1)])


@pytest.mark.nightly
def test_a_job_that_is_killed_loses_nothing_and_is_resumed(
    slurm: Slurm, on_slurm: RunCommand, tmp_path: Path
) -> None:
    """One host's processes are killed outright: exit 5 and its requests are kept; --resume measures only the rest."""
    folder = tmp_path / "reports/fleet"
    driver = _start(slurm, tmp_path, *_run(SLOW, "fleet"))
    wait_until(lambda: (folder / "n2.jsonl").exists() and _measured(folder, "n2") >= 3, "requests")
    subprocess.run(["pkill", "-KILL", "-f", "--", f"{folder}.*n2"], check=False)
    out, err = driver.communicate(timeout=120)

    assert ExitCode.LAUNCH == driver.returncode, out + err
    assert "n2" in out
    assert 12 > _measured(folder, "n2") >= 3
    done = on_slurm("run", "--resume", "reports/fleet", "--on", SLURM)
    assert ExitCode.OK == done.returncode, done.stderr
    assert "n1: measuring" not in done.stderr
    assert {12} == _whole(folder)


@pytest.mark.nightly
def test_jobs_outlive_a_driver_that_is_killed(slurm: Slurm, on_slurm: RunCommand, tmp_path: Path) -> None:
    """The next driver waits for the same jobs, and starts none again."""
    folder = tmp_path / "reports/fleet"
    driver = _start(slurm, tmp_path, *_run(SLOW, "fleet"))
    wait_until(lambda: (folder / "n1.jsonl").exists() and _measured(folder, "n1") >= 2, "requests")
    driver.kill()
    driver.communicate()
    jobs = slurm.call("squeue", "-h", "-o", "%i").split()
    done = on_slurm("run", "--resume", "reports/fleet", "--on", SLURM)

    assert ExitCode.OK == done.returncode, done.stderr
    assert [] == slurm.call("squeue", "-h", "-o", "%i").split()
    assert sorted(jobs) == sorted(_jobs(folder))
    assert {1} == {len(_started(folder, host)) for host in HOSTS}


@pytest.mark.nightly
def test_two_nodes_of_ray_give_one_report(ray_address: str, tmp_path: Path) -> None:
    """The same through Ray; the measuring process has none of Ray's variables."""
    done = subprocess.run(
        [sys.executable, "-m", "llmbench", *_run(SCRIPT, "fleet", on=f"ray:{ray_address}")],
        cwd=tmp_path,
        env={**os.environ, **SCREEN},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert ExitCode.OK == done.returncode, done.stderr
    assert {12} == {_measured(tmp_path / "reports/fleet", host) for host in HOSTS}
    run = reader.read_run(tmp_path / "reports/fleet/n1.jsonl")
    assert not [name for name in run.environment.variables if name.startswith(("RAY_", "OMP_"))]


@pytest.mark.nightly
def test_a_node_of_ray_whose_command_is_killed_is_resumed(ray_address: str, tmp_path: Path) -> None:
    """Its requests are kept, exit 5; --resume measures the rest, and the other node not again."""
    folder, on = tmp_path / "reports/fleet", f"ray:{ray_address}"
    driver = _start_plainly(tmp_path, *_run(SLOW, "fleet", on=on))
    wait_until(lambda: (folder / "n2.jsonl").exists() and _measured(folder, "n2") >= 3, "requests")
    subprocess.run(["pkill", "-KILL", "-f", "--", f"{folder}.*n2"], check=False)
    out, err = driver.communicate(timeout=120)

    assert ExitCode.LAUNCH == driver.returncode, out + err
    again = _start_plainly(tmp_path, "run", "--resume", "reports/fleet", "--on", on)
    out, err = again.communicate(timeout=120)
    assert ExitCode.OK == again.returncode, out + err
    assert "n1: measuring" not in out
    assert {12} == _whole(folder)


@pytest.mark.nightly
def test_a_driver_of_ray_that_is_killed_is_resumed(ray_address: str, tmp_path: Path) -> None:
    """Its tasks end with it, in order: nothing measures on, and --resume measures only the rest."""
    folder, on = tmp_path / "reports/fleet", f"ray:{ray_address}"
    driver = _start_plainly(tmp_path, *_run(SLOW, "fleet", on=on))
    wait_until(
        lambda: all((folder / f"{host}.jsonl").exists() and _measured(folder, host) >= 2 for host in HOSTS),
        "requests of both",
    )
    driver.kill()
    driver.communicate()
    before = {host: _measured(folder, host) for host in HOSTS}
    wait_until(lambda: not _processes(folder), "processes to end")
    again = _start_plainly(tmp_path, "run", "--resume", "reports/fleet", "--on", on)
    out, err = again.communicate(timeout=120)

    assert ExitCode.OK == again.returncode, out + err
    assert {12} == _whole(folder)
    assert all(_measured(folder, host) >= count for host, count in before.items())


@pytest.mark.nightly
def test_a_node_of_ray_that_is_lost_and_comes_back_is_resumed(ray: Ray, tmp_path: Path) -> None:
    """The node dies in mid-run: exit 5 with its name, the other's run is whole; once it is back the rest is made."""
    folder, on = tmp_path / "reports/fleet", f"ray:{ray.address}"
    driver = _start_plainly(tmp_path, *_run(f"{SCRIPT},sleep=2s", "fleet", on=on))
    wait_until(lambda: (folder / "n2.jsonl").exists() and _measured(folder, "n2") >= 3, "requests")
    ray.lose("n2")
    out, err = driver.communicate(timeout=180)
    kept = _measured(folder, "n2")
    ray.add("n2")

    assert ExitCode.LAUNCH == driver.returncode, out + err
    assert re.search(r"^n2 .*lost", out, re.MULTILINE)
    assert (12, True) == (_measured(folder, "n1"), 12 > kept >= 3)
    wait_until(lambda: not _processes(folder), "the end of what measures")
    again = _start_plainly(tmp_path, "run", "--resume", "reports/fleet", "--on", on)
    out, err = again.communicate(timeout=180)
    assert ExitCode.OK == again.returncode, out + err
    assert {12} == _whole(folder)


@pytest.mark.nightly
@pytest.mark.parametrize("scheduler", ["slurm", "ray"])
def test_a_sweep_is_shared_out(
    on_slurm: RunCommand, ray_address: str, tmp_path: Path, *, scheduler: str
) -> None:
    """Each configuration is measured once, by one of the hosts; one report has them all."""
    on = SLURM if scheduler == "slurm" else f"ray:{ray_address}"
    done = on_slurm(*_run(SCRIPT, "fleet", "-bs", "1,2,4", "--spread", on=on))

    assert ExitCode.OK == done.returncode, done.stderr
    sizes = {
        host: [cell.batch_size for cell in reader.read_run(tmp_path / f"reports/fleet/{host}.jsonl").cells]
        for host in HOSTS
    }
    assert {"n1": [1, 4], "n2": [2]} == sizes
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith("P0 ")]
    expected = [("batch_size=1", "n1"), ("batch_size=2", "n2"), ("batch_size=4", "n1")]
    assert expected == [(row[1], row[3]) for row in rows], done.stdout
    assert "hosts differ by" not in done.stdout


@pytest.mark.nightly
@pytest.mark.model
@pytest.mark.parametrize("scheduler", ["slurm", "ray"])
def test_a_model_is_copied_once_and_measured_where_it_is(
    on_slurm: RunCommand, ray_address: str, tmp_path: Path, demo_ir: Path, *, scheduler: str
) -> None:
    """By its content, into the cache of the host; a second run finds it there."""
    (tmp_path / "models").symlink_to(demo_ir)
    on = SLURM if scheduler == "slurm" else f"ray:{ray_address}"
    few = ("--input-tokens", "16", "-ic", "4", "-n", "1", "--foreign-cpu-limit", "1", "--copy-model")
    copies = []
    for name in ("one", "two"):
        done = on_slurm(
            "run", "-m", "models", *few, "--name", name, "--on", on, XDG_CACHE_HOME=str(tmp_path / "cache")
        )
        assert ExitCode.OK == done.returncode, done.stdout + done.stderr
        models = {reader.read_run(tmp_path / f"reports/{name}/{host}.jsonl").cells[0].model for host in HOSTS}
        copies += [(Path(model), Path(model).stat().st_ino) for model in models]

    ((folder, _),) = set(copies)
    assert "/llmbench/fleet/" in str(folder), folder
    assert (demo_ir / "openvino_model.bin").stat().st_size == (folder / "openvino_model.bin").stat().st_size


def _processes(folder: Path) -> str:
    """The processes that measure in a folder."""
    return subprocess.run(
        ["pgrep", "-f", "--", str(folder)], capture_output=True, text=True, check=False
    ).stdout


@pytest.mark.nightly
def test_sides_that_differ_on_each_host_are_a_regression_of_the_fleet(on_slurm: RunCommand) -> None:
    """B is a tenth slower on both hosts: exit 1, and the sentence counts hosts."""
    noise = "noise=1%,launch-noise=1%"
    sides = ("-m", f"first=20ms,next=2ms,{noise}", "-m", f"first=22ms,next=2.2ms,{noise}")
    done = on_slurm(
        "ab", "--engine", "scripted", *sides, "-p", "x", "-ic", "8", "-n", "2", "--blocks", "5", "--on", SLURM
    )

    assert ExitCode.REGRESSION == done.returncode, done.stderr
    assert "first token: 2 of 2 hosts slower, +1" in done.stdout
    assert "regressed" in done.stdout


@pytest.mark.nightly
@pytest.mark.model
@pytest.mark.parametrize("scheduler", ["slurm", "ray"])
def test_two_hosts_measure_a_real_model(
    on_slurm: RunCommand, ray_address: str, tmp_path: Path, demo_ir: Path, *, scheduler: str
) -> None:
    """One report with a row per host, of the same model."""
    (tmp_path / "models").symlink_to(demo_ir)
    on = SLURM if scheduler == "slurm" else f"ray:{ray_address}"
    options = (
        "--input-tokens",
        "32,64",
        "-ic",
        "8",
        "-n",
        "2",
        "--foreign-cpu-limit",
        "1",
        "--name",
        "fleet",
    )
    done = on_slurm("run", "-m", "models", *options, "--on", on)

    assert ExitCode.OK == done.returncode, done.stdout + done.stderr
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith(("P0 ", "P1 "))]
    expected = [(prompt, host) for prompt in ("P0", "P1") for host in HOSTS]
    assert expected == [(row[0], row[2]) for row in rows if row[2] in HOSTS]
    assert "another model" not in done.stdout


@pytest.mark.nightly
@pytest.mark.model
def test_a_scheduler_changes_no_figure(
    on_slurm: RunCommand, ray_address: str, tmp_path: Path, demo_ir: Path
) -> None:
    """A real model in turns here, under Slurm and under Ray, one host each: medians within a quarter of each other."""
    (tmp_path / "models").symlink_to(demo_ir)
    options = ("-m", "models", "--input-tokens", "64", "-ic", "16", "-n", "3", "--foreign-cpu-limit", "1")
    ways = {"local": (), "slurm": ("--on", "slurm:nodelist=n1"), "ray": ("--on", f"ray:{ray_address}")}
    next_s: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(3):
        for way, on in ways.items():
            done = on_slurm("run", *options, "--name", f"{way}{turn}", *on)
            assert ExitCode.OK == done.returncode, done.stderr
            file = f"reports/{way}{turn}.jsonl" if way == "local" else f"reports/{way}{turn}/n1.jsonl"
            report = summarize_run(reader.read_run(tmp_path / file))
            next_s[way].append(report.rows[0].summaries["next_token"].median)

    medians = {way: statistics.median(values) for way, values in next_s.items()}
    print(f"next token by way: { {way: f'{1e3 * value:.2f} ms' for way, value in medians.items()} }")
    assert max(medians.values()) < 1.25 * min(medians.values())


@pytest.mark.nightly
def test_an_interrupt_ends_the_jobs(slurm: Slurm, tmp_path: Path) -> None:
    """Ctrl-C in the driver: no job is left in the queue."""
    folder = tmp_path / "reports/fleet"
    driver = _start(slurm, tmp_path, *_run(SLOW, "fleet"))
    wait_until((folder / "n1.jsonl").exists, "a run file")
    driver.send_signal(signal.SIGINT)
    driver.communicate(timeout=60)

    assert ExitCode.INTERRUPTED == driver.returncode
    wait_until(lambda: not slurm.call("squeue", "-h", "-o", "%i").split(), "the queue to empty")


@pytest.mark.nightly
def test_a_host_whose_daemon_dies_is_left_out(slurm: Slurm, on_slurm: RunCommand, tmp_path: Path) -> None:
    """The host is lost in mid-run: the other's figures are shown, the loss is named, exit 5."""
    folder = tmp_path / "reports/fleet"
    driver = _start(slurm, tmp_path, *_run(f"{SCRIPT},sleep=3s", "fleet"))
    wait_until(lambda: (folder / "n2.jsonl").exists() and _measured(folder, "n2") >= 1, "requests")
    job = slurm.call("squeue", "-h", "-w", "n2", "-o", "%i").strip()
    slurm.daemons["n2"].kill()
    subprocess.run(["pkill", "-KILL", "-f", "--", "--host n2"], check=False)
    slurm.call("scontrol", "update", "NodeName=n2", "State=DOWN", "Reason=lost")
    out, err = driver.communicate(timeout=180)

    assert ExitCode.LAUNCH == driver.returncode, out + err
    assert "n2" in out
    assert job in _jobs(folder)
    assert 12 == _measured(folder, "n1")
    assert _measured(folder, "n2") >= 1


def _start(slurm: Slurm, folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return _start_plainly(folder, *arguments, **slurm.variables)


def _start_plainly(folder: Path, *arguments: str, **variables: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "llmbench", *arguments],
        cwd=folder,
        env={**os.environ, **SCREEN, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _jobs(folder: Path) -> list[str]:
    return list(FleetFolder(folder).read_plan().jobs.values())


def _started(folder: Path, host: str) -> list[str]:
    """The lines with which a run of a host began."""
    return [
        line for line in (folder / f"{host}.log").read_text().splitlines() if line.startswith("launch 1/")
    ][:1]
