"""A machine that is not as asked, or that changes while it measures."""

import dataclasses
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from llmbench.analysis import validity
from llmbench.errors import MachineError
from llmbench.machine.interference import Probe
from llmbench.runner import limits
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.measurement import Conditions, Measurement
from llmbench.schema.run import Run as WholeRun
from llmbench.store import reader
from tests import machines
from tests.outcome import assert_measured

from .conftest import SCRIPTED, write_run

Run = Callable[..., subprocess.CompletedProcess[str]]
MakeIr = Callable[..., Path]

row_25 = pytest.mark.fault(25, "unknown or badly typed OV property")
row_26 = pytest.mark.fault(26, "no such device")
row_27 = pytest.mark.fault(27, "threads, affinity or cgroup narrower than requested (9999 -> 2 in silence)")
row_28 = pytest.mark.fault(28, "TENSOR_PARALLEL on one socket (accepted in silence and reported as set)")
row_29 = pytest.mark.fault(29, "numactl or NUMA absent when memory binding is requested")
row_30 = pytest.mark.fault(30, "interference by other processes")
row_31 = pytest.mark.fault(31, "throttling, governor or frequency change")
row_32 = pytest.mark.fault(32, "suspend, clock step")
row_40 = pytest.mark.fault(40, "broken pair of packages (torchvision beside a CPU torch)")

FAST = ("run", "-m", "first=20ms,next=10ms", *SCRIPTED, "-n", "2", "-ic", "4")


def _assert_refused(done: subprocess.CompletedProcess[str], code: int, folder: Path, *output: str) -> None:
    """One error that says it, and no run file."""
    assert code == done.returncode, done.stderr
    for part in output:
        assert part in done.stderr
    assert "Traceback" not in done.stderr
    assert [] == list(folder.glob("reports/*"))


@row_25
@pytest.mark.parametrize(
    ("option", "output"),
    [
        ("INFERENCE_NUM_THREAD=2", "did you mean INFERENCE_NUM_THREADS?"),
        ("INFERENCE_NUM_THREADS=many", "INFERENCE_NUM_THREADS does not take 'many'"),
        ('{"MODEL_DISTRIBUTION_POLICY": "TENSOR"}', "MODEL_DISTRIBUTION_POLICY does not take 'TENSOR'"),
    ],
)
def test_row_25_a_property_is_judged_before_loading(
    llmbench_workers: Run, ir_of: MakeIr, tmp_path: Path, *, option: str, output: str
) -> None:
    """The model here could not be loaded at all; the property is refused before anyone tries."""
    _assert_refused(llmbench_workers("run", "-m", str(ir_of()), "-lc", option), 2, tmp_path, output)


@row_26
def test_row_26_an_absent_device_is_reported_with_those_there_are(
    llmbench_workers: Run, ir_of: MakeIr, tmp_path: Path
) -> None:
    """Before loading, exit 4."""
    done = llmbench_workers("run", "-m", str(ir_of()), "-d", "GPU")
    _assert_refused(done, 4, tmp_path, "device GPU is not available (available: CPU)")


@row_27
@pytest.mark.model
def test_row_27_fewer_threads_than_requested_is_an_error(
    llmbench_workers: Run, demo_ir: Path, tmp_path: Path
) -> None:
    """The engine uses what it can get in silence; what it uses is read back."""
    done = llmbench_workers("run", "-m", str(demo_ir), "--threads", "9999")
    _assert_refused(done, 4, tmp_path, "requested 9999 threads, got")


