"""A launch in this process, of the scripted engine only: the worker's own code and messages, and no process."""

from collections.abc import Generator

import msgspec

from llmbench.engines.base import no_beat
from llmbench.engines.scripted import read_script
from llmbench.errors import InputError, LlmbenchError
from llmbench.runner.launchers.base import LaunchEvent, Task, accept, launch_events
from llmbench.runner.protocol import (
    COMMAND_DECODER,
    RESPONSE_DECODER,
    Check,
    Open,
    Refused,
    Response,
    WorkerCommand,
)
from llmbench.runner.worker import WorkerService
from llmbench.schema.config import RunConfig

_HINT = "use the launcher that starts a process (leave LLMBENCH_LAUNCHER unset)"


class InlineLauncher:
    """Launches without a process: nothing is pinned, and nothing can be ended that takes too long."""

    def launch(self, task: Task) -> Generator[LaunchEvent]:
        """Yield the events of one launch; see `Launcher`."""
        return launch_events(task, _InlineWorker())

    def tokens(self) -> int | None:
        """Return ``None``: whoever calls this runs in the same thread as the request."""

    def check(self, command: Check, *, limit_s: float | None = None) -> None:
        """Raise the error of the first scripted configuration that could not be loaded; others fail when launched."""
        mine = Check(loads=tuple(each for each in command.loads if each.config.engine_info.is_simulated))
        _InlineWorker().ask(mine, phase="check", limit_s=limit_s)


class _InlineWorker:
    """A worker that is called; its messages pass through JSON, as those of a process do."""

    def __init__(self) -> None:
        self._service = WorkerService(beat=no_beat)

    def ask(self, command: WorkerCommand, *, phase: str, limit_s: float | None) -> Response:
        """Return the response to a command; *limit_s* has no effect."""
        del limit_s
        for load in command.loads if isinstance(command, Check) else ():
            _check_engine(load.config)
        if isinstance(command, Open):
            _check_engine(command.config)
        reply: Response | Refused
        try:
            reply = self._service.respond(COMMAND_DECODER.decode(msgspec.json.encode(command)))
        except LlmbenchError as error:
            reply = Refused.because(error)
        response = accept(RESPONSE_DECODER.decode(msgspec.json.encode(reply)), phase=phase)
        if isinstance(command, Open):
            _check_script(command.config.model)
        return response


def _check_engine(config: RunConfig) -> None:
    if not config.engine_info.is_simulated:
        raise InputError(f"the inline launcher runs the scripted engine, not {config.engine}", hint=_HINT)
    if config.interpreter is not None:
        raise InputError("the inline launcher runs no other interpreter", hint=_HINT)


def _check_script(script: str) -> None:
    for request, how in sorted(read_script(script).breaks.items()):
        if how != "nan":
            raise InputError(
                f"the inline launcher cannot play {how}@{request}: it would end or block this process",
                hint=_HINT,
            )
