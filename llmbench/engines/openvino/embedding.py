"""OpenVINO GenAI's pipelines for text embedding and reranking: they have no metrics, so the clock is ours."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from llmbench.engines.base import Embedded, Reranked
from llmbench.engines.failures import timed
from llmbench.engines.openvino.device import check_device, compile_properties
from llmbench.engines.openvino.engine import OpenvinoEngine
from llmbench.engines.openvino.genai import import_genai, load_pipeline
from llmbench.engines.openvino.tokenizer import open_tokenizer
from llmbench.errors import InputError
from llmbench.models.context import context_of_config
from llmbench.models.embedding import embedding_use
from llmbench.models.manifest import EmbeddingUse
from llmbench.schema.config import RunConfig

_ALL = 1 << 20
"""Texts returned at most; the reranking pipeline's own default is 3."""

_Session = TypeVar("_Session")


class _EncoderSession:
    """A loaded pipeline and the tokenizer of its model."""

    def __init__(
        self, config: RunConfig, kind: Callable[..., Any], settings: Any, *, notes: tuple[str, ...] = ()
    ) -> None:
        self._pipeline, self.effective = load_pipeline(kind, config, settings, notes=notes)
        self._tokenizer = open_tokenizer(config)

    def count_tokens(self, text: str) -> int:
        """How many tokens the model reads of a text, special ones included."""
        return len(self._tokenizer.encode(text, chat=False))


class EmbeddingSession(_EncoderSession):
    """A loaded ``TextEmbeddingPipeline``; pooling and normalization are set, never left to its defaults."""

    def __init__(self, config: RunConfig) -> None:
        genai = import_genai()
        self.use = embedding_use(Path(config.model), config.parameters)
        longest = "" if self.use.max_tokens is None else f", texts cut at {self.use.max_tokens} tokens"
        normal = "normalized" if self.use.is_normalized else "not normalized"
        notes = (f"vectors: {self.use.pooling} pooling, {normal}{longest}",)
        settings = _pipeline_config(genai, self.use)
        super().__init__(config, genai.TextEmbeddingPipeline, settings, notes=notes)

    def embed(self, texts: Sequence[str]) -> Embedded:
        """Embed documents in one call, tokenization inside."""
        start_ns, vectors, end_ns = timed("embedding", self._pipeline.embed_documents, list(texts))
        return Embedded(start_ns=start_ns, end_ns=end_ns, vectors=vectors)

    def embed_query(self, text: str) -> Embedded:
        """Embed one question, with the instruction that the model has for questions."""
        start_ns, vector, end_ns = timed("embedding", self._pipeline.embed_query, text)
        return Embedded(start_ns=start_ns, end_ns=end_ns, vectors=(vector,))


def _pipeline_config(genai: Any, use: EmbeddingUse) -> Any:
    kinds = genai.TextEmbeddingPipeline.PoolingType
    config = genai.TextEmbeddingPipeline.Config()
    config.pooling_type = getattr(kinds, use.pooling.upper())
    config.normalize = use.is_normalized
    if use.max_tokens is not None:
        config.max_length = use.max_tokens
    return config


class RerankSession(_EncoderSession):
    """A loaded ``TextRerankPipeline``."""

    def __init__(self, config: RunConfig) -> None:
        genai = import_genai()
        pipeline_config = genai.TextRerankPipeline.Config()
        pipeline_config.top_n = _ALL
        longest = context_of_config(Path(config.model) / "config.json")
        if longest is not None:  # a tokenizer may allow more than the model has positions for
            pipeline_config.max_length = longest
        super().__init__(config, genai.TextRerankPipeline, pipeline_config)

    def rerank(self, query: str, texts: Sequence[str]) -> Reranked:
        """Judge all texts in one call, tokenization inside."""
        start_ns, ranks, end_ns = timed("reranking", self._pipeline.rerank, query, list(texts))
        return Reranked(start_ns=start_ns, end_ns=end_ns, ranks=tuple(map(tuple, ranks)))


class _EncoderEngine(OpenvinoEngine[_Session]):
    """What both engines check; *title* is their kind of model."""

    title: str

    def check(self, config: RunConfig) -> None:
        """Refuse what the pipeline or the device cannot do, before anything is loaded."""
        if config.generation:
            raise InputError(
                f"{', '.join(config.generation)}: a text {self.title} model generates no text",
                hint="leave such options out, or measure a language model without -t",
            )
        check_device(config.device, compile_properties(config))


class EmbeddingEngine(_EncoderEngine[EmbeddingSession]):
    """Loads text embedding models."""

    session, title = EmbeddingSession, "embedding"

    def check(self, config: RunConfig) -> None:
        """Refuse a model whose pooling is not known, too."""
        super().check(config)
        embedding_use(Path(config.model), config.parameters)


class RerankEngine(_EncoderEngine[RerankSession]):
    """Loads text reranking models (cross-encoders)."""

    session, title = RerankSession, "reranking"
