"""The Dockerfile, as far as a machine without Docker can check it."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_PINNED = re.compile(r"[a-z]+:[\w.-]+@sha256:[0-9a-f]{64}")
_KNOWN = {"ARG", "FROM", "WORKDIR", "RUN", "COPY", "ENV", "USER", "ENTRYPOINT", "CMD"}


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
        if stages:  # what stands before the first FROM is of none
            stages[-1].append(instruction)
    return stages


def _copied() -> list[str]:
    """Return what the image gets of this repository."""
    arguments = [rest.split() for word, rest in _instructions() if word == "COPY" and "--from" not in rest]
    return [source for *sources, _target in arguments for source in sources]


def test_every_base_is_pinned_by_tag_and_digest() -> None:
    """One base for both stages, so that the virtual environment fits its interpreter; a build may name another."""
    (base,) = [rest for word, rest in _instructions() if word == "ARG"]

    assert {word for word, _ in _instructions()} <= _KNOWN
    assert ["${BASE} AS build", "${BASE}"] == [rest for word, rest in _instructions() if word == "FROM"]
    assert _PINNED.fullmatch(base.removeprefix("BASE="))


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


_TOOLS = [name for name in ("buildah", "debootstrap") if shutil.which(name) is None]
_BUILDAH = ("buildah", "--storage-driver", "vfs")


@pytest.mark.nightly
@pytest.mark.skipif(os.geteuid() != 0 or bool(_TOOLS), reason="needs root, buildah and debootstrap")
def test_the_image_is_built_and_runs(tmp_path: Path) -> None:
    """On a Debian with Python in place of the pinned base; the user is not root, and both commands are there."""
    root, base, image = (
        tmp_path / "root",
        f"localhost/base-{os.getpid()}",
        f"localhost/llmbench-{os.getpid()}",
    )
    _call("debootstrap", "--variant=minbase", "--include=ca-certificates", "bookworm", root)
    shutil.copy("/etc/resolv.conf", root / "etc")
    _call("chroot", root, "apt-get", "update")
    _call("chroot", root, *("apt-get", "install", "-y", "python3.11-venv", "python-is-python3"))
    (tmp_path / "Dockerfile").write_text("FROM scratch\nADD root /\nENV PATH=/usr/bin:/bin:/usr/sbin:/sbin\n")
    build = (*_BUILDAH, "bud", "--isolation", "chroot", "-v", "/etc/ssl/certs:/etc/ssl/certs:ro")
    _call(*build, "-t", base, tmp_path)
    _call(*build, "--build-arg", f"BASE={base}", "-t", image, _ROOT)
    container = _call(*_BUILDAH, "from", "--pull-never", image).strip()
    try:
        run = (*_BUILDAH, "run", "--isolation", "chroot", container, "--")
        assert "uid=10001(llmbench)" in _call(*run, "id")
        assert "policy: default" in _call(*run, "numactl", "--show")
        script = ("run", "--engine", "scripted", "-m", "first=2ms,next=1ms", "--output-dir", "/work/reports")
        assert "written: /work/reports/" in _call(*run, "llmbench", *script)
    finally:
        _call(*_BUILDAH, "rm", container)
        _call(*_BUILDAH, "rmi", image, base)


def _call(*command: str | Path) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=900).stdout
