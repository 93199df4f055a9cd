"""What runs on a host, ``python -m llmbench.fleet.node``: it probes the machine, or runs the command and notes its end.

The command is a child in an environment without the variables of the scheduler that change threads. SIGTERM, which
comes before a time limit, is passed on, so that the run ends in order and can be resumed.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

from llmbench import _version
from llmbench.files.cache import cache_folder, combined_sha256, file_sha256
from llmbench.fleet.folder import FleetFolder
from llmbench.machine import checks, interference, topology
from llmbench.machine.checks import Survey, Weight
from llmbench.machine.fingerprint import fingerprint
from llmbench.schema.fleet import COPIES, HostProbe, JobEnding
from llmbench.store.events import utc_now

_DROPPED = ("RAY_", "OMP_", "MKL_", "OPENBLAS_", "NUMEXPR_", "PYTORCH_CUDA")
"""What Ray sets in its workers, threads above all."""

_POLL_S = 0.5
# What becomes the command: it gets SIGTERM when this process is killed outright (prctl(2), PR_SET_PDEATHSIG).
_BECOME = """import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 15)
if os.getppid() != int(sys.argv[1]):
    sys.exit(1)
os.execvp(sys.argv[2], sys.argv[2:])
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Probe this host, or run the command; return its exit code."""
    parser = argparse.ArgumentParser(prog="llmbench.fleet.node")
    parser.add_argument("--fleet", type=Path, required=True)
    parser.add_argument("--host", required=True)
    parser.add_argument("--probe", action="store_true")
    parser.add_argument("--rehearse", action="store_true")
    parser.add_argument("--copy", action="append", default=[])
    parser.add_argument("--with-parent", action="store_true")
    parser.add_argument("command", nargs="+")
    given = parser.parse_args(arguments)
    folder = FleetFolder(given.fleet)
    command = [sys.executable, "-m", "llmbench", *given.command]
    if given.probe:
        folder.write_probe(probe_host(given.host, [*command, "--dry-run"] if given.rehearse else None))
        return 0
    copies = {path: str(copy_model(Path(path))) for path in given.copy}
    code = _run([_replaced(part, copies) for part in command], with_parent=given.with_parent)
    folder.write_ending(given.host, JobEnding(code=code, ended_at=utc_now()))
    return code


def _replaced(part: str, copies: Mapping[str, str]) -> str:
    """An argument with its model replaced, written apart or as ``--model=PATH``."""
    option, equals, value = part.partition("=")
    return f"{option}={copies[value]}" if equals and value in copies else copies.get(part, part)


def probe_host(host: str, rehearsal: Sequence[str] | None) -> HostProbe:
    """Return what this host is, what the doctor finds, and whether the command would run here."""
    survey = Survey.take(load=interference.watch_interference(topology.read_topology().allowed))
    versions = checks.installed()
    found = [*checks.find_problems(survey), *checks.unfit_packages(versions)]
    return HostProbe(
        host=host,
        version=_version.__version__,
        packages=versions,
        fingerprint=fingerprint(survey),
        problems=tuple(f.found for f in found if f.weight is Weight.SPOILS),
        refusal=None if rehearsal is None else _refusal(rehearsal),
    )


def _refusal(rehearsal: Sequence[str]) -> str | None:
    done = subprocess.run(
        rehearsal, capture_output=True, text=True, check=False, env=_environment(os.environ)
    )
    if not done.returncode:
        return None
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    return (
        lines[-1].removeprefix("error: ")
        if lines
        else f"the rehearsal ended with exit code {done.returncode}"
    )


def copy_model(source: Path) -> Path:
    """Copy an IR folder or a file to this host's cache by the hash of its content, once; return where it is.

    A shared file system is then read once per host, before anything is timed.
    """
    files = sorted(path for path in source.rglob("*") if path.is_file()) if source.is_dir() else [source]
    digest = combined_sha256({str(path.relative_to(source)): file_sha256(path) for path in files})
    target = Path(f"{cache_folder()}{COPIES}{digest[:16]}") / source.name
    if not target.exists():
        partial = target.with_name(f".{target.name}.{os.getpid()}")
        partial.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, partial)
        try:
            partial.rename(target)
        except OSError:  # another job of this host was faster
            shutil.rmtree(partial, ignore_errors=True)
    return target


def _environment(variables: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in variables.items() if not name.startswith(_DROPPED)}


def _run(command: Sequence[str], *, with_parent: bool) -> int:
    """Run a command to its end; SIGTERM, and with *with_parent* the end of our parent, end it in order."""
    parent = os.getppid()
    become = (sys.executable, "-c", _BECOME, str(os.getpid()))
    child = subprocess.Popen([*become, *command], env=_environment(os.environ))

    def end(_number: int, _frame: FrameType | None) -> None:
        child.terminate()

    signal.signal(signal.SIGTERM, end)
    while child.poll() is None:
        time.sleep(_POLL_S)
        if with_parent and os.getppid() != parent:
            child.terminate()
            child.wait()
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


if __name__ == "__main__":
    sys.exit(main())
