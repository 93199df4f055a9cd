"""A server without a model: latencies as scripted, and every fault that a server under load has shown.

The model is a script, ``first=50ms,next=10ms``. Its keys: ``first`` (from the begin of a request until its first
token), ``next`` (each later token), ``per-token`` (added to the first for each input token), ``slots`` (requests served
at once; others wait), ``batch=1`` (requests share steps: one that prefills takes ``first`` and ``per-token``, one that
adds a token to each takes ``next`` and ``per-request`` for each), ``step`` (tokens per chunk), ``stop`` (tokens after
which a text ends by itself), and, with a request counted from 1, what must not break a client: ``empty@2`` (status 200,
no token), ``reset``, ``hang``, ``half`` (a chunk ends in the middle of a character), ``error`` (in mid-stream), ``cut``
(the stream ends early), ``429``, ``503``, ``die`` (the server ends). ``usage=0`` leaves out the usage, ``tokenizer=0``
the tokenizer, ``strict=1`` refuses fields that are not OpenAI's, ``keep=0`` closes each connection,
``NUM_STREAMS.2=80%`` scales all times where a property has that value.

Each chunk carries the instant at which it was written (``at_ns``, on the clock that all processes of a machine share),
and ``/log`` the instants of every request: what a client saw can be compared with what happened.
"""

import contextlib
import dataclasses
import json
import math
import os
import re
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

from llmbench.engines.servers.base import own_python
from llmbench.engines.servers.scripted_batch import StepClock, StepTimes
from llmbench.errors import InputError
from llmbench.schema.config import RunConfig
from llmbench.schema.units import NS_PER_S

FAULTS = ("empty", "reset", "hang", "half", "error", "cut", "429", "503", "die")
_FIELDS = {"model", "prompt", "messages", "max_tokens", "stream", "stream_options", "temperature"}
_PART = re.compile(
    rf"(?P<fault>{'|'.join(FAULTS)})@(?P<at>\d+)|(?P<key>[a-z-]+)=(?P<number>\d+(?:\.\d+)?)(?P<unit>ms|us|s)?"
)
_FACTOR = re.compile(r"(?P<property>[A-Z_]+)\.(?P<value>\w+)=(?P<percent>\d[\d.]*)%")
_UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
_KEPT = 32
"""Tokens or characters of a prompt that ``/log`` keeps."""
_HANG_S = 3600.0
_MANY = 1 << 20
"""This many slots are no limit: no request waits."""
_OBJECTS = {False: "text_completion", True: "chat.completion.chunk"}
"""What chunks of a text and of a chat call themselves, by whether it is a chat."""
_CHARACTER = "\N{PARTY POPPER}".encode()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """How a scripted server behaves; durations in seconds, *faults* by the number of the request."""

    first: float = 0.05
    next: float = 0.01
    per_token: float = 0.0
    per_request: float = 0.0
    slots: int = _MANY
    batch: int = 0
    step: int = 1
    stop: int | None = None
    usage: int = 1
    tokenizer: int = 1
    strict: int = 0
    keep: int = 1
    faults: Mapping[int, str] = dataclasses.field(default_factory=dict)


def read_behaviour(script: str) -> Behaviour:
    """Return what a script describes; raise InputError with the part that is none of its keys."""
    values: dict[str, Any] = {}
    faults: dict[int, str] = {}
    kinds = {each.name.replace("_", "-"): each.type for each in dataclasses.fields(Behaviour)}
    for part in filter(None, script.split(",")):
        found = _PART.fullmatch(part)
        if found is not None and found["fault"]:
            faults[int(found["at"])] = found["fault"]
        elif (
            found is not None
            and found["key"] in kinds
            and (kinds[found["key"]] is float) == bool(found["unit"])
        ):
            number = float(found["number"]) * _UNITS.get(found["unit"], 1.0)
            values[found["key"].replace("-", "_")] = number if found["unit"] else int(number)
        else:
            raise InputError(
                f"the script of a server has no {part!r}", hint="for example: first=50ms,next=10ms"
            )
    return Behaviour(**values, faults=faults)


