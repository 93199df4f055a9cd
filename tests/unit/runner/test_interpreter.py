import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

import llmbench
from llmbench.errors import InputError, MachineError
from llmbench.machine import environment
from llmbench.runner import plan
from llmbench.runner.interpreter import check_interpreter, worker_command
from llmbench.runner.launchers.base import Task, TimeLimits
from llmbench.runner.launchers.process import ProcessLauncher
from llmbench.runner.protocol import Open
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.measurement import Measurement
from llmbench.store.events import LaunchStarted


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The Python of a fresh environment without a package."""
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    return str(folder / "bin/python")


def executable(path: Path, text: str) -> str:
    """A program of these lines."""
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_this_interpreter_needs_no_bootstrap() -> None:
    """The worker is a module of this package."""
    assert [sys.executable, "-P", "-m", "llmbench.runner.worker"] == worker_command()


def test_a_worker_of_another_environment_has_our_code_only(
    bare: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This package comes from here, what lies beside it does not; every other module is of over there."""
    monkeypatch.delenv("PYTHONPATH", raising=False)
    *_, program, folder = worker_command(bare)
    program = program.replace(
        'runpy.run_module("llmbench.runner.worker", run_name="__main__", alter_sys=True)',
        "print(module.__file__, sys.argv[1:], *sys.path, sep='\\n')",
    )
    done = subprocess.run(
        [bare, "-P", "-c", program, folder, "3", "4"],
        check=True,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    where, arguments, *search = done.stdout.splitlines()

    assert str(Path(llmbench.__file__)) == where
    assert "['3', '4']" == arguments
    assert str(Path(folder).parent) not in search
    assert any(path.startswith(str(Path(bare).parents[1])) for path in search)


def test_a_launch_of_another_environment_measures_and_tells_its_versions() -> None:
    """Started by a path instead of a module, it does the same."""
    config = RunConfig(
        model="first=1ms",
        engine="scripted",
        prompts=(Prompt(set="s", index=0, text="one"),),
        iterations=1,
        output_tokens=2,
    )
    task = Task(
        planned=plan.PlannedLaunch(index=0, cell=0, block=4),
        load=Open(config=dataclasses.replace(config, interpreter=sys.executable), launch=0),
        limits=TimeLimits(load_s=60, request_s=60),
    )
    events = list(ProcessLauncher().launch(task))

    assert isinstance(events[0], LaunchStarted)
    assert (4, {"versions": environment.versions()}) == (events[0].block, events[0].environment)
    assert 2 == sum(isinstance(event, Measurement) for event in events)


def test_an_environment_that_has_what_it_takes_passes() -> None:
    """This one has."""
    check_interpreter(sys.executable, engine="genai")


def test_what_is_missing_is_named_with_the_command_that_installs_it(bare: str) -> None:
    """A fresh environment has no packages; a scripted engine needs fewer."""
    with pytest.raises(MachineError, match="lacks msgspec, psutil, openvino, openvino-genai") as error:
        check_interpreter(bare, engine="genai")
    assert f"{bare} -m pip install msgspec psutil openvino openvino-genai" == error.value.hint
    with pytest.raises(MachineError, match=r"lacks msgspec, psutil$"):
        check_interpreter(bare, engine="scripted")


def test_an_old_python_is_refused(tmp_path: Path) -> None:
    """A worker is written for 3.11."""
    old = executable(tmp_path / "python", """echo '{"version": [3, 9], "packages": []}'""")

    with pytest.raises(MachineError, match=r"is Python 3\.9; a worker needs 3\.11 or newer"):
        check_interpreter(old, engine="scripted")


def test_what_is_no_python_is_refused(tmp_path: Path) -> None:
    """A path that is nothing, a file that cannot be started, and a program that answers something else."""
    text = tmp_path / "text"
    text.write_text("hello")

    with pytest.raises(InputError, match="cannot be started: No such file"):
        check_interpreter(str(tmp_path / "none"), engine="scripted")
    with pytest.raises(InputError, match="cannot be started: Permission denied"):
        check_interpreter(str(text), engine="scripted")
    with pytest.raises(InputError, match="did not respond"):
        check_interpreter(executable(tmp_path / "other", "echo hello"), engine="scripted")
