"""Token ids of a prompt's variants: a text's own, rotated, or another window of our prose for a synthetic prompt.

Nothing here knows a tokenizer: who wants token ids hands one in.
"""

import hashlib
from collections.abc import Callable, Sequence
from importlib import resources

from llmbench.engines.base import EngineSession
from llmbench.schema.config import Prompt, RunConfig

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
        return _window(prompt, k, encode, bos_id)
    ids = encode(prompt.text)
    front = max(frame[0], len(_split_bos(ids, bos_id)[0]))
    end = max(front, len(ids) - frame[1])
    body = ids[front:end]
    turn = k % len(body) if body else 0
    return (*ids[:front], *body[turn:], *body[:turn], *ids[end:])


def corpus() -> str:
    """The English prose that synthetic prompts are cut from (our own writing)."""
    return (resources.files("llmbench.data") / "corpus.txt").read_text(encoding="utf-8")


def _window(prompt: Prompt, variant: int, encode: Encode, bos_id: int | None) -> tuple[int, ...]:
    """Exactly ``prompt.tokens`` ids of the corpus, read as a ring."""
    length = prompt.tokens or 1
    bos, ring = _split_bos(encode(corpus()), bos_id)
    head = bos if length > 1 else ()
    starts = _starts(ring, length - len(head), prompt.seed)
    start = starts[variant % len(starts)]
    return (*head, *_cut(ring, start, length - len(head)))


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
    """The beginning-of-sequence token, if it is in front, and the rest."""
    cut = 1 if bos_id is not None and ids[:1] == (bos_id,) else 0
    return ids[:cut], ids[cut:]


class Inputs:
    """The token ids of a launch's requests; it remembers what each chat has said so far.

    A chat's later turn is made of the very tokens that went in and came out before, so that what an engine keeps of
    them stays valid. Only the first turn differs between iterations.
    """

    def __init__(self, config: RunConfig, session: EngineSession) -> None:
        self._config = config
        self._session = session
        self._corpus_ids: tuple[int, ...] = ()
        self._said: dict[tuple[str, int], tuple[tuple[int, ...], ...]] = {}
        self._frame = _frame(session) if any(map(self._is_turn, config.prompts)) else (0, 0)
        self.lengths = tuple(map(self._length, config.prompts))

    def _is_turn(self, prompt: Prompt) -> bool:
        """Whether a prompt is handed over as a user's turn, under the chat template."""
        return prompt.earlier is not None or (self._config.apply_chat_template and prompt.text is not None)

    def _length(self, prompt: Prompt) -> int:
        """Tokens that go in for a prompt's first variant; a chat's earlier answers at their full length."""
        if not prompt.earlier:
            return len(self._variant(prompt, 0))
        ids = self._session.encode(prompt.earlier[0], chat=True)
        answer = (0,) * self._config.output_tokens
        for text in (*prompt.earlier[1:], prompt.text or ""):
            ids = self._session.go_on(ids, answer, text)
        return len(ids)

    def of(self, number: int, iteration: int) -> tuple[tuple[int, ...], ...]:
        """The token ids of each sequence of a request; *number* is the prompt's place in the configuration."""
        prompt = self._config.prompts[number]
        size = self._config.batch_size
        if not prompt.earlier:
            return tuple(self._variant(prompt, iteration * size + row) for row in range(size))
        said = self._said[prompt.set, prompt.index]
        return tuple(self._session.go_on(ids, (), prompt.text or "") for ids in said)

    def remember(self, number: int, given: Sequence[Sequence[int]], answers: Sequence[Sequence[int]]) -> None:
        """Keep what went in and came out of a chat's turn, for the next turn."""
        prompt = self._config.prompts[number]
        if prompt.earlier is not None:
            self._said[prompt.set, prompt.index] = tuple(
                (*ids, *answer) for ids, answer in zip(given, answers, strict=True)
            )

    def _variant(self, prompt: Prompt, variant: int) -> tuple[int, ...]:
        """Token ids of one variant of a prompt."""
        bos_id = self._session.bos_id
        if prompt.text is None:
            return token_ids(prompt, variant, self._encode_corpus, bos_id=bos_id)
        is_turn = self._is_turn(prompt)

        def encode(text: str) -> tuple[int, ...]:
            return self._session.encode(text, chat=is_turn)

        frame = self._frame if is_turn else (0, 0)
        return token_ids(prompt, variant, encode, bos_id=bos_id, frame=frame)

    def _encode_corpus(self, text: str) -> tuple[int, ...]:
        """Token ids of the corpus, which is encoded once a launch."""
        if not self._corpus_ids:
            self._corpus_ids = self._session.encode(text, chat=False)
        return self._corpus_ids


def _frame(session: EngineSession) -> tuple[int, int]:
    """How many tokens a chat template puts before and after a user's text; they stay in place in every variant."""
    one, other = session.encode("a", chat=True), session.encode("1 2", chat=True)
    before = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), 0)
    backwards = zip(reversed(one), reversed(other), strict=False)
    after = next((i for i, (a, b) in enumerate(backwards) if a != b), 0)
    return before, after
