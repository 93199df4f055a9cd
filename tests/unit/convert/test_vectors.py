"""The verdict on an embedding model's conversion, by the cosine of vectors."""

import pytest

from llmbench.convert.vectors import cosine


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
