import pytest

from llmbench.analysis.stats import Summary
from llmbench.render import text
from llmbench.schema.config import Prompt
from llmbench.schema.units import Unit


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain", "plain"),
        ("日本 é", "日本 é"),
        ("\x1b[31m", "\\x1b[31m"),
        ("a\nb\tc", "a\\nb\\tc"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\ud800", "\\ud800"),
    ],
)
def test_text_cannot_steer_a_terminal(raw: str, shown: str) -> None:
    """Control and direction characters, and halves of characters, are shown as escapes."""
    assert shown == text.plain(raw)


@pytest.mark.parametrize(
    ("ratio", "shown"),
    [
        (1.0, "0.0 %"),
        (1.0004, "0.0 %"),
        (0.9996, "0.0 %"),
        (1.032, "+3.2 %"),
        (0.88, "-12 %"),
        (2.5, "+150 %"),
    ],
)
def test_a_change_in_words(ratio: float, shown: str) -> None:
    """A decimal below 10 %, a sign always, and no signed zero."""
    assert shown == text.change(ratio)


@pytest.mark.parametrize(
    ("low", "high", "shown"),
    [(9.9, 10.2, "±2.0 %"), (8.0, 10.1, "±20 %"), (5.0, 66.0, "±>100 %"), (float("-inf"), float("inf"), "")],
)
def test_a_margin_is_the_farther_side(low: float, high: float, shown: str) -> None:
    """Of 9.9 to 10.2 around 10 the farther side is 2 %; an infinite interval has no margin."""
    assert shown == text.margin(Summary(n=6, median=10.0, low=low, high=high))


def test_a_number_in_its_unit() -> None:
    """Seconds are shown as ms, what does not exist as n/a."""
    assert "12.34" == text.number_text(0.01234, Unit.MILLISECONDS)
    assert "n/a" == text.number_text(None, Unit.MILLISECONDS)


@pytest.mark.parametrize(("tokens", "shown"), [(1, "P2, 1 token in"), (32, "P2, 32 tokens in")])
def test_a_prompt_is_named_with_its_length(tokens: int, shown: str) -> None:
    """One token is no plural."""
    assert shown == text.prompt_name(Prompt(set="ladder", index=2, tokens=tokens), tokens)
