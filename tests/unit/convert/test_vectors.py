"""The verdict on an embedding model's conversion, by the cosine of vectors."""

import pytest

from llmbench.convert.vectors import cosine, log_odds


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ([3.0, 4.0], [6.0, 8.0], 1.0),
        ([1.0, 0.0], [0.0, 2.0], 0.0),
        ([1.0, 0.0], [1.0, 1.0], 0.5**0.5),
        ([1.0, 1.0], [0.0, 0.0], 0.0),
    ],
)
def test_cosine_is_that_of_the_angle(one: list[float], other: list[float], expected: float) -> None:
    """Lengths do not matter; a vector without a length agrees with nothing."""
    assert pytest.approx(expected) == cosine(one, other)


def test_scores_are_compared_by_how_they_vary() -> None:
    """Log-odds of 0.2, 0.5 and 0.8 are -1.386, 0 and 1.386; a constant more on all of them changes nothing."""
    assert pytest.approx([-1.386294, 0.0, 1.386294], abs=1e-6) == log_odds([0.2, 0.5, 0.8])
    assert pytest.approx(log_odds([0.2, 0.5, 0.8])) == log_odds([0.5, 0.8, 16 / 17])


def test_scores_of_zero_and_one_are_finite() -> None:
    """Both are as far from the middle as 32 bits can tell."""
    assert pytest.approx([-13.8155, 13.8155], abs=1e-4) == log_odds([0.0, 1.0])
