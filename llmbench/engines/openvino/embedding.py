"""OpenVINO GenAI's ``TextEmbeddingPipeline``: it has no metrics of its own, so the clock is ours around each call."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from llmbench.engines.base import Embedded
from llmbench.engines.failures import engine_failures
from llmbench.engines.openvino.device import check_device, compile_properties
from llmbench.engines.openvino.engine_log import caught_output, read_effective
from llmbench.engines.openvino.genai import import_genai
from llmbench.engines.openvino.tokenizer import Tokenizer, open_tokenizer
from llmbench.errors import InputError
from llmbench.models.embedding import embedding_use
from llmbench.models.manifest import EmbeddingUse
from llmbench.schema.config import RunConfig
from llmbench.schema.units import Nanoseconds


class EmbeddingSession:
    """A loaded ``TextEmbeddingPipeline``; pooling and normalization are set, never left to its defaults."""

    def __init__(self, config: RunConfig) -> None:
        genai = import_genai()
        self.use = embedding_use(Path(config.model), config.parameters)
        with caught_output() as logged, engine_failures("loading"):
            self._pipeline = genai.TextEmbeddingPipeline(
                config.model, config.device, _pipeline_config(genai, self.use), **compile_properties(config)
            )
        longest = "" if self.use.max_tokens is None else f", texts cut at {self.use.max_tokens} tokens"
        normal = "normalized" if self.use.is_normalized else "not normalized"
        notes = (f"vectors: {self.use.pooling} pooling, {normal}{longest}",)
        # the log calls every network that is not paged SDPA; an encoder has no KV cache to choose it for
        self.effective = dataclasses.replace(read_effective(logged.text, notes=notes), attention=None)
        self._tokenizer = open_tokenizer(config)

    def count_tokens(self, text: str) -> int:
        """How many tokens the model reads of a text, special ones included."""
        return len(self._tokenizer.encode(text, chat=False))

    def embed(self, texts: Sequence[str]) -> Embedded:
        """Embed documents in one call, tokenization inside."""
        return _timed(self._pipeline.embed_documents, list(texts))

    def embed_query(self, text: str) -> Embedded:
        """Embed one question, with the instruction that the model has for questions."""
        found = _timed(self._pipeline.embed_query, text)
        return Embedded(start_ns=found.start_ns, end_ns=found.end_ns, vectors=(found.vectors,))  # type: ignore[arg-type]

    def close(self) -> None:
        """Let go of the pipeline."""
        del self._pipeline


def _pipeline_config(genai: Any, use: EmbeddingUse) -> Any:
    kinds = genai.TextEmbeddingPipeline.PoolingType
    config = genai.TextEmbeddingPipeline.Config()
    config.pooling_type = getattr(kinds, use.pooling.upper())
    config.normalize = use.is_normalized
    if use.max_tokens is not None:
        config.max_length = use.max_tokens
    return config


def _timed(embed: Callable[[Any], Any], given: Any) -> Embedded:
    with engine_failures("embedding"):
        start_ns = time.perf_counter_ns()
        vectors = embed(given)
        end_ns = time.perf_counter_ns()
    return Embedded(start_ns=Nanoseconds(start_ns), end_ns=Nanoseconds(end_ns), vectors=vectors)


class EmbeddingEngine:
    """Loads text embedding models."""

    def check(self, config: RunConfig) -> None:
        """Refuse what the pipeline or the device cannot do, before anything is loaded."""
        if config.generation:
            raise InputError(
                f"{', '.join(config.generation)}: a text embedding model generates no text",
                hint="leave such options out, or measure a language model without -t",
            )
        check_device(config.device, compile_properties(config))
        embedding_use(Path(config.model), config.parameters)

    def open_tokenizer(self, config: RunConfig) -> Tokenizer:
        """Return the tokenizer beside the model."""
        return open_tokenizer(config)

    def open(self, config: RunConfig) -> EmbeddingSession:
        """Load and compile the model."""
        return EmbeddingSession(config)
