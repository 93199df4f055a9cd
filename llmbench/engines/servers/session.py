"""The engine ``server``: a server that is started, or is there already, as the session of a launch."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from llmbench.engines.base import Codec, Engine, LoadedModel
from llmbench.engines.catalog import check_capabilities, check_packages
from llmbench.engines.servers.base import (
    SERVERS,
    Server,
    checked_url,
    is_url,
    ready_path,
    start_server,
    wait_until_ready,
)
from llmbench.engines.servers.client import Client, Connection, Dialect, find_dialect, run_alone
from llmbench.errors import InputError
from llmbench.files.package_data import check_installed
from llmbench.machine.topology import read_topology
from llmbench.schema.config import RunConfig
from llmbench.schema.run import EffectiveSettings, Topology
from llmbench.schema.units import format_list

LEAST_CORES = 4
"""Cores from which on the client has one of its own: with fewer the server would lose too much."""

_READY_S = 1200.0
_RESPONSE_S = 30.0
"""How long a server that runs already may take to respond at all."""
_LEAST_VOCABULARY_TEXT = "Tokens of a text"
_FIRST_TEXT = "The first request of a launch."


class LoadTarget(LoadedModel, Protocol):
    """What a load is made against: a server, or a model without one."""

    has_network: bool
    bos_id: int | None
    model: str

    @property
    def server(self) -> Server:
        """Its process."""

    @property
    def can_encode(self) -> bool:
        """Whether a text can be made token ids, and these a text."""

    def encode(self, text: str, *, chat: bool) -> tuple[int, ...]:
        """Token ids of a text; see `Codec`."""

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text of some token ids."""

    def find_dialect(self, endpoint: str) -> Dialect:
        """Return what it understands of the protocol; raise InputError where it has no such endpoint."""

    def connect(self, request_s: float | None) -> Connection:
        """Return what makes requests, with a limit for each first token and each later one."""

    async def count(self, connection: Connection, text: str) -> int | None:
        """Return the tokens of a text; ``None`` where no tokenizer is at hand."""

    def close(self) -> None:
        """End its process, where that was started here."""


class ServedEngine(Engine):
    """Starts the server of a configuration."""

    def check(self, config: RunConfig) -> None:
        """Refuse a server that there is not; see `Engine`."""
        check_capabilities(config)
        check_packages(config)
        server = config.server or ""
        if is_url(server):
            checked_url(server)
        elif server in SERVERS:
            info = SERVERS[server]
            check_installed(info.packages, user=info.title, extra=info.extra)
            info.arguments(config, 1)

    def open(self, config: RunConfig) -> "ServedSession":
        """Start the server and wait until it is ready."""
        client_cpus, server_cpus = ((), ()) if is_url(config.server or "") else split_cpus(read_topology())
        server = start_server(config, server_cpus)
        if client_cpus:
            os.sched_setaffinity(0, client_cpus)
        try:
            limit_s = _RESPONSE_S if is_url(config.server or "") else _READY_S
            wait_until_ready(server, ready_path(config), limit_s=limit_s)
            return ServedSession(config, server)
        except BaseException:
            server.stop()
            raise


