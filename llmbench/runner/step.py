"""One step of a conversion in a process of its own, so that its memory ends with it and its output stays apart.

A step is a function of a module. Its arguments go to the child's standard input as JSON, its result comes back in a
nameless file; both are decoded by its annotations. What the libraries print goes through a pipe: percentages become
progress, the last lines explain a failure.
"""

import collections
import contextlib
import errno
import inspect
import os
import pkgutil
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, get_type_hints

import msgspec

from llmbench.errors import LaunchError, LlmbenchError, MachineError, OutputError
from llmbench.files.cache import cache_folder
from llmbench.files.redaction import redact
from llmbench.runner.protocol import OFFLINE, WITHOUT_TELEMETRY, Refused, die_with_parent, signal_name
from llmbench.schema.progress import Progress, ProgressCallback
from llmbench.schema.units import format_bytes

_DISK_FULL_BYTES = 16 << 20
_LOG_LINES = 50_000
_LOGS_KEPT = 20
_LONGEST = 500
_MAKE_ROOM = "free some space, or choose another --output-dir"
_NO_SPACE = re.compile(r"No space left on device|iostream error", re.IGNORECASE)
_PERCENT = re.compile(r"^(?P<label>\w[^:━|│]{2,60}?)[\s:.…]*(?:[━╸╺ ]+|\s)(?P<percent>\d{1,3})%")
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_QUIET = {
    **WITHOUT_TELEMETRY,
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONUNBUFFERED": "1",
    "PYTHONWARNINGS": "ignore",
    "COLUMNS": "160",
}
_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


class _Done(msgspec.Struct, tag="done"):
    """The *result* of a step."""

    result: Any = None