@row_27
def test_row_27_cpus_outside_the_affinity_are_refused(tmp_path: Path) -> None:
    """This process may use one CPU; two were requested."""
    mine, *others = sorted(os.sched_getaffinity(0))
    other = others[0] if others else mine + 1
    done = subprocess.run(
        ["taskset", "-c", str(mine), sys.executable, "-m", "llmbench", *FAST, "--cores", f"{mine},{other}"],
        check=False,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    _assert_refused(done, 4, tmp_path, "cores", "were requested")


@row_27
@pytest.mark.parametrize(
    ("threads", "quota", "is_fine"),
    [(2, 150_000, False), (2, 200_000, True), (1, 60_000, False), (1, 100_000, True), (None, 60_000, True)],
)
def test_row_27_threads_beyond_the_cpu_time_of_a_group_are_refused(
    tmp_path: Path, *, threads: int | None, quota: int, is_fine: bool
) -> None:
    """1.5 CPUs are not enough for two threads, nor 0.6 for one (files of a container, injected)."""
    machines.write(tmp_path, {"proc/self/cgroup": "0::/x\n", "sys/fs/cgroup/x/cpu.max": f"{quota} 100000\n"})
    config = RunConfig(model="m", prompts=(Prompt(set="s", index=0, text="x"),), threads=threads)
    if is_fine:
        limits.check_quota(config, tmp_path)
    else:
        with pytest.raises(
            MachineError, match=rf"{threads} threads? (was|were) requested, .* {quota / 1e5:g} CPUs"
        ):
            limits.check_quota(config, tmp_path)


@row_28
def test_row_28_strict_refuses_a_split_that_splits_nothing_before_loading(
    llmbench: Run, ir_of: MakeIr, tmp_path: Path
) -> None:
    """Exit 4; the model here could not be loaded at all."""
    one_socket = ("--cores", str(min(os.sched_getaffinity(0))))
    done = llmbench("run", "-m", str(ir_of()), "--tensor-parallel", "--strict", *one_socket)
    _assert_refused(done, 4, tmp_path, "1 socket seen", "splits nothing here")


@row_28
@pytest.mark.model
def test_row_28_an_ineffective_split_runs_and_is_marked_everywhere(
    llmbench_workers: Run, demo_ir: Path, tmp_path: Path
) -> None:
    """A warning that names the socket, and the mark in the table, in every row of the CSV, and in a comparison."""
    run = ("run", "-m", str(demo_ir), "-n", "1", "-ic", "4", "--foreign-cpu-limit", "1")
    one_socket = ("--cores", str(min(os.sched_getaffinity(0))))
    done = llmbench_workers(*run, *one_socket, "--tensor-parallel", "--name", "split")
    assert_measured(done)
    assert "1 socket seen" in done.stderr
    assert "splits nothing here" in done.stderr
    assert "INEFFECTIVE" in done.stdout
    assert any(line.startswith("P0 ") and "ineffective" in line for line in done.stdout.splitlines())
    rows = llmbench_workers("report", "csv", "reports/split.jsonl").stdout.splitlines()
    assert "tensor_parallel" in rows[0]
    assert all("ineffective" in row for row in rows[1:])
    llmbench_workers(*run, *one_socket, "--name", "whole")
    compared = llmbench_workers("report", "compare", "reports/whole.jsonl", "reports/split.jsonl")
    assert "ineffective" in compared.stdout.lower()


@row_29
@pytest.mark.parametrize("option", ["--membind", "--interleave"])
def test_row_29_memory_is_bound_as_requested_or_not_at_all(
    llmbench: Run, tmp_path: Path, option: str
) -> None:
    """Without numactl, or without the node: exit 4, and no silent fallback."""
    _assert_refused(
        llmbench(*FAST, option, "0", PATH="/nonexistent"),
        4,
        tmp_path,
        "memory cannot be bound without numactl",
    )
    _assert_refused(llmbench(*FAST, option, "77"), 4, tmp_path, "NUMA node 77 was requested")


@row_30
def test_row_30_cpu_time_of_other_processes_makes_a_request_invalid(llmbench: Run) -> None:
    """Above 5 % a request does not count; with more than half of them the run is INVALID, and so is its exit code."""
    quiet = ("run", "-m", "first=1s,next=1ms,interference=4%", *SCRIPTED, "-n", "2", "-ic", "4")
    noisy = ("run", "-m", "first=1s,next=1ms,interference=20%", *SCRIPTED, "-n", "2", "-ic", "4")

    done = llmbench(*noisy)
    assert done.returncode == 5
    assert "INVALID (!): 2 of 2 requests" in done.stdout
    assert "other processes used 20% of the CPUs (limit 5%)" in done.stdout
    assert llmbench(*quiet, "--strict").returncode == 0


@pytest.fixture
def busy_neighbours() -> Iterator[None]:
    """Two processes on each CPU that do nothing but turn."""
    loops = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"])
        for _ in range(2 * len(os.sched_getaffinity(0)))
    ]
    time.sleep(0.5)
    yield
    for loop in loops:
        loop.kill()
        loop.wait()