def split_cpus(machine: Topology) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the CPUs of the client and those of the server: a core of its own for the client where there are enough.

    With fewer cores than `LEAST_CORES` both are empty: client and server share all CPUs.
    """
    allowed = [cpu for cpu in machine.cpus if cpu.number in machine.allowed]
    cores = sorted({(cpu.socket, cpu.core) for cpu in allowed})
    if len(cores) < LEAST_CORES:
        return (), ()
    client = tuple(cpu.number for cpu in allowed if (cpu.socket, cpu.core) == cores[-1])
    return client, tuple(cpu.number for cpu in allowed if cpu.number not in client)


def _pinned_note(server: Server) -> tuple[str, ...]:
    """A sentence where client and server are pinned to CPUs of their own."""
    cpus = os.sched_getaffinity(0)
    if server.pid is None or cpus & os.sched_getaffinity(server.pid):
        return ()
    return (f"the client is pinned to CPUs {format_list(cpus)}, the server to others",)


class ServedSession:
    """A server that is ready; its tokenizer is that of the server, or else of the model's files."""

    has_network = True
    bos_id: int | None = None

    def __init__(self, config: RunConfig, server: Server) -> None:
        self.config = config
        self.server = server
        pages = run_alone(server.url, _read_pages)
        self.model: str = _model_name(config, pages["models"])
        probe = self._text(_LEAST_VOCABULARY_TEXT)
        self._has_tokenizer = bool(run_alone(server.url, lambda client: client.post("/tokenize", probe)))
        self._local: Codec | None = None if self._has_tokenizer else _local_tokenizer(config)
        notes = (
            ()
            if self.can_encode
            else ("no tokenizer at hand: input lengths are those that the server reports",)
        )
        self.effective = EffectiveSettings(
            properties={name: str(value) for name, value in pages["effective"].get("properties", {}).items()},
            scheduler={name: str(value) for name, value in pages["effective"].get("scheduler", {}).items()},
            attention=pages["effective"].get("attention"),
            notes=(*_pinned_note(server), *notes),
        )

    @property
    def can_encode(self) -> bool:
        """Whether a text can be made token ids, and these a text."""
        return self._has_tokenizer or self._local is not None

    def _text(self, text: str) -> dict[str, Any]:
        """A text to encode, in the spellings of llama.cpp and of vLLM."""
        return {
            "model": self.model,
            "content": text,
            "prompt": text,
            "add_special": False,
            "add_special_tokens": False,
        }

    def encode(self, text: str, *, chat: bool) -> tuple[int, ...]:
        """Token ids of a text; see `Codec`."""
        if chat:
            raise InputError("a server applies its own chat template")
        if self._local is not None:
            return self._local.encode(text, chat=False)
        found = run_alone(self.server.url, lambda client: client.post("/tokenize", self._text(text)))
        return tuple(int(token) for token in (found or {}).get("tokens", ()))

    async def count(self, connection: Connection, text: str) -> int | None:
        """Return the tokens of a text; ``None`` where no tokenizer is at hand."""
        if self._local is not None:
            return len(self._local.encode(text, chat=False))
        found = await connection.post("/tokenize", self._text(text)) if self._has_tokenizer else None
        return len(found["tokens"]) if found else None

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text of some token ids."""
        if self._local is not None:
            return self._local.decode(token_ids)
        body = {"model": self.model, "tokens": list(token_ids)}
        found = run_alone(self.server.url, lambda client: client.post("/detokenize", body)) or {}
        return str(found.get("content", found.get("prompt", "")))

    def find_dialect(self, endpoint: str) -> Dialect:
        """Return what the server understands; see `find_dialect`."""
        ids = self.encode(_FIRST_TEXT, chat=False) if self.can_encode else ()

        async def find(client: Client) -> Dialect:
            return await find_dialect(client, self.model, endpoint=endpoint, text=_FIRST_TEXT, ids=ids)

        found: Dialect = run_alone(self.server.url, find)
        return found

    def connect(self, request_s: float | None) -> Client:
        """Return connections to the server."""
        return Client(self.server.url, request_s=request_s)

    def close(self) -> None:
        """End the server, if it was started here."""
        self.server.stop()


async def _read_pages(client: Client) -> dict[str, Any]:
    """What the server reports of itself: its models, and its effective settings where it has a page of them."""
    models, effective = await client.get("/v1/models"), await client.get("/effective")
    return {"models": _parsed(models), "effective": _parsed(effective)}


def _parsed(page: str | None) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(page or "{}")
    except msgspec.DecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _model_name(config: RunConfig, models: dict[str, Any]) -> str:
    """The name that requests carry: the configuration's where the server has it, else the server's first."""
    data = models.get("data")
    names = [str(each.get("id")) for each in data if isinstance(each, dict)] if isinstance(data, list) else []
    return config.model if config.model in names or not names else names[0]


def _local_tokenizer(config: RunConfig) -> Codec | None:
    """The tokenizer of the model's own files, where they are here."""
    if not Path(config.model).exists():
        return None
    from llmbench.engines.openvino.tokenizer import open_tokenizer

    return open_tokenizer(config)
