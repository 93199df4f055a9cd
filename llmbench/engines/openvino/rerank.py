"""OpenVINO GenAI's ``TextRerankPipeline``: it has no metrics of its own, so the clock is ours around each call."""

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path

from llmbench.engines.base import Reranked
from llmbench.engines.failures import engine_failures
from llmbench.engines.openvino.device import check_device, compile_properties
from llmbench.engines.openvino.engine_log import caught_output, read_effective
from llmbench.engines.openvino.genai import import_genai
from llmbench.engines.openvino.tokenizer import Tokenizer, open_tokenizer
from llmbench.errors import InputError
from llmbench.models.context import context_of_config
from llmbench.schema.config import RunConfig
from llmbench.schema.units import Nanoseconds

_ALL = 1 << 20
"""Texts returned at most; the pipeline's own default is 3."""


class RerankSession:
    """A loaded ``TextRerankPipeline``."""

    def __init__(self, config: RunConfig) -> None:
        genai = import_genai()
        pipeline_config = genai.TextRerankPipeline.Config()
        pipeline_config.top_n = _ALL
        longest = context_of_config(Path(config.model) / "config.json")
        if longest is not None:  # a tokenizer may allow more than the model has positions for
            pipeline_config.max_length = longest
        with caught_output() as logged, engine_failures("loading"):
            self._pipeline = genai.TextRerankPipeline(
                config.model, config.device, pipeline_config, **compile_properties(config)
            )
        # as of an embedding model, an encoder has no KV cache that would make its attention a choice
        self.effective = dataclasses.replace(read_effective(logged.text), attention=None)
        self._tokenizer = open_tokenizer(config)

    def count_tokens(self, text: str) -> int:
        """How many tokens the model reads of a text, special ones included."""
        return len(self._tokenizer.encode(text, chat=False))

    def rerank(self, query: str, texts: Sequence[str]) -> Reranked:
        """Judge all texts in one call, tokenization inside."""
        given = list(texts)
        with engine_failures("reranking"):
            start_ns = time.perf_counter_ns()
            ranks = self._pipeline.rerank(query, given)
            end_ns = time.perf_counter_ns()
        return Reranked(
            start_ns=Nanoseconds(start_ns), end_ns=Nanoseconds(end_ns), ranks=tuple(map(tuple, ranks))
        )

    def close(self) -> None:
        """Let go of the pipeline."""
        del self._pipeline


class RerankEngine:
    """Loads text reranking models (cross-encoders)."""

    def check(self, config: RunConfig) -> None:
        """Refuse what the pipeline or the device cannot do, before anything is loaded."""
        if config.generation:
            raise InputError(
                f"{', '.join(config.generation)}: a text reranking model generates no text",
                hint="leave such options out, or measure a language model without -t",
            )
        check_device(config.device, compile_properties(config))

    def open_tokenizer(self, config: RunConfig) -> Tokenizer:
        """Return the tokenizer beside the model."""
        return open_tokenizer(config)

    def open(self, config: RunConfig) -> RerankSession:
        """Load and compile the model."""
        return RerankSession(config)
