"""Embeddings and ranks without a model, for tests: texts with the same words are near, in no time.

The script is ``dimension=64``, or nothing.
"""

import math
import time
import zlib
from collections.abc import Sequence

from llmbench.engines.base import Embedded, Engine, Reranked
from llmbench.errors import InputError
from llmbench.schema.config import RunConfig
from llmbench.schema.run import EffectiveSettings
from llmbench.schema.units import Nanoseconds

_DIMENSION = 64


class ScriptedEmbedder:
    """Counts words, each in the place that its hash gives, and normalizes the counts."""

    effective = EffectiveSettings()

    def __init__(self, dimension: int) -> None:
        self._dimension = dimension

    def count_tokens(self, text: str) -> int:
        """How many words a text has."""
        return len(text.split())

    def embed(self, texts: Sequence[str]) -> Embedded:
        """Embed documents."""
        start_ns = time.perf_counter_ns()
        vectors = tuple(map(self._vector, texts))
        return Embedded(
            start_ns=Nanoseconds(start_ns), end_ns=Nanoseconds(time.perf_counter_ns()), vectors=vectors
        )

    def embed_query(self, text: str) -> Embedded:
        """Embed one question."""
        return self.embed((text,))

    def _vector(self, text: str) -> list[float]:
        counts = [0.0] * self._dimension
        for word in text.casefold().split():
            counts[zlib.crc32(word.strip(".,;:?!()").encode()) % self._dimension] += 1
        length = math.sqrt(sum(count * count for count in counts)) or 1.0
        return [count / length for count in counts]


class ScriptedEmbeddingEngine(Engine):
    """Loads a script in place of an embedding model."""

    def check(self, config: RunConfig) -> None:
        """Refuse a script that cannot be read."""
        _dimension(config.model)

    def open(self, config: RunConfig) -> ScriptedEmbedder:
        """Return an embedder of as many dimensions as the script has."""
        return ScriptedEmbedder(_dimension(config.model))


def _dimension(script: str) -> int:
    name, _, value = script.partition("=")
    if not script:
        return _DIMENSION
    if name != "dimension" or not value.isdecimal() or int(value) < 1:
        raise InputError(f"script {script!r} is not understood", hint="write dimension=64")
    return int(value)


class ScriptedReranker:
    """Judges a text by the nearness of its words to those of the question."""

    effective = EffectiveSettings()

    def __init__(self, dimension: int) -> None:
        self._embedder = ScriptedEmbedder(dimension)
        self.count_tokens = self._embedder.count_tokens

    def rerank(self, query: str, texts: Sequence[str]) -> Reranked:
        """Judge all texts."""
        start_ns = time.perf_counter_ns()
        wanted, *vectors = self._embedder.embed((query, *texts)).vectors
        scores = [sum(a * b for a, b in zip(wanted, vector, strict=True)) for vector in vectors]
        ranks = sorted(enumerate(scores), key=lambda found: -found[1])
        return Reranked(
            start_ns=Nanoseconds(start_ns), end_ns=Nanoseconds(time.perf_counter_ns()), ranks=ranks
        )


class ScriptedRerankEngine(ScriptedEmbeddingEngine):
    """Loads a script in place of a reranking model."""

    def open(self, config: RunConfig) -> ScriptedReranker:  # type: ignore[override]
        """Return a reranker that counts words in as many places as the script has."""
        return ScriptedReranker(_dimension(config.model))
