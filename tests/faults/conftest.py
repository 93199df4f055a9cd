"""What the tests of the faults share: a command that can be killed, small disks, and models that are files only."""

import contextlib
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from llmbench.models import integrity
from llmbench.models.manifest import (
    MANIFEST_SCHEMA,
    Manifest,
    ModelSource,
    Recipe,
    record_files,
    write_manifest,
)
from llmbench.schema.run import Run as WholeRun
from llmbench.store import events
from llmbench.store.events import Header, LaunchEnded, LaunchStarted, RunEnded
from tests.command import SCREEN
from tests.model.conftest import demo_gguf, demo_ir
from tests.waiting import wait_until

__all__ = ["demo_gguf", "demo_ir"]  # fixtures of a real model

SCRIPTED = ("--engine", "scripted")
FAST = ("run", "-m", "first=20ms,next=10ms", *SCRIPTED, "-n", "2", "-ic", "4")


class Marked:
    """A command whose processes, children included, can be told from all others by their environment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._mark = f"LLMBENCH_TEST={uuid.uuid4()}"
        self._started: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str, **changes: str) -> subprocess.Popen[str]:
        """Start the command with its output in pipes."""
        name, _, value = self._mark.partition("=")
        process = subprocess.Popen(
            [sys.executable, "-m", "llmbench", *arguments],
            cwd=self.folder,
            env={**os.environ, **SCREEN, "PYTHONFAULTHANDLER": "1", name: value, **changes},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._started.append(process)
        return process

    def alive(self) -> list[int]:
        """The processes that live; one that was killed may be a zombie for a second."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                is_marked = self._mark.encode() in (folder / "environ").read_bytes()
                state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if is_marked and state != "Z":
                found.append(int(folder.name))
        return found

    def assert_gone(self) -> None:
        """Fail where a process is left behind."""
        wait_until(lambda: not self.alive(), f"processes {self.alive()} to end")

    def stop(self) -> None:
        """Kill what a failed test has left running."""
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.communicate()


@pytest.fixture
def marked(tmp_path: Path) -> Iterator[Marked]:
    """A command that leaves no process behind, whatever a test does to it."""
    command = Marked(tmp_path)
    yield command
    command.stop()
    command.assert_gone()


def remove_group(group: Path) -> None:
    """Remove a control group; one that a process has only just left may be busy for a moment."""

    def is_removed() -> bool:
        with contextlib.suppress(OSError):
            group.rmdir()
        return not group.exists()

    wait_until(is_removed, "a control group to empty")


def _mount(*options: str, target: Path) -> None:
    subprocess.run(["mount", *options, str(target)], check=True, capture_output=True)


needs_mounts = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk takes root")


@pytest.fixture
def disk_of(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mounts a disk of a few KiB, or a read-only one."""
    mounted: list[Path] = []

    def make(kibibytes: int = 64, *, name: str = "disk", is_readonly: bool = False) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        options = f"size={kibibytes}k,mode=755" + (",ro" if is_readonly else "")
        _mount("-t", "tmpfs", "-o", options, "none", target=folder)
        mounted.append(folder)
        return folder

    yield make
    for folder in mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True, capture_output=True)


def fill(folder: Path, *, leave: int = 0) -> Path:
    """Fill a disk but for some bytes."""
    path = folder / "filler"
    with path.open("wb", buffering=0) as file:
        for size in (4096, 1):
            try:
                while file.write(b"x" * size) == size:
                    pass
            except OSError:
                continue
        file.truncate(max(file.tell() - leave, 0))
    return path


_XML = (
    '<?xml version="1.0"?>\n<net name="x" version="11">\n<layers><layer id="0" type="Const">'
    '<data element_type="u8" shape="{size}" offset="0" size="{size}"/></layer></layers>\n</net>\n'
)


@pytest.fixture
def ir_of(tmp_path: Path) -> Callable[..., Path]:
    """Makes an IR folder of files that no engine could load, with or without a manifest."""

    def make(
        *, name: str = "model", weights: bytes = bytes(range(256)), context: int = 8192, known: bool = True
    ) -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True)
        for part in integrity.PARTS:
            content = weights if part == "openvino_model" else b""
            (folder / f"{part}.xml").write_text(_XML.format(size=len(content)))
            (folder / f"{part}.bin").write_bytes(content)
        if known:
            files = record_files(folder.iterdir())
            write_manifest(
                folder,
                Manifest(
                    schema=MANIFEST_SCHEMA,
                    created_at="2026-01-01T00:00:00+00:00",
                    source=ModelSource(kind="folder", id="example", revision="0" * 40),
                    recipe=Recipe(weight_format="int8"),
                    versions={},
                    context_tokens=context,
                    files=files,
                ),
            )
        return folder

    return make


def interfere(folder: Path, text: str) -> None:
    """Code that every interpreter runs as it starts which has the folder on its path."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(f"import os, sys\n{text}")


def write_run(run: WholeRun, path: Path) -> None:
    """A run built by hand as a run file."""
    lines: list[events.Event] = [
        Header(
            id=run.id,
            started_at=run.started_at,
            version=run.version,
            configurations=run.cells,
            environment=run.environment,
            provenance=run.provenance,
        )
    ]
    for launch in run.launches:
        lines.append(
            LaunchStarted(
                launch=launch.index, configuration=launch.cell, started_at=launch.started_at, load_s=1.0
            )
        )
        lines += launch.measurements
        lines.append(LaunchEnded(launch=launch.index, outcome=launch.outcome))
    lines.append(RunEnded(ended_at=run.started_at))
    path.write_bytes(b"".join(events.encode(line) for line in lines))


def files_below(*folders: Path) -> dict[Path, tuple[int, int]]:
    """Every file below some folders, with its size and time of change."""
    found = {}
    for folder in folders:
        for path in folder.rglob("*"):
            state = path.lstat()
            if not path.is_dir():
                found[path] = (state.st_size, state.st_mtime_ns)
    return found


def texts_below(folder: Path) -> dict[Path, bytes]:
    """The content of every file below a folder."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def said_at_once(text: str, *parts: str) -> bool:
    """Whether one line of a text holds all the parts."""
    return any(all(part in line for part in parts) for line in text.splitlines())


Lines = Sequence[str]
