import functools
from itertools import pairwise

import pytest

from llmbench.schema.config import Prompt
from llmbench.workloads import prompts
from llmbench.workloads import text as variants

BOS = 1


@functools.cache
def encode_words(text: str) -> tuple[int, ...]:
    """A tokenizer that adds nothing: one token a word, the same word the same token."""
    return tuple(int.from_bytes(word.encode()) + 2 for word in text.split())


def encode_with_bos(text: str) -> tuple[int, ...]:
    return (BOS, *encode_words(text))


def test_a_text_is_rotated() -> None:
    """Variant 0 is the text as it is, variant k is rotated left by k, and n variants later it comes round."""
    a, b, c = encode_words("a b c")
    prompt = prompts.given(["a b c"])[0]

    assert [(a, b, c), (b, c, a), (c, a, b), (a, b, c)] == [
        variants.token_ids(prompt, k, encode_words) for k in range(4)
    ]


def test_the_first_token_stays_in_front_when_it_begins_a_sequence() -> None:
    """Only if the tokenizer puts it there: a model may have such a token and not use it."""
    a, b = encode_words("a b")
    prompt = prompts.given(["a b"])[0]

    assert (BOS, b, a) == variants.token_ids(prompt, 1, encode_with_bos, bos_id=BOS)
    assert (b, a) == variants.token_ids(prompt, 1, encode_words, bos_id=BOS)
    assert (a, b, BOS) == variants.token_ids(prompt, 1, encode_with_bos)


def test_a_chat_template_stays_around_a_text() -> None:
    """The frame's tokens keep their places and the text is rotated between them."""
    a, b = encode_words("a b")

    def encode_turn(text: str) -> tuple[int, ...]:
        return (7, 8, *encode_words(text), 9)

    assert (7, 8, b, a, 9) == variants.token_ids(prompts.given(["a b"])[0], 1, encode_turn, frame=(2, 1))


def test_a_frame_as_long_as_the_text_changes_nothing() -> None:
    """Where the template has swallowed the text no token is lost or doubled."""
    assert (5, 6) == variants.token_ids(prompts.given(["a"])[0], 1, lambda _: (5, 6), frame=(2, 1))


@pytest.mark.parametrize("prompt", [prompts.given(["a b c"])[0], *prompts.synthetic((8,), 42)])
def test_a_prompt_that_is_not_permuted_has_one_variant(prompt: Prompt) -> None:
    """Every iteration has variant 0."""
    same = Prompt(set="x", index=0, text=prompt.text, tokens=prompt.tokens, is_permuted=False)

    expected = variants.token_ids(prompt, 0, encode_words)
    assert [expected] * 3 == [variants.token_ids(same, k, encode_words) for k in range(3)]


@pytest.mark.parametrize("encode", [encode_words, encode_with_bos])
@pytest.mark.parametrize("length", [1, 2, 32, 512, 5000])
def test_a_synthetic_prompt_has_the_exact_length(length: int, encode: variants.Encode) -> None:
    """The token in front is counted; a length beyond the corpus goes round."""
    (prompt,) = prompts.synthetic((length,), 42)

    ids = variants.token_ids(prompt, 3, encode, bos_id=BOS)

    assert length == len(ids)
    assert (encode is encode_with_bos and length > 1) == (ids[0] == BOS)
    assert BOS not in ids[1:]


@pytest.mark.parametrize("encode", [encode_words, encode_with_bos])
@pytest.mark.parametrize("length", [1, 2, 32, 5000])
def test_synthetic_variants_share_no_beginning(length: int, encode: variants.Encode) -> None:
    """A hundred variants begin with a hundred different tokens, so that no prefix can be found in a cache."""
    (prompt,) = prompts.synthetic((length,), 42)

    made = [variants.token_ids(prompt, k, encode, bos_id=BOS) for k in range(100)]

    assert 100 == len({ids[1] if ids[0] == BOS else ids[0] for ids in made})


def test_synthetic_variants_stay_distinct_when_first_tokens_run_out() -> None:
    """Of the corpus 'x y x x', each window of two words that differs is used once before they repeat."""
    (prompt,) = prompts.synthetic((2,), 42)
    ring = (5, 6, 5, 5)

    made = [variants.token_ids(prompt, k, lambda _: ring) for k in range(6)]

    assert {(5, 6), (6, 5), (5, 5)} == set(made[:3])
    assert made[:3] == made[3:]
    assert {5, 6} == {ids[0] for ids in made[:2]}


def test_synthetic_prompts_are_the_same_in_every_launch() -> None:
    """The window depends on length, seed and variant alone.

    The order of places 0 to 9 is that of the SHA-256 of "42:3:0" to "42:3:9": 0, 3, 9, 6 ...
    """
    (prompt,) = prompts.synthetic((3,), 42)
    (other_seed,) = prompts.synthetic((3,), 43)

    def encode_letters(_: str) -> tuple[int, ...]:
        return tuple(range(10))

    assert [(0, 1, 2), (3, 4, 5), (9, 0, 1)] == [
        variants.token_ids(prompt, k, encode_letters) for k in range(3)
    ]
    assert variants.token_ids(other_seed, 0, encode_letters) != (0, 1, 2)


def test_a_synthetic_prompt_is_running_text() -> None:
    """Its tokens follow one another in the corpus."""
    (prompt,) = prompts.synthetic((64,), 42)
    following = set(pairwise((*encode_words(variants.corpus()), encode_words(variants.corpus())[0])))

    assert set(pairwise(variants.token_ids(prompt, 5, encode_words))) <= following