@row_30
@pytest.mark.model
@pytest.mark.alone
def test_row_30_real_interference_is_seen(
    llmbench_workers: Run, demo_ir: Path, tmp_path: Path, busy_neighbours: None
) -> None:
    """Four processes against two threads: most of the CPUs' time is theirs, which makes each request invalid."""
    done = llmbench_workers("run", "-m", str(demo_ir), "-n", "1", "-ic", "16", "--name", "x")
    measured = reader.read_run(tmp_path / "reports/x.jsonl").launches[0].measurements

    assert done.returncode == 5, done.stdout
    assert "INVALID" in done.stdout
    assert "other processes used" in done.stdout
    for m in measured:
        assert m.conditions is not None
        assert m.conditions.interference_s > 0.25 * m.conditions.wall_s * m.conditions.cpus


_MACHINE = {
    "proc/stat": "cpu0 0 0 0 0 0 0 0 0\ncpu1 0 0 0 0 0 0 0 0\n",
    "sys/devices/system/cpu/cpu{n}/cpufreq/scaling_governor": "performance\n",
    "sys/devices/system/cpu/cpu{n}/cpufreq/scaling_max_freq": "3600000\n",
    "sys/devices/system/cpu/cpu{n}/thermal_throttle/core_throttle_count": "7\n",
    "sys/devices/system/cpu/cpu{n}/topology/core_cpus_list": "{n}\n",
}


def _machine(root: Path) -> Path:
    """Two cores with all the counters that this virtual machine does not have."""
    return machines.write(
        root, {path.format(n=n): text.format(n=n) for n in (0, 1) for path, text in _MACHINE.items()}
    )


@row_31
@pytest.mark.parametrize(
    ("file", "text", "reason"),
    [
        ("thermal_throttle/core_throttle_count", "9", "the CPU throttled (2 events)"),
        (
            "cpufreq/scaling_governor",
            "powersave",
            "the frequency governor changed from performance to performance+powersave",
        ),
        (
            "cpufreq/scaling_max_freq",
            "2000000",
            "the highest frequency (kHz) changed from 3600000 to 2000000+3600000",
        ),
    ],
)
def test_row_31_what_changes_on_a_cpu_makes_a_request_invalid(
    tmp_path: Path, request_of: Callable[..., Measurement], *, file: str, text: str, reason: str
) -> None:
    """Counters before and after, injected: a virtual machine cannot throttle. What stays the same is no reason."""
    root = _machine(tmp_path)
    probe = Probe.start([0, 1], root)
    same = probe.stop()
    machines.write(root, {f"sys/devices/system/cpu/cpu1/{file}": f"{text}\n"})
    changed = probe.stop()
    config = RunConfig(model="m", prompts=(Prompt(set="s", index=0, text="x"),), output_tokens=2)

    for conditions, reasons in ((same, ()), (changed, (reason,))):
        undisturbed = dataclasses.replace(conditions, major_faults=0)  # this process's own, on a busy machine
        assert reasons == validity.reasons(request_of([1, 2], conditions=undisturbed), config, ())


@row_31
def test_row_31_throttled_requests_are_reported(
    story_of: Callable[..., WholeRun], llmbench: Run, tmp_path: Path
) -> None:
    """A run of which one request was throttled (injected): exit 0 and a note, in the report as in the run itself."""
    run = story_of()
    launch, *others = run.launches
    hot = Conditions(wall_s=1.0, cpus=2, worker_s=1.0, interference_s=0.0, throttle_events=3)
    requests = list(launch.measurements)
    requests[4] = dataclasses.replace(requests[4], conditions=hot)
    changed = dataclasses.replace(launch, measurements=tuple(requests))
    write_run(dataclasses.replace(run, launches=(changed, *others)), tmp_path / "x.jsonl")
    done = llmbench("report", "show", "x.jsonl")

    assert done.returncode == 0, done.stderr
    assert "left out (the CPU throttled (3 events))" in " ".join(done.stdout.split())


