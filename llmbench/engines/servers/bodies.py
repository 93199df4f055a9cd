"""Bodies of the OpenAI protocol that our server accepts, and what a request is after they are read."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from llmbench.errors import InputError

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


@dataclass(frozen=True, slots=True, kw_only=True)
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
