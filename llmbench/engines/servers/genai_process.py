"""The process of our server that computes: GenAI's continuous batching, step by step, and nothing beside it.

A step keeps Python's interpreter lock (GenAI 2026.4.1), so in the process of the server no token could be sent while
the next one is computed. ``python -m llmbench.engines.servers.genai_process DESCRIPTOR CONFIG`` speaks MessagePack over
a socket pair; it ends when the other end is closed.
"""

import os
import signal
import sys
import time
from multiprocessing.connection import Connection
from typing import Any

import msgspec

from llmbench.engines.failures import engine_words
from llmbench.engines.openvino.continuous_batch import ContinuousBatch, StepOutput
from llmbench.engines.servers.request import Delivery, Sampling
from llmbench.errors import LlmbenchError
from llmbench.schema.config import RunConfig

_NO_ROOM = "the KV cache has no room for the request"


class Begin(msgspec.Struct, tag=True):
    """A request, under a number of the server's."""

    number: int
    token_ids: tuple[int, ...]
    sampling: Sampling


class Withdraw(msgspec.Struct, tag=True):
    """Nobody waits for a request any more."""

    number: int


class ModelReady(msgspec.Struct, tag=True):
    """The model is loaded; *effective* are its settings."""

    effective: dict[str, Any]


class ModelFailed(msgspec.Struct, tag=True):
    """The model cannot be loaded; the fields are those of an error of llmbench."""

    message: str
    hint: str | None
    exit_code: int


class StepEnded(msgspec.Struct, tag=True):
    """What a step gave each request, by its number, and the share of the KV cache that is used."""

    delivered: list[tuple[int, Delivery]]
    cache_usage: float


_ORDERS = msgspec.msgpack.Decoder(Begin | Withdraw)
_ENCODER = msgspec.msgpack.Encoder()


class _Loop:
    """Takes in what has arrived, makes a step, sends what it gave, and again."""

    def __init__(self, batch: ContinuousBatch, pipe: Connection) -> None:
        self._batch, self._pipe = batch, pipe
        self._members: dict[int, int] = {}
        self._delivered: list[tuple[int, Delivery]] = []

    def run(self) -> None:
        """Work until the other end is closed."""
        while True:
            while not self._batch.requests or self._pipe.poll():
                self._take(_ORDERS.decode(self._pipe.recv_bytes()))
                self._send()
            try:
                self._batch.step()
            except RuntimeError as error:
                self._fail_all(engine_words(error))
            self._send()

    def _take(self, order: Begin | Withdraw) -> None:
        if isinstance(order, Withdraw):
            self._batch.cancel(self._members.pop(order.number, -1))
            return
        started_ns = time.perf_counter_ns()

        def receive(found: StepOutput) -> None:
            is_ignored = found.finish == "ignored"
            delivery = Delivery(
                token_ids=found.token_ids,
                at_ns=found.at_ns,
                started_ns=started_ns,
                finish="error" if is_ignored else found.finish,
                detail=_NO_ROOM if is_ignored else "",
            )
            self._deliver(order.number, delivery)

        try:
            generation = _generation(self._batch.genai, order.sampling)
            self._members[order.number] = self._batch.add(order.token_ids, generation, receive)
        except RuntimeError as error:
            self._deliver(order.number, Delivery.failed(engine_words(error), started_ns))

    def _deliver(self, number: int, delivery: Delivery) -> None:
        if delivery.finish is not None:
            self._members.pop(number, None)
        self._delivered.append((number, delivery))

    def _fail_all(self, words: str) -> None:
        for number, member in list(self._members.items()):
            self._batch.cancel(member)
            self._deliver(number, Delivery.failed(words))

    def _send(self) -> None:
        if self._delivered:
            self._pipe.send_bytes(_ENCODER.encode(StepEnded(self._delivered, self._batch.cache_usage)))
            self._delivered = []


def _generation(genai: Any, sampling: Sampling) -> Any:
    config = genai.GenerationConfig()
    config.max_new_tokens = sampling.output_tokens
    config.min_new_tokens = min(sampling.min_tokens, sampling.output_tokens or sampling.min_tokens)
    config.ignore_eos = sampling.ignores_end
    config.apply_chat_template = False
    config.stop_strings = set(sampling.stops)
    config.do_sample = sampling.temperature > 0
    if sampling.temperature > 0:
        config.rng_seed = sampling.seed
        config.temperature = sampling.temperature
        config.top_p = sampling.top_p
        if sampling.top_k is not None:
            config.top_k = sampling.top_k
    return config


def main() -> None:
    """Load the model, say so, and compute until the other end is closed, which a signal to the server does."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    pipe = Connection(int(sys.argv[1]))
    try:
        batch = ContinuousBatch(msgspec.json.decode(sys.argv[2], type=RunConfig))
    except LlmbenchError as error:
        failed = ModelFailed(message=error.message, hint=error.hint, exit_code=int(error.exit_code))
        pipe.send_bytes(_ENCODER.encode(failed))
        os._exit(1)
    pipe.send_bytes(_ENCODER.encode(ModelReady(effective=msgspec.to_builtins(batch.effective))))
    try:
        _Loop(batch, pipe).run()
    except (EOFError, ConnectionError):
        os._exit(0)


if __name__ == "__main__":
    main()
