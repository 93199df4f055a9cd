"""Token scores against a computation of another kind, and how a text is cut into blocks."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import rel_entr, softmax

from llmbench.analysis.quality import qualities
from llmbench.errors import InputError
from llmbench.schema.config import Prompt, RunConfig
from llmbench.workloads.base import LaunchContext, Observation, find_workload
from llmbench.workloads.quality import log_softmax, token_scores
from tests import builders

TEXT = Prompt(set="t", index=0, text="words", is_permuted=False)


class Model:
    """Logits that depend on the token and its position alone."""

    def __init__(self, tokens: int, *, bos_id: int | None = None, shift: float = 0.0, width: int = 7) -> None:
        self.bos_id = bos_id
        self.seen: list[tuple[int, ...]] = []
        self._tokens, self._shift, self._width = tokens, shift, width

    def encode(self, text: str, *, chat: bool) -> tuple[int, ...]:
        """Numbers from the beginning-of-text token, or 0, on."""
        assert ("words", False) == (text, chat)
        return tuple(i % 7 for i in range(self._tokens))

    def logits(self, ids: Sequence[int], chunk: int) -> "Iterator[np.ndarray[Any, Any]]":
        """A buffer that is overwritten by the next chunk."""
        self.seen.append(tuple(ids))
        for start in range(0, len(ids), chunk):
            part = np.array(ids[start : start + chunk], np.float32)[:, None]
            buffer = np.cos(part * np.arange(self._width)) + self._shift * np.arange(self._width)
            yield buffer
            buffer[:] = np.nan


def _observe(model: Model, folder: Path, launch: int, iteration: int, *, chunk: int = 2) -> Observation:
    config = RunConfig(model="m", engine="likelihood", prompts=(TEXT,))
    parameters = {"block_tokens": 6, "chunk_tokens": chunk, "folder": str(folder)}
    context = LaunchContext(index=launch, beat=lambda _tokens, _at: None, parameters=parameters)
    request = find_workload("quality").open(config, model, context).prepare(0, iteration)  # type: ignore[arg-type]
    request.run()
    return request.observe()


def test_scores_agree_with_another_computation() -> None:
    """Scipy's relative entropy and softmax give the same divergence and likelihoods."""
    random = np.random.default_rng(1)
    base, other = random.normal(size=(2, 70, 11)) * 3
    targets = random.integers(0, 11, 70)

    found = token_scores(log_softmax(base), other, targets)

    p, q = softmax(base, axis=-1), softmax(other, axis=-1)
    assert rel_entr(p, q).sum(axis=-1) == pytest.approx(np.array(found["kld"]))
    assert -np.log(q[np.arange(70), targets]) == pytest.approx(np.array(found["nll"]))
    assert -np.log(p[np.arange(70), targets]) == pytest.approx(np.array(found["base_nll"]))
    assert (p.argmax(-1) == q.argmax(-1)).tolist() == [bool(each) for each in found["same_top"]]


def test_divergence_of_two_coins_is_known() -> None:
    """P = (1/2, 1/2), q = (1/4, 3/4): ln(1/2 / 1/4) / 2 + ln(1/2 / 3/4) / 2 = 0.1438 nats."""
    base, other = np.log([[0.5, 0.5]]), np.log([[0.25, 0.75]])

    found = token_scores(base, other, np.array([0]))

    assert (0.14384, 1.38629, 0.69315) == pytest.approx(
        (found["kld"][0], found["nll"][0], found["base_nll"][0]), abs=1e-5
    )


def test_second_half_of_a_block_is_scored_whatever_the_chunks(tmp_path: Path) -> None:
    """Of 6 tokens positions 3 and 4 predict the last two; chunks of 2 and of 6 give the same."""
    _observe(Model(12), tmp_path, 0, 1)

    chunks, whole = (_observe(Model(12, shift=0.1), tmp_path, 1, 1, chunk=size) for size in (2, 6))

    assert 2 == len(chunks.token_scores["kld"])
    assert chunks.token_scores == whole.token_scores
    assert min(chunks.token_scores["kld"]) > 0


