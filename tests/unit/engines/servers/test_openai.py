"""Our server before a model: the protocol, its limits, and what becomes of a request that nobody waits for."""

import json
import socket
from collections.abc import Iterator

import pytest

pytest.importorskip("uvicorn")
pytest.importorskip("prometheus_client")

from llmbench.engines.servers.request import TextPieces
from tests.openai_server import ByteBackend, Served, serving
from tests.waiting import wait_until

COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    """A server without a key and with the usual limits."""
    with serving(ByteBackend()) as found:
        yield found


def test_a_stream_has_the_text_the_end_and_the_usage(served: Served) -> None:
    """One chunk per token of plain text, then the reason of the end, then the usage by itself."""
    *texts, end, usage = served.stream(
        COMPLETIONS, {"prompt": "abc", "max_tokens": 4, "stream_options": {"include_usage": True}}
    )

    assert ["a", "b", "c", "a"] == [chunk["choices"][0]["text"] for chunk in texts]
    assert "length" == end["choices"][0]["finish_reason"]
    assert ([], {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}) == (
        usage["choices"],
        usage["usage"],
    )
    timings = usage["timings"]
    assert (3, 4) == (timings["prompt_n"], timings["predicted_n"])
    assert timings["queue_ms"] >= 0 < timings["prompt_ms"] < timings["prompt_ms"] + timings["predicted_ms"]


def test_half_a_character_is_kept_back_until_it_is_whole(served: Served) -> None:
    """Two bytes of an umlaut, four of a face: one chunk each, at its last byte; what never becomes whole comes last."""
    prompt = {"prompt": "\u00fcx\U0001f600", "max_tokens": 8}
    chunks = served.stream(COMPLETIONS, prompt)
    assert ["\u00fc", "x", "\U0001f600", "\ufffd"] == [c["choices"][0]["text"] for c in chunks[:-1]]


def test_counts_come_with_every_token_where_they_are_requested(served: Served) -> None:
    """A client that times tokens gets a chunk for a byte that has no text yet."""
    options = {"continuous_usage_stats": True}
    chunks = served.stream(COMPLETIONS, {"prompt": "\u00fcx", "max_tokens": 3, "stream_options": options})

    assert [("", 1), ("\u00fc", 2), ("x", 3)] == [
        (c["choices"][0]["text"], c["usage"]["completion_tokens"]) for c in chunks[:-1]
    ]


def test_a_chat_begins_with_its_role(served: Served) -> None:
    """Parts of text are joined; a whole response has a message."""
    parts = [{"type": "text", "text": "h"}, {"type": "text", "text": "i"}]
    body = {"messages": [{"role": "user", "content": parts}], "max_tokens": 2}
    role, *texts, _ = served.stream(CHAT, body)
    status, whole, _ = served.ask(CHAT, body)

    assert {"role": "assistant", "content": ""} == role["choices"][0]["delta"]
    assert ["h", "i"] == [chunk["choices"][0]["delta"]["content"] for chunk in texts]
    assert (200, "hi", "length") == (
        status,
        whole["choices"][0]["message"]["content"],
        whole["choices"][0]["finish_reason"],
    )
    assert 2 == whole["usage"]["completion_tokens"]


