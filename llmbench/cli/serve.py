"""``llmbench serve``: the reference server of ``llmbench load``, on GenAI's continuous batching."""

import ipaddress
import logging
import os
import signal
import socket
from pathlib import Path
from typing import Any

import click

from llmbench.cli.messages import say
from llmbench.cli.model_source import prepared
from llmbench.cli.options.resolve import resolve_one
from llmbench.cli.options.table import option, parse_options
from llmbench.cli.options.types import Command
from llmbench.engines.catalog import find_engine
from llmbench.engines.servers.base import LOOPBACK, SERVERS
from llmbench.errors import InputError, LaunchError, MachineError
from llmbench.files.package_data import check_installed
from llmbench.schema.config import RunConfig

_KEY_VARIABLE = "LLMBENCH_API_KEY"
_GRACE_S = 30


@click.command(
    cls=Command,
    short_help="Serve a model to load tests.",
    epilog="""
    llmbench serve -m models/pytorch/dldt/INT8
    llmbench serve -m models --weight-format int8 --port 8001 --cb-config max_num_batched_tokens=256
    LLMBENCH_API_KEY=... llmbench serve -m models --host 0.0.0.0""",
)
@option("model", help="IR folder, or GGUF file.")
@option("weight_format", metavar="FORMAT", help="Which of several IRs below -m.")
@option("device", help="OpenVINO device.")
@option("load_config", help="OpenVINO properties.")
@option("cb_config", is_rare=False, help="GenAI's scheduler: max_num_batched_tokens=256.")
@option("kv_cache_precision", metavar="TYPE", help="KV_CACHE_PRECISION.")
@option("threads", type=click.IntRange(min=1), default=None, help="INFERENCE_NUM_THREADS.")
@option("no_verify", help="Skip checksum verification.")
@click.option("--host", default=LOOPBACK, help="Address to listen at; another than loopback needs a key.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, help="Port; 0 takes a free one.")
@click.option(
    "--api-key-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help=f"File with the key that requests must have.  [default: ${_KEY_VARIABLE}, or none]",
)
@click.option(
    "--max-requests",
    type=click.IntRange(min=1),
    default=256,
    help="Requests at once, waiting ones included; more get status 503.",
)
@click.option(
    "--max-body",
    type=click.IntRange(min=1),
    default=4096,
    metavar="KIB",
    help="Longest body of a request, in KiB.",
)
def command(
    *, host: str, port: int, api_key_file: Path | None, max_requests: int, max_body: int, **options: Any
) -> int:
    """Serve a model with the OpenAI protocol, for llmbench load and other load generators.

    It is a reference to measure against, no product: one model, text only, greedy unless a request has a temperature.
    Endpoints are /v1/completions, /v1/chat/completions, /v1/models, /tokenize, /detokenize, /metrics and /health.
    SIGTERM or Ctrl-C ends it once the requests under way have ended.
    """
    key = _read_key(api_key_file)
    if not _is_loopback(host) and key is None:
        raise InputError(
            f"--host {host} lets others in, and there is no key",
            hint=f"set {_KEY_VARIABLE}, give --api-key-file, or leave out --host",
        )
    given = {name: value for name, value in options.items() if value not in (None, ())}
    config = resolve_one(
        prepared(parse_options({**given, "engine": "genai-batching"})),
        refusal="serve takes one configuration; these options make a sweep",
    ).config
    find_engine(config.engine).check(config)
    check_installed(SERVERS["genai"].packages, user="serve", extra="serve")
    with _listen(host, port) as listener:
        _serve(config, listener, key=key, max_requests=max_requests, max_body=max_body)
    return 0


def _read_key(file: Path | None) -> str | None:
    """The key in a file, else in the environment; ``None`` where there is none."""
    key = os.environ.get(_KEY_VARIABLE, "") if file is None else file.read_text(encoding="utf-8")
    if file is not None and not key.strip():
        raise InputError(f"{file} contains no key", hint="write the key into it, in one line")
    return key.strip() or None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens, before a model is loaded for nothing."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise MachineError(
            f"cannot listen at {host}:{port}: {error.strerror}",
            hint="give another --port, or 0 for a free one",
        ) from error


def _serve(
    config: RunConfig, listener: socket.socket, *, key: str | None, max_requests: int, max_body: int
) -> None:
    """Load the model and serve it until a signal ends that; requests under way end first."""
    import uvicorn

    from llmbench.engines.servers.genai import GenaiBackend
    from llmbench.engines.servers.openai import OpenAiServer, ServerLimits

    say(f"loading {config.model}")
    backend = GenaiBackend(config, on_end=lambda: os.kill(os.getpid(), signal.SIGTERM))
    limits = ServerLimits(requests=max_requests, body_bytes=max_body << 10)
    server = uvicorn.Server(
        uvicorn.Config(
            OpenAiServer(backend, limits=limits, key=key).app,
            log_level="warning",
            access_log=False,
            timeout_keep_alive=120,
            timeout_graceful_shutdown=_GRACE_S,
            lifespan="off",
        )
    )
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # it warns of each write to a client that has gone
    for number in (signal.SIGINT, signal.SIGTERM):  # before uvicorn takes them, and when it raises them again
        signal.signal(number, lambda _number, _frame: setattr(server, "should_exit", True))
    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    say(f"serving {backend.name} at {url}{' with a key' if key else ''}; Ctrl-C ends it")
    server.run(sockets=[listener])
    fault = backend.close()
    if fault is not None:
        raise LaunchError(fault, hint="its last lines are above; was it out of memory?")
    say("ended; no request is under way")