def _llama_perplexity(base: Model, other: Model, blocks: list[tuple[int, ...]]) -> dict[str, float]:
    """The figures of ``llama-perplexity --kl-divergence`` by its formulae, token after token.

    Of a chunk of n tokens the logits from n // 2 on are scored; likelihoods of the base below e^-16 are left out.
    """
    nll, base_nll, kld, same_top = [], [], [], []
    for ids in blocks:
        p_logits, q_logits = (
            np.concatenate([each.copy() for each in m.logits(ids, 6)]) for m in (base, other)
        )
        for position in range(len(ids) // 2, len(ids) - 1):
            p, q = (
                [float(x) - math.log(sum(math.exp(y) for y in row)) for x in row]
                for row in (p_logits[position], q_logits[position])
            )
            base_nll.append(-p[ids[position + 1]])
            nll.append(-q[ids[position + 1]])
            kld.append(sum(math.exp(x) * (x - y) for x, y in zip(p, q, strict=True) if x > -16))
            same_top.append(p.index(max(p)) == q.index(max(q)))
    count = len(kld)
    return {
        "mean PPL(Q)": math.exp(sum(nll) / count),
        "mean PPL(base)": math.exp(sum(base_nll) / count),
        "mean ln(PPL(Q)/PPL(base))": sum(nll) / count - sum(base_nll) / count,
        "mean KLD": sum(kld) / count,
        "maximum KLD": max(kld),
        "same top p": sum(same_top) / count,
    }


def test_figures_are_those_of_llama_perplexity(tmp_path: Path) -> None:
    """Over two blocks of six tokens, from the logits to the figures of a run."""
    base, other = Model(12), Model(12, shift=0.05)
    launches = [
        builders.launch_of(
            [
                builders.request_of(iteration=i, stages=found.stages, token_scores=found.token_scores)
                for i in range(2)
                for found in (_observe(model, tmp_path, number, i),)
            ],
            index=number,
            cell=number,
        )
        for number, model in enumerate((base, other))
    ]
    _, found = qualities(builders.run_of(launches))

    expected = _llama_perplexity(base, other, [(0, 1, 2, 3, 4, 5), (6, 0, 1, 2, 3, 4)])
    assert list(expected.values()) == pytest.approx(
        [
            found.perplexity,
            found.base_perplexity,
            found.log_ratio.value,
            found.kld.value,
            found.kld_max,
            found.same_top.value,
        ],
        rel=1e-5,
    )
    assert 0 < expected["same top p"] < 1


def test_the_base_loses_nothing_against_itself(tmp_path: Path) -> None:
    """Its own divergence is that of rounding to four bytes."""
    found = _observe(Model(12), tmp_path, 0, 0)

    assert [0.0, 0.0] == pytest.approx(found.token_scores["kld"], abs=1e-6)
    assert (1.0, 1.0) == found.token_scores["same_top"]


def test_blocks_follow_each_other_and_each_begins_with_the_beginning_of_text(tmp_path: Path) -> None:
    """Without such a token block 1 is tokens 6 to 11; with it, its 5 after those of block 0, the token in front."""
    plain, marked = Model(12), Model(12, bos_id=0)
    for model in (plain, marked):
        _observe(model, tmp_path, 0, 1)

    assert [(6, 0, 1, 2, 3, 4)] == plain.seen
    assert [(0, 6, 0, 1, 2, 3)] == marked.seen


def test_a_block_past_the_end_scores_nothing(tmp_path: Path) -> None:
    """Twelve tokens hold two blocks of six."""
    assert {} == _observe(Model(12), tmp_path, 0, 2).token_scores


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (Model(12, bos_id=0), "another tokenizer"),
        (Model(12, width=9), "a vocabulary of 7 tokens, the candidate one of 9"),
    ],
)
def test_another_tokenizer_or_vocabulary_is_refused(tmp_path: Path, other: Model, message: str) -> None:
    """Distributions over other tokens cannot be compared."""
    _observe(Model(12), tmp_path, 0, 1)

    with pytest.raises(InputError, match=message):
        _observe(other, tmp_path, 1, 1)


def test_a_text_shorter_than_a_block_is_refused(tmp_path: Path) -> None:
    """It says how many tokens there are."""
    with pytest.raises(InputError, match="text t has 5 tokens; a block takes 6"):
        _observe(Model(5), tmp_path, 0, 0)
