"""Text embedding: a request is one batch of texts, made into vectors in one call of the engine."""

import hashlib
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar, cast

import numpy as np

from llmbench.engines.base import Codec, Embedded, Embedder, LoadedModel, Reranked
from llmbench.errors import InputError
from llmbench.models.resolve import check_context
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.measurement import Artifact, Sequence
from llmbench.schema.run import WorkloadSettings
from llmbench.workloads.base import CalledRequest, LaunchContext, Observation
from llmbench.workloads.text import corpus

_Made = TypeVar("_Made", Embedded, Reranked)

_FILLER = " a"
"""A word that is one token in every vocabulary we met."""


def text_of_length(words: tuple[str, ...], start: int, length: int, count: Callable[[str], int]) -> str:
    """Return words from *start* on, as a ring, as a text of exactly *length* tokens by *count*.

    Raises:
        InputError: no text of so few tokens, special ones included.
    """
    most = length
    ring = [words[(start + offset) % len(words)] for offset in range(most)]
    least, end = 0, most + 1
    while end - least > 1:
        middle = (least + end) // 2
        least, end = (middle, end) if count(" ".join(ring[:middle])) <= length else (least, middle)
    text = " ".join(ring[:least])
    text += _FILLER * (length - count(text))
    if count(text) != length:
        raise InputError(
            f"no text of {length} tokens could be made for this tokenizer",
            hint="choose another --input-tokens",
        )
    return text


class Texts:
    """The texts of a launch's requests: a prompt's own, or of an exact length from our prose, each another one.

    With *tokens* all are from our prose, those of a prompt with a text of so many tokens.
    """

    def __init__(self, config: RunConfig, count: Callable[[str], int], *, tokens: int | None = None) -> None:
        self._config = config
        self._count = count
        self._tokens = tokens
        self._words = tuple(corpus().split())

    def of(self, number: int, iteration: int) -> tuple[str, ...]:
        """Return the texts of a request; *number* is an index into the configuration's prompts."""
        prompt, size = self._config.prompts[number], self._config.batch_size
        return tuple(self._variant(prompt, iteration * size + row) for row in range(size))

    def _variant(self, prompt: Prompt, variant: int) -> str:
        if prompt.text is not None and self._tokens is None:
            return prompt.text
        k = variant if prompt.is_permuted else 0
        digest = hashlib.sha256(f"{prompt.seed}:{prompt.tokens}:{k}".encode()).digest()
        start = int.from_bytes(digest[:8], "big") % len(self._words)
        return text_of_length(self._words, start, prompt.tokens or self._tokens or 1, self._count)


class EmbeddingWorkload:
    """Text embedding: a request is one text, or one batch of texts."""

    settings = WorkloadSettings(kind="text_embed", primary_metrics=("e2e",))

    def open(self, config: RunConfig, session: LoadedModel, launch: LaunchContext) -> "OpenEmbedding":
        """Make ready for the requests of one launch."""
        del launch
        return OpenEmbedding(config, cast("Embedder", session))

    def check(self, config: RunConfig, codec: Codec, context_tokens: int | None) -> None:
        """Refuse texts that the model would cut."""
        longest = max(len(codec.encode(prompt.text or "", chat=False)) for prompt in config.prompts)
        check_context(
            config,
            (longest, context_tokens),
            f"a text of {longest} tokens was given",
            hint="shorten it, or have it cut with --ignore-context-limit",
        )


class OpenEmbedding:
    """The requests of one launch."""

    def __init__(self, config: RunConfig, embedder: Embedder) -> None:
        self.embedder = embedder
        self._texts = Texts(config, embedder.count_tokens)

    def prepare(self, prompt: int, iteration: int) -> CalledRequest[Embedded]:
        """Make the texts of a request."""
        texts = self._texts.of(prompt, iteration)
        return batch_request(
            partial(self.embedder.embed, texts),
            lengths=lambda: [self.embedder.count_tokens(text) for text in texts],
            check=_check_vectors,
        )


def batch_request(
    call: Callable[[], _Made],
    *,
    lengths: Callable[[], list[int]],
    check: Callable[[_Made], tuple[Artifact, tuple[str, ...]]],
) -> CalledRequest[_Made]:
    """Return the request of one batch of texts, handed over in one *call*.

    *lengths* counts the tokens of each text; *check* makes the output of what was returned, and lists what is wrong
    with it.
    """

    def observe(made: _Made) -> Observation:
        """Count tokens, check the output, and return what was observed."""
        start_ns = time.perf_counter_ns()
        counts = lengths()
        tokenize_ns = time.perf_counter_ns() - start_ns
        output, suspicions = check(made)
        return Observation(
            start_ns=made.start_ns,
            end_ns=made.end_ns,
            sequences=tuple(Sequence(input_tokens=count, at_ns=()) for count in counts),
            outputs=(output,),
            tokenize_ns=tokenize_ns,
            suspicions=suspicions,
        )

    return CalledRequest(call, observe)


def _check_vectors(made: Embedded) -> tuple[Artifact, tuple[str, ...]]:
    vectors = np.asarray(made.vectors, dtype=np.float32)
    digest = hashlib.sha256(vectors.tobytes()).hexdigest()
    return Artifact(kind="vectors", count=len(vectors), sha256=digest), vector_faults(vectors)


def vector_faults(vectors: "np.ndarray[tuple[int, ...], np.dtype[np.float32]]") -> tuple[str, ...]:
    """Return what is wrong with vectors of shape [texts, dimensions]: not finite, or all zeros."""
    if not np.isfinite(vectors).all():
        return ("a vector is not finite",)
    return () if np.abs(vectors).max(axis=-1).all() else ("a vector is all zeros",)