class _Crashed(msgspec.Struct, tag="crashed"):
    """The step raised what is no deliberate error; *cause* is the first of its chain, in one line."""

    cause: str
    lacks_package: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StepProcess:
    """How a function is run in a process of its own.

    *folder* is where it writes, its temporary files included; *report* receives its progress. Unless it *is_online*,
    Hugging Face's libraries stay off the network. *work* is what messages call it, *prefix* stands before its command.
    """

    folder: Path
    report: ProgressCallback
    is_online: bool = False
    work: str = "conversion"
    prefix: Sequence[str] = ()

    def run(
        self, do: Callable[_Parameters, _Result], *values: _Parameters.args, **named: _Parameters.kwargs
    ) -> _Result:
        """Return what a module's function *do* returns for these arguments in a child process.

        Raises the error that the child reported, or one that says how it ended.
        """
        scratch = self.folder / ".tmp"
        scratch.mkdir(exist_ok=True)
        environment = {**os.environ, **_QUIET, **({} if self.is_online else OFFLINE), "TMPDIR": str(scratch)}
        arguments = _encode(inspect.signature(do).bind(*values, **named).arguments).decode()
        with tempfile.TemporaryFile(dir=scratch) as reply_file:
            name = f"{do.__module__}:{do.__qualname__}"
            step = (sys.executable, "-P", "-m", "llmbench.runner.step", name)
            with subprocess.Popen(
                [*self.prefix, *step, str(reply_file.fileno()), str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(reply_file.fileno(),),
                env=environment,
                text=True,
                encoding="utf-8",
                errors="replace",
            ) as child:
                try:
                    lines = _converse(child, arguments, self.report)
                finally:  # leave no child behind, whatever ends the block
                    child.kill()
            reply_file.seek(0)
            raw = reply_file.read()
        reply = msgspec.json.decode(raw, type=_Done | Refused | _Crashed) if raw else None
        if reply is None or isinstance(reply, _Crashed):
            raise _failure(reply, child.returncode, lines, folder=self.folder, work=self.work)
        shutil.rmtree(scratch, ignore_errors=True)
        if isinstance(reply, Refused):
            raise reply.error
        result: _Result = _decode(reply.result, get_type_hints(do)["return"])
        return result


def _encode(value: object) -> bytes:
    return msgspec.json.encode(value, enc_hook=os.fspath)


def _decode(value: object, kind: Any) -> Any:
    return msgspec.convert(value, kind, dec_hook=lambda path, text: path(text))


def _converse(child: subprocess.Popen[str], request: str, report: ProgressCallback) -> list[str]:
    """Send the request, report percentages as they are printed, wait; return the lines that were printed."""
    assert child.stdin is not None  # noqa: S101  (Popen was requested with pipes)
    assert child.stdout is not None  # noqa: S101
    with contextlib.suppress(BrokenPipeError), child.stdin:
        child.stdin.write(request)
    lines: collections.deque[str] = collections.deque(maxlen=_LOG_LINES)
    for line in child.stdout:  # a carriage return ends one, too
        text = _COLOURS.sub("", line).strip()
        match = _PERCENT.match(text)
        if match is None:
            lines.append(text)
        else:
            report(Progress(label=match["label"].strip(), share=min(int(match["percent"]), 100) / 100))
    child.wait()
    return list(lines)


def _failure(
    crash: _Crashed | None, code: int, lines: list[str], *, folder: Path, work: str
) -> LlmbenchError:
    """Return the error for a child that raised, or that could not even report that."""
    free = shutil.disk_usage(folder).free
    if any(_NO_SPACE.search(line) for line in lines[-40:]) or free < _DISK_FULL_BYTES:
        return OutputError(
            f"the {work} could not write below {folder}: {format_bytes(free)} are left there", hint=_MAKE_ROOM
        )
    log = _keep_log(lines, work)
    name = signal_name(code)
    if crash is None and name is not None:
        hint = "was the memory enough? A smaller model, or swap, may help" if name == "SIGKILL" else log
        return LaunchError(f"the process of the {work} was ended by {name}", hint=hint)
    last = next((line for line in reversed(lines) if line), f"exit status {code}")
    message = f"the {work} failed: {last[:_LONGEST] if crash is None else crash.cause}"
    if crash is not None and crash.lacks_package:
        return MachineError(message, hint=f"install the package it names; {log}")
    return LaunchError(message, hint=log)


def _keep_log(lines: list[str], work: str) -> str | None:
    """Write what a child printed below the cache folder; return a sentence that names the file."""
    folder = cache_folder() / "logs"
    path = folder / f"{work.replace(' ', '-')}-{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}.log"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for old in sorted(folder.glob("*.log"), key=lambda file: file.stat().st_mtime)[:-_LOGS_KEPT]:
            old.unlink(missing_ok=True)
        path.touch(mode=0o600)
        path.write_text("".join(f"{redact(line)}\n" for line in lines), encoding="utf-8")
    except OSError:
        return None
    return f"the whole log is in {shlex.quote(str(path))}"


def first_cause(error: BaseException) -> BaseException:
    """Return the exception that began a chain: explicit causes, and contexts whose text the later one repeats."""
    seen = {id(error)}
    while True:
        earlier = error.__cause__
        context = error.__context__
        if earlier is None and context is not None and str(context).strip() and str(context) in str(error):
            earlier = context
        if earlier is None or id(earlier) in seen:
            return error
        seen.add(id(earlier))
        error = earlier


def _describe(error: BaseException) -> str:
    """Return an exception in one line: its first lines, without those that only frame the cause."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    kept = [line for line in lines if not line.startswith(("Exception from", "Check '"))] or lines
    return f"{type(error).__name__}: {' '.join(kept[:2])}"[:_LONGEST] if kept else type(error).__name__


def main() -> None:
    """Be the child: ``python -m llmbench.runner.step MODULE:FUNCTION REPLY_FD PARENT_PID``, arguments on stdin."""
    do = pkgutil.resolve_name(sys.argv[1])
    descriptor, parent = (int(argument) for argument in sys.argv[2:4])
    die_with_parent(parent)
    # importing openvino sends a telemetry event and writes below the home folder unless this is absent
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    if "HF_HUB_OFFLINE" in os.environ:  # no code of a model's own, which might use it
        # transformers imports it where it is there, a second's work, for a kind of decoding that no step does
        sys.modules["sklearn"] = None  # type: ignore[assignment]
    given, kinds = msgspec.json.decode(sys.stdin.buffer.read()), get_type_hints(do)
    arguments = {name: _decode(value, kinds[name]) for name, value in given.items()}
    reply: _Done | Refused | _Crashed
    try:
        reply = _Done(result=do(**arguments))
    except LlmbenchError as error:
        reply = Refused.because(error)
    except OSError as error:
        traceback.print_exc()
        full = f"no space left on device to write {error.filename}"
        has_room = error.errno != errno.ENOSPC
        reply = _crash(error) if has_room else Refused.because(OutputError(full, hint=_MAKE_ROOM))
    except Exception as error:  # noqa: BLE001  the boundary of the process, and it is reported
        traceback.print_exc()
        reply = _crash(error)
    with os.fdopen(descriptor, "wb") as file:
        file.write(_encode(reply))


def _crash(error: Exception) -> _Crashed:
    cause = first_cause(error)
    return _Crashed(cause=_describe(cause), lacks_package=isinstance(cause, ImportError))


if __name__ == "__main__":
    main()
