"""A server under load: the Protocol, the table of servers that llmbench can start, and their processes.

A new server is a row of `SERVERS`: a function that returns its command. It is started in a process of its own in each
launch, is ready when it responds at its path with status 200, and is ended with everything that it started.
"""

import contextlib
import json
import os
import pkgutil
import shlex
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import IO, Any, Protocol

from llmbench.engines.servers.client import KEY_HINT, KEY_STATUSES, key_header
from llmbench.errors import InputError, LaunchError, MachineError
from llmbench.files.redaction import redacted_tail
from llmbench.schema.config import RunConfig

LOOPBACK = "127.0.0.1"
_POLL_S = 0.05
_GRACE_S = 5.0
_MODEL_HINT = "name the model with -m, or check the address"
# What becomes the server: it ends with its parent (prctl(2), PR_SET_PDEATHSIG) and uses these CPUs, or all.
# A program of its own, for a fork that goes on in Python may crash where the parent has threads.
_BECOME = """import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9)
if os.getppid() != int(sys.argv[1]):
    sys.exit(1)
if sys.argv[2]:
    os.sched_setaffinity(0, map(int, sys.argv[2].split(",")))
os.execvp(sys.argv[3], sys.argv[3:])
"""


class Server(Protocol):
    """A server of the OpenAI protocol that requests are sent to; by default nothing is known of its process."""

    @property
    def url(self) -> str:
        """Where it listens, without the path of an endpoint: ``http://127.0.0.1:8000``."""

    @property
    def pid(self) -> int | None:
        """Its process, whose descendants are its own too; ``None`` where that is not known."""

    def ended(self) -> str | None:
        """Return how it ended, in a sentence; ``None`` while it runs, or where that cannot be known."""
        return None

    def log(self) -> tuple[str, ...]:
        """Return the last lines that it printed, without secrets."""
        return ()

    def stop(self) -> None:
        """End it, and every process that it started."""


ServerCommand = Callable[[RunConfig, int], Sequence[str]]
"""The command that serves a configuration on a port of the loopback interface.

It may not wait for anything; it raises InputError for what the server cannot do.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerInfo:
    """One server that llmbench can start.

    *command* is a `ServerCommand`, as ``module:function`` below ``llmbench.engines``. *ready_path* responds with
    status 200 when the model is loaded. *packages* must be installed, which the *extra* brings.
    """

    title: str
    command: str
    ready_path: str = "/health"
    packages: tuple[str, ...] = ()
    extra: str = "load"

    def arguments(self, config: RunConfig, port: int) -> Sequence[str]:
        """Return the command line that serves a configuration on a port."""
        command: ServerCommand = pkgutil.resolve_name(f"llmbench.engines.{self.command}")
        return command(config, port)


SERVERS: dict[str, ServerInfo] = {
    "scripted": ServerInfo(title="the scripted server", command="servers.scripted:scripted_command"),
    "genai": ServerInfo(
        title="GenAI's continuous batching",
        command="servers.genai:genai_command",
        packages=("openvino", "openvino-genai", "starlette", "uvicorn", "prometheus-client"),
        extra="serve",
    ),
    "llama.cpp": ServerInfo(
        title="llama.cpp's own server",
        command="llama_cpp.server:llama_cpp_command",
        packages=("xllamacpp",),
        extra="llamacpp",
    ),
}
"""Every server that llmbench can start, by what ``--server`` calls it."""


class RemoteServer(Server):
    """A server that somebody else has started."""

    url, pid = "", None

    def __init__(self, url: str) -> None:
        self.url = checked_url(url)

    def stop(self) -> None:
        """Do nothing: it is not ours to end."""


class ServerProcess:
    """A server in a process of its own, and the file it prints to; it ends with the process that started it."""

    def __init__(self, arguments: Sequence[str], port: int, cpus: Collection[int] = ()) -> None:
        self.url = f"http://{LOOPBACK}:{port}"
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  it lives as long as the server
        self._last: tuple[str, ...] = ()
        if shutil.which(arguments[0]) is None:
            self._log.close()
            raise MachineError(
                f"the server {shlex.join(arguments)} cannot be started: there is no program {arguments[0]}",
                hint="check the command given to --server",
            )
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-I",
                "-S",
                "-c",
                _BECOME,
                str(os.getpid()),
                ",".join(map(str, cpus)),
                *arguments,
            ],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )
        self.pid: int | None = self._process.pid

    def ended(self) -> str | None:
        """Return how it ended, in a sentence; ``None`` while it runs."""
        code = self._process.poll()
        if code is None:
            return None
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return f"the server {how}"

    def log(self) -> tuple[str, ...]:
        """Return the last lines that it printed, without secrets."""
        if self._log.closed:
            return self._last
        return redacted_tail(self._log.fileno())

    def stop(self) -> None:
        """End it and what it started: TERM, and KILL to those that remain after a time of grace."""
        import psutil

        children: list[psutil.Process] = []
        with contextlib.suppress(psutil.NoSuchProcess):
            children = psutil.Process(self._process.pid).children(recursive=True)
        for signal_number in (signal.SIGTERM, signal.SIGKILL):
            self._process.send_signal(signal_number)
            for child in children:
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.send_signal(signal_number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=_GRACE_S)
            children = psutil.wait_procs(children, timeout=_GRACE_S)[1]
        self._last = self.log()
        self._log.close()


def start_server(config: RunConfig, cpus: Collection[int] = ()) -> Server:
    """Start the server of a configuration on some *cpus*, or take the one at its URL; it may not be ready yet.

    Raises:
        InputError: no such server, or something that it cannot do.
        MachineError: its command cannot be started.
    """
    server = config.server or ""
    if is_url(server):
        return RemoteServer(server)
    port = free_port()
    if server in SERVERS:
        return ServerProcess(SERVERS[server].arguments(config, port), port, cpus)
    return ServerProcess(_spelled_out(server, config, port), port, cpus)


def _spelled_out(command: str, config: RunConfig, port: int) -> list[str]:
    """The user's own command, with ``{port}`` and ``{model}`` replaced."""
    try:
        parts = shlex.split(command)
    except ValueError as error:
        raise InputError(
            f"--server {command!r} is not a command: {error}", hint="quote it as a shell does"
        ) from None
    if not any("{port}" in part for part in parts):
        raise InputError(
            f"--server {command!r} is neither a server that llmbench can start nor a command with {{port}}",
            hint=f"choose one of {', '.join(SERVERS)}, or write 'my-server --port {{port}} --model {{model}}'",
        )
    return [part.replace("{port}", str(port)).replace("{model}", config.model) for part in parts]


