"""Our server of the OpenAI protocol on a backend of bytes: a token is a byte, and a step gives each request one."""

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import uvicorn

from llmbench.engines.servers.openai import OpenAiServer, ServerLimits
from llmbench.engines.servers.request import Delivery, Sampling
from llmbench.errors import InputError
from tests.waiting import PATIENCE_S


class ByteBackend:
    """Answers each request with its own prompt, over and over, a byte per *step_s*; it never hurries.

    A prompt that begins with ``!`` fails at its first step.
    """

    name, context_tokens, vocabulary, cache_usage = "bytes", 64, 256, 0.25

    def __init__(self, step_s: float = 0.001) -> None:
        self.step_s = step_s
        self.withdrawn: list[bytes] = []
        self.sampling: Sampling | None = None
        self._running = 0
        self.effective: Mapping[str, Any] = {"properties": {"NUM_STREAMS": "1"}}

    @property
    def requests(self) -> tuple[int, int]:
        """Requests that are computed; none waits."""
        return self._running, 0

    def encode(self, text: str) -> tuple[int, ...]:
        """The bytes of a text."""
        return tuple(text.encode())

    def encode_chat(self, messages: Sequence[Mapping[str, str]]) -> tuple[int, ...]:
        """The bytes of the last message."""
        if messages[0]["role"] == "system":
            raise InputError("this model's template has no system role")
        return self.encode(messages[-1]["content"])

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text of some bytes, with a mark for half a character."""
        return bytes(token_ids).decode(errors="replace")

    def submit(
        self, token_ids: Sequence[int], sampling: Sampling, receive: Callable[[Delivery], None]
    ) -> Callable[[], None]:
        """Answer in a thread of the request's own."""
        self.sampling = sampling
        gone = threading.Event()
        prompt, wanted = bytes(token_ids), sampling.output_tokens or 0

        def work() -> None:
            started_ns = time.perf_counter_ns()
            self._running += 1
            for k in range(wanted):
                if gone.wait(self.step_s):
                    self.withdrawn.append(prompt)
                    break
                is_fault = prompt.startswith(b"!")
                finish = "error" if is_fault else "length" if k + 1 == wanted else None
                ids = () if is_fault else (prompt[k % len(prompt)],)
                at_ns = time.perf_counter_ns()
                receive(
                    Delivery(
                        token_ids=ids, at_ns=at_ns, started_ns=started_ns, finish=finish, detail="out of luck"
                    )
                )
                if is_fault:
                    break
            self._running -= 1

        threading.Thread(target=work, daemon=True).start()
        return gone.set


class Served:
    """A server that listens, and short ways to talk to it."""

    def __init__(self, port: int) -> None:
        self.port = port

    def connect(self) -> http.client.HTTPConnection:
        """A connection of its own."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)

    def ask(
        self, path: str, body: object = None, *, content: bytes | None = None, **headers: str
    ) -> tuple[int, Any, Mapping[str, str]]:
        """Status, JSON (or text) and headers of a response."""
        with contextlib.closing(self.connect()) as connection:
            data = content if content is not None else None if body is None else json.dumps(body).encode()
            connection.request("GET" if data is None else "POST", path, data, headers)
            response = connection.getresponse()
            text = response.read().decode()
            found = json.loads(text) if response.headers["content-type"] == "application/json" else text
            return response.status, found, dict(response.headers.items())

    def stream(self, path: str, body: Mapping[str, object]) -> list[dict[str, Any]]:
        """The chunks of a stream; it must end as the protocol has it, or with an error."""
        status, text, _ = self.ask(path, {**body, "stream": True})
        assert status == 200, text
        events = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
        chunks = [json.loads(event) for event in events if event != "[DONE]"]
        assert events[-1] == "[DONE]" or "error" in chunks[-1]
        return chunks


@contextlib.contextmanager
def serving(
    backend: ByteBackend, *, limits: ServerLimits | None = None, key: str | None = None
) -> Iterator[Served]:
    """Serve a backend on a free port of the loopback interface."""
    listener = socket.create_server(("127.0.0.1", 0))
    app = OpenAiServer(backend, limits=limits, key=key).app
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield Served(listener.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(timeout=PATIENCE_S)
        listener.close()
