"""A scripted server in a process of its own, and what ``llmbench load`` measured of it."""

import contextlib
import json
import ssl
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from llmbench.engines.servers.base import ServerProcess, free_port, own_python, wait_until_ready
from llmbench.schema.measurement import Measurement
from llmbench.schema.run import Run
from tests.waiting import PATIENCE_S


@contextlib.contextmanager
def scripted_server(script: str) -> Iterator[ServerProcess]:
    """A server that is ready, and is ended behind the block."""
    port = free_port()
    server = ServerProcess(own_python("llmbench.engines.servers.scripted", script, str(port)), port)
    try:
        wait_until_ready(server, "/health", limit_s=PATIENCE_S)
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def replying_server(
    status: int, body: str = "", *, certificate: Path | None = None
) -> Iterator[tuple[str, list[str]]]:
    """A server that replies the same to every request: its address, and the keys that requests carried."""
    keys: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        """Replies, and notes the key."""

        def do_GET(self) -> None:
            """Reply."""
            keys.append(self.headers.get("Authorization", ""))
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(body.encode())

        do_POST = do_GET  # noqa: N815  http.server calls it so

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http{'s' * bool(certificate)}://127.0.0.1:{server.server_port}", keys
        finally:
            server.shutdown()
            thread.join()


def log_of(server: ServerProcess) -> list[dict[str, Any]]:
    """What the server itself noted of each request."""
    with urllib.request.urlopen(f"{server.url}/log") as response:  # noqa: S310  our own address
        found: list[dict[str, Any]] = json.load(response)
        return found


def measured(run: Run) -> list[Measurement]:
    """The measured requests of a run, those that failed included."""
    return [m for launch in run.launches for m in launch.measurements if not m.is_warmup]
