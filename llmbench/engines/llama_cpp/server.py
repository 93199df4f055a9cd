"""llama.cpp's own server: in this process, or listening in one of its own for ``load --server llama.cpp``.

The package ``xllamacpp`` is that server as a library (2026.10; extra ``llamacpp``). In this process it listens on a
socket of the file system, which no other process can open: once it is open, its name is removed, and what connects goes
by a descriptor. ``python -m llmbench.engines.llama_cpp.server PARAMETERS PORT`` takes JSON, listens on the loopback
interface, and ends on SIGTERM.
"""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from llmbench.engines.failures import engine_error
from llmbench.engines.openvino.engine_log import Caught, caught_output
from llmbench.engines.servers.base import LOOPBACK, own_python
from llmbench.errors import InputError
from llmbench.machine.topology import read_topology
from llmbench.models.gguf import read_gguf_header
from llmbench.models.locate import locate
from llmbench.schema.config import PropertyValue, RunConfig

_SLOTS = 8
"""Requests that are computed at once where the load has no limit of its own."""

_CONNECTIONS = 128
"""A connection takes a thread of the server for as long as it is open."""

_LEAST_CONTEXT = 4096

_TEMPLATE_TOKENS = 256
"""Room for what a chat template adds to a turn."""

_ERROR_LINE = re.compile(r"^[\d.]+ E [^:]*: (?P<words>.+)$", re.MULTILINE)
"""What the server prints of an error; the first is the cause of the others."""

_LOG_S = 0.5
"""A thread of the server's own prints its errors, a moment later."""

_CACHE_TYPES = ("f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0")
_SWITCH = {"on": "ENABLED", "off": "DISABLED", "auto": "AUTO"}
_INTEGERS = ("n_batch", "n_ubatch")
_PROPERTIES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(_INTEGERS, ()),
    "cache_type_k": _CACHE_TYPES,
    "cache_type_v": _CACHE_TYPES,
    "flash_attn": tuple(_SWITCH),
}
"""What ``-lc`` may set, under the names of llama.cpp's own options, and the values; without values, integers."""


def check_properties(properties: Mapping[str, PropertyValue]) -> None:
    """Refuse what ``-lc`` cannot set, or a value that it does not take."""
    for name, value in properties.items():
        if name not in _PROPERTIES:
            raise InputError(
                f"llama.cpp has no property {name!r}",
                hint=f"-lc of llama.cpp sets {', '.join(_PROPERTIES)}; threads are --threads",
            )
        values = _PROPERTIES[name]
        is_fitting = value in values if values else type(value) is int and value > 0
        if not is_fitting:
            expected = f"one of {', '.join(values)}" if values else "a positive integer"
            raise InputError(
                f"llama.cpp's {name} does not take {value!r}; it takes {expected}", hint="correct -lc"
            )


def _threads(config: RunConfig) -> int:
    """Return the threads requested, else one for each core of this process; its own default knows no affinity."""
    machine = read_topology()
    cores = {(cpu.socket, cpu.core) for cpu in machine.cpus if cpu.number in machine.allowed}
    return config.threads or len(cores) or os.cpu_count() or 1


def _context_tokens(config: RunConfig) -> int:
    """Return room for the longest request; a token is at least a byte of text. At most the model's own context."""
    rooms = []
    for prompt in config.prompts:
        texts = (*(prompt.earlier or ()), prompt.text) if prompt.text is not None else ()
        text_tokens = sum(len(text.encode()) + _TEMPLATE_TOKENS + config.output_tokens for text in texts)
        rooms.append((prompt.tokens or 0) + config.output_tokens + text_tokens)
    limit = read_gguf_header(Path(config.model)).context_tokens
    is_limited = limit is not None and not config.ignores_context_limit
    return min(max(rooms), limit) if is_limited and limit is not None else max(rooms)


class ServerParameters(msgspec.Struct, frozen=True):
    """What a server is started with: *context_tokens* for each of its *slots*, together or (*is_shared*) in one."""

    model: str
    threads: int
    slots: int
    context_tokens: int
    properties: dict[str, PropertyValue]
    is_shared: bool = False

    @classmethod
    def of(cls, config: RunConfig, *, slots: int) -> "ServerParameters":
        """Return those of a configuration."""
        return cls(
            model=config.model,
            threads=_threads(config),
            slots=slots,
            context_tokens=_context_tokens(config),
            properties=dict(config.properties),
        )


