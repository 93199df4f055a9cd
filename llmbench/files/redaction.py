"""Text without secrets: what may be written down or shown of arguments, configuration, logs and tracebacks."""

import contextlib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

REDACTED = "[redacted]"
"""What replaces a secret."""

SECRET_NAME = re.compile("TOKEN|KEY|SECRET|PASS|AUTH", re.IGNORECASE)
"""In the name of an environment variable: its value is a secret."""

_SHORTEST = 8
_TAIL_BYTES = 64 << 10
_TAIL_LINES = 40
_LONGEST_FIELD = 24
_VALUE = r"[^\s&\"'<>]+"
_IS = r"[\"']?\s{0,2}[=:]\s{0,2}[\"']?"
# What stands in group 1 is kept. Every repetition before the secret is bounded: hostile text costs linear time.
_SHAPES = tuple(
    re.compile(shape)
    for shape in (
        # tokens of hubs and code forges, keys of model services and clouds
        r"(?<![A-Za-z0-9])()(?:hf_|gh[opsur]_|glpat-)(?:(?=[A-Za-z]{0,60}\d)[A-Za-z0-9]{8,}|[A-Za-z0-9]{16,})",
        r"(?<![A-Za-z0-9])()(?:sk-[\w-]{20,}|github_pat_\w{20,}|(?:AKIA|ASIA)[A-Z0-9]{16})",
        # HTTP headers
        r"(?i)(\bbearer\s{1,2})(?:(?=\S{0,60}\d)[\w.~+/=-]{8,}|[\w.~+/=-]{16,})",
        r"(?i)(\bauthorization"
        + _IS
        + r"(?:(?:basic|bearer|token)\s{1,2})?)(?!\[red|(?:basic|bearer|token)\b)"
        + _VALUE,
        # the user's part of an address, and secrets in its query
        r"(?i)(\bhttps?://)[^\s/\"'<>]{1,500}(?=@)",
        r"(?i)(\b[a-z][a-z0-9+.-]{0,20}://[^\s/:@]{0,100}:)[^\s/\"'<>]{1,500}(?=@)",
        r"(?i)([?&][\w.-]{0,60}(?:token|key|secret|pass|auth|signature)[\w.-]{0,60}=)" + _VALUE,
        # HF_TOKEN=..., "api_key": "...", password: ...
        r"(\b[A-Z0-9_]{0,60}(?:TOKEN|KEY|SECRET|PASS|PASSWORD|PASSWD|AUTH|CREDENTIALS?)"
        + _IS
        + r")(?!\[red)"
        + _VALUE,
        r"(?i)(\b(?:api|access|auth|secret|private)[_-]?(?:key|token)" + _IS + r")(?!\[red)" + _VALUE,
        r"(?i)(\bpassw(?:or)?d" + _IS + r")(?!\[red)" + _VALUE,
    )
)
_SIGNS = (
    *("hf_", "gho_", "ghp_", "ghs_", "ghu_", "ghr_", "glpat-", "sk-", "github_pat_", "akia", "asia"),
    *("bearer", "auth", "://", "token", "key", "secret", "pass", "credential"),
)
"""One of these is in every text that a shape fits, so that most texts are passed at a glance."""


def redact(text: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return a text without what has the shape of a secret or is the value of a variable named like one."""
    return _without(secret_values(environment), text)


def redacted_tail(descriptor: int) -> tuple[str, ...]:
    """Return the last lines of an open file of text, without secrets."""
    size = os.fstat(descriptor).st_size
    data = os.pread(descriptor, _TAIL_BYTES, max(size - _TAIL_BYTES, 0))
    return tuple(redact(line) for line in data.decode(errors="replace").splitlines()[-_TAIL_LINES:])


def redact_tree(tree: object, values: Sequence[str]) -> object:
    """A tree of JSON's types with every text in it redacted, *values* (see secret_values) among the secrets.

    Short keys in small letters, which are those of our own fields, and lists that begin with a number are passed.
    """
    if isinstance(tree, str):
        return _without(values, tree)
    if isinstance(tree, dict):
        return {_key_without(values, key): redact_tree(value, values) for key, value in tree.items()}
    if isinstance(tree, list | tuple) and not (tree and isinstance(tree[0], int)):
        return [redact_tree(item, values) for item in tree]
    return tree


def secret_values(environment: Mapping[str, str]) -> list[str]:
    """Values of variables whose names are those of secrets, longest first; none that are short or a path."""
    found = {
        value
        for name, value in environment.items()
        if SECRET_NAME.search(name) and len(value) >= _SHORTEST and not _is_path(value)
    }
    return sorted(found, key=len, reverse=True)


def _is_path(value: str) -> bool:
    with contextlib.suppress(OSError, ValueError):
        return value.startswith("/") and Path(value).exists()
    return False


def _without(values: Sequence[str], text: str) -> str:
    for value in values:
        text = text.replace(value, REDACTED)
    lowered = text.lower()
    if any(sign in lowered for sign in _SIGNS):
        for shape in _SHAPES:
            text = shape.sub(rf"\1{REDACTED}", text)
    return text


def _key_without(values: Sequence[str], key: object) -> str:
    """The key of an object without secrets; keys that were numbers are texts in JSON."""
    text = str(key)
    return text if len(text) <= _LONGEST_FIELD and text.islower() else _without(values, text)
