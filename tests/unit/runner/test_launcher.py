import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from llmbench.errors import InputError
from llmbench.runner import plan
from llmbench.runner.launchers.base import Task, TimeLimits
from llmbench.runner.launchers.process import ProcessLauncher
from llmbench.runner.protocol import Check, Open
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.measurement import Measurement
from llmbench.schema.run import Outcome
from llmbench.store.events import LaunchEnded, LaunchStarted
from tests.waiting import is_gone, wait_until

_PROMPTS = (Prompt(set="s", index=0, text="one two three"), Prompt(set="s", index=1, tokens=50))


def _task(
    script: str, *, limits: TimeLimits | None = None, context: int | None = None, **changes: object
) -> Task:
    config = RunConfig(model=script, engine="scripted", prompts=_PROMPTS, iterations=2, output_tokens=4)
    return Task(
        planned=plan.PlannedLaunch(index=0, cell=0),
        load=Open(config=dataclasses.replace(config, **changes), launch=0, context_tokens=context),  # type: ignore[arg-type]
        limits=limits or TimeLimits(load_s=60, request_s=60),
    )


def _measured(task: Task) -> list[Measurement]:
    return [event for event in ProcessLauncher().launch(task) if isinstance(event, Measurement)]


def _workers() -> list[psutil.Process]:
    """The workers that this process has and that live; what another test has left is none."""
    found = []
    for process in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if "llmbench.runner.worker" in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def test_told_latencies_come_through_the_worker_exactly() -> None:
    """What the script tells is what the worker, the pipe and the parent hand on, to the nanosecond."""
    for m in _measured(_task("first=200ms,second=30ms,next=10ms")):
        at = m.sequences[0].at_ns

        assert [200_000_000, 230_000_000, 240_000_000, 250_000_000] == [t - m.start_ns for t in at]


def test_a_launch_is_started_measured_and_ended_in_order() -> None:
    """One pass over the prompts an iteration, warm-ups first and flagged."""
    events = list(ProcessLauncher().launch(_task("first=1ms")))

    assert isinstance(events[0], LaunchStarted)
    assert isinstance(events[-1], LaunchEnded)
    assert Outcome.FINISHED is events[-1].outcome
    made = [(m.iteration, m.prompt, m.is_warmup) for m in events[1:-1] if isinstance(m, Measurement)]
    assert [(0, 0, True), (0, 1, True), (1, 0, False), (1, 1, False), (2, 0, False), (2, 1, False)] == made


def test_the_next_request_begins_only_when_asked_for() -> None:
    """Between two events the worker waits, so that the first can be put on the disk."""
    events = ProcessLauncher().launch(_task("first=1ms,next=1ms"))
    next(events)
    first = next(events)
    asked_ns = time.perf_counter_ns()
    second = next(events)
    events.close()

    assert isinstance(first, Measurement)
    assert isinstance(second, Measurement)
    assert second.start_ns > asked_ns


def test_iterations_use_variants_and_launches_the_same_ones() -> None:
    """No two iterations hand over the same tokens; two launches hand over the same ones."""
    one, other = _measured(_task("first=1ms")), _measured(_task("first=1ms"))

    assert [m.sequences[0].token_ids for m in one] == [m.sequences[0].token_ids for m in other]
    synthetic = [m.sequences[0].token_ids for m in one if m.prompt == 1]
    assert len(set(synthetic)) == len(synthetic)
    assert {50} == {m.sequences[0].input_tokens for m in one if m.prompt == 1}


def test_a_batch_holds_distinct_variants() -> None:
    """The sequences of a batch differ from each other and from those of other iterations."""
    measured = _measured(_task("first=1ms", batch_size=3))
    ids = [s.token_ids for m in measured if m.prompt == 1 for s in m.sequences]

    assert len(ids) == 9
    assert len(set(ids)) == 9


def test_a_bad_configuration_is_the_workers_error_with_its_hint() -> None:
    """An error found in the worker is the same error in the parent."""
    with pytest.raises(InputError, match="'fist=1ms' is not understood") as error:
        list(ProcessLauncher().launch(_task("fist=1ms")))

    assert "first=200ms" in str(error.value.hint)


def test_a_context_too_small_is_refused_with_the_numbers() -> None:
    """Input and output together beyond the context are refused before anything is measured."""
    with pytest.raises(InputError, match=r"50 input \+ 4 output tokens make 54; .* is 53"):
        list(ProcessLauncher().launch(_task("first=1ms", context=53)))
    assert len(list(ProcessLauncher().launch(_task("first=1ms", context=54)))) == 8


def test_no_worker_is_left_when_the_consumer_stops() -> None:
    """Closing the events in the middle ends the worker."""
    events = ProcessLauncher().launch(_task("first=1ms,hang@3"))
    next(events)
    assert len(_workers()) == 1
    events.close()

    assert _workers() == []


def test_the_worker_dies_with_its_parent(tmp_path: Path) -> None:
    """Kill -9 of the parent leaves no worker behind."""
    out = tmp_path / "reports"
    arguments = ["run", "-m", "first=1ms,sleep=50ms", "--engine", "scripted", "-n", "500"]
    parent = subprocess.Popen(
        [sys.executable, "-m", "llmbench", *arguments, "--output-dir", str(out)], stdout=subprocess.DEVNULL
    )
    workers: list[psutil.Process] = []

    def is_started() -> bool:
        workers[:] = psutil.Process(parent.pid).children()
        return bool(workers)

    wait_until(is_started, "a worker")
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()

    wait_until(lambda: all(map(is_gone, workers)), "the worker to end")


def test_configurations_are_checked_before_any_is_measured() -> None:
    """The error is that of the first which could not be loaded."""
    good, wrong = (_task(script).load for script in ("first=1ms", "fist=1ms"))
    ProcessLauncher().check(Check(loads=(good, good)), limit_s=60)

    with pytest.raises(InputError, match="'fist=1ms' is not understood"):
        ProcessLauncher().check(Check(loads=(good, wrong)), limit_s=60)
    assert _workers() == []
