"""Text reranking: a request is one question and a batch of texts, judged in one call of the engine."""

import math
import time
from collections.abc import Mapping
from typing import cast

from llmbench.engines.base import Codec, LoadedModel, Reranked, Reranker
from llmbench.errors import InputError, LaunchError
from llmbench.schema.config import RunConfig
from llmbench.schema.measurement import Artifact, Sequence
from llmbench.schema.run import WorkloadSettings
from llmbench.workloads.base import LaunchContext, Observation
from llmbench.workloads.embedding import Texts

QUESTION = "Why was the lighthouse lit every evening, and by whom?"
"""The question where texts are synthetic."""

TEXT_TOKENS = 128
"""The length of each text where a question was given."""


class RerankWorkload:
    """Text reranking: a request is a question, and as many texts as the batch size.

    A prompt's text is the question; of a synthetic prompt its length is that of each text.
    """

    settings = WorkloadSettings(kind="text_rerank", primary_metrics=("e2e",))

    def open(
        self,
        config: RunConfig,
        session: LoadedModel,
        launch: LaunchContext,
        parameters: Mapping[str, str | int | float | bool],
    ) -> "OpenRerank":
        """Make ready for the requests of one launch."""
        del launch
        if parameters:
            raise InputError(f"text_rerank has no parameter {next(iter(parameters))!r}")
        return OpenRerank(config, cast("Reranker", session))

    def check(self, config: RunConfig, codec: Codec, context_tokens: int | None) -> None:
        """Refuse a question that leaves no room for a text."""
        longest = max(len(codec.encode(prompt.text or QUESTION, chat=False)) for prompt in config.prompts)
        needed = longest + max(prompt.tokens or TEXT_TOKENS for prompt in config.prompts) - 1
        if context_tokens is not None and needed > context_tokens and not config.ignores_context_limit:
            raise InputError(
                f"question and text make {needed} tokens; the model reads {context_tokens}",
                hint="shorten the question, or use fewer --input-tokens",
            )


class OpenRerank:
    """The requests of one launch."""

    def __init__(self, config: RunConfig, reranker: Reranker) -> None:
        self.reranker = reranker
        self._config = config
        self._texts = Texts(config, reranker.count_tokens, tokens=TEXT_TOKENS)

    def prepare(self, prompt: int, iteration: int) -> "RerankRequest":
        """Make the texts of a request."""
        question = self._config.prompts[prompt].text or QUESTION
        return RerankRequest(self.reranker, question, self._texts.of(prompt, iteration))


class RerankRequest:
    """One question and its texts."""

    def __init__(self, reranker: Reranker, question: str, texts: tuple[str, ...]) -> None:
        self._reranker = reranker
        self._question = question
        self._texts = texts
        self._reranked: Reranked | None = None

    def run(self) -> None:
        """Judge the texts."""
        self._reranked = self._reranker.rerank(self._question, self._texts)

    def observe(self) -> Observation:
        """Count tokens, check the scores, and return what was observed."""
        made = self._reranked
        if made is None:
            raise LaunchError("a request that did not run was observed")
        start_ns = time.perf_counter_ns()
        question = self._reranker.count_tokens(self._question)
        lengths = [question + self._reranker.count_tokens(text) - 1 for text in self._texts]
        return Observation(
            start_ns=made.start_ns,
            end_ns=made.end_ns,
            sequences=tuple(Sequence(input_tokens=length, at_ns=()) for length in lengths),
            outputs=(Artifact(kind="ranks", count=len(made.ranks)),),
            tokenize_ns=time.perf_counter_ns() - start_ns,
            suspicions=rank_faults(made, len(self._texts)),
        )


def rank_faults(made: Reranked, texts: int) -> tuple[str, ...]:
    """Return what is wrong with the ranks of so many texts: some are missing, or a score is not finite."""
    if sorted(index for index, _ in made.ranks) != list(range(texts)):
        return (f"{len(made.ranks)} of {texts} texts were ranked",)
    return () if all(math.isfinite(score) for _, score in made.ranks) else ("a score is not finite",)