@row_32
@pytest.mark.parametrize(
    ("clocks", "seconds", "reasons"),
    [
        (
            (time.CLOCK_BOOTTIME, time.CLOCK_REALTIME),  # both go on in suspend
            60.0,
            ("the machine was suspended for 60.0 s",),
        ),
        ((time.CLOCK_REALTIME,), -3600.0, ("the clock stepped by -3600.0 s",)),
        ((time.CLOCK_REALTIME,), 0.05, ()),
    ],
)
def test_row_32_a_clock_that_goes_another_way_makes_a_request_invalid(
    monkeypatch: pytest.MonkeyPatch,
    request_of: Callable[..., Measurement],
    *,
    clocks: tuple[int, ...],
    seconds: float,
    reasons: tuple[str, ...],
) -> None:
    """Clocks that jump, injected: a test cannot suspend its machine. Steering the clock gently is no reason."""
    real = time.clock_gettime
    probe = Probe.start()
    monkeypatch.setattr(
        time, "clock_gettime", lambda which: real(which) + (seconds if which in clocks else 0.0)
    )
    found = probe.stop()
    clocks_alone = Conditions(
        wall_s=found.wall_s,
        cpus=found.cpus,
        worker_s=0.0,
        interference_s=0.0,
        suspended_s=found.suspended_s,
        clock_step_s=found.clock_step_s,
    )
    config = RunConfig(model="m", prompts=(Prompt(set="s", index=0, text="x"),), output_tokens=2)

    assert reasons == validity.reasons(request_of([1, 2], conditions=clocks_alone), config, ())


@pytest.fixture
def broken_pair(tmp_path: Path) -> Path:
    """A folder for PYTHONPATH: a torch for CPUs beside a torchvision for CUDA; importing either leaves a mark."""
    folder = tmp_path / "packages"
    for name, version in (("torch", "2.13.0+cpu"), ("torchvision", "0.28.0")):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(
            f"open({str(tmp_path / 'imported')!r}, 'a').write('{name}\\n')\n"
            "raise RuntimeError('operator torchvision::nms does not exist')\n"
        )
        info = folder / f"{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    return folder


@row_40
@pytest.mark.slow
def test_row_40_doctor_names_the_pair_and_run_imports_no_torch(
    llmbench_process: Run, broken_pair: Path, tmp_path: Path
) -> None:
    """Doctor --strict is exit 4; a run does not so much as look at torch."""
    doctor = llmbench_process("doctor", "--strict", "--no-bandwidth", PYTHONPATH=str(broken_pair))
    ran = llmbench_process(*FAST, PYTHONPATH=str(broken_pair))

    assert doctor.returncode == 4, doctor.stderr
    assert "torchvision 0.28.0 beside torch 2.13.0+cpu" in doctor.stdout
    assert "pip uninstall torchvision" in doctor.stdout
    assert ran.returncode == 0, ran.stderr
    assert not (tmp_path / "imported").exists()


@row_40
@pytest.mark.model
def test_row_40_no_engine_of_run_imports_torch(
    llmbench_process: Run, broken_pair: Path, demo_ir: Path, tmp_path: Path
) -> None:
    """The same with a real model, with each engine that run has."""
    for engine in ("genai", "core"):
        done = llmbench_process(
            *(
                "run",
                "-m",
                str(demo_ir),
                "--engine",
                engine,
                "-n",
                "1",
                "-ic",
                "4",
                "--foreign-cpu-limit",
                "1",
            ),
            PYTHONPATH=str(broken_pair),
        )
        assert_measured(done)
    assert not (tmp_path / "imported").exists()
