"""OpenVINO GenAI's pipeline for vision-language models, and where the wait for its first token went.

The durations of ``vlm_raw_metrics`` are microseconds. ``prepare_embeddings`` covers tokenization, the vision encoder,
the embedding of the text, and the merge of both. -1 is no value, and neither are the 5 us of vision encoder that a
prompt without images reports (seen with GenAI 2026.4.1).
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llmbench.engines.base import EngineRequest, Generation, Question
from llmbench.engines.failures import timed
from llmbench.engines.openvino.device import import_openvino
from llmbench.engines.openvino.genai import GenaiEngine, GenaiSession, generation_config
from llmbench.engines.openvino.raw_metrics import read_counters
from llmbench.errors import LaunchError
from llmbench.schema import measurement
from llmbench.schema.config import RunConfig
from llmbench.schema.measurement import Finish, Stage, StageSource
from llmbench.schema.units import Nanoseconds, ns_from_ms, ns_from_us


class GenaiVisionSession(GenaiSession):
    """A loaded ``VLMPipeline``, and the chat that it is in."""

    def __init__(self, config: RunConfig) -> None:
        super().__init__(config)
        self._chat: Any = None

    def _load(self, options: Mapping[str, Any]) -> Any:
        return self._genai.VLMPipeline(self._config.model, self._config.device, **options)

    def generate(self, request: EngineRequest) -> Generation:
        """One question, observed through the pipeline's own raw metrics."""
        question = request.question
        if question is None:
            raise LaunchError("a vision-language model takes a prompt as text, not as token ids")
        prompt, options = self._prompt(question), self._options(request, question)
        collector = _collector(self._genai, request)
        start_ns, result, end_ns = timed(
            "generating", self._pipeline.generate, prompt, streamer=collector, **options
        )
        if question.is_chat:
            self._chat.append({"role": "assistant", "content": result.texts[0]})
        metrics = result.perf_metrics
        infer_ns = self._infer_ns(metrics.get_num_input_tokens(), metrics.raw_metrics)
        return Generation(
            start_ns=start_ns,
            end_ns=end_ns,
            sequences=(_sequence(request, result, collector.token_ids),),
            infer_ns=infer_ns,
            callback_ns=tuple(map(Nanoseconds, collector.at_ns)) if self._config.is_streamed else (),
            counters=read_counters(metrics.raw_metrics, metrics.get_num_generated_tokens()),
            stages=tuple(_stages(metrics, infer_ns, has_images=bool(question.images))),
        )

    def _prompt(self, question: Question) -> Any:
        """The text, or the chat so far with it at its end.

        A pipeline that has seen a chat adds the next text to it, unless the chat is finished.
        """
        if self._chat is not None and not question.is_later:
            self._pipeline.finish_chat()
            self._chat = None
        if not question.is_chat:
            return question.text
        if self._chat is None:
            self._chat = self._genai.ChatHistory()
        self._chat.append({"role": "user", "content": question.text})
        return self._chat

    def _options(self, request: EngineRequest, question: Question) -> dict[str, Any]:
        tensor = import_openvino().Tensor
        config = generation_config(self._genai, self._config, request)
        config.apply_chat_template = self._config.apply_chat_template or question.is_chat
        return {"images": [tensor(pixels[None]) for pixels in question.images], "generation_config": config}


def _collector(genai: Any, request: EngineRequest) -> Any:
    """A streamer that keeps token ids and when they came, because the result of the pipeline has its text only."""

    class Collector(genai.StreamerBase):  # type: ignore[misc]
        """A streamer that records ids and instants (ns), chunk by chunk."""

        def __init__(self) -> None:
            super().__init__()
            self.token_ids: list[int] = []
            self.at_ns: list[int] = []

        def write(self, token: int | Sequence[int]) -> Any:
            """Record one token or several that came at once; go on."""
            self.at_ns.append(time.perf_counter_ns())
            self.token_ids += [token] if isinstance(token, int) else token
            request.beat(len(self.token_ids), self.at_ns[-1])
            return genai.StreamingStatus.RUNNING

        def end(self) -> None:
            """Nothing is left over."""

    return Collector()


def _sequence(request: EngineRequest, result: Any, token_ids: Sequence[int]) -> measurement.Sequence:
    metrics = result.perf_metrics
    at_ns = tuple(ns_from_ms(at) for at in metrics.raw_metrics.m_new_token_times)
    is_whole = len(at_ns) == request.output_tokens
    return measurement.Sequence(
        input_tokens=int(metrics.get_num_input_tokens()),
        at_ns=at_ns,
        token_ids=tuple(token_ids),
        finish=Finish.LENGTH if is_whole else Finish.STOP,
    )


def _stages(metrics: Any, infer_ns: Sequence[int], *, has_images: bool) -> Iterator[Stage]:
    """The parts of the wait for the first token, by the engine's counters."""
    raw = metrics.vlm_raw_metrics
    tokenization = _total_ns(metrics.raw_metrics.tokenization_durations)
    vision = _total_ns(raw.vision_encoding_durations) if has_images else None
    prepare = _total_ns(raw.prepare_embeddings_durations)
    embedding = None if prepare is None else max(0, prepare - (vision or 0) - (tokenization or 0))
    found = {
        "tokenization": tokenization,
        "vision_encoder": vision,
        "text_embedding": embedding,
        "prefill": infer_ns[0] if infer_ns else None,
    }
    for name, duration in found.items():
        if duration is not None:
            yield Stage(name=name, duration_ns=duration, source=StageSource.ENGINE)


def _total_ns(durations: Sequence[float]) -> int | None:
    """The sum of durations in microseconds; ``None`` where there is none, or one is -1, which stands for none."""
    found = list(durations)
    return ns_from_us(sum(found)) if found and min(found) >= 0 else None


class GenaiVisionEngine(GenaiEngine):
    """OpenVINO GenAI's ``VLMPipeline``, with paged attention or SDPA."""

    session = GenaiVisionSession
