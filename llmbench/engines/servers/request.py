"""Requests of the OpenAI protocol that our server accepts: their bodies, what came of each, and what is sent of it."""

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import msgspec

from llmbench.errors import InputError

_HALF = "\ufffd"
"""What a decoder writes where bytes are no whole character yet."""

_MOST_STOPS = 4
_UNSERVED = ("logprobs", "top_logprobs", "echo", "suffix", "best_of", "tools", "functions", "response_format")
"""Fields of the protocol that would change the response, and are refused rather than ignored."""


class StreamOptions(msgspec.Struct):
    """What a stream has beside its text: the usage at its end, or in every chunk."""

    include_usage: bool = False
    continuous_usage_stats: bool = False


class _Body(msgspec.Struct):
    model: str | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    min_tokens: int = 0
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    n: int = 1
    stream: bool = False
    stream_options: StreamOptions | None = None
    ignore_eos: bool = False


class CompletionBody(_Body):
    """The body of ``/v1/completions``: a text, or token ids; 16 tokens where no number is given, as OpenAI has it."""

    max_tokens: int | None = 16
    prompt: str | list[Any] = ""


class _Part(msgspec.Struct):
    type: str
    text: str = ""


class _Message(msgspec.Struct):
    role: str
    content: str | list[_Part] = ""


class ChatBody(_Body):
    """The body of ``/v1/chat/completions``."""

    messages: list[_Message] = []


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How tokens are chosen: greedily without a *temperature*; *output_tokens* ``None`` is up to the context's end."""

    output_tokens: int | None
    min_tokens: int = 0
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int | None = None
    seed: int = 42
    stops: tuple[str, ...] = ()
    ignores_end: bool = False


AnyBody = TypeVar("AnyBody", CompletionBody, ChatBody)


def parse_body(content: bytes, kind: type[AnyBody]) -> AnyBody:
    """Return the body of a request; raise InputError with what is wrong in it."""
    try:
        raw = msgspec.json.decode(content, type=dict[str, Any])
        body = msgspec.convert(raw, kind)
    except msgspec.DecodeError as error:
        raise InputError(f"the body is not a request: {error}") from error
    refused = [name for name in _UNSERVED if raw.get(name)]
    if refused:
        raise InputError(f"{refused[0]} is not served")
    _check_numbers(body)
    return body


def _check_numbers(body: _Body) -> None:
    if body.n != 1:
        raise InputError("n must be 1")
    limit = _output_tokens(body)
    if (limit is not None and limit < 1) or body.min_tokens < 0:
        raise InputError("max_tokens must be at least 1, and min_tokens at least 0")
    if body.temperature is not None and not 0 <= body.temperature <= 2:
        raise InputError(f"temperature {body.temperature:g} is not between 0 and 2")
    if body.top_p is not None and not 0 < body.top_p <= 1:
        raise InputError(f"top_p {body.top_p:g} is not above 0 and up to 1")
    if len(_stops(body)) > _MOST_STOPS or "" in _stops(body):
        raise InputError(f"stop takes up to {_MOST_STOPS} texts, none of them empty")


def _output_tokens(body: _Body) -> int | None:
    return body.max_tokens if body.max_completion_tokens is None else body.max_completion_tokens


def _stops(body: _Body) -> tuple[str, ...]:
    return (body.stop,) if isinstance(body.stop, str) else tuple(body.stop or ())


def read_sampling(body: _Body) -> Sampling:
    """Return how the tokens of a request are chosen."""
    return Sampling(
        output_tokens=_output_tokens(body),
        min_tokens=body.min_tokens,
        temperature=body.temperature or 0.0,
        top_p=1.0 if body.top_p is None else body.top_p,
        top_k=body.top_k if body.top_k and body.top_k > 0 else None,
        seed=42 if body.seed is None else body.seed,
        stops=_stops(body),
        ignores_end=body.ignore_eos,
    )


def read_prompt(body: CompletionBody) -> str | tuple[int, ...]:
    """Return the one prompt of a completion, a text or token ids; raise InputError where there are several."""
    prompt = body.prompt
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str | list):
        prompt = prompt[0]
    if isinstance(prompt, str):
        return prompt
    if not all(type(token) is int and token >= 0 for token in prompt):
        raise InputError("prompt must be one text, or the token ids of one")
    return tuple(prompt)


def read_chat(body: ChatBody) -> list[Mapping[str, str]]:
    """Return the messages of a chat as plain texts; raise InputError for what is no text."""
    if not body.messages:
        raise InputError("messages must have at least one message")
    return [{"role": message.role, "content": _text(message)} for message in body.messages]


