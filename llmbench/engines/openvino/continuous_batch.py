"""GenAI's ``ContinuousBatchingPipeline``: requests join and leave between steps, and a step is timed when it ends.

It is the engine ``genai-batching``, whose batch is this many requests at once, and what ``llmbench serve`` serves. The
same scheduler serves `LLMPipeline` with paged attention, so that a single request takes as long as there.
"""

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmbench.engines.base import EngineRequest, Generation
from llmbench.engines.failures import engine_failures
from llmbench.engines.openvino.attention import prove_pipeline_attention
from llmbench.engines.openvino.device import compile_properties, import_openvino
from llmbench.engines.openvino.engine import OpenvinoEngine
from llmbench.engines.openvino.engine_log import caught_output, read_effective
from llmbench.engines.openvino.genai import generation_config, import_genai
from llmbench.engines.openvino.scheduler import build_scheduler
from llmbench.engines.openvino.tokenizer import TokenizedSession, Tokenizer
from llmbench.errors import LaunchError
from llmbench.schema import measurement
from llmbench.schema.config import RunConfig
from llmbench.schema.measurement import Finish
from llmbench.schema.run import EffectiveSettings
from llmbench.schema.units import Nanoseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOutput:
    """What a step gave a request: tokens, when the step ended, and why the request ended, if it did.

    *finish* is ``length``, ``stop``, or ``ignored`` where the KV cache has no room for the request.
    """

    token_ids: tuple[int, ...]
    at_ns: int
    finish: str | None = None


Receive = Callable[[StepOutput], None]
"""Takes what a step gave a request; it is called between two steps, so it may not wait."""


@dataclass(slots=True)
class _Member:
    handle: Any
    receive: Receive


class ContinuousBatch:
    """A loaded pipeline and the requests in it. One thread at a time may call it."""

    def __init__(self, config: RunConfig) -> None:
        self.genai = import_genai()
        self._config = config
        self._members: dict[int, _Member] = {}
        self._made = 0
        scheduler = build_scheduler(self.genai, config.scheduler)
        with caught_output() as logged, engine_failures("loading"):
            self._pipeline = self.genai.ContinuousBatchingPipeline(
                config.model, scheduler, config.device, compile_properties(config)
            )
        self._log = logged.text
        self.tokenizer = Tokenizer(self._pipeline.get_tokenizer())
        self._tensor = import_openvino().Tensor

    @functools.cached_property
    def effective(self) -> EffectiveSettings:
        """What the pipeline reported of itself while it was loaded, and what its IR shows of attention."""
        found = read_effective(self._log)
        return prove_pipeline_attention(found.attention, Path(self._config.model)).in_settings(found)

    @property
    def requests(self) -> int:
        """How many requests are in it."""
        return len(self._members)

    @property
    def cache_usage(self) -> float:
        """The share of the KV cache that is used, 0 to 1."""
        return float(self._pipeline.get_metrics().cache_usage) / 100

    def add(self, token_ids: Sequence[int], generation: Any, receive: Receive) -> int:
        """Add a request to the next step, and return its number."""
        import numpy as np

        number = self._made
        self._made += 1
        ids = self._tensor(np.array([token_ids], dtype=np.int64))
        self._members[number] = _Member(self._pipeline.add_request(number, ids, generation), receive)
        return number

    def cancel(self, number: int) -> None:
        """Take a request out; one that has ended already is no fault."""
        member = self._members.pop(number, None)
        if member is not None:
            member.handle.cancel()

    def step(self) -> None:
        """Make one step, and hand over what it gave each request."""
        self._pipeline.step()
        at_ns = time.perf_counter_ns()
        for number, member in list(self._members.items()):
            found = self._read(member.handle, at_ns)
            if found.finish is not None:
                del self._members[number]
            if found.finish is not None or found.token_ids:
                member.receive(found)

    def _read(self, handle: Any, at_ns: int) -> StepOutput:
        tokens: list[int] = []
        finish = None
        status = self.genai.GenerationStatus
        while handle.can_read():  # of an ignored request, nothing can be read for ever
            for output in handle.read().values():
                tokens += output.generated_ids
                if output.finish_reason != self.genai.GenerationFinishReason.NONE:
                    finish = output.finish_reason.name.lower()
            if handle.get_status() == status.IGNORED:
                break
        if handle.get_status() == status.IGNORED:
            finish = "ignored"
        elif finish is None and handle.get_status() == status.FINISHED:
            finish = "length"
        return StepOutput(token_ids=tuple(tokens), at_ns=at_ns, finish=finish)


@dataclass(slots=True)
class _Reply:
    """What came of one sequence so far."""

    token_ids: list[int]
    at_ns: list[int]
    counts: list[int]
    finish: str | None = None

    def receive(self, step: StepOutput) -> None:
        """Add what a step gave."""
        self.finish = step.finish
        if step.token_ids:
            self.token_ids += step.token_ids
            self.at_ns.append(step.at_ns)
            self.counts.append(len(step.token_ids))

    def as_sequence(self, given: Sequence[int]) -> measurement.Sequence:
        """Return it as it is recorded."""
        return measurement.Sequence(
            input_tokens=len(given),
            at_ns=tuple(map(Nanoseconds, self.at_ns)),
            counts=() if set(self.counts) <= {1} else tuple(self.counts),
            token_ids=tuple(self.token_ids),
            finish=Finish.STOP if self.finish == "stop" else Finish.LENGTH,
        )


class BatchingSession(TokenizedSession):
    """The pipeline as the session of a launch: the sequences of a request are added together, each on its own."""

    def __init__(self, config: RunConfig) -> None:
        self._config = config
        self._batch = ContinuousBatch(config)
        super().__init__(self._batch.tokenizer)

    @property
    def effective(self) -> EffectiveSettings:
        """What the pipeline reported of itself while it was loaded."""
        return self._batch.effective

    def generate(self, request: EngineRequest) -> Generation:
        """Make steps until each sequence has ended; a token's instant is the end of its step."""
        batch, generation = self._batch, generation_config(self._batch.genai, self._config, request)
        replies = [_Reply([], [], []) for _ in request.input_ids]
        steps = 0
        request.beat(0, time.perf_counter_ns())
        with engine_failures("generating"):
            start_ns = time.perf_counter_ns()
            for ids, reply in zip(request.input_ids, replies, strict=True):
                batch.add(ids, generation, reply.receive)
            while batch.requests:
                batch.step()
                steps += 1
                request.beat(steps, time.perf_counter_ns())
            end_ns = time.perf_counter_ns()
        if any(reply.finish == "ignored" for reply in replies):
            raise LaunchError(
                "the KV cache has no room for the request", hint="raise --cb-config cache_size=GB"
            )
        return Generation(
            start_ns=Nanoseconds(start_ns),
            end_ns=Nanoseconds(end_ns),
            sequences=tuple(
                reply.as_sequence(ids) for ids, reply in zip(request.input_ids, replies, strict=True)
            ),
        )


class BatchingEngine(OpenvinoEngine[BatchingSession]):
    """OpenVINO GenAI's ``ContinuousBatchingPipeline`` in this process."""

    session = BatchingSession

    def check(self, config: RunConfig) -> None:
        """Refuse what the pipeline or the device cannot do, before anything is loaded."""
        super().check(config)
        build_scheduler(import_genai(), config.scheduler)
