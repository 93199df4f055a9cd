import dataclasses
import os

import pytest

from llmbench.errors import InputError
from llmbench.runner import plan
from llmbench.runner.launchers import default_launcher
from llmbench.runner.launchers.base import Launcher, LaunchEvent, Task, TimeLimits
from llmbench.runner.launchers.inline import InlineLauncher
from llmbench.runner.launchers.process import ProcessLauncher
from llmbench.runner.protocol import Check, Open
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.measurement import Measurement
from llmbench.store.events import LaunchEnded, LaunchStarted

_PROMPTS = (Prompt(set="s", index=0, text="one two three"), Prompt(set="s", index=1, tokens=50))


def _task(script: str, *, launch: int = 0, context: int | None = None, **changes: object) -> Task:
    config = RunConfig(model=script, engine="scripted", prompts=_PROMPTS, iterations=2, output_tokens=4)
    return Task(
        planned=plan.PlannedLaunch(index=launch, cell=0),
        load=Open(config=dataclasses.replace(config, **changes), launch=launch, context_tokens=context),  # type: ignore[arg-type]
        limits=TimeLimits(load_s=60, request_s=60),
    )


def _facts(events: list[LaunchEvent]) -> list[object]:
    """What is the same in two launches of the same task, whenever and wherever they are made."""
    found: list[object] = []
    for event in events:
        match event:
            case Measurement():
                gaps = [[at - event.start_ns for at in each.at_ns] for each in event.sequences]
                ids = [each.token_ids for each in event.sequences]
                conditions = event.conditions
                found.append((event.iteration, event.prompt, gaps, ids, event.suspicions, conditions))
            case LaunchStarted():
                found.append((event.launch, event.effective, event.environment, event.pinned.cpus))
            case LaunchEnded():
                found.append((event.launch, event.outcome, event.failure))
    return found


def _events(launcher: Launcher, task: Task) -> list[LaunchEvent]:
    return list(launcher.launch(task))


@pytest.mark.parametrize("launch", [0, 3])
def test_events_are_those_of_a_process(launch: int) -> None:
    """Latencies, drift, both noises, stray tokens, NaN and what other processes took: to the nanosecond."""
    script = "first=9ms,next=2ms,noise=3%,launch-noise=5%,drift=1%,stray=2,interference=4%,nan@2,cold=1"
    task = _task(script, launch=launch, batch_size=2)

    assert _facts(_events(ProcessLauncher(), task)) == _facts(_events(InlineLauncher(), task))


def test_a_simulated_engine_has_no_machine() -> None:
    """A script's conditions are recorded; where this process runs, and what it draws, are not even read."""
    started, *measured, _ = _events(InlineLauncher(), _task("first=1ms,interference=4%"))

    assert isinstance(started, LaunchStarted)
    assert {} == started.pinned.pages
    for each in measured:
        assert isinstance(each, Measurement)
        assert (None, None) == (each.placement, each.energy_j)
        assert each.conditions is not None


def test_launches_differ_by_their_noise() -> None:
    """Two launches of one configuration have other latencies; no variable of the environment is read or set."""
    before = dict(os.environ)
    one, other = (_events(InlineLauncher(), _task("launch-noise=5%", launch=launch)) for launch in (0, 1))

    assert _facts(one)[1:-1] != _facts(other)[1:-1]
    assert before == dict(os.environ)


@pytest.mark.parametrize("how", ["crash=SIGKILL", "hang", "stall"])
def test_a_script_that_would_end_this_process_is_refused(how: str) -> None:
    """Neither a crash nor a hang is played; the launcher that can is named."""
    with pytest.raises(InputError, match=r"inline launcher cannot play .*@2") as error:
        _events(InlineLauncher(), _task(f"first=1ms,{how}@2"))

    assert "LLMBENCH_LAUNCHER" in str(error.value.hint)


def test_another_engine_and_interpreter_are_refused() -> None:
    """No engine but the scripted one is loaded into this process."""
    with pytest.raises(InputError, match="not genai"):
        _events(InlineLauncher(), _task("first=1ms", engine="genai"))
    with pytest.raises(InputError, match="no other interpreter"):
        _events(InlineLauncher(), _task("first=1ms", interpreter="/usr/bin/python3"))


def _check(script: str, context_tokens: int | None = None) -> Check:
    return Check(loads=(_task(script, context=context_tokens).load,))


def test_configurations_are_checked_as_by_a_worker() -> None:
    """The worker's own checks, and its error with the hint."""
    InlineLauncher().check(_check("first=1ms"))

    with pytest.raises(InputError, match="'fist=1ms' is not understood"):
        InlineLauncher().check(_check("fist=1ms"))
    with pytest.raises(InputError, match=r"50 input \+ 4 output tokens make 54; .* is 53"):
        InlineLauncher().check(_check("first=1ms", context_tokens=53))
    with pytest.raises(InputError, match=r"50 input \+ 4 output tokens make 54; .* is 53"):
        _events(InlineLauncher(), _task("first=1ms", context=53))


def test_the_environment_names_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes where nothing is said; a name that no launcher has is an error."""
    monkeypatch.delenv("LLMBENCH_LAUNCHER", raising=False)
    assert isinstance(default_launcher(), ProcessLauncher)
    monkeypatch.setenv("LLMBENCH_LAUNCHER", "inline")
    assert isinstance(default_launcher(), InlineLauncher)
    monkeypatch.setenv("LLMBENCH_LAUNCHER", "slurn")
    with pytest.raises(InputError, match="slurn is not a launcher"):
        default_launcher()
