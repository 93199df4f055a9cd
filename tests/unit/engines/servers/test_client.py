import json
import socket
import threading

import pytest

from llmbench.engines.servers.client import (
    Client,
    Completion,
    Dialect,
    find_dialect,
    run_alone,
    take_line,
    token_events,
)
from llmbench.errors import InputError, LaunchError, LlmbenchError
from tests.served import replying_server


def seen_of(*chunks: dict[str, object] | str) -> Completion:
    """What a client saw of these chunks, one a millisecond."""
    seen = Completion()
    for number, chunk in enumerate(chunks, start=1):
        data = chunk if isinstance(chunk, str) else f"data: {json.dumps(chunk)}"
        take_line(data.encode(), number * 1_000_000, seen)
    return seen


def text(content: str | None, finish: str | None = None, **more: object) -> dict[str, object]:
    return {"choices": [{"index": 0, "text": content, "finish_reason": finish}], **more}


def chat(finish: str | None = None, **delta: object) -> dict[str, object]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def test_the_role_that_opens_a_chat_is_no_token() -> None:
    """The first token is the first chunk with content; reasoning is content, too."""
    seen = seen_of(
        chat(role="assistant", content=""), chat(reasoning_content="Hm"), chat(content=" 4"), chat("stop"),
        "data: [DONE]",
    )  # fmt: skip

    assert [2_000_000, 3_000_000] == seen.at_ns
    assert ("stop", True) == (seen.finish, seen.is_done)


def test_a_chunk_without_characters_in_midstream_is_a_token_that_was_held_back() -> None:
    """Half a character cannot be shown, yet its token was made; an empty last chunk is none."""
    seen = seen_of(text("a"), text(""), text("\N{PARTY POPPER}"), text("", "length"))

    assert 3 == len(seen.at_ns)
    assert (((1_000_000, 1), (2_000_000, 1), (3_000_000, 1)), True) == token_events(seen, 3)


def test_cumulative_counts_tell_the_tokens_of_each_chunk() -> None:
    """VLLM's continuous usage and llama.cpp's timings of each token."""
    usage = seen_of(
        text("a b", usage={"completion_tokens": 2}), text("c", "length", usage={"completion_tokens": 3})
    )
    timings = seen_of(text("a b c", timings={"predicted_n": 3}), text("d", timings={"predicted_n": 4}))

    assert (((1_000_000, 2), (2_000_000, 1)), True) == token_events(usage, 3)
    assert (((1_000_000, 3), (2_000_000, 1)), True) == token_events(timings, 4)


@pytest.mark.parametrize(
    ("total", "expected"),
    [
        (7, [3, 3, 1]),  # by characters: 9, 9 and 3 of 21
        (3, [1, 1, 1]),
        (21, [9, 9, 3]),
        (4, [2, 1, 1]),  # at least one each
        (2, [1, 1]),  # fewer tokens than chunks: the last held none
    ],
)
def test_a_total_is_spread_over_chunks_by_their_characters(total: int, expected: list[int]) -> None:
    """Where the server tells the total only; together they are exactly that."""
    seen = seen_of(text(" t0 t1 t2"), text(" t3 t4 t5"), text(" t6"))
    events, is_exact = token_events(seen, total)

    assert expected == [count for _, count in events]
    assert is_exact is (total == 3)


def test_tokens_without_a_total_are_not_exact() -> None:
    """A chunk is no token."""
    events, is_exact = token_events(seen_of(text("a"), text("b")), None)

    assert 2 == len(events)
    assert not is_exact


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ('data: {"error": {"message": "out of memory"}}', "stream_error"),
        ('error: {"code": 500}', "stream_error"),
        ("data: {broken", "bad_chunk"),
        ('data: {"choices": 5}', "bad_chunk"),
    ],
)
def test_what_is_wrong_in_a_stream_is_named(line: str, kind: str) -> None:
    """An error in mid-stream, in the spellings of servers, and what is no chunk at all."""
    assert kind == seen_of(text("a"), line).error


def test_comments_and_other_fields_of_the_stream_are_nothing() -> None:
    """Servers send them to keep a connection open."""
    seen = seen_of(": ping", "event: message", "", {"choices": None}, text("a"))

    assert (1, None) == (len(seen.at_ns), seen.error)


def test_the_exact_length_is_requested_where_the_server_knows_how() -> None:
    """min_tokens is the length itself; a plain dialect has OpenAI's fields only."""
    exact = Dialect(extras={"ignore_eos": True, "min_tokens": 1}).body("m", (1, 2), 8)
    plain = Dialect(endpoint="chat").body("m", "hello", 8)

    assert (8, 8, True) == (exact["max_tokens"], exact["min_tokens"], exact["ignore_eos"])
    assert {"model", "max_tokens", "stream", "temperature", "messages"} == set(plain)


_STREAM = b'data: {"choices": [{"text": "word", "finish_reason": "length"}]}\n\ndata: [DONE]\n\n'


def _take_request(connection: socket.socket) -> None:
    """Read a request with an empty object for a body, or the end of the connection."""
    data = b""
    while not data.endswith(b"{}") and (more := connection.recv(65536)):
        data += more


def _serve_and_close(listener: socket.socket, answers: int) -> None:
    """Accept two connections; answer the first request of so many, and close each as a request comes beyond these."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n" % len(_STREAM)
    for number in range(2):
        with listener.accept()[0] as connection:
            if number < answers:
                _take_request(connection)
                connection.sendall(head + _STREAM)
            _take_request(connection)


@pytest.mark.parametrize(("answers", "errors"), [(2, [None, None]), (1, [None, "reset"])])
def test_a_connection_that_was_closed_while_idle_is_replaced_once(
    answers: int, errors: list[str | None]
) -> None:
    """That is no fault of the server; a second one without a byte is."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=_serve_and_close, args=(listener, answers), daemon=True)
        server.start()

        async def requests(client: Client) -> list[str | None]:
            """Make two requests, one after the other."""
            return [(await client.complete("/v1/completions", b"{}")).error for _ in range(2)]

        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        assert errors == run_alone(url, requests)
        server.join()


@pytest.mark.parametrize(
    ("status", "error", "message", "hint"),
    [
        (401, InputError, "refuses a first request", "LLMBENCH_API_KEY"),
        (404, InputError, "refuses completions with 404: gone", "--endpoint chat"),
        (429, LaunchError, "http_429.: gone", ""),
        (500, LaunchError, "http_500.: gone", ""),
        (200, LaunchError, "no token .text/html, no stream of events", ""),
    ],
)
def test_what_a_server_says_to_a_first_request_is_told_apart(
    status: int, error: type[LlmbenchError], message: str, hint: str
) -> None:
    """A key that is missing, an endpoint that is, a server that is busy or broken, and a page that is no stream."""

    async def find(client: Client) -> Dialect:
        return await find_dialect(client, "m", endpoint="completions", text="x", ids=())

    with replying_server(status, "gone") as (url, _), pytest.raises(error, match=message) as caught:
        run_alone(url, find)

    assert hint in (caught.value.hint or "")
