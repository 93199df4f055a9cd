"""The backend of ``llmbench serve``: a process that computes, and a thread that hands out what it sends."""

import contextlib
import itertools
import json
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec

from llmbench.engines.openvino.tokenizer import open_tokenizer
from llmbench.engines.servers.base import Server, own_python
from llmbench.engines.servers.genai_process import (
    Begin,
    ModelFailed,
    ModelReady,
    StepEnded,
    Withdraw,
)
from llmbench.engines.servers.request import Delivery, Sampling
from llmbench.errors import InputError, LaunchError, error_from_code
from llmbench.models.resolve import find_model_info
from llmbench.schema.config import RunConfig

_GONE = "the process that computes has ended"
_LIMIT_S = 10.0
_MESSAGES = msgspec.msgpack.Decoder(ModelReady | ModelFailed | StepEnded)
_ENCODER = msgspec.msgpack.Encoder()


class GenaiBackend(Server):
    """A model in a process of its own; *on_end* is called from a thread if that ends before `close`.

    As a `Server` it has no address, and prints where this process does.
    """

    url = ""

    def __init__(self, config: RunConfig, on_end: Callable[[], None]) -> None:
        self.name = Path(config.model).name
        self._tokenizer = open_tokenizer(config)
        self.vocabulary = self._tokenizer.vocabulary
        self.encode_chat, self.decode = self._tokenizer.encode_messages, self._tokenizer.decode
        self.context_tokens = find_model_info(
            config.model, engine="genai-batching", is_verified=False
        ).context_tokens
        self._on_end = on_end
        self._socket, theirs = socket.socketpair()
        self._pipe = Connection(os.dup(self._socket.fileno()))
        arguments = (str(theirs.fileno()), msgspec.json.encode(config).decode())
        self._process = subprocess.Popen(
            own_python("llmbench.engines.servers.genai_process", *arguments),
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
        )
        theirs.close()
        self._waiting: dict[int, Callable[[Delivery], None]] = {}
        self._computed: set[int] = set()
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._is_closed = self._is_gone = False
        self.cache_usage = 0.0
        self.effective = self._await_model()
        threading.Thread(target=self._read, name="deliveries", daemon=True).start()

    def _await_model(self) -> Mapping[str, Any]:
        """Return the effective settings of the loaded model.

        Raises:
            LlmbenchError: it cannot be loaded.
        """
        try:
            found = _MESSAGES.decode(self._pipe.recv_bytes())
        except (EOFError, ConnectionError) as error:
            raise LaunchError(f"{_GONE} while it loaded the model") from error
        if isinstance(found, ModelFailed):
            raise error_from_code(found.exit_code, found.message, hint=found.hint)
        return found.effective if isinstance(found, ModelReady) else {}

    @property
    def requests(self) -> tuple[int, int]:
        """Requests of which a token has been computed, and the others."""
        computed = len(self._computed & self._waiting.keys())
        return computed, max(0, len(self._waiting) - computed)

    def encode(self, text: str) -> tuple[int, ...]:
        """Token ids of a text."""
        return self._tokenizer.encode(text, chat=False)

    def submit(
        self, token_ids: Sequence[int], sampling: Sampling, receive: Callable[[Delivery], None]
    ) -> Callable[[], None]:
        """Begin a request, and return what takes it out again."""
        number = next(self._numbers)
        self._waiting[number] = receive
        if not self._send(Begin(number, tuple(token_ids), sampling)):
            self._fail_all()

        def withdraw() -> None:
            self._forget(number)
            self._send(Withdraw(number))

        return withdraw

    def _send(self, order: Begin | Withdraw) -> bool:
        """Return whether it could be sent."""
        try:
            with self._lock:
                self._pipe.send_bytes(_ENCODER.encode(order))
        except OSError:
            return False
        return True

    def _read(self) -> None:
        """Hand out what each step gave, until the process ends."""
        while True:
            try:
                found = _MESSAGES.decode(self._pipe.recv_bytes())
            except (EOFError, OSError):
                break
            if isinstance(found, StepEnded):
                self.cache_usage = found.cache_usage
                for number, delivery in found.delivered:
                    self._hand_out(number, delivery)
        self._is_gone = not self._is_closed
        self._fail_all()
        if not self._is_closed:
            self._on_end()

    def _hand_out(self, number: int, delivery: Delivery) -> None:
        receive = self._waiting.get(number)
        if receive is None:
            return  # it was withdrawn while the step was made
        if delivery.finish is None:
            self._computed.add(number)
        else:
            self._forget(number)
        receive(delivery)

    def _forget(self, number: int) -> None:
        self._waiting.pop(number, None)
        self._computed.discard(number)

    def _fail_all(self) -> None:
        for number, receive in list(self._waiting.items()):
            self._forget(number)
            receive(Delivery.failed(_GONE))

    @property
    def pid(self) -> int:
        """The process that computes."""
        return self._process.pid

    def ended(self) -> str | None:
        """Return how the process ended; ``None`` while it runs. One that has let go of its socket is waited for."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=_LIMIT_S if self._is_gone else 0)
        code = self._process.returncode
        return None if code is None else f"{_GONE} with code {code}"

    def stop(self) -> None:
        """End the process."""
        self.close()

    def close(self) -> str | None:
        """End the process; return how it ended where it did so by itself."""
        self._is_closed = True
        fault = self.ended()
        with contextlib.suppress(OSError):  # the other end may have gone
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads, which a close would not
        try:
            self._process.wait(timeout=_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
        return fault


def genai_command(config: RunConfig, port: int) -> list[str]:
    """Return the command that serves a configuration on a port of the loopback interface.

    Raises:
        InputError: no model was given.
    """
    if config.model == "":
        raise InputError("no model was given for the server", hint="-m MODEL: an IR folder or a GGUF file")
    options = ["-m", config.model, "-d", config.device, "--port", str(port)]
    if config.threads is not None:
        options += ["--threads", str(config.threads)]
    for name, values in (("-lc", config.properties), ("--cb-config", config.scheduler)):
        options += [name, json.dumps(dict(values))] if values else []
    return own_python("llmbench", "serve", *options)
