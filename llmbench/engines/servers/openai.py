"""A server of the OpenAI protocol before any backend: endpoints, streams and limits.

It promises (SECURITY.md): no body is read beyond its limit, no request is accepted beyond theirs, with a key nothing
but ``/health`` responds without it, and what a client no longer waits for is not computed further.
"""

import asyncio
import contextlib
import dataclasses
import hmac
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Any

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from llmbench.engines.servers.request import (
    Backend,
    ChatBody,
    CompletionBody,
    Delivery,
    Sampling,
    ServedRequest,
    StreamOptions,
    TextPieces,
    parse_body,
    read_chat,
    read_prompt,
    read_sampling,
)
from llmbench.errors import InputError
from llmbench.schema.units import counted

_OPEN_TOKENS = 1024
"""Output tokens of a request that names no limit, where the model's context is not known."""

_TokenId = Annotated[int, msgspec.Meta(ge=0)]
_GONE_S = 0.1
"""How often a client that waits for a whole response is looked for."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ServerLimits:
    """How many requests may be there at once, and how many bytes a body may have."""

    requests: int = 256
    body_bytes: int = 4 << 20


_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class ServerMeters:
    """What ``/metrics`` shows: counters, histograms of waits, and gauges of a backend, as Prometheus reads them."""

    def __init__(self, backend: Backend) -> None:
        self._registry = CollectorRegistry()
        self._ended = Counter(
            "llmbench_requests", "Requests that ended, by outcome.", ["outcome"], registry=self._registry
        )
        self._input = self._counter("prompt_tokens", "Input tokens of accepted requests.")
        self._output = self._counter("generation_tokens", "Output tokens.")
        self._queue_s = self._histogram("queue", "From the arrival of a request until it is taken up.")
        self._first_s = self._histogram("time_to_first_token", "From the arrival to the first token.")
        for name, text, read in (
            ("requests_running", "Requests that are computed.", lambda: backend.requests[0]),
            ("requests_waiting", "Requests that wait.", lambda: backend.requests[1]),
            ("kv_cache_usage_ratio", "Share of the KV cache that is used.", lambda: backend.cache_usage),
        ):
            Gauge(f"llmbench_{name}", text, registry=self._registry).set_function(read)

    def _counter(self, name: str, text: str) -> Counter:
        return Counter(f"llmbench_{name}", text, registry=self._registry)

    def _histogram(self, name: str, text: str) -> Histogram:
        return Histogram(f"llmbench_{name}_seconds", text, registry=self._registry, buckets=_BUCKETS_S)

    def refuse(self) -> None:
        """Count a request that was not accepted."""
        self._ended.labels("refused").inc()

    def end(self, request: ServedRequest) -> None:
        """Count a request that has ended."""
        self._ended.labels(request.outcome).inc()
        self._input.inc(request.input_tokens)
        self._output.inc(request.output_tokens)
        if request.first is not None:
            self._queue_s.observe((request.first.started_ns - request.arrived_ns) / 1e9)
            self._first_s.observe((request.first.at_ns - request.arrived_ns) / 1e9)

    def page(self) -> bytes:
        """Return the page."""
        return generate_latest(self._registry)


class _RefusedError(Exception):
    """A request is not served: the status and a sentence."""

    def __init__(self, status: int, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class _Exchange:
    """A request in the backend, and its parts as they come; closed once, whatever ends it."""

    def __init__(self, request: ServedRequest, close: Callable[[], None]) -> None:
        self.request = request
        self._close: Callable[[], None] | None = close
        self._parts: asyncio.Queue[Delivery] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self.cancel: Callable[[], None] = lambda: None

    def receive(self, part: Delivery) -> None:
        """Take a part from the backend's thread."""
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._parts.put_nowait, part)

    async def parts(self) -> AsyncIterator[Delivery]:
        """Yield the parts up to the last."""
        while True:
            part = await self._parts.get()
            yield part
            if part.finish is not None:
                return

    def close(self) -> None:
        """Account for the request; take it out of the backend where it has not ended."""
        if self._close is not None:
            if self.request.outcome == "cancelled":
                self.cancel()
            self._close()
            self._close = None


