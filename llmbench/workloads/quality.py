"""Quality: what a configuration makes of a given text, token by token, beside what a base makes of it.

A request is one block of a text: prompt p at iteration k is block k of text p. The first half of a block is context,
the tokens of the second half are scored, as ``llama-perplexity --kl-divergence`` does. The first launch is the base's:
it keeps its log-probabilities in files, with which every other launch compares its own, token by token.
"""

import time
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np

from llmbench.engines.base import Likelihood, LoadedModel
from llmbench.errors import InputError, LaunchError
from llmbench.schema.config import RunConfig
from llmbench.schema.measurement import Stage
from llmbench.schema.run import WorkloadSettings
from llmbench.schema.units import Nanoseconds, counted
from llmbench.workloads.base import CalledRequest, LaunchContext, Observation, Workload

_ROWS = 32
"""Tokens whose distributions are held in double precision at once."""

_FloatArray = np.ndarray[Any, np.dtype[np.floating[Any]]]


class _BlockRead(NamedTuple):
    """When a block was read, and the logits of its scored positions."""

    start_ns: int
    end_ns: int
    logits: list[_FloatArray]


def first_scored(block_tokens: int) -> int:
    """Return the position whose next token is the first of a block to be scored."""
    return block_tokens // 2


def log_softmax(logits: _FloatArray) -> _FloatArray:
    """Return log-probabilities in double precision; shape [tokens, vocabulary] in and out."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    return cast("_FloatArray", shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def token_scores(
    base: _FloatArray, logits: _FloatArray, targets: np.ndarray[Any, Any]
) -> dict[str, list[float]]:
    """Return for each token what a candidate's distribution loses against the base's.

    *base* are log-probabilities and *logits* the candidate's, both [tokens, vocabulary], *targets* the tokens that
    followed. ``kld`` is the sum over the vocabulary of p (log p - log q) in nats, ``nll`` and ``base_nll`` are -log q
    and -log p of the target, ``same_top`` is 1 where both have the same likeliest token.
    """
    found: dict[str, list[float]] = {"kld": [], "nll": [], "base_nll": [], "same_top": []}
    for start in range(0, len(targets), _ROWS):
        part = slice(start, start + _ROWS)
        p, q, wanted = base[part].astype(np.float64), log_softmax(logits[part]), targets[part, None]
        found["kld"] += np.maximum((np.exp(p) * (p - q)).sum(axis=-1), 0.0).tolist()
        found["nll"] += (-np.take_along_axis(q, wanted, axis=-1)[:, 0]).tolist()
        found["base_nll"] += (-np.take_along_axis(p, wanted, axis=-1)[:, 0]).tolist()
        found["same_top"] += (p.argmax(axis=-1) == q.argmax(axis=-1)).astype(float).tolist()
    return found


class QualityWorkload(Workload):
    """Distributions of the next token over blocks of text, against those of a base."""

    settings = WorkloadSettings(
        kind="quality", parameters={"block_tokens": 256, "chunk_tokens": 16, "folder": ""}, primary_metrics=()
    )

    def open(self, config: RunConfig, session: LoadedModel, launch: LaunchContext) -> "OpenQuality":
        """Make ready for the blocks of one launch; the first launch keeps its distributions for the others."""
        if not hasattr(session, "logits"):
            raise InputError(f"{config.engine_info.title} shows no logits", hint="use the likelihood engine")
        return OpenQuality(config, cast("Likelihood", session), launch)


class OpenQuality:
    """The blocks of one launch, cut from its texts."""

    def __init__(self, config: RunConfig, session: Likelihood, launch: LaunchContext) -> None:
        parameters = launch.parameters
        self.session = session
        self.beat = launch.beat
        self.is_base = launch.index == 0
        self.chunk = int(parameters["chunk_tokens"])
        self.block_tokens = int(parameters["block_tokens"])
        self.folder = Path(str(parameters["folder"]))
        limit = launch.context_tokens
        if limit is not None and self.block_tokens > limit:
            raise InputError(
                f"blocks of {self.block_tokens} tokens do not fit the model's context of {limit}",
                hint=f"use --block-tokens {limit}",
            )
        self.texts = tuple(session.encode(prompt.text or "", chat=False) for prompt in config.prompts)
        short = next((i for i, ids in enumerate(self.texts) if len(ids) < self.block_tokens), None)
        if short is not None:
            raise InputError(
                f"text {config.prompts[short].set} has {counted(len(self.texts[short]), 'token')}; "
                f"a block takes {self.block_tokens}",
                hint="give a longer text, or fewer --block-tokens",
            )

    def block(self, prompt: int, number: int) -> tuple[int, ...]:
        """Return block *number* of a text, the beginning-of-text token in front of each; shorter past the end."""
        ids, size = self.texts[prompt], self.block_tokens
        if self.session.bos_id is not None and ids[:1] == (self.session.bos_id,):
            start = 1 + number * (size - 1)
            return (ids[0], *ids[start : start + size - 1])
        return ids[number * size : (number + 1) * size]

    def prepare(self, prompt: int, iteration: int) -> CalledRequest[_BlockRead]:
        """Make a block ready; one past the end of its text is empty and scores nothing."""
        ids = self.block(prompt, iteration)
        ids = ids if len(ids) == self.block_tokens else ()
        file = self.folder / f"{prompt}-{iteration}.npz"
        return CalledRequest(partial(self._read, ids), partial(self._observe, ids, file))

    def _read(self, ids: tuple[int, ...]) -> _BlockRead:
        """Read a block, and keep the logits of the positions that are scored."""
        first, last, position = first_scored(len(ids)), len(ids) - 1, 0
        kept: list[_FloatArray] = []
        self.beat(0, time.perf_counter_ns())
        start_ns = time.perf_counter_ns()
        for logits in self.session.logits(ids, self.chunk):
            wanted = logits[max(first - position, 0) : max(last - position, 0)]
            if len(wanted):
                kept.append(np.array(wanted, np.float32))
            position += len(logits)
            self.beat(position, time.perf_counter_ns())
        return _BlockRead(start_ns, time.perf_counter_ns(), kept)

    def _observe(self, ids: tuple[int, ...], file: Path, made: _BlockRead) -> Observation:
        """Keep the base's log-probabilities, or compare with them."""
        is_finite = all(np.isfinite(each).all() for each in made.logits)
        scores = self._scores(np.array(ids), file, np.concatenate(made.logits)) if ids and is_finite else {}
        span_ns = made.end_ns - made.start_ns
        return Observation(
            start_ns=made.start_ns,
            end_ns=made.end_ns,
            stages=(Stage(name="read", at_ns=Nanoseconds(made.start_ns), duration_ns=span_ns),),
            token_scores={name: tuple(values) for name, values in scores.items()},
            suspicions=() if is_finite else ("non-finite logits",),
        )

    def _scores(self, ids: np.ndarray[Any, Any], file: Path, logits: _FloatArray) -> dict[str, list[float]]:
        targets = ids[first_scored(len(ids)) + 1 :]
        if self.is_base:
            kept = log_softmax(logits).astype(np.float32)
            np.savez(file, ids=ids, log_probabilities=kept)
            return token_scores(kept, logits, targets)
        return token_scores(_base(ids, file, logits.shape[-1]), logits, targets)


def _base(ids: np.ndarray[Any, Any], file: Path, width: int) -> _FloatArray:
    if not file.exists():
        raise LaunchError(
            "the base has no distributions for this block", hint="look at why the base's launch failed"
        )
    with np.load(file, allow_pickle=False) as kept:
        if not np.array_equal(kept["ids"], ids):
            raise InputError(
                "the base has another tokenizer: it splits the text into other tokens",
                hint="give a base of the same model",
            )
        found: _FloatArray = kept["log_probabilities"]
    if found.shape[-1] != width:
        raise InputError(
            f"the base has a vocabulary of {counted(found.shape[-1], 'token')}, the candidate one of {width}",
            hint="give a base of the same model",
        )
    return found
