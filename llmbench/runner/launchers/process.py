"""A launch in a process of its own: the worker's process, the two pipes to it, and what is known of its end.

It prints and writes nothing. It blocks on a pipe and never spins.
"""

import contextlib
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import IO

import msgspec

from llmbench.engines.failures import WITHOUT_TEMPLATE
from llmbench.errors import InputError, LaunchError, LlmbenchError
from llmbench.files.redaction import redacted_tail
from llmbench.machine.allocator import allocator_variables
from llmbench.machine.memory import Kills
from llmbench.models.pipeline import read_pipeline, running_stage
from llmbench.runner.interpreter import worker_command
from llmbench.runner.launchers.base import LaunchEvent, Task, WorkerLostError, accept, launch_events
from llmbench.runner.protocol import (
    OFFLINE,
    RESPONSE_DECODER,
    WITHOUT_TELEMETRY,
    Check,
    Heartbeat,
    Refused,
    Response,
    WorkerCommand,
    signal_name,
)
from llmbench.schema.config import RunConfig
from llmbench.schema.engines import ModelKind
from llmbench.schema.run import Failure
from llmbench.schema.units import seconds_between

_GRACE_S = 2.0
_LAST_BREATH_S = 20.0
"""How long a worker that has closed its pipe may take to be gone: to end it sooner would hide why it died."""
_STILL_S = 0.1
_OUT_OF_MEMORY = "out of memory: an allocation failed"
_IN_TEMPLATE = re.compile(r"\btokenizer\.py\", line \d+ in _templated$")
"""A frame of the stack of a worker that its chat template ended, as by a division by zero or an endless recursion."""
_NO_MEMORY = re.compile(r"bad_alloc|MemoryError|Cannot allocate memory")


class ProcessLauncher:
    """Launches in fresh processes, pinned where their configuration says."""

    def __init__(self) -> None:
        self._worker: Worker | None = None

    def launch(self, task: Task) -> Generator[LaunchEvent]:
        """Yield the events of one launch; see `Launcher`."""
        variables = allocator_variables(task.load.config.allocator)
        prefix, interpreter = task.load.binding.prefix, task.load.config.interpreter
        worker = Worker(task.planned.index, prefix, interpreter, variables)
        worker.missing = _missing(task.load.config)
        with contextlib.closing(worker):
            self._worker = worker
            try:
                yield from launch_events(task, worker)
            finally:
                self._worker = None

    def tokens(self) -> int | None:
        """Return how many output tokens the request under way has so far, from any thread; see `Launcher`."""
        worker = self._worker
        try:
            beat = worker.heartbeat.last() if worker else None
        except ValueError:  # the launch ended meanwhile
            return None
        return beat[0] if beat else None

    def check(self, command: Check, *, limit_s: float | None = None) -> None:
        """Raise the error of the first configuration that could not be loaded, by each interpreter in turn."""
        for interpreter in dict.fromkeys(load.config.interpreter for load in command.loads):
            mine = Check(
                loads=tuple(each for each in command.loads if each.config.interpreter == interpreter)
            )
            with contextlib.closing(Worker(0, interpreter=interpreter)) as worker:
                try:
                    worker.ask(mine, phase="check", limit_s=limit_s)
                except WorkerLostError as lost:
                    raise _error_of(lost.failure) from lost


def _error_of(failure: Failure) -> LlmbenchError:
    """Return the error of a check that ended with its worker; a chat template is wrong however often it is tried."""
    if failure.signal is not None and any(_IN_TEMPLATE.search(line) for line in failure.log):
        return InputError(
            f"the model's chat template ends its reader, OpenVINO GenAI's, with {failure.signal}",
            hint=WITHOUT_TEMPLATE,
        )
    return LaunchError(failure.message, hint=failure.hint)


def _missing_token(tokens: int) -> str:
    return f"no token after token {tokens}" if tokens else "no first token"


def _missing(config: RunConfig) -> Callable[[int], str]:
    """What did not come after this many steps of a request: a token, or the end of a pipeline's stage."""
    if ModelKind.PIPELINE not in config.engine_info.models:
        return _missing_token
    recipe = read_pipeline(Path(config.model))
    return lambda calls: f"stage {running_stage(recipe, calls)} did not end"