class _EventStream(StreamingResponse):
    """A stream that closes its exchange, also where the client went before it began."""

    def __init__(self, exchange: _Exchange) -> None:
        super().__init__(_events(exchange), media_type="text/event-stream")
        self._exchange = exchange

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._exchange.close()


async def _events(exchange: _Exchange) -> AsyncIterator[bytes]:
    request = exchange.request
    for chunk in request.opening():
        yield _event(chunk)
    async for part in exchange.parts():
        if part.finish == "error":
            request.take(part)
            yield _event({"error": {"message": part.detail, "type": "server_error", "code": 500}})
            return
        if chunks := request.chunks(part):
            yield b"".join(map(_event, chunks))
    yield b"data: [DONE]\n\n"


class OpenAiServer:
    """The endpoints of a backend."""

    def __init__(
        self, backend: Backend, *, limits: ServerLimits | None = None, key: str | None = None
    ) -> None:
        self._backend = backend
        self._limits = limits or ServerLimits()
        self._key = key
        self._meters = ServerMeters(backend)
        self._numbers = itertools.count()
        self._present = 0
        endpoints: tuple[tuple[str, str, Callable[[Request], Awaitable[Response]]], ...] = (
            ("/health", "GET", self._health),
            ("/metrics", "GET", self._metrics),
            ("/effective", "GET", self._effective),
            ("/v1/models", "GET", self._models),
            ("/tokenize", "POST", self._tokenize),
            ("/detokenize", "POST", self._detokenize),
            ("/v1/completions", "POST", self._completions),
            ("/v1/chat/completions", "POST", self._chat),
        )
        self.app = Starlette(
            routes=[Route(path, self._guarded(path, work), methods=[name]) for path, name, work in endpoints]
        )

    def _guarded(
        self, path: str, work: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """The endpoint behind the key, what it refuses as the protocol's errors."""

        async def respond(request: Request) -> Response:
            try:
                if path != "/health":
                    self._check_key(request)
                return await work(request)
            except _RefusedError as error:
                return _error(error.status, str(error), error.headers)
            except InputError as error:
                return _error(400, error.message)

        return respond

    def _check_key(self, request: Request) -> None:
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self._key is not None and not hmac.compare_digest(given.encode(), self._key.encode()):
            raise _RefusedError(401, "the API key is missing or wrong")

    async def _health(self, _request: Request) -> Response:
        return _json({"status": "ok"})

    async def _metrics(self, _request: Request) -> Response:
        return Response(self._meters.page(), media_type=CONTENT_TYPE_LATEST)

    async def _effective(self, _request: Request) -> Response:
        return _json(self._backend.effective)

    async def _models(self, _request: Request) -> Response:
        return _json({"object": "list", "data": [{"id": self._backend.name, "object": "model"}]})

    async def _tokenize(self, request: Request) -> Response:
        text = _field(await self._body(request), "content", str)
        return _json({"tokens": await asyncio.to_thread(self._backend.encode, text)})

    async def _detokenize(self, request: Request) -> Response:
        ids = _field(await self._body(request), "tokens", list[_TokenId])
        if max(ids, default=0) >= self._backend.vocabulary:
            raise InputError("a token id is not in the vocabulary")
        return _json({"content": await asyncio.to_thread(self._backend.decode, ids)})

    async def _completions(self, request: Request) -> Response:
        arrived_ns = time.perf_counter_ns()
        body = parse_body(await self._body(request), CompletionBody)
        prompt = read_prompt(body)
        ids = await asyncio.to_thread(self._backend.encode, prompt) if isinstance(prompt, str) else prompt
        return await self._respond(request, body, ids, arrived_ns)

    async def _chat(self, request: Request) -> Response:
        arrived_ns = time.perf_counter_ns()
        body = parse_body(await self._body(request), ChatBody)
        ids = await asyncio.to_thread(self._backend.encode_chat, read_chat(body))
        return await self._respond(request, body, ids, arrived_ns)

    async def _body(self, request: Request) -> bytes:
        """Return a body; raise _RefusedError as soon as it is longer than its limit."""
        limit = self._limits.body_bytes
        announced = request.headers.get("content-length", "0")
        if announced.isdecimal() and int(announced) > limit:
            raise _RefusedError(
                413, f"the body has {announced} bytes; the limit is {limit}", connection="close"
            )
        content = bytearray()
        async for piece in request.stream():
            content += piece
            if len(content) > limit:
                raise _RefusedError(413, f"the body has more than {limit} bytes", connection="close")
        return bytes(content)

    def _fitted(self, ids: Sequence[int], sampling: Sampling) -> Sampling:
        """Return the sampling with its number of tokens; refuse what context, vocabulary or limit does not hold."""
        if not ids:
            raise InputError("the prompt has no token")
        if max(ids) >= self._backend.vocabulary:
            raise InputError(f"token id {max(ids)} is not in the vocabulary of {self._backend.vocabulary}")
        context, wanted = self._backend.context_tokens, sampling.output_tokens
        room = None if context is None else context - len(ids)
        if room is not None and (wanted or 1) > room:
            raise InputError(
                f"{len(ids)} input + {counted(wanted or 1, 'output token')} exceed the context of {context}"
            )
        if self._present >= self._limits.requests:
            self._meters.refuse()
            raise _RefusedError(
                503, f"the limit of {counted(self._limits.requests, 'request')} is reached", retry_after="1"
            )
        return dataclasses.replace(sampling, output_tokens=wanted or room or _OPEN_TOKENS)

    async def _respond(
        self, request: Request, body: CompletionBody | ChatBody, ids: Sequence[int], arrived_ns: int
    ) -> Response:
        """Hand a request to the backend, and return its response, streamed or whole."""
        sampling = self._fitted(ids, read_sampling(body))
        served = ServedRequest(
            number=next(self._numbers),
            model=self._backend.name,
            is_chat=isinstance(body, ChatBody),
            options=body.stream_options or StreamOptions(),
            input_tokens=len(ids),
            arrived_ns=arrived_ns,
            pieces=TextPieces(self._backend.decode),
        )
        exchange = _Exchange(served, lambda: self._account(served))
        self._present += 1
        exchange.cancel = self._backend.submit(ids, sampling, exchange.receive)
        if body.stream:
            return _EventStream(exchange)
        try:
            return await _whole(request, exchange)
        finally:
            exchange.close()

    def _account(self, served: ServedRequest) -> None:
        self._present -= 1
        self._meters.end(served)


async def _whole(request: Request, exchange: _Exchange) -> Response:
    """Return a response that is not streamed; where the client has gone, nobody reads it."""
    reading, gone = asyncio.create_task(_read_all(exchange)), asyncio.create_task(_wait_until_gone(request))
    try:
        await asyncio.wait({reading, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not reading.done():
            return Response(status_code=499)
        text, last = reading.result()
        return _error(500, last.detail) if last.finish == "error" else _json(exchange.request.whole(text))
    finally:
        for task in (reading, gone):
            task.cancel()
        await asyncio.gather(reading, gone, return_exceptions=True)


async def _read_all(exchange: _Exchange) -> tuple[str, Delivery]:
    texts = [(exchange.request.take(part), part) async for part in exchange.parts()]
    return "".join(text for text, _ in texts), texts[-1][1]


async def _wait_until_gone(request: Request) -> None:
    while not await request.is_disconnected():  # noqa: ASYNC110  there is nothing else to wait for
        await asyncio.sleep(_GONE_S)


def _field(content: bytes, name: str, kind: Any) -> Any:
    """Return a field of a body; raise InputError where it is missing or of another type."""
    try:
        return msgspec.convert(msgspec.json.decode(content, type=dict[str, Any])[name], kind)
    except (msgspec.DecodeError, KeyError) as error:
        raise InputError(f"the body needs {name}: {error}") from error


def _event(content: Mapping[str, Any]) -> bytes:
    return b"data: " + msgspec.json.encode(content) + b"\n\n"


def _json(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(
        msgspec.json.encode(content), status_code=status, headers=headers, media_type="application/json"
    )


def _error(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    kind = "invalid_request_error" if status < 500 else "server_error"
    return _json(
        {"error": {"message": message, "type": kind, "code": status, "param": None}}, status, headers
    )
