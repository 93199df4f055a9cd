import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmbench.files.redaction import REDACTED, redact, redact_tree, secret_values

_TOKEN = "hf_" + "AbCdEfGhIjKlMnOpQrStUvWxYz01234567"  # joined, so that no scanner takes it for a real one


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"/models/{_TOKEN}/INT8", "/models/[redacted]/INT8"),
        (f"failed with {_TOKEN}.", "failed with [redacted]."),
        ("Authorization: Bearer abcdef0123456789", "Authorization: Bearer [redacted]"),
        ('{"authorization": "Basic dXNlcjpwYXNz"}', '{"authorization": "Basic [redacted]"}'),
        ("https://user:pa@ss@host.example/x", "https://[redacted]@host.example/x"),
        ("https://justatoken@host.example/x", "https://[redacted]@host.example/x"),
        ("redis://user:secret@host/0", "redis://user:[redacted]@host/0"),
        ("https://host/x?a=1&access_token=abc&b=2", "https://host/x?a=1&access_token=[redacted]&b=2"),
        ("HF_TOKEN=abc def", "HF_TOKEN=[redacted] def"),
        ("AWS_SECRET_ACCESS_KEY: abc", "AWS_SECRET_ACCESS_KEY: [redacted]"),
        ("'api_key': 'abc'", "'api_key': '[redacted]'"),
        ("password=abc", "password=[redacted]"),
        ("sk-proj-abcdefghijklmnopqrstuvwx", "[redacted]"),
    ],
)
def test_what_has_the_shape_of_a_secret_is_not_shown(text: str, shown: str) -> None:
    """The secret goes, the words around it stay; and doing it twice changes nothing."""
    assert shown == redact(text, {})
    assert shown == redact(shown, {})


@pytest.mark.parametrize(
    "text",
    [
        "What is a Bearer token?",
        "max_num_batched_tokens: 256",
        "KEY_CACHE_PRECISION=u8",
        "hf_transformers and hf_cache",
        "/home/me/hf_models/INT8/openvino_model.xml",
        "https://example.org/a?b=c",
        "ssh://git@example.org/a",
        "a task-specific model that-asks-for-nothing",
        "The token budget was: 12",
        "t1 t2 t3 é 😀 \x1b[31m",
    ],
)
def test_words_that_only_sound_like_secrets_stay(text: str) -> None:
    """Model names, properties and prose are left as they are."""
    assert text == redact(text, {})


def test_values_of_secret_variables_are_not_shown() -> None:
    """Whatever it looks like, the value of a variable named like a secret is one; a path or a short word is none."""
    environment = {
        "MY_API_KEY": "correct horse",
        "KEYS": "on",
        "SSH_AUTH_SOCK": "/",
        "HOME": "/home/somebody",
    }

    assert ["correct horse"] == secret_values(environment)
    assert "it was [redacted], on / of /home/somebody" == redact(
        "it was correct horse, on / of /home/somebody", environment
    )


def test_a_tree_is_redacted_in_every_place() -> None:
    """Keys, values and items are looked at; numbers and nothing stay."""
    tree = {"a": [_TOKEN, 1, None, 1.5], _TOKEN: {"b": f"x {_TOKEN}"}}

    assert {"a": [REDACTED, 1, None, 1.5], REDACTED: {"b": f"x {REDACTED}"}} == redact_tree(tree, ())


@given(st.text())
def test_redacting_is_done_at_once(text: str) -> None:
    """What was redacted holds nothing more to redact."""
    once = redact(text, {})

    assert once == redact(once, {})


@pytest.mark.parametrize(
    "unit", ["a-", "://", "?token", "bearer ", "KEY_", "hf_a", "A_", "https://a", "auth:"]
)
def test_hostile_text_costs_linear_time(unit: str) -> None:
    """Eight times the text takes nowhere near 64 times as long."""

    def seconds(size: int) -> float:
        text = "://token" + unit * (size // len(unit))
        start = time.thread_time()
        redact(text, {})
        return time.thread_time() - start

    seconds(1000)
    short = min(seconds(8_000) for _ in range(3))

    assert seconds(64_000) < 40 * short + 0.2
