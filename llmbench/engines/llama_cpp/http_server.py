"""llama.cpp's own HTTP server on the loopback interface, in a process of its own: ``load --server llama.cpp``.

``python -m llmbench.engines.llama_cpp.http_server PARAMETERS PORT`` takes JSON and ends on SIGTERM.
"""

import os
import signal
import sys

import msgspec

from llmbench.engines.llama_cpp.server import ServerParameters, check_properties, make_parameters
from llmbench.engines.servers.base import LOOPBACK, own_python
from llmbench.errors import InputError
from llmbench.models.locate import locate
from llmbench.schema.config import RunConfig

_SLOTS = 8
"""Requests that are computed at once where the load has no limit of its own."""

_CONNECTIONS = 128
"""A connection takes a thread of the server for as long as it is open."""

_LEAST_CONTEXT = 4096


def llama_cpp_command(config: RunConfig, port: int) -> list[str]:
    """Return the command that serves a GGUF file on a port of the loopback interface.

    All slots share one KV cache, with room for twice the expected length in each.

    Raises:
        InputError: no GGUF file, or a property that llama.cpp does not have.
        MachineError: the package is not installed.
    """
    model = locate(config.model)
    if model.kind != "gguf":
        raise InputError(f"llama.cpp needs a GGUF file; {model.path} is an IR", hint="give -m FILE.gguf")
    check_properties(config.properties)
    slots = config.concurrency or _SLOTS
    found = ServerParameters.of(config, slots=slots)
    context = max(2 * found.context_tokens, _LEAST_CONTEXT)
    parameters = msgspec.structs.replace(found, context_tokens=context, is_shared=True)
    return own_python(__name__, msgspec.json.encode(parameters).decode(), str(port))


def main() -> None:
    """Load the model, listen, and wait for a signal."""
    import xllamacpp

    parameters = make_parameters(xllamacpp, msgspec.json.decode(sys.argv[1], type=ServerParameters))
    parameters.hostnames, parameters.port = [LOOPBACK], int(sys.argv[2])
    parameters.endpoint_metrics, parameters.n_threads_http = True, _CONNECTIONS
    signals = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    kept = xllamacpp.Server(parameters)
    signal.sigwait(signals)
    del kept
    os._exit(0)


if __name__ == "__main__":
    main()