def test_token_ids_texts_and_back(served: Served) -> None:
    """A prompt may be ids; both directions of the tokenizer have an endpoint."""
    assert {"tokens": [104, 105]} == served.ask("/tokenize", {"content": "hi"})[1]
    assert {"content": "hi"} == served.ask("/detokenize", {"tokens": [104, 105]})[1]
    assert "hi" == served.ask(COMPLETIONS, {"prompt": [104, 105], "max_tokens": 2})[1]["choices"][0]["text"]
    assert "bytes" == served.ask("/v1/models")[1]["data"][0]["id"]
    assert "1" == served.ask("/effective")[1]["properties"]["NUM_STREAMS"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"prompt": ""}, "no token"),
        ({"prompt": ["a", "b"]}, "one text"),
        ({"prompt": [1, -1]}, "one text"),
        ({"prompt": [256]}, "not in the vocabulary"),
        ({"prompt": "a", "max_tokens": 64}, "1 input + 64 output tokens exceed the context of 64"),
        ({"prompt": "a" * 64}, "exceed the context"),
        ({"prompt": "a", "max_tokens": 0}, "at least 1"),
        ({"prompt": "a", "max_tokens": "8"}, "max_tokens"),
        ({"prompt": "a", "temperature": 3}, "temperature 3"),
        ({"prompt": "a", "n": 2}, "n must be 1"),
        ({"prompt": "a", "logprobs": 2}, "logprobs is not served"),
        ({"prompt": "a", "stop": ["a"] * 5}, "up to 4"),
        ({"messages": []}, "at least one message"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "image_url"),
        ({"messages": [{"role": "system", "content": "x"}]}, "no system role"),
    ],
)
def test_what_cannot_be_served_is_refused_with_the_reason(
    served: Served, body: dict[str, object], message: str
) -> None:
    """Status 400 and the protocol's error, never a traceback nor a silent default."""
    status, found, _ = served.ask(CHAT if "messages" in body else COMPLETIONS, body)

    assert 400 == status
    assert message in found["error"]["message"]
    assert "invalid_request_error" == found["error"]["type"]


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b'{"prompt": NaN}', b"[" * 10_000])
def test_what_is_no_request_is_refused(served: Served, content: bytes) -> None:
    """Not JSON, not an object, nested beyond all bounds."""
    assert 400 == served.ask(COMPLETIONS, content=content)[0]


def test_a_fault_of_the_model_ends_its_request_alone(served: Served) -> None:
    """Before anything was sent a status, in a stream an event; the server goes on."""
    assert 500 == served.ask(COMPLETIONS, {"prompt": "!", "max_tokens": 3})[0]
    (event,) = served.stream(COMPLETIONS, {"prompt": "!", "max_tokens": 3})
    assert "out of luck" == event["error"]["message"]
    assert 200 == served.ask(COMPLETIONS, {"prompt": "a", "max_tokens": 1})[0]


@pytest.mark.parametrize("is_streamed", [True, False])
@pytest.mark.parametrize("sees_a_token", [True, False])
def test_what_nobody_waits_for_is_not_computed(*, is_streamed: bool, sees_a_token: bool) -> None:
    """A client that goes, before a token as after one, takes its request out of the batch."""
    backend = ByteBackend(step_s=0.02 if sees_a_token else 0.5)
    with serving(backend) as served:
        body = json.dumps({"prompt": "gone", "max_tokens": 60, "stream": is_streamed}).encode()
        with socket.create_connection(("127.0.0.1", served.port)) as connection:
            head = f"POST {COMPLETIONS} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body)
            wait_until(lambda: backend.requests[0] == 1, "the request")
            if is_streamed and sees_a_token:
                connection.recv(4096)
        wait_until(lambda: [b"gone"] == backend.withdrawn, "its end")
        page = served.ask("/metrics")[1]

        assert 'llmbench_requests_total{outcome="cancelled"} 1.0' in page
        assert "llmbench_requests_running 0.0" in page


def test_the_page_of_metrics_adds_up(served: Served) -> None:
    """Tokens in and out of one more request, its waits, and the backend's gauges."""

    def value(name: str) -> float:
        (line,) = (line for line in served.ask("/metrics")[1].splitlines() if line.startswith(f"{name} "))
        return float(line.split()[1])

    names = ("prompt_tokens_total", "generation_tokens_total", "time_to_first_token_seconds_count")
    before = [value(f"llmbench_{name}") for name in names]
    served.ask(COMPLETIONS, {"prompt": "abc", "max_tokens": 5})
    after = [value(f"llmbench_{name}") for name in names]

    assert [3, 5, 1] == [b - a for a, b in zip(before, after, strict=True)]
    assert 0.25 == value("llmbench_kv_cache_usage_ratio")


def test_pieces_of_a_text_make_the_text() -> None:
    """However tokens are cut, and whatever a decoder does with the space before the first word."""

    def decode(ids: object) -> str:
        return "".join(" w"[token] for token in ids).removeprefix(" ")  # type: ignore[attr-defined]

    pieces = TextPieces(decode)
    text = "".join(pieces.add([token]) for token in (1, 0, 1, 0, 0, 1)) + pieces.add([], is_last=True)

    assert "w w  w" == text
