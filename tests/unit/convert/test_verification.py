"""Agreement between two readings; the readings themselves are in tests/model and test_convert.py."""

import pytest

from llmbench.convert import verification


def test_agreement_is_the_share_of_equal_choices() -> None:
    """Two texts, the first four positions of each left out: 3 of 4 choices agree."""
    one = [[0, 0, 0, 0, 1, 2], [0, 0, 0, 0, 3, 4]]
    other = [[9, 9, 9, 9, 1, 2], [9, 9, 9, 9, 3, 5]]

    assert 0.75 == verification.agreement_of(one, other)


@pytest.mark.parametrize("other", [[[1, 2, 3, 4, 5, 6, 7]], [[1, 2, 3, 4, 5], [1]]])
def test_readings_of_other_lengths_are_not_compared(other: list[list[int]]) -> None:
    """A reading that lacks a token or has a text too many is a mistake, not a low agreement."""
    with pytest.raises(ValueError, match="zip"):
        verification.agreement_of([[1, 2, 3, 4, 5, 6]], other)


def test_the_texts_are_long_enough_to_judge() -> None:
    """Six texts of more than thirty words: some 200 choices, so one choice is half a percent."""
    assert 6 == len(verification.TEXTS)
    assert all(len(text.split()) > 30 for text in verification.TEXTS)
    assert not any("\n" in text for text in verification.TEXTS)


def test_every_format_has_an_expectation_above_failure() -> None:
    """A warning comes before a failure, and coarser weights are expected to agree less."""
    expected = [verification.EXPECTED[name] for name in ("fp32", "fp16", "int8", "int4")]

    assert sorted(expected, reverse=True) == expected
    assert expected[-1] > verification.LEAST
