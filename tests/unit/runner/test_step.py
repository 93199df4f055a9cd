"""A step in a process of its own: its answer, its progress, and each way it can end."""

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

import llmbench
from llmbench.errors import InputError, LaunchError, MachineError, OutputError
from llmbench.runner.step import Progress, StepProcess

RunBody = Callable[..., tuple[int, list[Progress]]]

PREAMBLE = """
import errno, os, signal, sys, time
from llmbench.runner import protocol
from llmbench.errors import InputError

IS_A_STEP = True

"""


def add(left: int, right: int) -> int:
    """Stand for the function of the same name in the module that a test writes."""
    raise NotImplementedError


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunBody:
    """Runs a step whose body is given; the sum of 2 and 3 is its answer."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    seen: list[Progress] = []

    def call(body: str, *, is_online: bool = False) -> tuple[int, list[Progress]]:
        code = "def add(left: int, right: int) -> int:\n" + textwrap.indent(textwrap.dedent(body), "    ")
        (tmp_path / "a_step").mkdir()
        (tmp_path / "a_step" / "__init__.py").write_text("from a_step import inner")
        (tmp_path / "a_step" / "inner.py").write_text(PREAMBLE + code)
        monkeypatch.setattr(add, "__module__", "a_step.inner")
        monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(llmbench.__file__).parents[1]}")
        work = tmp_path / "build"
        work.mkdir()
        result = StepProcess(folder=work, is_online=is_online, report=seen.append).run(add, 2, right=3)
        assert [] == list(work.iterdir())
        return result, seen

    return call


def test_the_answer_comes_back(run: RunBody) -> None:
    """Whatever is printed, the answer is the answer."""
    assert 5 == run("print('{\"result\": 6}'); return left + right")[0]


def test_a_step_s_module_is_imported_once(run: RunBody) -> None:
    """Its package imports it, too: run by its own name it would be there twice, and Python would warn."""
    body = "return sum(hasattr(module, 'IS_A_STEP') for module in sys.modules.values())"

    assert 1 == run(body)[0]


def test_arguments_may_be_replaced(run: RunBody) -> None:
    """A step that sets sys.argv, as a library's own command needs, still answers."""
    assert 5 == run("sys.argv = ['command', 'export']; return 5")[0]


def test_percentages_are_progress(run: RunBody) -> None:
    """Bars of tqdm and of rich, redrawn with a carriage return, with colours; tables are not."""
    body = r"""
    sys.stderr.write("Loading weights:  50%|#####     | 1/2\rLoading weights: 100%|##########| 2/2\n")
    sys.stdout.write("\x1b[31mApplying Weight Compression\x1b[0m ━━━━━ 100% • 0:00:16\n")
    sys.stdout.write("│ int8_asym, per-channel │ 100% (211 / 212) │\n")
    return 5
    """

    seen = run(body)[1]

    assert {
        Progress(label="Loading weights", share=0.5),
        Progress(label="Loading weights", share=1.0),
        Progress(label="Applying Weight Compression", share=1.0),
    } == set(seen)


def test_a_deliberate_error_crosses_whole(run: RunBody) -> None:
    """Kind, message and hint are the child's."""
    with pytest.raises(InputError, match="no such layer") as caught:
        run("raise InputError('no such layer', hint='take another')")

    assert "take another" == caught.value.hint


def test_a_crash_is_told_by_its_last_line(run: RunBody) -> None:
    """What the library raised is what a person reads, in one line."""
    with pytest.raises(LaunchError, match="the conversion failed: KeyError: 'rope_theta'"):
        run("raise KeyError('rope_theta')")


@pytest.mark.parametrize(("name", "hint"), [("SIGKILL", "memory"), ("SIGSEGV", "whole log")])
def test_a_signal_is_named(run: RunBody, name: str, hint: str) -> None:
    """A process that was ended says by what; SIGKILL is most often a lack of memory."""
    with pytest.raises(LaunchError, match=f"ended by {name}") as caught:
        run(f"os.kill(os.getpid(), signal.{name})")

    assert hint in str(caught.value.hint)


