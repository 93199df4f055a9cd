"""The texts of embedding requests, of exact lengths, and what is observed of their vectors."""

from collections.abc import Sequence

import numpy as np
import pytest

from llmbench.analysis.metrics.table import METRICS
from llmbench.engines.base import Embedded
from llmbench.errors import InputError
from llmbench.runner.configurations import configurations, option_values
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.measurement import Measurement
from llmbench.schema.run import EffectiveSettings
from llmbench.schema.units import Nanoseconds
from llmbench.workloads.base import LaunchContext, Observation
from llmbench.workloads.embedding import EmbeddingWorkload, Texts, text_of_length, vector_faults

MS = 1_000_000
WORDS = ("one", "seventeen", "lighthouse", "a", "keeper")


def _count(text: str) -> int:
    """Two special tokens, and one for every three letters of a word begun."""
    return 2 + sum(-(-len(word) // 3) for word in text.split())


class KnownEmbedder:
    """Takes 10 ms a text, and makes a vector of its length and of ones."""

    effective = EffectiveSettings()

    def count_tokens(self, text: str) -> int:
        """Count as `_count` does."""
        return _count(text)

    def embed(self, texts: Sequence[str]) -> Embedded:
        """Embed in no time, and report another."""
        vectors = [[float(len(text)), 1.0] for text in texts]
        end_ns = Nanoseconds(1 + 10 * MS * len(texts))
        return Embedded(start_ns=Nanoseconds(1), end_ns=end_ns, vectors=vectors)

    def embed_query(self, text: str) -> Embedded:
        """Embed one."""
        return self.embed([text])

    def close(self) -> None:
        """Let go of nothing."""


def _config(**changes: object) -> RunConfig:
    prompts = (Prompt(set="synthetic", index=0, tokens=16),)
    values: dict[str, object] = {"task": "text_embed", "output_tokens": 0, "prompts": prompts}
    return RunConfig(model="m", **(values | changes))  # type: ignore[arg-type]


def _observe(config: RunConfig) -> Observation:
    launch = LaunchContext(index=0, beat=lambda _tokens, _at_ns: None)
    request = EmbeddingWorkload().open(config, KnownEmbedder(), launch).prepare(0, 0)
    request.run()
    return request.observe()


@pytest.mark.parametrize("length", [3, 4, 5, 16, 100])
@pytest.mark.parametrize("start", range(5))
def test_a_text_has_exactly_the_length_requested(start: int, length: int) -> None:
    """Whatever word it begins with, and however the words before the end are cut."""
    assert length == _count(text_of_length(WORDS, start, length, _count))


def test_a_length_below_the_special_tokens_is_refused() -> None:
    """No text has fewer tokens than those that every text gets."""
    with pytest.raises(InputError, match="no text of 1 token "):
        text_of_length(WORDS, 0, 1, _count)


def test_texts_of_a_batch_and_of_later_iterations_differ() -> None:
    """A cache of tokens or vectors would flatter; without permutation all are the same."""
    texts = Texts(_config(batch_size=4), _count)
    same = Prompt(set="synthetic", index=0, tokens=16, is_permuted=False)

    assert len({text for iteration in range(3) for text in texts.of(0, iteration)}) == 12
    assert len(set(Texts(_config(prompts=(same,), batch_size=4), _count).of(0, 3))) == 1


def test_a_request_tells_time_texts_and_lengths() -> None:
    """Four texts in 40 ms are 100 texts/s; tokens are counted outside the timed region."""
    observed = _observe(_config(batch_size=4))
    measured = Measurement(
        launch=0,
        iteration=0,
        prompt=0,
        is_warmup=False,
        started_at="",
        ended_at="",
        start_ns=Nanoseconds(observed.start_ns),
        end_ns=Nanoseconds(observed.end_ns),
        requested_tokens=observed.requested_tokens,
        sequences=observed.sequences,
        outputs=observed.outputs,
    )

    assert [16] * 4 == [sequence.input_tokens for sequence in observed.sequences]
    assert pytest.approx(0.04) == METRICS["e2e"].of(measured)
    assert pytest.approx(100) == METRICS["text_rate"].of(measured)
    assert METRICS["first_token"].of(measured) is None
    assert observed.tokenize_ns is not None
    assert observed.suspicions == ()


@pytest.mark.parametrize(
    ("vectors", "fault"),
    [
        ([[1.0, 0.0]], ()),
        ([[1.0, 0.0], [np.nan, 1.0]], ("a vector is not finite",)),
        ([[1.0, 0.0], [0.0, 0.0]], ("a vector is all zeros",)),
    ],
)
def test_vectors_that_say_nothing_do_not_count(vectors: list[list[float]], fault: tuple[str, ...]) -> None:
    """Broken weights give NaN or zeros, and are as fast as good ones."""
    assert fault == vector_faults(np.array(vectors, dtype=np.float32))


def test_a_task_that_generates_nothing_has_no_output_tokens() -> None:
    """The default number is that of text generation."""
    (config,) = configurations(option_values({"task": "text_embed", "pooling": "cls"}), "m")

    assert (0, {"pooling": "cls"}) == (config.output_tokens, config.parameters)


def test_a_parameter_of_another_task_is_refused() -> None:
    """Pooling means nothing to a language model."""
    with pytest.raises(InputError, match="--pooling belongs to -t text_embed"):
        configurations(option_values({"pooling": "cls"}), "m")