class ScriptedServer(ThreadingHTTPServer):
    """The server; a thread per connection, which sleeps until the next chunk is due."""

    request_queue_size = 512
    daemon_threads = True

    def __init__(self, behaviour: Behaviour, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.behaviour = behaviour
        self.clock = _clock(behaviour) if behaviour.batch else None
        self.slots = threading.BoundedSemaphore(behaviour.slots)
        self.lock = threading.Lock()
        self.requests: list[dict[str, Any]] = []
        self.words: dict[str, int] = {}

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing of clients that go away."""

    def begin(self, arrived_ns: int) -> dict[str, Any]:
        """Return the entry of a new request, with its number."""
        with self.lock:
            self.requests.append({"number": len(self.requests) + 1, "arrived_ns": arrived_ns})
            return self.requests[-1]

    def token_ids(self, text: str) -> list[int]:
        """Return an id for each word of a text."""
        with self.lock:
            return [self.words.setdefault(word, len(self.words) + 1) for word in text.split()]

    def text(self, token_ids: list[int]) -> str:
        """Return the words that have these ids."""
        by_id = {number: word for word, number in self.words.items()}
        return " ".join(by_id.get(number, f"w{number}") for number in token_ids)


def _clock(behaviour: Behaviour) -> StepClock:
    """The steps that requests share, in a thread of their own."""
    names = (each.name for each in dataclasses.fields(StepTimes))
    clock = StepClock(StepTimes(**{name: getattr(behaviour, name) for name in names}))

    def run() -> None:
        while True:
            clock.step()

    threading.Thread(target=run, name="steps", daemon=True).start()
    return clock


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: ScriptedServer
    _ROUTES: ClassVar = {"/v1/completions": "text", "/v1/chat/completions": "chat"}

    arrived_ns = 0

    def parse_request(self) -> bool:
        """Note when a request arrives; its timetable begins there."""
        self.arrived_ns = time.perf_counter_ns()
        return super().parse_request()

    def log_message(self, *_: Any) -> None:
        """Print nothing: it would take time from the streams."""

    def do_GET(self) -> None:
        """Serve the other requests than completions."""
        pages = {"/health": {}, "/v1/models": {"data": [{"id": "scripted"}]}, "/log": self.server.requests}
        found = pages.get(self.path)
        if found is None:
            self._reply({"error": {"message": "no such page"}}, HTTPStatus.NOT_FOUND)
        else:
            self._reply(found)

    def do_POST(self) -> None:
        """Serve a completion, or the tokenizer."""
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        if self.path in self._ROUTES:
            self._complete(body, is_chat=self._ROUTES[self.path] == "chat")
        elif self.path == "/tokenize" and self.server.behaviour.tokenizer:
            self._reply({"tokens": self.server.token_ids(body["content"])})
        elif self.path == "/detokenize" and self.server.behaviour.tokenizer:
            text = self.server.text(body["tokens"])
            self._reply({"content": text, "prompt": text})
        else:
            self._reply({"error": {"message": "no such page"}}, HTTPStatus.NOT_FOUND)

    def _reply(self, found: Any, status: int = HTTPStatus.OK) -> None:
        data = json.dumps(found).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _complete(self, body: dict[str, Any], *, is_chat: bool) -> None:
        behaviour = self.server.behaviour
        unknown = set(body) - _FIELDS
        if behaviour.strict and (unknown or isinstance(body.get("prompt"), list)):
            self._reply({"error": {"message": f"unknown fields: {sorted(unknown)}"}}, HTTPStatus.BAD_REQUEST)
            return
        entry = self.server.begin(self.arrived_ns)
        fault = behaviour.faults.get(entry["number"], "")
        if fault.isdigit():
            self._reply({"error": {"message": "too many requests"}}, int(fault))
            return
        prompt = body["messages"][-1]["content"] if is_chat else body["prompt"]
        size = len(prompt) if isinstance(prompt, list) else len(prompt.split())
        entry |= {"input_tokens": size, "written_ns": [], "prompt": prompt[:_KEPT]}
        with self.server.slots, contextlib.suppress(ConnectionError):
            self._stream(entry, _tokens(behaviour, body), fault, is_chat=is_chat)

    def _stream(self, entry: dict[str, Any], tokens: int, fault: str, *, is_chat: bool) -> None:
        """Write each chunk when it is due, on a timetable that no lateness shifts."""
        behaviour = self.server.behaviour
        begin_ns = time.perf_counter_ns() if behaviour.slots < _MANY else entry["arrived_ns"]
        entry["began_ns"] = begin_ns
        self._begin_stream()
        first_ns, instants = begin_ns, self._instants(entry, tokens)
        for number, step in enumerate(range(0, 0 if fault == "empty" else tokens, behaviour.step)):
            _sleep_until(due_ns := next(instants))
            first_ns = first_ns if number else due_ns
            if number == 2 and self._breaks(fault):
                return
            count = min(behaviour.step, tokens - step)
            is_last = step + count == tokens
            entry["written_ns"].append(time.perf_counter_ns())
            content = "".join(f" t{step + i}" for i in range(count))
            if fault == "half" and number == 1:
                self._write_half(entry["written_ns"][-1])
            else:
                self._event(_chunk(content, entry["written_ns"][-1], is_chat=is_chat, is_last=is_last))
        if behaviour.usage:
            usage = {
                "prompt_tokens": entry["input_tokens"],
                "completion_tokens": 0 if fault == "empty" else tokens,
            }
            timings = {
                "prompt_ms": (first_ns - begin_ns) / 1e6,
                "queue_ms": (begin_ns - entry["arrived_ns"]) / 1e6,
            }
            last = {"usage": usage, "timings": timings, "arrived_ns": entry["arrived_ns"]}
            self._event({"object": _OBJECTS[is_chat], "choices": [], **last})
        self._write(b"data: [DONE]\n\n")
        self._write(b"")

    def _instants(self, entry: Mapping[str, Any], tokens: int) -> Iterator[int]:
        """Yield when each chunk is due."""
        behaviour = self.server.behaviour
        if self.server.clock is not None:
            batch = self.server.clock.join_batch(entry["began_ns"], entry["input_tokens"], tokens)
            yield from (batch.get() for _ in range(tokens))
        first_s = behaviour.first + behaviour.per_token * entry["input_tokens"]
        for step in range(0, tokens, behaviour.step):
            yield entry["began_ns"] + round((first_s + step * behaviour.next) * NS_PER_S)

    def _begin_stream(self) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        if not self.server.behaviour.keep:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()

    def _breaks(self, fault: str) -> bool:
        """Break the stream as the fault says; return whether it did."""
        match fault:
            case "reset":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            case "hang":
                time.sleep(_HANG_S)
            case "error":
                self._event({"error": {"message": "the scripted error", "code": 500}})
            case "die":
                os._exit(3)
            case "cut":
                pass
            case _:
                return False
        self.close_connection = True
        self.connection.close()
        return True

    def _write_half(self, at_ns: int) -> None:
        """Write an event in two parts, cut in the middle of a character."""
        data = json.dumps(
            _chunk("@", at_ns, is_chat=self._ROUTES[self.path] == "chat", is_last=False)
        ).encode()
        before, after = data.split(b"@")
        self._write(b"data: " + before + _CHARACTER[:2])
        time.sleep(0.002)
        self._write(_CHARACTER[2:] + after + b"\n\n")

    def _event(self, found: Mapping[str, Any]) -> None:
        self._write(b"data: " + json.dumps(found).encode() + b"\n\n")

    def _write(self, data: bytes) -> None:
        """Write a chunk of the transfer coding; an empty one ends the stream."""
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))


def _tokens(behaviour: Behaviour, body: Mapping[str, Any]) -> int:
    wanted = int(body.get("max_tokens", 16))
    is_free = behaviour.stop is not None and not body.get("ignore_eos")
    return min(wanted, behaviour.stop or wanted) if is_free else wanted


def _chunk(content: str, at_ns: int, *, is_chat: bool, is_last: bool) -> dict[str, Any]:
    text = {"delta": {"content": content}} if is_chat else {"text": content}
    return {
        "object": _OBJECTS[is_chat],
        "choices": [{"index": 0, **text, "finish_reason": "length" if is_last else None}],
        "at_ns": at_ns,
    }


def _sleep_until(instant_ns: int) -> None:
    left_ns = instant_ns - time.perf_counter_ns()
    if left_ns > 0:
        time.sleep(left_ns / NS_PER_S)


def scripted_command(config: RunConfig, port: int) -> list[str]:
    """Return the command that serves the script of a configuration."""
    factors = [_FACTOR.fullmatch(part) for part in config.model.split(",")]
    share = math.prod(
        float(found["percent"]) / 100
        for found in factors
        if found and str(config.properties.get(found["property"])) == found["value"]
    )
    script = ",".join(
        part for part, found in zip(config.model.split(","), factors, strict=True) if found is None
    )
    behaviour = read_behaviour(script)
    times = (
        (name, getattr(behaviour, name) * share) for name in ("first", "next", "per_token", "per_request")
    )
    script += "".join(f",{name.replace('_', '-')}={round(seconds * 1e6)}us" for name, seconds in times)
    return own_python("llmbench.engines.servers.scripted", script, str(port))


def main() -> None:
    """Serve: ``python -m llmbench.engines.servers.scripted SCRIPT PORT``."""
    server = ScriptedServer(read_behaviour(sys.argv[1]), int(sys.argv[2]))
    server.serve_forever()


if __name__ == "__main__":
    main()
