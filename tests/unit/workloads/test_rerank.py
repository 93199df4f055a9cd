"""Reranking requests, and what is observed of their ranks."""

from collections.abc import Sequence

import pytest

from llmbench.engines.base import Reranked
from llmbench.errors import InputError
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.run import EffectiveSettings
from llmbench.schema.units import Nanoseconds
from llmbench.workloads.base import LaunchContext, Observation
from llmbench.workloads.embedding import QUESTION, RerankWorkload, rank_faults

MS = 1_000_000


class KnownReranker:
    """Takes 5 ms a text, and puts the last one first."""

    effective = EffectiveSettings()

    def count_tokens(self, text: str) -> int:
        """Two special tokens, and one a word."""
        return 2 + len(text.split())

    def rerank(self, query: str, texts: Sequence[str]) -> Reranked:
        """Rank in no time, and report another."""
        assert query
        ranks = [(index, float(index)) for index in reversed(range(len(texts)))]
        end_ns = Nanoseconds(1 + 5 * MS * len(texts))
        return Reranked(start_ns=Nanoseconds(1), end_ns=end_ns, ranks=ranks)

    def close(self) -> None:
        """Let go of nothing."""


def _observe(prompt: Prompt, size: int) -> Observation:
    config = RunConfig(model="m", prompts=(prompt,), task="text_rerank", output_tokens=0, batch_size=size)
    launch = LaunchContext(index=0, beat=lambda _tokens, _at_ns: None)
    request = RerankWorkload().open(config, KnownReranker(), launch).prepare(0, 0)
    request.run()
    return request.observe()


@pytest.mark.parametrize(
    ("prompt", "question", "length"),
    [
        (Prompt(set="synthetic", index=0, tokens=32), QUESTION, 32),
        (Prompt(set="text", index=0, text="Who was it?"), "Who was it?", 128),
    ],
)
def test_each_pair_has_the_question_and_a_text_of_the_length(
    prompt: Prompt, question: str, length: int
) -> None:
    """Both are read together, with one special token less than apart."""
    observed = _observe(prompt, 4)

    assert [2 + len(question.split()) + length - 1] * 4 == [s.input_tokens for s in observed.sequences]
    assert (4, 20 * MS) == (observed.outputs[0].count, observed.end_ns - observed.start_ns)
    assert observed.suspicions == ()


@pytest.mark.parametrize(
    ("ranks", "fault"),
    [
        ([(1, 0.5), (0, 0.1)], ()),
        ([(1, 0.5)], ("1 of 2 texts were ranked",)),
        ([(1, float("nan")), (0, 0.1)], ("a score is not finite",)),
    ],
)
def test_ranks_that_say_nothing_do_not_count(ranks: list[tuple[int, float]], fault: tuple[str, ...]) -> None:
    """The pipeline returns the best three by default, in silence."""
    made = Reranked(start_ns=Nanoseconds(0), end_ns=Nanoseconds(1), ranks=ranks)

    assert fault == rank_faults(made, 2)


def test_a_question_that_leaves_no_room_is_refused() -> None:
    """The model would cut the text in silence."""
    config = RunConfig(
        model="m", prompts=(Prompt(set="synthetic", index=0, tokens=64),), task="text_rerank", output_tokens=0
    )

    class Words:
        bos_id = None

        def encode(self, text: str, *, chat: bool) -> tuple[int, ...]:
            """Return a token a word."""
            assert not chat
            return tuple(range(len(text.split())))

        def go_on(self, earlier: Sequence[int], response: Sequence[int], text: str) -> tuple[int, ...]:
            """Return nothing."""
            raise NotImplementedError

        def decode(self, token_ids: Sequence[int]) -> str:
            """Return nothing."""
            raise NotImplementedError

    with pytest.raises(InputError, match="question and text make 73 tokens; the model's context is 70"):
        RerankWorkload().check(config, Words(), 70)
