"""The README's shell blocks, run as a stranger would type them."""

import functools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from llmbench.convert.pipeline import Converted
from tests import conversions as kept
from tests.outcome import measured_again

_ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
_GATE = ("make demo", "make test")
_SET_UP = (". .venv/bin/activate", "pip install '.[convert,vision]'")
_LAUNCHES = "--launches 5"
_HUB_NAME = "HuggingFaceTB/SmolLM2-135M-Instruct"
_VISION_NAME = "llava-hf/llava-1.5-7b-hf"


def _commands(name: str) -> list[str]:
    """Every line of every shell block of a document."""
    text = (_ROOT / name).read_text(encoding="utf-8")
    return [line for block in _BLOCK.findall(text) for line in block.splitlines() if line.strip()]


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A clone as far as the commands see it: prompts and configurations."""
    for name in ("prompts", "model_configs", "docs"):
        (tmp_path / name).symlink_to(_ROOT / name)
    return tmp_path


def _type(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A command as a person types it, this environment's llmbench first."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        command,
        shell=True,
        check=False,
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=600,
    )


def test_the_two_commands_are_the_makefiles() -> None:
    """`make demo` and `make test` are targets; the gate itself runs the second, another test the demo."""
    targets = set(re.findall(r"^(\w+):", (_ROOT / "Makefile").read_text(), re.MULTILINE))

    assert list(_GATE) == _commands("README.md")[:2]
    assert {"demo", "test"} <= targets
    assert "make test" in (_ROOT / ".ci/run").read_text()


def test_the_readme_is_short_and_names_what_people_search_for() -> None:
    """At most 1,200 words, pictures that exist, and the field's terms in the first sentence."""
    text = (_ROOT / "README.md").read_text(encoding="utf-8")
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", text)

    assert len(text.split()) <= 1200
    assert pictures
    assert all((_ROOT / picture).is_file() for picture in pictures)
    assert all(term in text.split("##")[0] for term in ("LLM", "latency", "TTFT", "OpenVINO", "socket"))


@pytest.mark.model
@pytest.mark.convert
def test_every_command_of_the_readme_runs_as_written(
    workspace: Path, real_folder: Path, conversions: dict[str, Converted]
) -> None:
    """In order, in one folder; the hub's model is a folder here, for tests have no hub, and converted already.

    What is tested is the command: a measurement counts whatever else this machine does, and where five launches are
    proposed they are planned as written, and two are made. One stream, one request and no prefix caching are the
    defaults of each.
    """
    picture_model = kept.vision_source(None)
    vision_ir = kept.vision_ir(picture_model)
    (workspace / "models").symlink_to(conversions["int8"].folder.parents[2])
    (workspace / "vlm").symlink_to(vision_ir.parents[2])
    commands = [command for command in _commands("README.md") if command not in (*_GATE, *_SET_UP)]

    assert len(commands) > 8
    launches = [command for command in commands if _LAUNCHES in command]
    assert len(launches) == 2
    for command in launches:
        planned = _type(f"{command} --dry-run", workspace)
        assert planned.returncode == 0, planned.stderr
    for command in commands:
        typed = command.replace(_HUB_NAME, str(real_folder)).replace(_VISION_NAME, str(picture_model))
        if " vlm" in typed:  # tests have this model in one format
            typed = typed.replace("int8", "fp32").replace("INT8", "FP32")
        typed = typed.replace(_LAUNCHES, "--launches 2")
        typed += " --foreign-cpu-limit 1 --overwrite" if typed.startswith("llmbench run ") else ""
        done = measured_again(functools.partial(_type, typed, workspace))

        if typed.startswith("llmbench run "):
            assert "nstream=1, nireq=1" in done.stdout
            assert "prefix caching=off" in done.stdout
    for name in ("base.csv", "base.json", "tidy.csv", "base-report.json", "reports/base.jsonl"):
        assert (workspace / name).stat().st_size > 0