class Worker:
    """A worker process in a group of its own, its two pipes, and the file its engine prints to."""

    def __init__(
        self,
        launch: int,
        prefix: Sequence[str] = (),
        interpreter: str | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.phase = "start"
        self.missing: Callable[[int], str] = _missing_token
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  lives as long as the worker
        self.heartbeat = Heartbeat.create()
        self._kills = Kills.count()
        commands_fd, self._commands_fd = os.pipe()
        self._replies_fd, replies_fd = os.pipe()
        os.set_blocking(self._commands_fd, False)
        self._buffer = b""
        inherited = (commands_fd, replies_fd, self.heartbeat.descriptor)
        arguments = [*map(str, inherited), str(os.getpid())]
        try:
            self._process = subprocess.Popen(
                [*prefix, *worker_command(interpreter), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                pass_fds=inherited,
                start_new_session=True,
                env={
                    **os.environ,
                    **OFFLINE,
                    **WITHOUT_TELEMETRY,
                    **(variables or {}),
                    "LLMBENCH_LAUNCH": str(launch),
                },
            )
        finally:
            os.close(commands_fd)
            os.close(replies_fd)

    def ask(self, command: WorkerCommand, *, phase: str, limit_s: float | None) -> Response:
        """Return the worker's response to a command; see `WorkerLink`."""
        self.phase = phase
        self.heartbeat.clear()
        with contextlib.suppress(BrokenPipeError):
            self._send(msgspec.json.encode(command) + b"\n", limit_s)
        line = self._line(limit_s)
        if not line:
            raise WorkerLostError(self._post_mortem())
        reply = RESPONSE_DECODER.decode(line)
        return accept(
            reply, phase=phase, log=redacted_tail(self._log.fileno()) if isinstance(reply, Refused) else ()
        )

    def _send(self, line: bytes, limit_s: float | None) -> None:
        """Write a command; one longer than a pipe contains waits until the worker reads."""
        while line:
            if not select.select([], [self._commands_fd], [], limit_s)[1]:
                raise WorkerLostError(self._hang(limit_s or 0.0))
            line = line[os.write(self._commands_fd, line) :]

    def _line(self, limit_s: float | None) -> bytes:
        """The next line from the worker; empty if it is gone."""
        requested_ns = time.perf_counter_ns()
        while b"\n" not in self._buffer:
            _, beat_ns = self.heartbeat.last() or (0, 0)
            silent_s = seconds_between(max(requested_ns, beat_ns), time.perf_counter_ns())
            left_s = None if limit_s is None else max(limit_s - silent_s, 0.0)
            if select.select([self._replies_fd], [], [], left_s)[0]:
                chunk = os.read(self._replies_fd, 1 << 20)
                if not chunk:
                    return b""
                self._buffer += chunk
            elif (
                limit_s is not None and left_s == 0.0
            ):  # looked once more: this process may have been halted, too
                raise WorkerLostError(self._hang(limit_s))
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def _hang(self, limit_s: float) -> Failure:
        """End a worker that hangs; the log gets its stacks first."""
        beat = self.heartbeat.last()
        missing = "no response" if beat is None else self.missing(beat[0])
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGUSR1)
            self._await_stacks()
        self.end()
        return Failure(
            phase=self.phase,
            message=f"{missing} in {limit_s:g} s during {self.phase}; the worker was ended",
            log=redacted_tail(self._log.fileno()),
        )

    def _await_stacks(self) -> None:
        """Return when what the worker prints has grown and stands still, or after the time of grace."""
        before = size = os.fstat(self._log.fileno()).st_size
        deadline = time.monotonic() + _GRACE_S
        while time.monotonic() < deadline:
            time.sleep(_STILL_S)
            last, size = size, os.fstat(self._log.fileno()).st_size
            if before < size == last:
                return

    def _post_mortem(self) -> Failure:
        try:
            code = self._process.wait(timeout=_LAST_BREATH_S)
        except subprocess.TimeoutExpired:
            self.end()
            code = self._process.wait()
        name = signal_name(code)
        how = f"was killed by {name}" if name else f"ended with exit code {code}"
        log = redacted_tail(self._log.fileno())
        want = self._kills.since() or next((_OUT_OF_MEMORY for line in log if _NO_MEMORY.search(line)), None)
        why = f": {want}" if want else ""
        return Failure(
            phase=self.phase, message=f"the worker {how} during {self.phase}{why}", signal=name, log=log
        )

    def end(self) -> None:
        """End the worker and whatever it started: TERM, then KILL to its group."""
        if self._process.poll() is None:
            self._signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=_GRACE_S)
        self._signal(signal.SIGKILL)
        self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def close(self) -> None:
        """Let the worker go: it ends when its pipe closes; one that does not is ended."""
        with contextlib.suppress(OSError):
            os.close(self._commands_fd)
        if sys.exc_info()[0] is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=_GRACE_S)
        self.end()
        os.close(self._replies_fd)
        self.heartbeat.close()
        self._log.close()
