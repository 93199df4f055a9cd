import collections
import contextlib
import os
import signal
import sys
import threading
from pathlib import Path

import psutil
import pytest

from llmbench.analysis.report import summarize_run
from llmbench.errors import ExitCode
from llmbench.schema.run import Outcome
from llmbench.store.reader import read_run
from tests.command import Done, as_process, in_process
from tests.outcome import measured_run
from tests.served import log_of, measured, scripted_server
from tests.waiting import is_gone, wait_until

FAULTS = "empty@7,reset@8,half@9,error@10,cut@11,429@12,503@13,hang@14"
BUSY = ("--foreign-cpu-limit", "1", "--name", "run")


def load(folder: Path, *arguments: str) -> Done:
    return in_process(folder, "process", "load", *BUSY, *arguments)


@pytest.mark.slow
def test_every_fault_is_counted_by_its_kind_and_nothing_else_is_lost(tmp_path: Path) -> None:
    """A server that fails in each way that servers do: the other requests are whole, half a character is no fault."""
    done = load(
        tmp_path, "--server", "scripted", "-m", f"first=100ms,next=2ms,{FAULTS}", "-n", "16", "-ic", "6",
        "--concurrency", "2", "--timeout", "6s",
    )  # fmt: skip
    run = read_run(tmp_path / "reports/run.jsonl")
    kinds = collections.Counter(m.error for m in measured(run))

    assert done.returncode in {ExitCode.OK, ExitCode.LAUNCH}, done.stderr  # its times may not count
    assert {
        None: 9, "empty": 1, "reset": 1, "stream_error": 1, "cut": 1, "http_429": 1, "http_503": 1, "timeout": 1
    } == kinds  # fmt: skip
    assert {6} == {m.output_tokens for m in measured(run) if m.error is None}
    assert "1 request failed: http_503" in done.stdout
    (row,) = summarize_run(run).rows
    assert row.invalid >= 7
    assert 7 / 16 == row.figures["error_share"].median


@pytest.mark.parametrize(
    ("script", "endpoint"),
    [("usage=0", "completions"), ("strict=1,usage=0", "chat"), ("step=3", "completions"), ("keep=0", "chat")],
)
@pytest.mark.slow
def test_tokens_are_counted_whatever_the_server_leaves_out(
    tmp_path: Path, script: str, endpoint: str
) -> None:
    """No usage, no fields beyond the protocol, several tokens in a chunk, a new connection for each request."""
    done = load(
        tmp_path, "--server", "scripted", "-m", f"first=60ms,next=2ms,{script}", "-n", "4", "-ic", "7",
        "--endpoint", endpoint,
    )  # fmt: skip
    found = measured(measured_run(done, tmp_path / "reports/run.jsonl"))

    assert [7] * 4 == [m.output_tokens for m in found]
    if "step" in script:
        assert {(3, 3, 1)} == {m.sequences[0].counts for m in found}


@pytest.mark.slow
def test_tokens_that_nobody_counts_are_no_figures(tmp_path: Path) -> None:
    """Without usage and tokenizer a chunk is no token: the requests do not count, and the reason is given."""
    done = load(
        tmp_path, "--server", "scripted", "-m", "first=60ms,next=2ms,usage=0,tokenizer=0", "-n", "2", "-ic", "4",
        "--endpoint", "chat",
    )  # fmt: skip

    assert done.returncode == ExitCode.LAUNCH
    assert "its tokens cannot be counted" in done.stderr


@pytest.mark.slow
def test_a_server_that_ends_under_load_fails_the_launch_and_keeps_what_was_measured(tmp_path: Path) -> None:
    """Exit 5, the requests before are in the file, and the load can be resumed."""
    done = load(
        tmp_path, "--server", "scripted", "-m", "first=50ms,next=2ms,die@12", "-n", "20", "-ic", "6",
        "--concurrency", "2",
    )  # fmt: skip
    path = tmp_path / "reports/run.jsonl"
    run = read_run(path)

    assert done.returncode == ExitCode.LAUNCH
    assert "the server ended with exit code 3 after" in done.stderr
    assert Outcome.FAILED is run.launches[0].outcome
    assert 4 <= sum(m.error is None for m in measured(run)) <= 8


