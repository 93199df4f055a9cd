"""The backend of ``llmbench serve``: GenAI's continuous batching, stepped by a thread of its own."""

import dataclasses
import json
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from llmbench.engines.failures import engine_words
from llmbench.engines.openvino.continuous_batch import ContinuousBatch, StepOutput
from llmbench.engines.servers.base import own_python
from llmbench.engines.servers.bodies import Sampling
from llmbench.engines.servers.request import Delivery
from llmbench.errors import InputError
from llmbench.models.resolve import find_model_info
from llmbench.schema.config import RunConfig

_NO_ROOM = "the KV cache has no room for the request"


@dataclasses.dataclass(slots=True)
class _Order:
    """A request on its way into the batch; *number* is its number there, *is_withdrawn* that nobody waits for it."""

    token_ids: Sequence[int]
    sampling: Sampling
    receive: Callable[[Delivery], None]
    started_ns: int = 0
    number: int | None = None
    is_withdrawn: bool = False

    def hand_over(self, step: StepOutput) -> None:
        """Pass on what a step gave."""
        is_ignored = step.finish == "ignored"
        self.receive(
            Delivery(
                token_ids=step.token_ids,
                at_ns=step.at_ns,
                started_ns=self.started_ns,
                finish="error" if is_ignored else step.finish,
                detail=_NO_ROOM if is_ignored else "",
            )
        )

    def fail(self, words: str) -> None:
        """Report that it ends with an error."""
        now_ns = time.perf_counter_ns()
        self.receive(Delivery(token_ids=(), at_ns=now_ns, started_ns=now_ns, finish="error", detail=words))


class GenaiBackend:
    """A model whose requests join and leave between steps; only its thread touches the pipeline."""

    def __init__(self, config: RunConfig) -> None:
        self._config = config
        self._batch = ContinuousBatch(config)
        self._arrivals: queue.SimpleQueue[_Order | None] = queue.SimpleQueue()
        self._orders: list[_Order] = []
        self._thread = threading.Thread(target=self._work, name="steps", daemon=True)
        self.name = Path(config.model).name
        self.context_tokens = find_model_info(
            config.model, engine="genai-batching", is_verified=False
        ).context_tokens
        self.vocabulary = self._batch.tokenizer.vocabulary
        self._thread.start()

    @property
    def requests(self) -> tuple[int, int]:
        """Requests that are computed, and requests that wait."""
        return len(self._orders), self._arrivals.qsize()

    @property
    def cache_usage(self) -> float:
        """The share of the KV cache that is used."""
        return self._batch.cache_usage

    @property
    def effective(self) -> Mapping[str, Any]:
        """The effective settings, as JSON holds them."""
        found: dict[str, Any] = msgspec.to_builtins(self._batch.effective)
        return found

    def encode(self, text: str) -> tuple[int, ...]:
        """Token ids of a text."""
        return self._batch.tokenizer.encode(text, chat=False)

    def encode_chat(self, messages: Sequence[Mapping[str, str]]) -> tuple[int, ...]:
        """Token ids of a chat under the model's template."""
        return self._batch.tokenizer.encode_messages(messages)

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text of some token ids."""
        return self._batch.tokenizer.decode(token_ids)

    def submit(
        self, token_ids: Sequence[int], sampling: Sampling, receive: Callable[[Delivery], None]
    ) -> Callable[[], None]:
        """Begin a request, and return what takes it out again."""
        order = _Order(token_ids, sampling, receive)
        self._arrivals.put(order)

        def withdraw() -> None:
            order.is_withdrawn = True

        return withdraw

    def close(self) -> None:
        """End the thread between two steps."""
        self._arrivals.put(None)
        self._thread.join()

    def _work(self) -> None:
        """Take in what has arrived, make a step, and again; wait where there is nothing to do."""
        while True:
            while not self._orders or not self._arrivals.empty():
                order = self._arrivals.get()
                if order is None:
                    return
                self._take_in(order)
            self._drop_withdrawn()
            if not self._orders:
                continue
            try:
                self._batch.step()
            except Exception as error:  # noqa: BLE001  the thread's boundary: the requests get it
                self._fail_all(engine_words(error))
            self._orders = [order for order in self._orders if self._batch.has(order.number)]

    def _take_in(self, order: _Order) -> None:
        if order.is_withdrawn:
            return
        order.started_ns = time.perf_counter_ns()
        try:
            order.number = self._batch.add(order.token_ids, self._generation(order.sampling), order.hand_over)
        except Exception as error:  # noqa: BLE001  as above: it belongs to this request alone
            order.fail(engine_words(error))
        else:
            self._orders.append(order)

    def _drop_withdrawn(self) -> None:
        for order in self._orders:
            if order.is_withdrawn and order.number is not None:
                self._batch.cancel(order.number)
        self._orders = [order for order in self._orders if not order.is_withdrawn]

    def _fail_all(self, words: str) -> None:
        for order in self._orders:
            if order.number is not None:
                self._batch.cancel(order.number)
            order.fail(words)

    def _generation(self, sampling: Sampling) -> Any:
        config = self._batch.genai.GenerationConfig()
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


def genai_command(config: RunConfig, port: int) -> list[str]:
    """Return the command that serves a configuration on a port of the loopback interface.

    Raises:
        InputError: a property that is no text, number or truth value.
    """
    options = ["-m", config.model, "-d", config.device, "--port", str(port)]
    if config.threads is not None:
        options += ["--threads", str(config.threads)]
    for name, values in (("-lc", config.properties), ("--cb-config", config.scheduler)):
        options += [name, json.dumps(dict(values))] if values else []
    if config.model == "":
        raise InputError("no model was given for the server", hint="-m MODEL: an IR folder or a GGUF file")
    return own_python("llmbench", "serve", *options)