def _text(message: _Message) -> str:
    if isinstance(message.content, str):
        return message.content
    other = next((part.type for part in message.content if part.type != "text"), None)
    if other is not None:
        raise InputError(f"a message has content of type {other!r}; only text is served")
    return "".join(part.text for part in message.content)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What a backend gave a request at *at_ns*: tokens, and why it ended, if it did (``length``, ``stop``, ``error``).

    *started_ns* is when the backend took it up. *detail* is what an error was.
    """

    token_ids: tuple[int, ...]
    at_ns: int
    started_ns: int
    finish: str | None = None
    detail: str = ""

    @classmethod
    def failed(cls, detail: str, started_ns: int | None = None) -> "Delivery":
        """Return the end of a request that failed now; without *started_ns* it is taken up now, too."""
        now_ns = time.perf_counter_ns()
        begun_ns = now_ns if started_ns is None else started_ns
        return cls(token_ids=(), at_ns=now_ns, started_ns=begun_ns, finish="error", detail=detail)


class Backend(Protocol):
    """A model that serves several requests at once, in a thread of its own."""

    @property
    def name(self) -> str:
        """What the model is called."""

    @property
    def context_tokens(self) -> int | None:
        """Tokens that fit into its context; ``None``: not known."""

    @property
    def vocabulary(self) -> int:
        """How many token ids there are; the first is 0."""

    @property
    def requests(self) -> tuple[int, int]:
        """Requests that are computed, and requests that wait."""

    @property
    def cache_usage(self) -> float:
        """The share of the KV cache that is used, 0 to 1."""

    @property
    def effective(self) -> Mapping[str, Any]:
        """The effective settings, as JSON contains them."""

    def encode(self, text: str) -> tuple[int, ...]:
        """Token ids of a text."""

    def encode_chat(self, messages: Sequence[Mapping[str, str]]) -> tuple[int, ...]:
        """Token ids of a chat under the model's template; raise InputError where there is none."""

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text of some token ids."""

    def submit(
        self, token_ids: Sequence[int], sampling: Sampling, receive: Callable[[Delivery], None]
    ) -> Callable[[], None]:
        """Begin a request, and return what takes it out again; *receive* is called from another thread."""


class TextPieces:
    """The text of a growing sequence, piece by piece; a character that is not whole yet is kept back.

    New tokens are decoded with those of the piece before them, for how a token is written depends on the one before.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        self._before: list[int] = []
        self._new: list[int] = []

    def add(self, token_ids: Sequence[int], *, is_last: bool = False) -> str:
        """Return what some tokens add to the text; the last ones add what was kept back as well."""
        self._new += token_ids
        if not self._new:
            return ""
        known = self._decode(self._before) if self._before else ""
        text = self._decode([*self._before, *self._new])
        if not is_last and text.endswith(_HALF):
            return ""
        self._before, self._new = self._new, []
        return text[len(known) :]


@dataclasses.dataclass(slots=True, kw_only=True)
class ServedRequest:
    """One request under way; *number* and *model* are its name and its model's in what is sent."""

    number: int
    model: str
    is_chat: bool
    options: StreamOptions
    input_tokens: int
    arrived_ns: int
    pieces: TextPieces
    output_tokens: int = 0
    first: Delivery | None = None
    last: Delivery | None = None
    outcome: str = "cancelled"

    def take(self, part: Delivery) -> str:
        """Note what came, and return what it adds to the text."""
        if part.token_ids:
            self.first = self.first or part
            self.last = part
        self.output_tokens += len(part.token_ids)
        self.outcome = part.finish or self.outcome
        return self.pieces.add(part.token_ids, is_last=part.finish is not None)

    @property
    def usage(self) -> dict[str, int]:
        """Tokens in and out."""
        return {
            "prompt_tokens": self.input_tokens,
            "completion_tokens": self.output_tokens,
            "total_tokens": self.input_tokens + self.output_tokens,
        }

    @property
    def timings(self) -> dict[str, float | int]:
        """Our own account of the request, in llama.cpp's words and milliseconds; the wait in the queue beside them."""
        if self.first is None or self.last is None:
            return {}
        return {
            "queue_ms": (self.first.started_ns - self.arrived_ns) / 1e6,
            "prompt_n": self.input_tokens,
            "prompt_ms": (self.first.at_ns - self.first.started_ns) / 1e6,
            "predicted_n": self.output_tokens,
            "predicted_ms": (self.last.at_ns - self.first.at_ns) / 1e6,
        }

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": f"cmpl-{self.number}", "object": kind, "model": self.model}

    def opening(self) -> list[dict[str, Any]]:
        """Return what a stream begins with."""
        return [self._chunk({"role": "assistant", "content": ""})] if self.is_chat else []

    def chunks(self, part: Delivery) -> list[dict[str, Any]]:
        """Return what a part adds to a stream: its text, and the end."""
        text = self.take(part)
        counts = {"usage": self.usage} if self.options.continuous_usage_stats else {}
        found = []
        if text or (counts and part.token_ids):
            found.append(self._chunk({"content": text}) | counts)
        if part.finish is not None:
            found.append(self._chunk({}, part.finish) | {"timings": self.timings})
            if self.options.include_usage:
                found.append({**self._chunk({}), "choices": [], "usage": self.usage, "timings": self.timings})
        return found

    def _chunk(self, delta: Mapping[str, str], finish: str | None = None) -> dict[str, Any]:
        content = {"delta": delta} if self.is_chat else {"text": delta.get("content", "")}
        kind = "chat.completion.chunk" if self.is_chat else "text_completion"
        return {**self._head(kind), "choices": [{"index": 0, **content, "finish_reason": finish}]}

    def whole(self, text: str) -> dict[str, Any]:
        """Return the response that is not streamed."""
        content = {"message": {"role": "assistant", "content": text}} if self.is_chat else {"text": text}
        return {
            **self._head("chat.completion" if self.is_chat else "text_completion"),
            "choices": [{"index": 0, **content, "finish_reason": self.outcome}],
            "usage": self.usage,
            "timings": self.timings,
        }
