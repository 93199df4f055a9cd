"""The Dockerfile, as far as a machine without Docker can check it."""

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_PINNED = re.compile(r"[a-z]+:[\w.-]+@sha256:[0-9a-f]{64}( AS \w+)?")
_KNOWN = {"FROM", "WORKDIR", "RUN", "COPY", "ENV", "USER", "ENTRYPOINT", "CMD"}


def _instructions() -> list[tuple[str, str]]:
    """Return instruction and arguments of each line, continued lines joined."""
    text = (_ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", "")
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(word, " ".join(rest.split())) for word, _, rest in (line.partition(" ") for line in lines)]


def _stages() -> list[list[tuple[str, str]]]:
    """Return the instructions of each stage, its FROM first."""
    stages: list[list[tuple[str, str]]] = []
    for instruction in _instructions():
        if instruction[0] == "FROM":
            stages.append([])
        stages[-1].append(instruction)
    return stages


def _copied() -> list[str]:
    """Return what the image gets of this repository."""
    arguments = [rest.split() for word, rest in _instructions() if word == "COPY" and "--from" not in rest]
    return [source for *sources, _target in arguments for source in sources]


def test_every_base_is_pinned_by_tag_and_digest() -> None:
    """One base for both stages, so that the virtual environment fits its interpreter."""
    bases = [rest for word, rest in _instructions() if word == "FROM"]

    assert {word for word, _ in _instructions()} <= _KNOWN
    assert 2 == len(bases)
    assert all(_PINNED.fullmatch(base) for base in bases)
    assert 1 == len({base.partition(" ")[0] for base in bases})


def test_the_process_is_not_root_and_has_numactl() -> None:
    """The user is made before it is set, and nothing is installed afterwards."""
    *_, final = _stages()
    words = [word for word, _ in final]
    commands = " ".join(rest for word, rest in final if word == "RUN")

    assert ("USER", "llmbench") in final
    assert "RUN" not in words[words.index("USER") :]
    assert re.search(r"install .*numactl && rm -rf /var/lib/apt/lists/", commands)
    assert "useradd" in commands
    assert ("ENTRYPOINT", '["llmbench"]') in final


def test_the_build_context_holds_what_is_copied() -> None:
    """``.dockerignore`` leaves out everything but the sources of COPY."""
    kept = {line[1:] for line in (_ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}

    assert kept == {source.removeprefix("./") for source in _copied()}
    assert all((_ROOT / source).exists() for source in _copied())


@pytest.mark.slow
def test_the_copied_files_are_enough_to_build_the_package(tmp_path: Path) -> None:
    """The build's pip step, without dependencies and network: a wheel with its data and its command."""
    pytest.importorskip("setuptools", minversion="77")
    for source in _copied():
        origin, target = _ROOT / source, tmp_path / "src" / source
        target.parent.mkdir(exist_ok=True)
        if origin.is_dir():
            shutil.copytree(origin, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(origin, target)
    pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-q"]
    subprocess.run([*pip, "-w", tmp_path, tmp_path / "src"], check=True, timeout=300)

    [wheel] = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {"llmbench/cli/main.py", "llmbench/data/prompts/short.jsonl"} <= set(names)
    assert any(name.endswith("entry_points.txt") for name in names)
