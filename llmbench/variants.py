"""Token ids of a prompt's variants: a text's own, rotated, or another window of our prose for a synthetic prompt.

Nothing here knows a tokenizer: who wants token ids hands one in.
"""

import hashlib
from collections.abc import Callable
from importlib import resources

from llmbench.config import Prompt

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