def ready_path(config: RunConfig) -> str:
    """Return the path that responds with status 200 when the server of a configuration is ready."""
    info = SERVERS.get(config.server or "")
    return info.ready_path if info else "/v1/models"


def wait_until_ready(server: Server, path: str, *, limit_s: float | None = None) -> float:
    """Return the seconds until the server responded at *path* with status 200.

    Raises:
        LaunchError: it ended, or was not ready within *limit_s* seconds.
        MachineError: its certificate is not trusted here.
    """
    began = time.monotonic()
    while (why := _unready(server, path)) is not None:
        how = server.ended()
        waited_s = time.monotonic() - began
        if how is None and (limit_s is None or waited_s < limit_s):
            time.sleep(_POLL_S)
            continue
        last = next((line for line in reversed(server.log()) if line.strip()), None)
        what = f"{server.url}{path} did not respond in {waited_s:.0f} s: {why}"
        raise LaunchError(
            f"{how} before it was ready" if how else what,
            hint=f"its last line: {last}" if last else f"try: curl {server.url}{path}",
        )
    return time.monotonic() - began


def _unready(server: Server, path: str) -> str | None:
    """Why it is not ready: no status 200, or of a server that runs already none at all; ``None`` where it is."""
    try:
        with _open(server.url + path, timeout_s=5) as response:
            status = int(response.status)
    except urllib.error.HTTPError as error:
        error.close()
        status = 200 if server.pid is None and error.code < 500 else error.code
    except (OSError, ValueError) as error:
        return str(getattr(error, "reason", error))
    return None if status == 200 else f"status {status}"


def _open(url: str, *, timeout_s: float) -> Any:
    """Return a server's response to a request like those of the load: with its key, and through no proxy."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        return opener.open(urllib.request.Request(url, headers=key_header()), timeout=timeout_s)  # noqa: S310  checked
    except urllib.error.URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            raise MachineError(
                f"the certificate at {url} is not trusted here: {error.reason.verify_message}",
                hint="export SSL_CERT_FILE=FILE.pem with the certificate that signed it",
            ) from None
        raise


def is_url(text: str) -> bool:
    """Return whether a text is meant as the address of a server."""
    return text.startswith(("http://", "https://"))


def checked_url(text: str) -> str:
    """Return the address of a server without an endpoint's path; raise InputError where it is none."""
    parts = urllib.parse.urlsplit(text)
    try:
        is_fine = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_fine = False
    if not is_fine:
        raise InputError(f"{text!r} is not the address of a server", hint="write --url http://127.0.0.1:8000")
    path = parts.path.rstrip("/")
    for end in ("/completions", "/chat", "/v1"):
        path = path.removesuffix(end)
    return f"{parts.scheme}://{parts.netloc}{path}"


def served_model(url: str) -> str:
    """Return the name of the first model that a server has.

    Raises:
        InputError: it lists none, or not to us.
        MachineError: it cannot be reached, or its certificate is not trusted here.
    """
    try:
        with _open(f"{url}/v1/models", timeout_s=10) as response:
            return str(json.load(response)["data"][0]["id"])
    except urllib.error.HTTPError as error:
        error.close()
        why = f"status {error.code} at /v1/models"
        hint = KEY_HINT if error.code in KEY_STATUSES else _MODEL_HINT
        raise InputError(f"the server at {url} does not name its model: {why}", hint=hint) from None
    except (KeyError, IndexError, TypeError, ValueError):
        why = "/v1/models has no list of models"
        raise InputError(f"the server at {url} does not name its model: {why}", hint=_MODEL_HINT) from None
    except OSError as error:
        raise MachineError(
            f"no server can be reached at {url}: {getattr(error, 'reason', error)}",
            hint="start it, or have llmbench start one with --server",
        ) from error


def free_port() -> int:
    """Return a port of the loopback interface that nothing listens at."""
    with socket.socket() as found:
        found.bind((LOOPBACK, 0))
        return int(found.getsockname()[1])


def own_python(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module of ours with this Python."""
    return [sys.executable, "-P", "-m", module, *arguments]
