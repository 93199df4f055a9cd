"""Environments of other versions of an engine, made from the package index once and kept in the cache folder."""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from llmbench.errors import InputError, MachineError
from llmbench.files.cache import cache_folder
from llmbench.files.redaction import redact
from llmbench.runner.interpreter import ALWAYS
from llmbench.schema.engines import ENGINES

_LIMIT_S = 1800.0
_COMPLETE = "complete"
_VERSION = re.compile(r"\d+(?:\.\d+)*")
_SPAN = re.compile(r"(?P<package>[\w.-]+?)(?:==(?P<first>[\d.]+?)\.\.(?P<last>[\d.]+))?")
_HINT = "write it like openvino-genai==2025.3..2026.4"


def read_span(text: str) -> tuple[str, str | None, str | None]:
    """Return package, first and last version of ``PACKAGE==A..B``; no versions where only a package is named.

    Raises:
        InputError: it is something else.
    """
    found = _SPAN.fullmatch(text)
    if found is None:
        raise InputError(f"{text!r} names no versions of a package", hint=_HINT)
    return found["package"], found["first"], found["last"]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def select_versions(known: Iterable[str], first: str, last: str) -> tuple[str, ...]:
    """Return the releases from *first* to *last*, oldest first; a short *last* includes what begins with it."""
    low, high = _numbers(first), _numbers(last)
    releases = {version for version in known if _VERSION.fullmatch(version)}
    ordered = sorted(releases, key=_numbers)
    return tuple(each for each in ordered if low <= _numbers(each) and _numbers(each)[: len(high)] <= high)


def known_versions(package: str) -> tuple[str, ...]:
    """Return the versions of a package that the package index has.

    Raises:
        MachineError: pip or the index does not respond.
    """
    done = _pip([sys.executable], "index", "versions", package)
    found = re.search(r"^Available versions: (.*)$", done, re.MULTILINE)
    return tuple(found[1].split(", ")) if found else ()


def _pip(python: Sequence[str], *arguments: str) -> str:
    command = [*python, "-m", "pip", *arguments, "--disable-pip-version-check", "--no-input"]
    done = _run(command, hint="check the network, or use --command")
    if done.returncode:
        last = next(
            (line for line in reversed(done.stderr.splitlines()) if "ERROR" in line), "no reason given"
        )
        raise MachineError(
            f"pip {arguments[0]} failed: {redact(last)}", hint="see which versions the index has"
        )
    return done.stdout


def _run(command: Sequence[str], *, hint: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, check=False, capture_output=True, text=True, timeout=_LIMIT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MachineError(f"{shlex.join(command)} failed: {error}", hint=hint) from error


def make_environment(package: str, version: str, *, engine: str) -> Path:
    """Return the interpreter of an environment with this version, made now if it is not kept.

    Raises:
        MachineError: it cannot be installed here.
    """
    folder = cache_folder() / "environments" / f"{package}-{version}"
    python = folder / "bin/python"
    if (folder / _COMPLETE).exists():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, capture_output=True)
    beside = [f"{name}~={version}" for name in ENGINES[engine].packages if name != package]
    try:
        _pip([str(python)], "install", "--quiet", f"{package}=={version}", *ALWAYS, *_release(beside))
    except MachineError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    (folder / _COMPLETE).touch()
    return python


def _release(requirements: Iterable[str]) -> list[str]:
    """Requirements on the same release, of which packages number their builds differently: ``~=2026.4.0``."""
    return [re.sub(r"~=(\d+\.\d+)(?:\.\d+)*", r"~=\1.0", each) for each in requirements]


def size_bytes(folder: Path) -> int:
    """Return what the files of an environment take on disk."""
    return sum(file.lstat().st_size for file in folder.rglob("*") if not file.is_dir())


def run_maker(command: str, version: str) -> Path:
    """Return the interpreter that a command prints as its last line; ``{version}`` in it is the version.

    Raises:
        MachineError: the command fails, or prints no path.
    """
    words = [word.replace("{version}", version) for word in shlex.split(command)]
    done = _run(words, hint="correct --command")
    lines = done.stdout.split()
    if done.returncode or not lines:
        raise MachineError(
            f"{shlex.join(words)} ended with exit code {done.returncode} and printed no interpreter",
            hint="its last line must be the path of a Python",
        )
    return Path(lines[-1])
