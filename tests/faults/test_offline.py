"""What SECURITY.md promises of the network: what measures or shows does not use it."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.outcome import assert_measured

from .conftest import FAST, SCRIPTED, interfere

Run = Callable[..., subprocess.CompletedProcess[str]]
ROOT = Path(__file__).parents[2]
HUB_TOKEN = "hf_" + "Canary0123456789" * 2

network = pytest.mark.security(5, "no network in run, ab, report, profile, doctor; telemetry barred")


_GUARD = """
def watch(event, arguments, mark={mark!r}):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "socket.sendmsg"):
        family = getattr(arguments[0], "family", None)
        if family is None or int(family) in (2, 10):
            with open(mark, "a") as file:
                file.write(event + repr(arguments[1:]) + chr(10))
sys.addaudithook(watch)
"""
_COMMANDS = (
    (*FAST, "--name", "x"),
    (*FAST, "--name", "y"),
    ("report", "show", "reports/x.jsonl"),
    ("report", "html", "reports/x.jsonl", "-o", "x.html"),
    ("report", "compare", "reports/x.jsonl", "reports/y.jsonl"),
    ("ab", "-m", "first=1ms", "-m", "first=2ms", *SCRIPTED, "-n", "1", "-ic", "4", "--blocks", "2"),
    ("doctor", "--no-bandwidth"),
)


def _no_network() -> list[str]:
    """The words that start a command in a network of its own, which has no way out; none where that cannot be."""
    prefix = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--net"]
    is_possible = subprocess.run([*prefix, "true"], check=False, capture_output=True).returncode == 0
    return prefix if is_possible else []


def _run_cut_off(folder: Path, command: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    """The command without a network, every attempt to use one noted in the file ``attempts``."""
    code_folder = folder / "code"
    if not code_folder.exists():
        interfere(code_folder, _GUARD.format(mark=str(folder / "attempts")))
    return subprocess.run(
        [*_no_network(), sys.executable, "-m", "llmbench", *command],
        check=False,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{code_folder}", "HF_TOKEN": HUB_TOKEN, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
    )


@network
@pytest.mark.slow
def test_no_command_that_measures_or_shows_uses_the_network(tmp_path: Path) -> None:
    """All work where there is no network at all, and none of them so much as looks for one."""
    for command in _COMMANDS:
        done = _run_cut_off(tmp_path, command)
        assert done.returncode in {0, 1}, done.stderr
    assert not (tmp_path / "attempts").exists()


@network
def test_the_guard_of_these_tests_sees_an_attempt(tmp_path: Path) -> None:
    """A guard that sees nothing proves nothing: convert of a hub's model does look for the hub."""
    done = _run_cut_off(tmp_path, ("convert", "--model-id", "example/model", "--output-dir", "models"))

    assert done.returncode == 4, done.stderr
    pytest.importorskip("huggingface_hub")
    assert (tmp_path / "attempts").exists()


@network
@pytest.mark.model
def test_no_engine_uses_the_network(demo_ir: Path, demo_gguf: Path, tmp_path: Path) -> None:
    """With a real model, with each engine of run, and with profile."""
    for command in (
        ("run", "-m", str(demo_ir), "--engine", "genai", "-n", "1", "-ic", "4", "--foreign-cpu-limit", "1"),
        ("run", "-m", str(demo_ir), "--engine", "core", "-n", "1", "-ic", "4", "--foreign-cpu-limit", "1"),
        (
            "run",
            "-m",
            str(demo_gguf),
            "--engine",
            "llama.cpp",
            "-n",
            "1",
            "-ic",
            "4",
            "--foreign-cpu-limit",
            "1",
        ),
        ("profile", "-m", str(demo_ir), "--input-tokens", "16"),
    ):
        done = _run_cut_off(tmp_path, command)
        assert_measured(done)
    assert not (tmp_path / "attempts").exists()


@network
@pytest.mark.slow
def test_workers_stay_offline(llmbench_process: Run, tmp_path: Path) -> None:
    """Offline variables are set whatever the user's are, and telemetry of the engine cannot be imported."""
    interfere(
        tmp_path / "code",
        "if 'LLMBENCH_LAUNCH' in os.environ:\n"
        f"    with open({str(tmp_path / 'seen')!r}, 'w') as file:\n"
        "        file.write(' '.join(os.environ.get(n, '-') for n in "
        "('HF_HUB_OFFLINE', 'TRANSFORMERS_OFFLINE', 'HF_HUB_DISABLE_TELEMETRY')))\n",
    )
    llmbench_process(*FAST, PYTHONPATH=str(tmp_path / "code"), HF_HUB_OFFLINE="0", TRANSFORMERS_OFFLINE="0")
    program = (
        "from llmbench.engines.openvino.device import import_openvino; "
        "import_openvino(); import openvino_telemetry"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True, cwd=ROOT
    )

    assert "1 1 1" == (tmp_path / "seen").read_text()
    assert "import of openvino_telemetry halted" in done.stderr
