"""The engine ``genai-batching`` under load: the model without a server, to separate network and engine.

It is what ``llmbench serve`` has behind its endpoints. A step keeps Python's interpreter lock, so a process of its own
makes the steps; a token's instant is the end of its step there.
"""

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from llmbench.engines.openvino.continuous_batch import BatchingEngine
from llmbench.engines.servers.client import (
    EXTRAS,
    Completion,
    Connection,
    Dialect,
    ServerTimings,
    Usage,
    fail,
)
from llmbench.engines.servers.genai import GenaiBackend
from llmbench.engines.servers.request import (
    CompletionBody,
    Delivery,
    parse_body,
    read_prompt,
    read_sampling,
)
from llmbench.engines.servers.session import split_cpus
from llmbench.errors import InputError
from llmbench.files.package_data import check_installed
from llmbench.machine.topology import read_topology
from llmbench.schema.config import RunConfig
from llmbench.schema.run import EffectiveSettings


class DirectEngine(BatchingEngine):
    """Loads the model in a process of its own, beside the client."""

    def check(self, config: RunConfig) -> None:
        """Refuse what the pipeline cannot do; see `Engine`."""
        super().check(config)
        check_installed(("httpx",), user="load", extra="load")

    def open(self, config: RunConfig) -> "DirectSession":  # type: ignore[override]
        """Load and compile the model, on CPUs of its own where there are enough."""
        client_cpus, model_cpus = split_cpus(read_topology())
        if model_cpus:
            os.sched_setaffinity(0, model_cpus)
        session = DirectSession(config)
        if client_cpus:
            os.sched_setaffinity(0, client_cpus)
        return session


class DirectSession:
    """The loaded model as what a load is made against."""

    has_network = False
    can_encode = True
    bos_id: int | None = None

    def __init__(self, config: RunConfig) -> None:
        self._backend = GenaiBackend(config, on_end=lambda: None)
        self.model = self._backend.name
        self.server = self._backend
        self.decode = self._backend.decode
        self.effective = msgspec.convert(dict(self._backend.effective), EffectiveSettings)

    def encode(self, text: str, *, chat: bool) -> tuple[int, ...]:
        """Token ids of a text; see `Codec`."""
        if chat:
            raise InputError("a load without a server has no chat endpoint")
        return self._backend.encode(text)

    def find_dialect(self, endpoint: str) -> Dialect:
        """Return that of our own server; raise InputError for the chat endpoint."""
        if endpoint != "completions":
            raise InputError(f"--endpoint {endpoint} needs a server", hint="use --server genai")
        return Dialect(extras=EXTRAS[0])

    def connect(self, request_s: float | None) -> "_Calls":
        """Return what makes requests."""
        return _Calls(self._backend, request_s)

    async def count(self, connection: Connection, text: str) -> int | None:  # noqa: ARG002  see `LoadTarget`
        """Return the tokens of a text."""
        return len(self._backend.encode(text))

    def close(self) -> None:
        """End the process."""
        self.server.stop()


class _Calls:
    """Requests made of the backend itself, in the words of the protocol."""

    def __init__(self, backend: GenaiBackend, request_s: float | None) -> None:
        self._backend, self._request_s = backend, request_s

    async def close(self) -> None:
        """Do nothing: there is no connection."""

    async def get(self, _path: str) -> str | None:
        """Return ``None``: there are no pages."""
        return None

    async def post(self, _path: str, _body: Mapping[str, Any]) -> Any:
        """Return ``None``: there are no other requests."""
        return None

    async def complete(self, _path: str, body: bytes) -> Completion:
        """Return one completion; what goes wrong is in it, and raises nothing."""
        request = parse_body(body, CompletionBody)
        ids = read_prompt(request)
        loop, parts = asyncio.get_running_loop(), asyncio.Queue[Delivery]()
        seen = Completion(sent_ns=time.perf_counter_ns())

        def receive(part: Delivery) -> None:
            loop.call_soon_threadsafe(parts.put_nowait, part)

        withdraw = self._backend.submit(
            ids if isinstance(ids, tuple) else self._backend.encode(ids), read_sampling(request), receive
        )
        await self._read(parts, seen, withdraw)
        seen.usage = Usage(prompt_tokens=len(ids), completion_tokens=sum(seen.counts))
        return seen

    async def _read(
        self, parts: "asyncio.Queue[Delivery]", seen: Completion, withdraw: Callable[[], None]
    ) -> None:
        """Add what comes to what was seen, until the request has ended; the limit is that of each part."""
        try:
            while not seen.is_done:
                _take(await asyncio.wait_for(parts.get(), self._request_s), seen)
        except TimeoutError as error:
            fail(seen, "timeout", error)
        finally:
            if not seen.is_done:
                withdraw()
                seen.end_ns = time.perf_counter_ns()


def _take(part: Delivery, seen: Completion) -> None:
    """Add what a step gave to what was seen."""
    seen.end_ns = part.at_ns
    if part.token_ids:
        if seen.timings is None:
            seen.timings = ServerTimings(
                queue_ms=(part.started_ns - seen.sent_ns) / 1e6,
                prompt_ms=(part.at_ns - part.started_ns) / 1e6,
            )
        seen.at_ns.append(part.at_ns)
        seen.counts.append(len(part.token_ids))
        seen.lengths.append(len(part.token_ids))
    if part.finish is not None:
        seen.is_done, seen.finish = True, part.finish
    if part.finish == "error":
        fail(seen, "stream_error", part.detail)
