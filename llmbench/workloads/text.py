"""Text generation: the token ids of each request, and what is observed of it.

The ids of a prompt's variants are a text's own, rotated, or another window of our prose for a synthetic prompt.
"""

import dataclasses
import hashlib
import time
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from importlib import resources
from typing import cast

from llmbench.engines.base import Codec, EngineRequest, EngineSession, Generation, LoadedModel
from llmbench.engines.clock_check import suspicions
from llmbench.models.resolve import check_context
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.run import WorkloadSettings
from llmbench.workloads.base import CalledRequest, LaunchContext, Observation

Encode = Callable[[str], tuple[int, ...]]
"""A text to its token ids, special tokens included where the model's tokenizer adds them."""

DISTINCT_TOKENS = 16
"""No two variants of a synthetic prompt begin with the same 16 tokens."""


def token_ids(
    prompt: Prompt,
    variant: int,
    encode: Encode,
    *,
    bos_id: int | None = None,
    frame: tuple[int, int] = (0, 0),
) -> tuple[int, ...]:
    """The token ids of a prompt's variant, the same in every launch; iteration k uses variant k.

    A text's variant k is its ids rotated left by k places, so a text of n tokens has n variants before they
    repeat; a synthetic prompt's is another window of the corpus. *bos_id* (``None``: the model has none)
    stays in front and is counted where the tokenizer puts it there; only a synthetic prompt of one token goes
    without, or all its variants would be the same. *frame* counts the tokens before and after a text's own
    that stay in place, too: a chat template's. A prompt that is not permuted has variant 0 alone.

    ``Prompt.sha256`` covers all of them: the text, or the length and the seed, and whether they are permuted.
    It does not cover the tokenizer, nor the corpus, which changes with the version of llmbench only.
    """
    k = variant if prompt.is_permuted else 0
    if prompt.text is None:
        return _windows(encode(corpus()), prompt.seed, bos_id).ids(prompt.tokens or 1, k)
    ids = encode(prompt.text)
    front = max(frame[0], len(_split_bos(ids, bos_id)[0]))
    end = max(front, len(ids) - frame[1])
    body = ids[front:end]
    turn = k % len(body) if body else 0
    return (*ids[:front], *body[turn:], *body[:turn], *ids[end:])


def corpus() -> str:
    """The English prose that synthetic prompts are cut from (our own writing)."""
    return (resources.files("llmbench.data") / "corpus.txt").read_text(encoding="utf-8")


class Windows:
    """Parts of a text of exact lengths, of which no two of one length begin alike; the text is read as a ring."""

    def __init__(self, token_ids: tuple[int, ...], *, seed: int, bos_id: int | None = None) -> None:
        self._bos, self._ring = _split_bos(token_ids, bos_id)
        self._seed = seed
        self._starts: dict[int, list[int]] = {}

    def ids(self, length: int, variant: int) -> tuple[int, ...]:
        """Exactly *length* ids, the model's first token included where there are others."""
        head = self._bos if length > 1 else ()
        size = length - len(head)
        if size not in self._starts:
            self._starts[size] = _starts(self._ring, size, self._seed)
        starts = self._starts[size]
        start = starts[variant % len(starts)]
        return (*head, *_cut(self._ring, start, size))


@lru_cache(maxsize=4)
def _windows(token_ids: tuple[int, ...], seed: int, bos_id: int | None) -> Windows:
    """Windows that are ordered once, and not for each request."""
    return Windows(token_ids, seed=seed, bos_id=bos_id)


def _starts(ring: tuple[int, ...], length: int, seed: int) -> list[int]:
    """Where the windows of the variants start, in order; no two begin alike.

    The first variants, one for each different token of the corpus, do not even share their first token.
    """

    def rank(start: int) -> bytes:
        return hashlib.sha256(f"{seed}:{length}:{start}".encode()).digest()

    openings: dict[tuple[int, ...], int] = {}
    first_tokens: dict[int, int] = {}
    for start in sorted(range(len(ring)), key=rank):
        if openings.setdefault(_cut(ring, start, min(length, DISTINCT_TOKENS)), start) == start:
            first_tokens.setdefault(ring[start], start)
    leading = list(first_tokens.values())
    taken = set(leading)
    return leading + [start for start in openings.values() if start not in taken]


