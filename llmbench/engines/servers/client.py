"""The client of the OpenAI protocol: one streamed completion, each chunk with the instant at which it was seen.

Tokens are counted by what the server reports: cumulative counts in its chunks where it has them, else the usage at the
end. A chunk is not a token: where a server sends several at once, they all became visible at that instant.
"""

import asyncio
import contextlib
import dataclasses
import itertools
import os
import ssl
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from llmbench.errors import InputError, LaunchError

API_KEYS = ("LLMBENCH_API_KEY", "OPENAI_API_KEY")
"""Environment variables that contain the key of a server; it is never recorded."""

KEY_STATUSES = frozenset((401, 403))
KEY_HINT = f"put the server's key into the environment variable {API_KEYS[0]}"
_REFUSALS = frozenset((400, 404, 405, 415, 422, 501))
"""Statuses of a server that does not understand a request; with others it has not said so."""
_CONNECT_S = 10.0
_SHOWN = 200


class _Text(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    role: str | None = None


class _Choice(msgspec.Struct):
    text: str | None = None
    delta: _Text | None = None
    finish_reason: str | None = None


class Usage(msgspec.Struct):
    """Tokens of a request, as the server counts them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


class ServerTimings(msgspec.Struct):
    """A server's own account of a request, as llama.cpp spells it; ``None`` is not reported.

    *queue_ms* is the wait before the prompt is processed, *prompt_ms* the time of its processing; *predicted_n* counts
    the tokens so far.
    """

    queue_ms: float | None = None
    prompt_ms: float | None = None
    predicted_n: int | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: Usage | None = None
    timings: ServerTimings | None = None
    error: Any = None
    at_ns: int | None = None
    arrived_ns: int | None = None


_CHUNK = msgspec.json.Decoder(_Chunk)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """What a server understands: its endpoint (``completions`` or ``chat``), and fields beyond the protocol.

    With *takes_ids* a prompt may be token ids. *extras* are sent with each request.
    """

    endpoint: str = "completions"
    takes_ids: bool = True
    extras: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def path(self) -> str:
        """The path of its endpoint."""
        return "/v1/chat/completions" if self.endpoint == "chat" else "/v1/completions"

    def body(self, model: str, prompt: str | Sequence[int], output_tokens: int) -> dict[str, Any]:
        """Return the body of a streamed request."""
        chat = {"messages": [{"role": "user", "content": prompt}]}
        text = chat if self.endpoint == "chat" else {"prompt": prompt}
        exact = {"min_tokens": output_tokens} if "min_tokens" in self.extras else {}
        sizes = {"model": model, "max_tokens": output_tokens, "stream": True, "temperature": 0}
        return {**sizes, **text, **self.extras, **exact}


@dataclasses.dataclass(slots=True, kw_only=True)
class Completion:
    """A completion as it was seen; instants in ns on the clock of ``time.perf_counter_ns``.

    *at_ns* has the instants of chunks with output, *counts* the tokens of each where the server reported them in the
    chunk, *lengths* their characters. *written_ns* and *arrived_ns* are what a scripted server reports of the same
    chunks, and of the request. *status* and *kind* are the status and the content type of the response, *error* is
    what went wrong in one word, *detail* the server's own.
    """

    sent_ns: int = 0
    end_ns: int = 0
    at_ns: list[int] = dataclasses.field(default_factory=list)
    counts: list[int] = dataclasses.field(default_factory=list)
    lengths: list[int] = dataclasses.field(default_factory=list)
    written_ns: list[int] = dataclasses.field(default_factory=list)
    arrived_ns: int | None = None
    parts: list[str] = dataclasses.field(default_factory=list)
    usage: Usage | None = None
    timings: ServerTimings | None = None
    finish: str | None = None
    is_done: bool = False
    status: int = 0
    kind: str = ""
    error: str | None = None
    detail: str = ""

    @property
    def text(self) -> str:
        """The text that was generated."""
        return "".join(self.parts)


class Connection(Protocol):
    """What makes the requests of a load."""

    async def complete(self, path: str, body: bytes) -> Completion:
        """Return one streamed completion; what goes wrong is in it, and raises nothing."""

    async def get(self, path: str) -> str | None:
        """Return a page; ``None`` where there is none."""

    async def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Return the reply to a request that is not streamed; ``None`` where there is none."""

    async def close(self) -> None:
        """Let go of it."""


def key_header() -> dict[str, str]:
    """Return the header with the key of the environment; empty where it has none."""
    key = next((os.environ[name] for name in API_KEYS if os.environ.get(name)), None)
    return {"Authorization": f"Bearer {key}"} if key else {}


class Client:
    """Connections to one server; requests are made in an event loop."""

    def __init__(self, url: str, *, request_s: float | None) -> None:
        import httpx

        self._httpx = httpx
        self._client = httpx.AsyncClient(
            base_url=url,
            headers={"Accept-Encoding": "identity", **key_header()},
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=None),
            timeout=httpx.Timeout(request_s, connect=_CONNECT_S),
            trust_env=False,
            verify=ssl.create_default_context() if url.startswith("https:") else False,
        )

    async def close(self) -> None:
        """Close the connections."""
        with contextlib.suppress(Exception):
            await self._client.aclose()

    async def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Return what the server replies to a request that is not streamed; ``None`` where it refuses or fails."""
        with contextlib.suppress(self._httpx.HTTPError, ValueError):
            response = await self._client.post(path, json=dict(body))
            return response.json() if response.status_code == 200 else None
        return None

    async def get(self, path: str) -> str | None:
        """Return a page of the server; ``None`` where it has none."""
        with contextlib.suppress(self._httpx.HTTPError):
            response = await self._client.get(path, timeout=_CONNECT_S)
            return str(response.text) if response.status_code == 200 else None
        return None

    async def complete(self, path: str, body: bytes) -> Completion:
        """Return one streamed completion; what goes wrong is in it, and raises nothing."""
        seen = Completion()
        httpx = self._httpx
        request = self._client.build_request(
            "POST", path, content=body, headers={"Content-Type": "application/json"}
        )
        seen.sent_ns = time.perf_counter_ns()
        try:
            response = await self._send(request)
            try:
                await self._read(response, seen)
            finally:
                await response.aclose()
        except httpx.ConnectError as error:
            fail(seen, "refused", error)
        except httpx.TimeoutException as error:
            fail(seen, "timeout", error)
        except httpx.RemoteProtocolError as error:
            fail(seen, "cut" if seen.at_ns else "reset", error)
        except (httpx.TransportError, OSError) as error:
            fail(seen, "reset", error)
        seen.end_ns = time.perf_counter_ns()
        if seen.error is None and not seen.at_ns:
            is_stream = seen.kind.startswith("text/event-stream")
            why = (
                f"finish: {seen.finish}"
                if is_stream
                else f"{seen.kind or 'no content type'}, no stream of events"
            )
            fail(seen, "empty", f"status 200 and no token ({why})")
        elif seen.error is None and not (seen.is_done or seen.finish):
            fail(seen, "cut", "the stream ended without an end")
        return seen

    async def _send(self, request: Any) -> Any:
        """Return the response; where the server closed an idle connection meanwhile, on a new one (RFC 9112, 9.3.1)."""
        try:
            return await self._client.send(request, stream=True)
        except self._httpx.RemoteProtocolError:
            return await self._client.send(request, stream=True)

    async def _read(self, response: Any, seen: Completion) -> None:
        seen.status, seen.kind = response.status_code, response.headers.get("Content-Type", "")
        if seen.status != 200:
            detail = (await response.aread())[:_SHOWN].decode(errors="replace")
            fail(seen, f"http_{seen.status}", detail)
            return
        pending = b""
        async for data in response.aiter_raw():
            now_ns = time.perf_counter_ns()
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                take_line(line, now_ns, seen)
            if seen.error is not None:
                return


def take_line(line: bytes, now_ns: int, seen: Completion) -> None:
    """Add one line of an event stream to what was seen."""
    if line.startswith(b"error:"):
        fail(seen, "stream_error", line[6 : 6 + _SHOWN].decode(errors="replace"))
    if not line.startswith(b"data:"):
        return
    data = line[5:].strip()
    if data == b"[DONE]":
        seen.is_done = True
        return
    try:
        chunk = _CHUNK.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        fail(seen, "bad_chunk", error)
        return
    if chunk.error is not None:
        fail(seen, "stream_error", msgspec.json.encode(chunk.error).decode())
        return
    _take_chunk(chunk, now_ns, seen)


def _take_chunk(chunk: _Chunk, now_ns: int, seen: Completion) -> None:
    before = _count(seen)
    seen.usage = chunk.usage or seen.usage
    seen.timings = chunk.timings or seen.timings
    seen.arrived_ns = chunk.arrived_ns or seen.arrived_ns
    for choice in (chunk.choices or ())[:1]:
        seen.finish = choice.finish_reason or seen.finish
        content = _content(choice)
        grown = max(0, _count(seen) - before)
        if content or grown or (content is not None and choice.finish_reason is None):
            seen.at_ns.append(now_ns)
            seen.counts.append(grown)
            seen.lengths.append(len(content or ""))
            seen.parts.append(content or "")
            if chunk.at_ns is not None:
                seen.written_ns.append(chunk.at_ns)


def _content(choice: _Choice) -> str | None:
    """The output of a chunk; ``None`` for the role that opens a chat, and for a mere end."""
    if choice.delta is None:
        return choice.text
    found = choice.delta.content or choice.delta.reasoning_content
    return found or (None if choice.delta.role is not None else choice.delta.content)


def _count(seen: Completion) -> int:
    """The tokens so far, as reported in the chunks; 0 where they do not."""
    usage = seen.usage.completion_tokens if seen.usage else 0
    return max(usage, (seen.timings.predicted_n or 0) if seen.timings else 0)


def fail(seen: Completion, kind: str, detail: object) -> None:
    """Note that a request failed, the first reason only."""
    seen.error = seen.error or kind
    seen.detail = seen.detail or str(detail)[:_SHOWN] or type(detail).__name__


def token_events(seen: Completion, total: int | None) -> tuple[tuple[tuple[int, int], ...], bool]:
    """Return the instants at which tokens became visible, each with their number, and whether these are exact.

    Numbers that the chunks carried are taken as they are; with one chunk a token there is nothing to decide. Otherwise
    *total* (``None``: unknown) is spread over the chunks by their characters, at least one each; where there are fewer
    tokens than chunks, those without characters held none.
    """
    grown = [(at, count) for at, count in zip(seen.at_ns, seen.counts, strict=True) if count]
    if grown and sum(count for _, count in grown) == total:
        return tuple(grown), True
    chunks = list(zip(seen.at_ns, seen.lengths, strict=True))
    if total is not None and total < len(chunks):
        kept = [chunk for chunk in chunks if chunk[1]] or chunks
        chunks = kept[:total]
    if total is None or total == len(chunks):
        return tuple((at, 1) for at, _ in chunks), total == len(seen.at_ns)
    return tuple(
        zip((at for at, _ in chunks), _shares(total, [length for _, length in chunks]), strict=True)
    ), False


def _shares(total: int, lengths: Sequence[int]) -> list[int]:
    """This many tokens for each chunk, by its characters and at least one; together they are the total."""
    ends = list(itertools.accumulate(max(1, length) for length in lengths))
    bounds = [0]
    for number, end in enumerate(ends, start=1):
        most = total - (len(ends) - number)
        bounds.append(min(max(round(total * end / ends[-1]), bounds[-1] + 1), most))
    return [after - before for before, after in itertools.pairwise(bounds)]


EXTRAS: tuple[Mapping[str, Any], ...] = (
    {
        "ignore_eos": True,
        "min_tokens": 1,
        "stream_options": {"include_usage": True, "continuous_usage_stats": True},
        "timings_per_token": True,
        "cache_prompt": False,
    },
    {"stream_options": {"include_usage": True}},
    {},
)
"""Fields beyond the protocol, those of vLLM and llama.cpp first; a server that refuses them gets the next ones."""


async def find_dialect(
    client: Client, model: str, *, endpoint: str, text: str, ids: Sequence[int]
) -> Dialect:
    """Return what a server understands, found by short requests; the first that it serves decides.

    Raises:
        InputError: it serves no request of this endpoint.
        LaunchError: it cannot be reached.
    """
    refusal = ""
    for extras in EXTRAS:
        for takes_ids in (True, False) if ids and endpoint == "completions" else (False,):
            dialect = Dialect(endpoint=endpoint, takes_ids=takes_ids, extras=extras)
            body = dialect.body(model, ids if takes_ids else text, 2)
            seen = await client.complete(dialect.path, msgspec.json.encode(body))
            if seen.error is None:
                return dialect
            if seen.status in KEY_STATUSES:
                raise InputError(f"the server refuses a first request ({seen.error})", hint=KEY_HINT)
            if seen.status not in _REFUSALS:
                raise LaunchError(f"the server does not serve a first request ({seen.error}): {seen.detail}")
            refusal = f"{seen.status}: {seen.detail}"
    other = "chat" if endpoint == "completions" else "completions"
    raise InputError(
        f"the server refuses {endpoint} with {refusal}", hint=f"try --endpoint {other}, or check -m"
    )


def run_alone(client_url: str, work: Any) -> Any:
    """Return what a coroutine function of a client returns, in an event loop of its own."""

    async def whole() -> Any:
        client = Client(client_url, request_s=60.0)
        try:
            return await work(client)
        finally:
            await client.close()

    return asyncio.run(whole())