def make_parameters(library: Any, wanted: ServerParameters) -> Any:
    """Return the library's parameters: nothing is kept of a prompt, and nothing is adapted to the machine."""
    found = library.CommonParams()
    found.model.path = wanted.model
    found.verbosity, found.ui, found.endpoint_slots = 1, False, False
    found.cache_prompt, found.cache_ram_mib, found.n_ctx_checkpoints, found.fit_params = False, 0, 0, False
    found.n_parallel, found.kv_unified = wanted.slots, wanted.is_shared
    found.n_ctx = wanted.context_tokens * wanted.slots
    found.cpuparams.n_threads = found.cpuparams_batch.n_threads = wanted.threads
    for name, value in wanted.properties.items():
        if name in _INTEGERS:
            setattr(found, name, value)
        elif name == "flash_attn":
            kind = library.llama_flash_attn_type
            found.flash_attn_type = getattr(kind, f"LLAMA_FLASH_ATTN_TYPE_{_SWITCH[str(value)]}")
        else:
            setattr(found, name, getattr(library.ggml_type, f"GGML_TYPE_{str(value).upper()}"))
    return found


@contextlib.contextmanager
def _loading() -> Iterator[None]:
    """Name the cause of a failure, which the server only prints."""
    printed = Caught()
    try:
        with caught_output(2) as printed:
            try:
                yield
            except RuntimeError:
                time.sleep(_LOG_S)
                raise
    except RuntimeError as error:
        cause = _ERROR_LINE.search(printed.text)
        raise engine_error(RuntimeError(cause["words"] if cause else str(error)), "loading") from error


def _instructions(system_info: str) -> tuple[str, ...]:
    """The sets of instructions that the library was built for: ``AVX2 = 1 | FMA = 1`` says two."""
    pairs = (part.partition("=") for part in system_info.partition(":")[2].split("|"))
    return tuple(name.strip() for name, _, value in pairs if value.strip() == "1")


@contextlib.contextmanager
def _opened(folder: str) -> Iterator[str]:
    """Yield a short name of an open folder: the path of a socket has at most 107 bytes."""
    descriptor = os.open(folder, os.O_PATH)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


class _Connection(http.client.HTTPConnection):
    """A connection to the server's socket, by the descriptor that is left of it."""

    def __init__(self, descriptor: int) -> None:
        super().__init__("localhost")
        self._path = f"/proc/self/fd/{descriptor}"

    def connect(self) -> None:
        """Connect."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)


class LocalServer:
    """The server with a loaded model; each request has a connection of its own, for it closes one after a stream."""

    def __init__(self, config: RunConfig) -> None:
        import xllamacpp

        with tempfile.TemporaryDirectory(prefix="llmbench-") as folder, _opened(folder) as location:
            address = f"{location}/llama.sock"
            wanted = ServerParameters.of(config, slots=config.batch_size)
            self.parameters = make_parameters(xllamacpp, wanted)
            self.parameters.hostnames, self.parameters.n_threads_http = [address], 2
            with _loading():
                self._server = xllamacpp.Server(self.parameters)
            self._descriptor = os.open(address, os.O_PATH)
        self.instructions = _instructions(xllamacpp.get_system_info())

    def connect(self) -> http.client.HTTPConnection:
        """Return an open connection."""
        connection = _Connection(self._descriptor)
        connection.connect()
        return connection

    def ask(self, path: str, content: object | None = None) -> Any:
        """Return the JSON of a short response, to a POST where there is content."""
        with contextlib.closing(self.connect()) as connection:
            body = None if content is None else json.dumps(content)
            connection.request("GET" if content is None else "POST", path, body)
            return checked(json.load(connection.getresponse()))


def checked(response: Any) -> Any:
    """Return a response; raise RuntimeError where it is the server's account of an error."""
    if "error" in response:
        raise RuntimeError(response["error"].get("message", response["error"]))
    return response


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
