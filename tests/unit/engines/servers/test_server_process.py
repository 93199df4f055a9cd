import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from llmbench.engines.servers.base import (
    RemoteServer,
    ServerProcess,
    checked_url,
    free_port,
    served_model,
    start_server,
    wait_until_ready,
)
from llmbench.engines.servers.client import run_alone
from llmbench.engines.servers.session import split_cpus
from llmbench.errors import InputError, LaunchError, MachineError
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.run import Cpu, Topology
from tests.served import replying_server
from tests.waiting import PATIENCE_S, is_gone, wait_until

PROMPT = Prompt(set="synthetic", index=0, tokens=8)
LISTENING = (
    "import http.server, subprocess, sys; subprocess.Popen(['sleep', '600']); print('a secret: hf_abcdefghijklmnop');"
    "http.server.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), http.server.SimpleHTTPRequestHandler)"
    ".serve_forever()"
)


def config(server: str) -> RunConfig:
    return RunConfig(model="some model", prompts=(PROMPT,), server=server)


def test_command_is_ready_and_is_ended_with_what_it_started() -> None:
    """A command serves at its port until it is stopped, and nothing of it remains."""
    server = start_server(config(f'{sys.executable} -u -c "{LISTENING}" {{port}}'))

    waited_s = wait_until_ready(server, "/", limit_s=PATIENCE_S)
    assert server.pid is not None
    started = psutil.Process(server.pid).children()
    assert server.ended() is None
    server.stop()

    assert 0 < waited_s < PATIENCE_S
    assert [process for process in started if process.is_running()] == []
    assert server.ended() == "the server was killed by SIGTERM"


def test_command_that_ends_is_reported_with_its_last_line() -> None:
    """A server that ends before it is ready fails at once, and what it printed last is the hint."""
    server = ServerProcess([sys.executable, "-c", "print('no such model'); raise SystemExit(3)"], free_port())

    with pytest.raises(LaunchError, match="ended with exit code 3 before it was ready") as caught:
        wait_until_ready(server, "/", limit_s=PATIENCE_S)

    assert caught.value.hint == "its last line: no such model"
    server.stop()


def test_server_ends_with_the_process_that_started_it() -> None:
    """No server outlives a worker that was killed."""
    code = (
        "import os, signal, sys; from llmbench.engines.servers.base import ServerProcess;"
        "print(ServerProcess(['sleep', '600'], 1).pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    output = subprocess.run([sys.executable, "-c", code], check=False, stdout=subprocess.PIPE).stdout

    wait_until(lambda: not psutil.pid_exists(int(output)) or is_gone(psutil.Process(int(output))), "its end")


@pytest.mark.parametrize(
    ("server", "message"),
    [
        ("vllm", "neither a server that llmbench can start nor a command with {port}"),
        ("serve 'it --port {port}", "is not a command: No closing quotation"),
        ("http://", "is not the address of a server"),
        ("http://host:99999999", "is not the address of a server"),
    ],
)
def test_server_that_cannot_be_meant_is_refused(server: str, message: str) -> None:
    """Neither a name, nor a command with a port, nor an address."""
    with pytest.raises(InputError) as caught:
        start_server(config(server))

    assert message in caught.value.message


def test_missing_program_is_unfit_machine() -> None:
    """The first word of the command is no program here."""
    with pytest.raises(MachineError, match="cannot be started: there is no program no-such-program"):
        start_server(config("no-such-program {port}"))


def test_address_is_kept_without_the_path_of_an_endpoint() -> None:
    """Users paste the base URL of their client, with /v1 or without."""
    assert checked_url("http://host:8000/v1/") == "http://host:8000"
    assert checked_url("http://host:8000/v1/chat/completions") == "http://host:8000"
    assert checked_url("https://host/prefix/v1/completions") == "https://host/prefix"
    assert checked_url("https://host/prefix") == "https://host/prefix"
    assert RemoteServer("http://host:8000").pid is None


def test_client_has_a_core_of_its_own_where_there_are_enough() -> None:
    """Both hyper-threads of the last core; with three cores client and server share them."""
    cpus = tuple(Cpu(number=n, socket=0, core=n % 4) for n in range(8))

    assert ((3, 7), (0, 1, 2, 4, 5, 6)) == split_cpus(Topology(cpus=cpus, allowed=tuple(range(8))))
    assert ((), ()) == split_cpus(Topology(cpus=cpus, allowed=(0, 1, 2, 4, 5, 6)))


def test_server_uses_the_cpus_it_was_given() -> None:
    """Before its program begins, so that every thread of it is pinned."""
    cpu = min(os.sched_getaffinity(0))
    server = ServerProcess(["sleep", "60"], free_port(), (cpu,))
    assert server.pid is not None

    wait_until(lambda: psutil.Process(server.pid).name() == "sleep", "the program to begin")
    pinned = os.sched_getaffinity(server.pid)
    server.stop()

    assert {cpu} == pinned


@pytest.mark.parametrize(
    ("status", "body", "message", "hint"),
    [
        (401, "", "status 401 at /v1/models", "LLMBENCH_API_KEY"),
        (404, "{}", "status 404 at /v1/models", "name the model with -m"),
        (200, "<html>", "no list of models", "name the model with -m"),
        (200, '{"data":[]}', "no list of models", "name the model with -m"),
        (200, "[]", "no list of models", "name the model with -m"),
    ],
)
def test_server_that_names_no_model_is_refused(status: int, body: str, message: str, hint: str) -> None:
    """The reason, and what to do."""
    with replying_server(status, body) as (url, _), pytest.raises(InputError, match=message) as caught:
        served_model(url)

    assert hint in (caught.value.hint or "")


def test_server_is_read_with_the_key_and_through_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the requests of the load are made, whatever the environment says of proxies."""
    monkeypatch.setenv("LLMBENCH_API_KEY", "k")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with replying_server(200, '{"data":[{"id":"m"}]}') as (url, keys):
        assert "m" == served_model(url)

    assert ["Bearer k"] == keys


@pytest.mark.parametrize(("status", "is_ready"), [(200, True), (404, True), (401, True), (503, False)])
def test_server_that_runs_already_is_ready_where_it_responds(status: int, *, is_ready: bool) -> None:
    """It need not have a list of models; but one that is loading its model says 503."""
    with replying_server(status) as (url, _):
        refusal = pytest.raises(LaunchError, match="did not respond in 0 s: status 503")
        with contextlib.nullcontext() if is_ready else refusal:
            wait_until_ready(RemoteServer(url), "/v1/models", limit_s=0)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_certificate_of_ones_own_is_taken_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused with what to do, and then accepted by both clients."""
    file = tmp_path / "own.pem"
    key = (
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-keyout",
        str(file),
        "-out",
        "-",
    )
    name = ("-subj", "/CN=own", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2")
    made = subprocess.run(["openssl", "req", "-x509", *key, *name], capture_output=True, check=True)
    file.write_bytes(file.read_bytes() + made.stdout)
    with replying_server(200, '{"data":[{"id":"m"}]}', certificate=file) as (url, _):
        with pytest.raises(MachineError, match="is not trusted here") as caught:
            served_model(url)
        monkeypatch.setenv("SSL_CERT_FILE", str(file))

        assert "SSL_CERT_FILE" in (caught.value.hint or "")
        assert "m" == served_model(url)
        assert '{"data":[{"id":"m"}]}' == run_alone(url, lambda client: client.get("/v1/models"))