@pytest.mark.parametrize(
    "body",
    [
        "raise OSError(errno.ENOSPC, 'No space left on device', 'openvino_model.bin')",
        "raise RuntimeError('basic_ios::clear: iostream error')",
    ],
    ids=["python", "engine"],
)
def test_a_full_disk_is_an_output_error(run: RunBody, body: str) -> None:
    """Told by Python or by the engine, a disk without room is exit 6."""
    with pytest.raises(OutputError):
        run(body)


def test_another_system_error_is_a_crash(run: RunBody) -> None:
    """Not every OSError is a full disk."""
    with pytest.raises(LaunchError, match="PermissionError"):
        run("raise PermissionError(errno.EACCES, 'Permission denied', 'x')")


def test_a_child_that_ends_early_is_no_hang(run: RunBody) -> None:
    """It may end before it read its request, and without a word."""
    with pytest.raises(LaunchError, match="exit status 3"):
        run("os._exit(3)")


def test_a_child_is_offline_and_its_temporary_files_stay_inside(run: RunBody) -> None:
    """The hub's client is told to stay off the network; TMPDIR lies in the folder that is built."""
    body = """
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    assert "/build/.tmp" in os.environ["TMPDIR"] and os.path.isdir(os.environ["TMPDIR"])
    assert sys.modules["openvino_telemetry"] is None
    assert sys.modules["sklearn"] is None
    return 5
    """

    assert 5 == run(body)[0]


def test_a_child_may_be_online(run: RunBody) -> None:
    """Only where it must fetch code that was asked for, which may import what it likes."""
    body = "return 5 if 'HF_HUB_OFFLINE' not in os.environ and 'sklearn' not in sys.modules else 0"
    assert 5 == run(body, is_online=True)[0]


def test_no_child_outlives_an_interrupt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception in the parent ends the child before it is passed on."""
    code = "def add(left: int, right: int) -> int:\n    open('pid', 'w').write(str(os.getpid()))\n"
    ending = "    print('a bar: 10%|', flush=True)\n    time.sleep(60)\n"
    (tmp_path / "a_step.py").write_text(PREAMBLE + code + ending)
    monkeypatch.setattr(add, "__module__", "a_step")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(llmbench.__file__).parents[1]}")
    monkeypatch.chdir(tmp_path)

    def interrupt(_progress: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        StepProcess(folder=tmp_path, report=interrupt).run(add, 2, 3)

    assert not Path("/proc", Path("pid").read_text()).exists()


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Where logs of failed steps are kept."""
    return tmp_path / "cache" / "llmbench" / "logs"


CAUSES = {
    "explicit": "try:\n    raise ValueError('sizes must match')\nexcept ValueError as e:\n    "
    "raise RuntimeError('see docs') from e",
    "repeated": "try:\n    raise ValueError('sizes must match')\nexcept ValueError as e:\n    "
    "raise RuntimeError(f'tracing failed:\\n{e}\\nPlease refer to https://example.org')",
    "unrelated context": "try:\n    {}['a']\nexcept KeyError:\n    raise ValueError('sizes must match')",
    "several lines": "raise ValueError('sizes must match\\nand more')",
}


@pytest.mark.parametrize("body", CAUSES.values(), ids=CAUSES)
def test_a_failure_shows_its_first_cause_and_keeps_the_log(body: str, run: RunBody, logs: Path) -> None:
    """Not the last line of a message; the whole output is in a file that is named, without secrets."""
    token = "hf_" + "Canary0123456789" * 2
    with pytest.raises(LaunchError, match="conversion failed: ValueError: sizes must match") as caught:
        run(f"print('read {token}')\n{body}")

    (log,) = logs.iterdir()
    assert str(log) in str(caught.value.hint)
    assert "sizes must match" in log.read_text()
    assert token not in log.read_text()
    assert 0o600 == log.stat().st_mode & 0o777


def test_a_missing_package_is_the_machine_s_fault(run: RunBody, logs: Path) -> None:
    """Exit 4, for no retry installs it."""
    with pytest.raises(MachineError, match="No module named 'triton_of_nobody'"):
        run("import triton_of_nobody")