def _cut(ring: tuple[int, ...], start: int, length: int) -> tuple[int, ...]:
    """*length* items from *start* on, going round as often as needed."""
    turns = -(-(start + length) // len(ring))
    return (ring * turns)[start : start + length] if turns > 1 else ring[start : start + length]


def _split_bos(ids: tuple[int, ...], bos_id: int | None) -> tuple[tuple[int, ...], tuple[int, ...]]:
    cut = 1 if bos_id is not None and ids[:1] == (bos_id,) else 0
    return ids[:cut], ids[cut:]


class Inputs:
    """The token ids of a launch's requests; it remembers the tokens of each chat so far.

    A chat's later turn is made of the very tokens that went in and came out before, so that what an engine keeps of
    them stays valid. Only the first turn differs between iterations.
    """

    def __init__(self, config: RunConfig, session: Codec) -> None:
        self._config = config
        self._session = session
        self._corpus_ids: tuple[int, ...] = ()
        self._histories: dict[tuple[str, int], tuple[tuple[int, ...], ...]] = {}
        self._frame = _frame(session) if any(map(self._is_turn, config.prompts)) else (0, 0)
        self.lengths = tuple(map(self._length, config.prompts))

    def _is_turn(self, prompt: Prompt) -> bool:
        return prompt.earlier is not None or (self._config.apply_chat_template and prompt.text is not None)

    def _length(self, prompt: Prompt) -> int:
        """Tokens that go in for a prompt's first variant; a chat's earlier responses at their full length."""
        if not prompt.earlier:
            return len(self._variant(prompt, 0))
        ids = self._session.encode(prompt.earlier[0], chat=True)
        response = (0,) * self._config.output_tokens
        for text in (*prompt.earlier[1:], prompt.text or ""):
            ids = self._session.go_on(ids, response, text)
        return len(ids)

    def of(self, number: int, iteration: int) -> tuple[tuple[int, ...], ...]:
        """The token ids of each sequence of a request; *number* is an index into the configuration's prompts."""
        prompt = self._config.prompts[number]
        size = self._config.batch_size
        if not prompt.earlier:
            return tuple(self._variant(prompt, iteration * size + row) for row in range(size))
        histories = self._histories[prompt.set, prompt.index]
        return tuple(self._session.go_on(ids, (), prompt.text or "") for ids in histories)

    def remember(
        self, number: int, given: Sequence[Sequence[int]], responses: Sequence[Sequence[int]]
    ) -> None:
        """Keep what went in and came out of a chat's turn, for the next turn."""
        prompt = self._config.prompts[number]
        if prompt.earlier is not None:
            self._histories[prompt.set, prompt.index] = tuple(
                (*ids, *response) for ids, response in zip(given, responses, strict=True)
            )

    def _variant(self, prompt: Prompt, variant: int) -> tuple[int, ...]:
        bos_id = self._session.bos_id
        if prompt.text is None:
            return token_ids(prompt, variant, self._encode_corpus, bos_id=bos_id)
        is_turn = self._is_turn(prompt)

        def encode(text: str) -> tuple[int, ...]:
            """Return the token ids of a text, as a turn of a chat where it is one."""
            return self._session.encode(text, chat=is_turn)

        frame = self._frame if is_turn else (0, 0)
        return token_ids(prompt, variant, encode, bos_id=bos_id, frame=frame)

    def _encode_corpus(self, text: str) -> tuple[int, ...]:
        if not self._corpus_ids:
            self._corpus_ids = self._session.encode(text, chat=False)
        return self._corpus_ids


class TextWorkload:
    """Text generation: a request is one prompt, or one batch of its variants."""

    settings = WorkloadSettings(kind="text", primary_metrics=("first_token", "tpot"))

    def open(self, config: RunConfig, session: LoadedModel, launch: LaunchContext) -> "OpenText":
        """Make ready for the requests of one launch; raise InputError where the model's context is too small."""
        model = cast("EngineSession", session)
        inputs = Inputs(config, model)
        _check_context(config, inputs, launch.context_tokens)
        return OpenText(config, model, launch, inputs)

    def check(self, config: RunConfig, codec: Codec, context_tokens: int | None) -> None:
        """Refuse, with the tokenizer alone, prompts that the model's context or chat template cannot take."""
        _check_context(config, Inputs(config, codec), context_tokens)


def _check_context(config: RunConfig, inputs: Inputs, context_tokens: int | None) -> None:
    longest = max(inputs.lengths)
    needed = longest + config.output_tokens
    check_context(
        config,
        (needed, context_tokens),
        f"{longest} input + {config.output_tokens} output tokens make {needed}",
        hint="use a shorter prompt or a smaller -ic, or go beyond it with --ignore-context-limit",
    )


class OpenText:
    """The text requests of one launch."""

    def __init__(
        self, config: RunConfig, session: EngineSession, launch: LaunchContext, inputs: Inputs
    ) -> None:
        self.config = config
        self.session = session
        self.inputs = inputs
        self._launch = launch

    def prepare(self, prompt: int, iteration: int) -> CalledRequest[Generation]:
        """Make the token ids of a request."""
        start_ns = time.perf_counter_ns()
        input_ids = self.inputs.of(prompt, iteration)
        has_text = self.config.prompts[prompt].text is not None
        tokenize_ns = time.perf_counter_ns() - start_ns if has_text else None
        request = self._launch.request(self.config, input_ids)
        return CalledRequest(
            partial(self.session.generate, request), partial(self._observe, prompt, request, tokenize_ns)
        )

    def _observe(
        self, prompt: int, request: EngineRequest, tokenize_ns: int | None, made: Generation
    ) -> Observation:
        """Decode the tokens, and return what was observed."""
        token_ids = [sequence.token_ids for sequence in made.sequences]
        self.inputs.remember(prompt, request.input_ids, token_ids)
        start_ns = time.perf_counter_ns()
        sequences = tuple(
            dataclasses.replace(sequence, text=self.session.decode(sequence.token_ids))
            if sequence.text is None
            else sequence
            for sequence in made.sequences
        )
        return Observation.of(
            made,
            requested_tokens=self.config.output_tokens,
            sequences=sequences,
            later_steps=len(made.sequences[0].at_ns) - 1 if self.config.is_speculative else None,
            tokenize_ns=tokenize_ns,
            detokenize_ns=time.perf_counter_ns() - start_ns,
            suspicions=suspicions(made),
        )


def _frame(session: Codec) -> tuple[int, int]:
    """How many tokens a chat template puts before and after a user's text; they stay in place in every variant."""
    one, other = session.encode("a", chat=True), session.encode("1 2", chat=True)
    before = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), 0)
    backwards = zip(reversed(one), reversed(other), strict=False)
    after = next((i for i, (a, b) in enumerate(backwards) if a != b), 0)
    return before, after
