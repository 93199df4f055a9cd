"""Text embedding and reranking: a request is one batch of texts, handed to the engine in one call."""

import hashlib
import math
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar, cast

import numpy as np

from llmbench.engines.base import Codec, Embedded, Embedder, LoadedModel, Reranked, Reranker
from llmbench.errors import InputError
from llmbench.models.resolve import check_context
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.measurement import Artifact, Sequence
from llmbench.schema.run import WorkloadSettings
from llmbench.schema.units import counted
from llmbench.workloads.base import CalledRequest, LaunchContext, Observation
from llmbench.workloads.text import corpus

_Made = TypeVar("_Made", Embedded, Reranked)

_FILLER = " a"
"""A word that is one token in every vocabulary we met."""

QUESTION = "Why was the lighthouse lit every evening, and by whom?"
"""The question where texts are synthetic."""

TEXT_TOKENS = 128
"""The length of each text where a question was given."""


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
            f"no text of {counted(length, 'token')} could be made for this tokenizer",
            hint="choose another --input-tokens",
        )
    return text


class Texts:
    """The texts of a launch's requests: a prompt's own, or of an exact length from our prose, each another one.

    With *tokens* all are from our prose, those of a prompt with a text of this many tokens.
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
        return _batch_request(
            partial(self.embedder.embed, texts),
            lengths=lambda: [self.embedder.count_tokens(text) for text in texts],
            check=_check_vectors,
        )


def _batch_request(
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


class RerankWorkload:
    """Text reranking: a request is a question, and as many texts as the batch size.

    A prompt's text is the question; of a synthetic prompt its length is that of each text.
    """

    settings = WorkloadSettings(kind="text_rerank", primary_metrics=("e2e",))

    def open(self, config: RunConfig, session: LoadedModel, launch: LaunchContext) -> "OpenRerank":
        """Make ready for the requests of one launch."""
        del launch
        return OpenRerank(config, cast("Reranker", session))

    def check(self, config: RunConfig, codec: Codec, context_tokens: int | None) -> None:
        """Refuse a question that leaves no room for a text."""
        longest = max(len(codec.encode(prompt.text or QUESTION, chat=False)) for prompt in config.prompts)
        needed = longest + max(prompt.tokens or TEXT_TOKENS for prompt in config.prompts) - 1
        check_context(
            config,
            (needed, context_tokens),
            f"question and text make {counted(needed, 'token')}",
            hint="shorten the question, or use fewer --input-tokens",
        )


class OpenRerank:
    """The requests of one launch."""

    def __init__(self, config: RunConfig, reranker: Reranker) -> None:
        self.reranker = reranker
        self._config = config
        self._texts = Texts(config, reranker.count_tokens, tokens=TEXT_TOKENS)

    def prepare(self, prompt: int, iteration: int) -> CalledRequest[Reranked]:
        """Make the texts of a request; each is read together with the question, one special token less than apart."""
        question = self._config.prompts[prompt].text or QUESTION
        texts, count = self._texts.of(prompt, iteration), self.reranker.count_tokens
        return _batch_request(
            lambda: self.reranker.rerank(question, texts),
            lengths=lambda: [count(question) + count(text) - 1 for text in texts],
            check=lambda made: (Artifact(kind="ranks", count=len(made.ranks)), rank_faults(made, len(texts))),
        )


def rank_faults(made: Reranked, texts: int) -> tuple[str, ...]:
    """Return what is wrong with the ranks of this many texts: some are missing, or a score is not finite."""
    if sorted(index for index, _ in made.ranks) != list(range(texts)):
        return (f"{len(made.ranks)} of {texts} texts were ranked",)
    return () if all(math.isfinite(score) for _, score in made.ranks) else ("a score is not finite",)
