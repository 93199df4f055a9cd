"""What SECURITY.md promises of ``llmbench serve``."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

pytest.importorskip("uvicorn")
pytest.importorskip("prometheus_client")

from llmbench.engines.servers.openai import ServerLimits
from tests import gguf_model
from tests.command import Done
from tests.openai_server import ByteBackend, Served, serving
from tests.waiting import PATIENCE_S, wait_until

COMPLETIONS = "/v1/completions"
PROMISED = pytest.mark.security(
    8, "the server listens on loopback, bounds bodies and requests, and with a key lets nobody in without it"
)


@PROMISED
def test_another_address_than_loopback_needs_a_key(llmbench: Callable[..., Done], tmp_path: Path) -> None:
    """Exit 2 before a model is looked for; by default it listens on 127.0.0.1 only."""
    (tmp_path / "key").write_text("\n")
    for options, message in (
        (("--host", "192.0.2.1"), "--host 192.0.2.1 lets others in, and there is no key"),
        (("--host", "::"), "lets others in"),
        (("--host", "192.0.2.1", "--api-key-file", "key"), "key contains no key"),
    ):
        done = llmbench("serve", "-m", "nowhere", *options, LLMBENCH_API_KEY="")
        assert (2, True) == (done.returncode, message in done.stderr), done.stderr


@contextlib.contextmanager
def _process(folder: Path) -> Iterator[tuple[subprocess.Popen[str], Served]]:
    """A process that serves a tiny model, and how to talk to it."""
    model = gguf_model.build(folder / "tiny.gguf")
    with subprocess.Popen(
        [sys.executable, "-m", "llmbench", "serve", "-m", str(model), "--port", "0"],
        stdout=subprocess.PIPE,
        env={**os.environ, "LLMBENCH_API_KEY": ""},
        text=True,
    ) as process:
        assert process.stdout is not None
        line = next(line for line in process.stdout if line.startswith("serving"))
        assert "http://127.0.0.1:" in line
        yield process, Served(int(line.partition("127.0.0.1:")[2].partition(";")[0]))


@pytest.mark.slow
def test_a_server_whose_model_dies_ends_with_5(tmp_path: Path) -> None:
    """The process that computes is killed: what waits for it gets an error, and the server does not linger."""
    with _process(tmp_path) as (process, served), contextlib.closing(served.connect()) as connection:
        body = {"prompt": "abc", "max_tokens": 400, "ignore_eos": True, "stream": True}
        connection.request("POST", COMPLETIONS, json.dumps(body))
        response = connection.getresponse()
        response.readline()
        psutil.Process(process.pid).children()[0].kill()
        rest = response.read().decode()

        assert "the process that computes has ended" in rest.split("data: ")[-1]
        assert 5 == process.wait(timeout=PATIENCE_S)


@pytest.mark.slow
def test_requests_that_clients_left_are_not_counted_as_running(tmp_path: Path) -> None:
    """What a step still gave them was on its way; they are cancelled, and nothing of them remains."""
    body = json.dumps({"prompt": "abc", "max_tokens": 400, "ignore_eos": True, "stream": True})
    with _process(tmp_path) as (process, served):
        for _ in range(5):
            with contextlib.closing(served.connect()) as connection:
                connection.request("POST", COMPLETIONS, body)
                connection.getresponse().readline()
        wait_until(
            lambda: 'llmbench_requests_total{outcome="cancelled"} 5.0' in served.ask("/metrics")[1], "all"
        )
        page = served.ask("/metrics")[1]
        process.terminate()

        assert "llmbench_requests_running 0.0" in page
        assert "llmbench_requests_waiting 0.0" in page
        assert 0 == process.wait(timeout=PATIENCE_S)


@PROMISED
@pytest.mark.slow
def test_it_serves_on_loopback_and_ends_what_is_under_way(tmp_path: Path) -> None:
    """A process with a tiny model: TERM in the middle of a stream, which ends whole; then exit 0."""
    with _process(tmp_path) as (process, served):
        body = {"prompt": "abc", "max_tokens": 300, "ignore_eos": True, "stream": True}
        with contextlib.closing(served.connect()) as connection:
            connection.request("POST", COMPLETIONS, json.dumps(body))
            response = connection.getresponse()
            response.readline()
            process.send_signal(signal.SIGTERM)
            rest = response.read().decode()

        assert rest.endswith("data: [DONE]\n\n")
        assert 300 == json.loads(rest.split("data: ")[-2])["timings"]["predicted_n"]
        assert 0 == process.wait(timeout=PATIENCE_S)


@PROMISED
def test_no_body_is_read_beyond_its_limit() -> None:
    """Announced or not: status 413, and the connection is closed."""
    with serving(ByteBackend(), limits=ServerLimits(body_bytes=1000)) as served:
        body = json.dumps({"prompt": "a" * 2000}).encode()
        status, found, headers = served.ask(COMPLETIONS, content=body)
        assert (413, "close") == (status, headers["connection"])
        assert "the limit is 1000" in found["error"]["message"]
        with contextlib.closing(served.connect()) as connection:
            connection.putrequest("POST", COMPLETIONS)
            connection.putheader("Transfer-Encoding", "chunked")
            connection.endheaders(b"258\r\n%b\r\n" % body[:600] * 2)  # 600 bytes, twice, and no end
            assert 413 == connection.getresponse().status


@PROMISED
def test_with_a_key_only_health_responds_without_it() -> None:
    """Every other endpoint: status 401, for no key as for a wrong one."""
    with serving(ByteBackend(), key="secret") as served:
        for path in ("/metrics", "/v1/models", "/effective"):
            assert 401 == served.ask(path)[0]
        for headers in ({}, {"Authorization": "Bearer secre"}, {"Authorization": "Bearer secret\u00fc"}):
            assert 401 == served.ask(COMPLETIONS, {"prompt": "a"}, **headers)[0]
        assert 200 == served.ask("/health")[0]
        assert 200 == served.ask("/v1/models", Authorization="Bearer secret")[0]


@PROMISED
def test_no_more_requests_are_accepted_than_its_limit() -> None:
    """The next one gets status 503 and when to come back; when one has ended there is room again."""
    backend = ByteBackend(step_s=0.05)
    with serving(backend, limits=ServerLimits(requests=2)) as served:
        both = [
            threading.Thread(target=served.ask, args=(COMPLETIONS, {"prompt": "a", "max_tokens": 20}))
            for _ in range(2)
        ]
        for thread in both:
            thread.start()
        wait_until(lambda: backend.requests[0] == 2, "two requests")
        status, _, headers = served.ask(COMPLETIONS, {"prompt": "b", "max_tokens": 1})
        for thread in both:
            thread.join()

        assert (503, "1") == (status, headers["retry-after"])
        assert 200 == served.ask(COMPLETIONS, {"prompt": "b", "max_tokens": 1})[0]
        assert 'llmbench_requests_total{outcome="refused"} 1.0' in served.ask("/metrics")[1]
