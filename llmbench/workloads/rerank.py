"""Text reranking: a request is one question and a batch of texts, judged in one call of the engine."""

import math
from typing import cast

from llmbench.engines.base import Codec, LoadedModel, Reranked, Reranker
from llmbench.models.resolve import check_context
from llmbench.schema.config import RunConfig
from llmbench.schema.measurement import Artifact
from llmbench.schema.run import WorkloadSettings
from llmbench.workloads.base import CalledRequest, LaunchContext
from llmbench.workloads.embedding import Texts, batch_request

QUESTION = "Why was the lighthouse lit every evening, and by whom?"
"""The question where texts are synthetic."""

TEXT_TOKENS = 128
"""The length of each text where a question was given."""


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
            f"question and text make {needed} tokens",
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
        return batch_request(
            lambda: self.reranker.rerank(question, texts),
            lengths=lambda: [count(question) + count(text) - 1 for text in texts],
            check=lambda made: (Artifact(kind="ranks", count=len(made.ranks)), rank_faults(made, len(texts))),
        )


def rank_faults(made: Reranked, texts: int) -> tuple[str, ...]:
    """Return what is wrong with the ranks of so many texts: some are missing, or a score is not finite."""
    if sorted(index for index, _ in made.ranks) != list(range(texts)):
        return (f"{len(made.ranks)} of {texts} texts were ranked",)
    return () if all(math.isfinite(score) for _, score in made.ranks) else ("a score is not finite",)
