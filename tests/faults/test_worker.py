"""A worker that is interrupted, crashes, runs out of memory, or hangs."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from llmbench.machine import cgroup, memory
from llmbench.runner import plan
from llmbench.runner.launchers.base import Task, TimeLimits
from llmbench.runner.launchers.process import ProcessLauncher
from llmbench.runner.protocol import Open
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.measurement import Measurement
from llmbench.schema.run import Failure, Outcome
from llmbench.store import reader
from llmbench.store.events import LaunchEnded
from tests import machines
from tests.waiting import PATIENCE_S, output_of, wait_until

from .conftest import SCRIPTED, Marked, remove_group

Run = Callable[..., subprocess.CompletedProcess[str]]
row_7 = pytest.mark.fault(7, "SIGINT, SIGTERM in a native generate (ignored for > 10 s by the engine)")
row_8 = pytest.mark.fault(8, "worker dies by SIGSEGV, SIGBUS, SIGKILL")
row_9 = pytest.mark.fault(9, "out of memory")
row_10 = pytest.mark.fault(10, "hang")
INTERRUPTS = pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


@row_7
@INTERRUPTS
@pytest.mark.slow
def test_row_07_an_interrupted_run_ends_at_once_with_what_it_has(
    marked: Marked, number: signal.Signals, code: int
) -> None:
    """The worker, deep in a request that would last an hour, is ended; the table and the resume command are shown."""
    process = marked.start(
        "run", "-m", "first=1ms,hang@5", *SCRIPTED, "-n", "9", "-ic", "4", "--name", "my run", "-r", "out.csv"
    )
    wait_until(lambda: _lines(marked.folder / "reports/my run.jsonl") == 6, "four requests")
    os.kill(process.pid, number)
    out, output = output_of(process)

    assert code == process.returncode
    assert "4 measurements are kept in reports/my run.jsonl" in output
    assert "resume with: llmbench run --resume 'reports/my run.jsonl'" in output
    assert "written: out.csv" in out
    assert "Traceback" not in output
    marked.assert_gone()


@row_7
@pytest.mark.model
@INTERRUPTS
def test_row_07_a_native_generate_is_interrupted(
    marked: Marked, demo_ir: Path, number: signal.Signals, code: int
) -> None:
    """The engine ignores SIGINT for as long as it generates, minutes here; the run ends all the same, at once."""
    process = marked.start(
        *("run", "-m", str(demo_ir), "-p", "Hello", "-ic", "8000", "-n", "1", "--warmups", "0", "--name", "x")
    )
    path = marked.folder / "reports/x.jsonl"
    wait_until(lambda: _lines(path) == 2, "the model to load")
    time.sleep(1)
    os.kill(process.pid, number)
    output_of(process)

    assert code == process.returncode
    marked.assert_gone()


@row_8
@pytest.mark.parametrize("name", ["SIGSEGV", "SIGBUS", "SIGKILL"])
@pytest.mark.slow
def test_row_08_a_crash_is_named_and_other_launches_go_on(
    llmbench_workers: Run, tmp_path: Path, name: str
) -> None:
    """Exit 5; signal and phase are reported, on the screen and in the file; with --keep-going the others are made."""
    crash = ("run", "-m", f"first=1ms,crash={name}@3", *SCRIPTED, "-n", "3", "-ic", "4", "--launches", "2")
    done = llmbench_workers(*crash, "--name", "x", "--keep-going")
    run = reader.read_run(tmp_path / "reports/x.jsonl")

    assert done.returncode == 5
    for launch in (1, 2):
        assert f"launch {launch}: the worker was killed by {name} during iteration 2, prompt 0" in done.stderr
    assert [Outcome.FAILED] * 2 == [launch.outcome for launch in run.launches]
    for launch in run.launches:
        assert launch.failure is not None
        assert (name, "iteration 2, prompt 0") == (launch.failure.signal, launch.failure.phase)
        assert 2 == len(launch.measurements)


@row_8
def test_row_08_a_crash_ends_a_run_that_is_not_to_keep_going(llmbench_workers: Run, tmp_path: Path) -> None:
    """Exit 5 after the first of two launches, whose finished measurements are kept."""
    crash = ("run", "-m", "first=1ms,crash=SIGSEGV@3", *SCRIPTED, "-n", "3", "-ic", "4", "--launches", "2")

    assert llmbench_workers(*crash, "--name", "y").returncode == 5
    (launch,) = reader.read_run(tmp_path / "reports/y.jsonl").launches
    assert 2 == len(launch.measurements)


@row_8
def test_row_08_the_last_words_of_a_worker_are_kept(tmp_path: Path, llmbench_process: Run) -> None:
    """What a worker printed before it died is in the run file; here a package that is broken."""
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "sitecustomize.py").write_text(
        "import os, pathlib, sys\n"
        "checked = pathlib.Path(__file__).with_name('checked')\n"
        "if 'LLMBENCH_LAUNCH' in os.environ and checked.exists():\n"
        "    print('a library says farewell', file=sys.stderr, flush=True)\n"
        "    os._exit(9)\n"
        "elif 'LLMBENCH_LAUNCH' in os.environ:\n"
        "    checked.touch()\n"
    )
    done = llmbench_process("run", "-m", "first=1ms", *SCRIPTED, "--name", "x", PYTHONPATH=str(broken))
    (launch,) = reader.read_run(tmp_path / "reports/x.jsonl").launches

    assert done.returncode == 5
    assert "ended with exit code 9 during load" in done.stderr
    assert launch.failure is not None
    assert ("a library says farewell",) == launch.failure.log


_ONE = Prompt(set="s", index=0, text="one")


def _task(config: RunConfig, *, load_s: float = PATIENCE_S) -> Task:
    """A launch that may take long to load, and three seconds a request."""
    planned = plan.PlannedLaunch(index=0, cell=0)
    return Task(
        planned=planned,
        load=Open(config=config, launch=0, context_tokens=8192),
        limits=TimeLimits(load_s=load_s, request_s=3),
    )


def _failure(task: Task) -> tuple[Failure, int]:
    """Why a launch failed, and how many measurements it made before."""
    *events, ended = ProcessLauncher().launch(task)
    assert isinstance(ended, LaunchEnded)
    assert ended.failure is not None
    return ended.failure, sum(isinstance(event, Measurement) for event in events)


@row_10
@pytest.mark.parametrize(
    ("script", "output"),
    [("hang@3", "no first token in 3 s"), ("stall@3", "no token after token 1 in 3 s")],
)
@pytest.mark.slow
def test_row_10_a_hang_is_ended_phase_by_phase_with_its_stack(script: str, output: str) -> None:
    """What was waited for, how long, and where the worker was is recorded, with what was measured before."""
    failure, measured = _failure(
        _task(RunConfig(model=f"first=1ms,{script}", engine="scripted", prompts=(_ONE,), iterations=9))
    )

    assert failure.message.startswith(f"{output} during iteration 2, prompt 0; the worker was ended")
    assert any("scripted.py" in line and "_break" in line for line in failure.log)
    assert 2 == measured


@row_10
def test_row_10_a_load_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The watchdog watches the loading too, the start of the interpreter included."""
    (tmp_path / "sitecustomize.py").write_text("import time\ntime.sleep(3600)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    task = _task(RunConfig(model="first=1ms", engine="scripted", prompts=(_ONE,)), load_s=1)

    assert "no response in 1 s during load" in _failure(task)[0].message


@row_10
@pytest.mark.slow
def test_row_10_the_limit_of_a_command_ends_a_hang(llmbench_workers: Run) -> None:
    """``--timeout`` is the limit of each wait: exit 5 and one line; a busy machine may not even have loaded by then."""
    done = llmbench_workers("run", "-m", "hang@1", *SCRIPTED, "-n", "1", "--timeout", "3s")

    assert done.returncode == 5, done.stderr
    assert " in 3 s during " in done.stderr


@row_10
@pytest.mark.slow
def test_row_10_a_slow_request_is_no_hang() -> None:
    """The time allowed is for each wait, not for the run: eleven requests of a tenth of it each are fine."""
    task = _task(RunConfig(model="sleep=300ms", engine="scripted", prompts=(_ONE,), iterations=10))
    *_, ended = ProcessLauncher().launch(task)

    assert isinstance(ended, LaunchEnded)
    assert Outcome.FINISHED is ended.outcome, ended.failure


@row_10
@pytest.mark.model
def test_row_10_a_native_call_that_lasts_too_long_is_ended_with_its_stack(demo_ir: Path) -> None:
    """The engine does not report its tokens, so the whole request is what is waited for; the stack names the call."""
    task = _task(RunConfig(model=str(demo_ir), prompts=(_ONE,), iterations=1, warmups=0, output_tokens=8000))
    failure, _ = _failure(task)

    assert "no response in 3 s during iteration 0, prompt 0" in failure.message
    assert any("genai.py" in line for line in failure.log)


_GROUPS = Path("/sys/fs/cgroup/memory")
needs_group = pytest.mark.skipif(
    os.geteuid() != 0 or not (_GROUPS / "memory.limit_in_bytes").exists(),
    reason="limiting memory takes root and control groups of version 1",
)


@pytest.fixture
def small_memory() -> Iterator[Callable[[int], list[str]]]:
    """Gives the words that start a command in a control group of so many MiB."""
    own = next(
        line.partition("memory:/")[2]
        for line in Path("/proc/self/cgroup").read_text().splitlines()
        if ":memory:" in line
    )
    folder = _GROUPS / own / f"llmbench-test-{os.getpid()}"
    folder.mkdir()

    def prefix(mebibytes: int) -> list[str]:
        for name in ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes"):
            (folder / name).write_text(str(mebibytes << 20))
        return ["sh", "-c", f'echo $$ > {folder}/cgroup.procs && exec "$@"', "sh"]

    yield prefix
    remove_group(folder)


@row_9
@needs_group
@pytest.mark.slow
def test_row_09_a_worker_killed_for_want_of_memory_is_named(
    small_memory: Callable[[int], list[str]], tmp_path: Path
) -> None:
    """A real limit, a real kill: exit 5, the group's peak against its limit, and what was measured is kept."""
    done = subprocess.run(
        [
            *small_memory(120),
            *(sys.executable, "-m", "llmbench", "run", "-m", "first=1ms,next=1us", *SCRIPTED, "--name", "x"),
            *("-n", "1", "--warmups", "0", "-ic", "8", "-ic", "8,4000000", "--keep-going"),
        ],
        check=False,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    launches = reader.read_run(tmp_path / "reports/x.jsonl").launches

    assert done.returncode == 5, done.stderr
    assert "was killed by SIGKILL during iteration 0, prompt 0: out of memory" in done.stderr
    assert "MiB of 120 MiB" in done.stderr
    assert {(Outcome.FINISHED, 1), (Outcome.FAILED, 0)} == {
        (x.outcome, len(x.measurements)) for x in launches
    }


@row_9
@pytest.mark.model
@needs_group
def test_row_09_a_model_that_does_not_fit_is_refused_before_it_is_loaded(
    small_memory: Callable[[int], list[str]], demo_ir: Path, tmp_path: Path
) -> None:
    """100 MiB of weights in a group of 90: refused with both sizes, exit 5, and nothing is written."""
    done = subprocess.run(
        [*small_memory(90), sys.executable, "-m", "llmbench", "run", "-m", str(demo_ir), "-n", "1"],
        check=False,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 5, done.stderr
    assert "out of memory before it is loaded" in done.stderr
    assert [] == list(tmp_path.rglob("*.jsonl"))


@row_9
def test_row_09_weights_beyond_the_memory_available_are_refused_before_loading(
    llmbench: Run, ir_of: Callable[..., Path], tmp_path: Path
) -> None:
    """A file of a TiB, larger than the disk, is no match for any memory: exit 5, with both sizes."""
    model = ir_of(known=False)
    with (model / "openvino_model.bin").open("ab") as file:
        file.truncate(1 << 40)
    done = llmbench("run", "-m", str(model))

    assert done.returncode == 5, done.stderr
    assert "the weights of" in done.stderr
    assert "1024.0 GiB" in done.stderr
    assert [] == list(tmp_path.rglob("*.jsonl"))


@row_9
@pytest.mark.parametrize(
    "files",
    [
        {"proc/self/cgroup": "0::/job\n", "sys/fs/cgroup/job/memory.events": "oom 1\noom_kill {n}\n"},
        {
            "proc/self/cgroup": "4:memory:/job\n",
            "sys/fs/cgroup/memory/job/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill {n}\n",
        },
        {"proc/self/cgroup": "0::/\n", "proc/vmstat": "nr_free_pages 7\noom_kill {n}\n"},
    ],
)
def test_row_09_kills_are_counted_by_each_version_of_control_groups(
    tmp_path: Path, files: dict[str, str]
) -> None:
    """Version 2, version 1, and the machine's own counter: a count that grew is a kill, one that did not is none."""

    def write(count: int) -> None:
        machines.write(tmp_path, {name: text.format(n=count) for name, text in files.items()})

    write(2)
    before = memory.Kills.count(tmp_path)
    assert before.since() is None
    write(3)
    assert (before.since() or "").startswith("out of memory: the kernel ended a process")


@row_9
def test_row_09_memory_left_is_the_groups_or_the_machines(tmp_path: Path) -> None:
    """1 GiB limit, 700 MiB used of which 300 MiB are pages of files: 624 MiB are left, though the machine has 8 GiB."""
    machines.write(
        tmp_path,
        {
            "proc/meminfo": "MemTotal: 16777216 kB\nMemAvailable: 8388608 kB\n",
            "proc/self/cgroup": "0::/job\n",
            "sys/fs/cgroup/job/memory.max": f"{1 << 30}\n",
            "sys/fs/cgroup/job/memory.current": f"{700 << 20}\n",
            "sys/fs/cgroup/job/memory.stat": f"anon 1\nactive_file {200 << 20}\ninactive_file {100 << 20}\n",
        },
    )

    assert (1 << 30) - (400 << 20) == memory.available_bytes(tmp_path)
    assert (1 << 30) - (400 << 20) == cgroup.read_limits(tmp_path).memory_free_bytes
    (tmp_path / "sys/fs/cgroup/job/memory.max").write_text("max\n")
    assert 8 << 30 == memory.available_bytes(tmp_path)