@pytest.mark.slow
def test_a_load_that_was_killed_is_resumed(tmp_path: Path) -> None:
    """The launch that was cut short is made again whole, and its server did not outlive it."""
    arguments = (
        "load", *BUSY, "--server", "scripted", "-m", "first=30ms,next=2ms", "-n", "30", "-ic", "4", "--launches", "2",
    )  # fmt: skip
    path = tmp_path / "reports/run.jsonl"
    killer = threading.Thread(target=_kill_when, args=(path, 6))
    killer.start()
    done = as_process(tmp_path, *arguments)
    killer.join()
    resumed = in_process(tmp_path, "process", "load", "--resume", str(path))
    run = read_run(path)
    plan = [(m.iteration, m.prompt) for m in measured(run) if m.launch == run.launches[-1].index]

    assert -signal.SIGKILL == done.returncode
    wait_until(lambda: not _processes_in(tmp_path), "the server to end")
    assert resumed.returncode in {ExitCode.OK, ExitCode.LAUNCH}, resumed.stderr  # its times may not count
    assert [Outcome.ABORTED, Outcome.FINISHED, Outcome.FINISHED] == [each.outcome for each in run.launches]
    assert 30 == len(plan) == len(set(plan))


def _kill_when(path: Path, lines: int) -> None:
    """Kill the process that writes a run file once it has so many lines."""
    wait_until(lambda: path.exists() and len(path.read_bytes().splitlines()) >= lines, "measurements")
    for process in psutil.Process().children():
        with contextlib.suppress(psutil.Error):  # one of another test may have ended
            if "load" in process.cmdline():
                process.kill()


def _processes_in(folder: Path) -> list[psutil.Process]:
    """Processes that work in a folder and have not ended."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if Path(process.cwd()) == folder and not is_gone(process):
                found.append(process)
    return found


@pytest.mark.slow
def test_a_server_elsewhere_that_goes_away_ends_the_launch(tmp_path: Path) -> None:
    """Its process is not known, so it is given up when no request reaches it any more."""
    with scripted_server("first=30ms,next=2ms,die@9") as server:
        done = load(tmp_path, "--url", f"{server.url}/v1", "-n", "200", "-ic", "4", "--concurrency", "2")
    run = read_run(tmp_path / "reports/run.jsonl")

    assert done.returncode == ExitCode.LAUNCH
    assert "the server is not to be reached: 20 requests in a row" in done.stderr
    assert sum(m.error is None for m in measured(run)) >= 2


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--url", "http://127.0.0.1:1"), ExitCode.MACHINE, "no server can be reached at http://127.0.0.1:1"),
        ((), ExitCode.USAGE, "no server was given"),
        (("--server", "scripted"), ExitCode.USAGE, "no model was given for the server"),
        (("--server", "vllm", "-m", "m"), ExitCode.USAGE, "neither a server that llmbench can start"),
        (
            ("--server", "scripted", "-m", "first=5"),
            ExitCode.USAGE,
            "the script of a server has no 'first=5'",
        ),
        (
            ("--server", "scripted", "-m", "first=1ms", "--goodput", "ttft"),
            ExitCode.USAGE,
            "a latency and a limit in ms",
        ),
        (("--server", "scripted", "-m", "x=1ms", "--trace", "none.csv"), ExitCode.USAGE, "cannot be read"),
        (("--server", f"{sys.executable} -c 1 {{port}}", "-m", "m"), ExitCode.LAUNCH, "before it was ready"),
    ],
)
def test_what_cannot_be_measured_is_one_line(
    tmp_path: Path, arguments: tuple[str, ...], code: ExitCode, message: str
) -> None:
    """Refused with the exit code of its kind, before or as the server starts."""
    done = load(tmp_path, *arguments)

    assert code == done.returncode, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.nightly
def test_ten_minutes_at_the_highest_rate_lose_nothing_and_leak_nothing(tmp_path: Path) -> None:
    """Every request that the server has served is in the file, and the client's memory stands still."""
    resident: list[int] = []
    done = threading.Event()
    watch = threading.Thread(target=_watch_worker, args=(resident, done))
    watch.start()
    with scripted_server("first=20ms,next=2ms") as server:
        found = load(
            tmp_path, "--url", server.url, "--concurrency", "32", "-ic", "16", "--input-tokens", "32",
            "--duration", SOAK, "--quiet",
        )  # fmt: skip
        log = [entry for entry in log_of(server) if entry.get("input_tokens") == 32]
    done.set()
    watch.join()
    run = read_run(tmp_path / "reports/run.jsonl")
    every = [m for launch in run.launches for m in launch.measurements]
    later = resident[len(resident) // 5 :]

    print(f"{len(every)} requests of {len(log)}, client {resident[0] >> 20} to {max(resident) >> 20} MiB")
    assert found.returncode in {ExitCode.OK, ExitCode.LAUNCH}, found.stderr
    assert {None} == {m.error for m in every}
    assert 0 <= len(log) - len(every) <= 64  # those in flight when the last measured one had ended
    assert max(later) - min(later) < 32 << 20


SOAK = os.environ.get("LLMBENCH_SOAK", "10m")


def _watch_worker(resident: list[int], done: threading.Event) -> None:
    """Note the memory of the worker every other second."""
    while not done.wait(2):
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if "llmbench.runner.worker" in process.cmdline():
                    resident.append(process.memory_info().rss)
