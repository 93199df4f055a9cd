"""What SECURITY.md promises of what is run: no code of a model, no data, nothing with privileges."""

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .conftest import FAST, interfere

Run = Callable[..., subprocess.CompletedProcess[str]]
ROOT = Path(__file__).parents[2]

code = pytest.mark.security(1, "no code of a model's repository runs unless requested, pinned and recorded")
formats = pytest.mark.security(2, "no pickle, eval or unsafe YAML; safetensors only; JSON lines over pipes")
privileges = pytest.mark.security(6, "no shell, no root needed, no change of governor or turbo")


@code
def test_code_of_a_model_is_refused_and_not_run(llmbench: Run, tmp_path: Path) -> None:
    """A folder whose configuration names its own code is refused, exit 2; the code leaves no mark."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(
        json.dumps({"model_type": "llama", "auto_map": {"AutoModelForCausalLM": "modeling.Model"}})
    )
    (folder / "modeling.py").write_text(f"open({str(tmp_path / 'was run')!r}, 'w')\n")
    (folder / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    done = llmbench("convert", "--model-id", str(folder), "--output-dir", "models")

    assert done.returncode == 2, done.stderr
    assert "--trust-remote-code" in done.stderr
    assert not (tmp_path / "was run").exists()


@code
@pytest.mark.parametrize("revision", [(), ("--revision", "main"), ("--revision", "0123abc")])
def test_code_from_a_hub_needs_a_pinned_commit(llmbench: Run, revision: tuple[str, ...]) -> None:
    """A branch moves; only the 40 digits of a commit fix what will run. Exit 2, before anything is fetched."""
    done = llmbench(
        *(
            "convert",
            "--model-id",
            "example/model",
            "--output-dir",
            "models",
            "--trust-remote-code",
            *revision,
        )
    )

    assert done.returncode == 2, done.stderr
    assert "40" in done.stderr


def _calls(path: Path) -> Iterator[str]:
    """The dotted names that a module calls or imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and "allow_pickle=False" not in map(ast.unparse, node.keywords):
            yield ast.unparse(node.func)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@formats
def test_nothing_that_could_run_data_is_called() -> None:
    """No eval, exec, pickle, marshal, shelve, YAML, torch.load, numpy.load of pickles, or shell in the package."""
    forbidden = re.compile(
        r"^(eval|exec|pickle\b.*|cPickle.*|dill.*|marshal\b.*|shelve\b.*|yaml\b.*|torch\.load|joblib.*|numpy\.load|np\.load|"
        r"os\.system|os\.popen|pty\.spawn|subprocess\.getoutput)$"
    )
    found = {
        (path.name, name)
        for path in (ROOT / "llmbench").rglob("*.py")
        for name in _calls(path)
        if forbidden.match(name)
    }

    assert set() == found


@formats
def test_weights_that_could_run_code_are_refused(llmbench: Run, tmp_path: Path) -> None:
    """A folder with pickled weights alone is no source; they are not so much as opened."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "tokenizer.json").write_text("{}")
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch pwned'\ntR.")
    done = llmbench("convert", "--model-id", str(folder), "--output-dir", "models")

    assert done.returncode == 2, done.stderr
    assert "safetensors" in done.stderr
    assert not list(tmp_path.rglob("pwned"))


@privileges
def test_no_process_is_started_by_way_of_a_shell() -> None:
    """No call in the package has shell=True."""
    found = [
        path.name
        for path in (ROOT / "llmbench").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.keyword) and node.arg == "shell"
    ]

    assert [] == found


_SYSFS_GUARD = """
def watch(event, arguments, mark={mark!r}):
    if event == "open" and str(arguments[0]).startswith(("/sys", "/proc/sys")) and arguments[2] & 3:
        os.close(os.open(mark, os.O_CREAT))
sys.addaudithook(watch)
"""


@privileges
@pytest.mark.slow
def test_a_user_without_rights_can_measure_and_changes_no_setting(tmp_path: Path) -> None:
    """As nobody, without any capability: a run and doctor work, and no file of the kernel is opened to be written."""
    interfere(tmp_path / "code", _SYSFS_GUARD.format(mark=str(tmp_path / "written")))
    nobody = ["unshare", "--user", "--map-user=65534", "--map-group=65534"] if os.geteuid() == 0 else []
    for command in (FAST, ("doctor", "--no-bandwidth")):
        done = subprocess.run(
            [*nobody, sys.executable, "-m", "llmbench", *command],
            check=False,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(tmp_path / "code")},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
    assert not (tmp_path / "written").exists()
