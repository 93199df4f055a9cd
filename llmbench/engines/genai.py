"""OpenVINO GenAI's own pipeline, timed from the instants it keeps of each token.

In one ``raw_metrics`` object ``m_new_token_times`` are milliseconds on the clock of ``time.perf_counter``;
``token_infer_durations`` are microseconds (seen with GenAI 2026.4.1; a test holds both against our clock).
"""

import os
import time
from typing import Any

import numpy as np

from llmbench import measurement
from llmbench.config import RunConfig
from llmbench.engines.base import Generation, Request
from llmbench.engines.device import check_device, compile_properties, import_openvino
from llmbench.engines.native import caught_stdout, read_in_force
from llmbench.engines.tokenizer import Tokenizer
from llmbench.measurement import Finish
from llmbench.run import InForce
from llmbench.units import Nanoseconds, ns_from_ms, ns_from_us

_ALL_TOKENS_AT_ONCE = (1 << 63) - 1
_ATTENTION = {"pa": "PA", "sdpa": "SDPA"}


def _import_genai() -> Any:
    """The openvino_genai module, its property print-out switched on."""
    os.environ["OPENVINO_LOG_LEVEL"] = "2"
    import_openvino()
    import openvino_genai

    return openvino_genai


def _scheduler(genai: Any) -> Any:
    """A scheduler that prefills a prompt in one step and remembers no prefix; both differ from its defaults."""
    scheduler = genai.SchedulerConfig()
    scheduler.enable_prefix_caching = False
    scheduler.max_num_batched_tokens = _ALL_TOKENS_AT_ONCE
    return scheduler


def _inputs(genai: Any, input_ids: tuple[tuple[int, ...], ...]) -> Any:
    """Token ids as the pipeline takes them: left-padded, shape [batch, longest], with their mask."""
    openvino = import_openvino()
    longest = max(map(len, input_ids))
    ids = np.zeros((len(input_ids), longest), dtype=np.int64)
    mask = np.zeros_like(ids)
    for row, tokens in enumerate(input_ids):
        ids[row, longest - len(tokens) :] = tokens
        mask[row, longest - len(tokens) :] = 1
    return genai.TokenizedInputs(openvino.Tensor(ids), openvino.Tensor(mask))


class GenaiSession:
    """A loaded ``LLMPipeline``."""

    def __init__(self, config: RunConfig) -> None:
        self._genai = _import_genai()
        options: dict[str, Any] = dict(compile_properties(config))
        options["ATTENTION_BACKEND"] = _ATTENTION[config.attention]
        if config.attention == "pa":
            options["scheduler_config"] = _scheduler(self._genai)
        with caught_stdout() as caught:
            self._pipeline = self._genai.LLMPipeline(config.model, config.device, **options)
        self.in_force: InForce = read_in_force(caught.text)
        tokenizer = Tokenizer(self._pipeline.get_tokenizer())
        self.bos_id = tokenizer.bos_id
        self.encode = tokenizer.encode
        self.decode = tokenizer.decode

    def _generation_config(self, request: Request) -> Any:
        """Greedy search for exactly so many tokens, or up to them where the end of text may stop it."""
        config = self._genai.GenerationConfig()
        config.max_new_tokens = request.output_tokens
        config.ignore_eos = not request.stop_at_eos
        config.do_sample = False
        config.apply_chat_template = False
        return config

    def generate(self, request: Request) -> Generation:
        """One request, observed through the pipeline's own raw metrics."""
        inputs = _inputs(self._genai, request.input_ids)
        config = self._generation_config(request)
        generate = self._pipeline.generate
        start_ns = time.perf_counter_ns()
        result = generate(inputs, config)
        end_ns = time.perf_counter_ns()
        raw = result.perf_metrics.raw_metrics
        infer_ns = tuple(ns_from_us(duration) for duration in raw.token_infer_durations)
        return Generation(
            start_ns=Nanoseconds(start_ns),
            end_ns=Nanoseconds(end_ns),
            sequences=_sequences(request, result, raw),
            infer_ns=infer_ns if any(infer_ns) else (),
        )

    def close(self) -> None:
        """Let go of the pipeline."""
        del self._pipeline


def _sequences(request: Request, result: Any, raw: Any) -> tuple[measurement.Sequence, ...]:
    """Each sequence with the steps it lived through: a live one gets a token a step."""
    instants = tuple(ns_from_ms(at) for at in raw.m_new_token_times)
    sizes = tuple(int(size) for size in raw.m_batch_sizes)
    is_single = len(request.input_ids) == 1
    sequences = []
    for ids, tokens, reason in zip(request.input_ids, result.tokens, result.finish_reasons, strict=True):
        is_cut = "LENGTH" not in str(reason)
        sequences.append(
            measurement.Sequence(
                input_tokens=len(ids),
                at_ns=instants if is_single else instants[: len(tokens)],
                counts=sizes if is_single and set(sizes) != {1} else (),
                token_ids=tuple(int(token) for token in tokens),
                finish=Finish.STOP if is_cut else Finish.LENGTH,
            )
        )
    return tuple(sequences)


class GenaiEngine:
    """OpenVINO GenAI's ``LLMPipeline``, with paged attention or SDPA."""

    def check(self, config: RunConfig) -> None:
        """Refuse what the device cannot do, before anything is loaded."""
        check_device(config.device, compile_properties(config))

    def open(self, config: RunConfig) -> GenaiSession:
        """Load and compile the model."""
        return GenaiSession(config)
