"""The Python that runs a worker: this one, or another environment's, so that its engine can be measured.

In another environment the worker is still this package's code: both sides of a comparison are measured alike, and
nothing of this environment but llmbench itself can be imported there.
"""

import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from llmbench.errors import InputError, MachineError
from llmbench.schema.engines import ENGINES

ALWAYS = ("msgspec", "psutil")
"""What every worker needs beside the packages of its engine."""

OLDEST = (3, 11)
_LIMIT_S = 60.0

# Imports llmbench from one folder, without the packages that lie beside it.
_START = """
import runpy, sys
from importlib.util import module_from_spec, spec_from_file_location
folder = sys.argv.pop(1)
spec = spec_from_file_location("llmbench", folder + "/__init__.py", submodule_search_locations=[folder])
sys.modules["llmbench"] = module = module_from_spec(spec)
spec.loader.exec_module(module)
runpy.run_module("llmbench.runner.worker", run_name="__main__", alter_sys=True)
"""

_PROBE = """
import importlib.metadata, json, sys
found = {(distribution.metadata["Name"] or "").lower() for distribution in importlib.metadata.distributions()}
print(json.dumps({"version": list(sys.version_info[:2]), "packages": sorted(found)}))
"""


class _Probed(msgspec.Struct):
    """What an interpreter reports of itself."""

    version: tuple[int, int]
    packages: frozenset[str]


def worker_command(interpreter: str | None = None) -> list[str]:
    """The command line that starts a worker, its arguments left out; ``None`` is this interpreter."""
    if interpreter is None:
        return [sys.executable, "-P", "-m", "llmbench.runner.worker"]
    return [interpreter, "-P", "-B", "-c", _START, str(Path(__file__).parents[1])]


def check_interpreter(interpreter: str, *, engine: str) -> None:
    """Refuse, before anything is measured, an interpreter that cannot run a worker with this engine.

    Raises:
        InputError: no such program, or it is no Python.
        MachineError: it is too old, or lacks packages.
    """
    probed = _probe(interpreter)
    if probed.version < OLDEST:
        version, oldest = (".".join(map(str, each)) for each in (probed.version, OLDEST))
        raise MachineError(
            f"{interpreter} is Python {version}; a worker needs {oldest} or newer",
            hint="make the environment with a newer Python",
        )
    names = {name.replace("_", "-") for name in probed.packages}
    missing = [name for name in (*ALWAYS, *ENGINES[engine].packages) if name not in names]
    if missing:
        raise MachineError(
            f"{interpreter} lacks {', '.join(missing)}",
            hint=f"{shlex.quote(str(interpreter))} -m pip install {' '.join(missing)}",
        )


def _probe(interpreter: str) -> _Probed:
    reported = _reported([interpreter, "-P", "-c", _PROBE])
    try:
        return msgspec.json.decode(reported, type=_Probed)
    except ValueError as error:
        raise InputError(
            f"python {interpreter} did not respond as Python {OLDEST[0]}.{OLDEST[1]} or newer does",
            hint="name the interpreter of an environment, such as .venv/bin/python",
        ) from error


def _reported(command: Sequence[str]) -> bytes:
    """What a command prints; nothing where it fails."""
    try:
        return subprocess.run(command, check=False, capture_output=True, timeout=_LIMIT_S).stdout
    except subprocess.TimeoutExpired:
        return b""
    except OSError as error:
        raise InputError(
            f"python {command[0]} cannot be started: {error.strerror}",
            hint="name the interpreter of an environment, such as .venv/bin/python",
        ) from error
