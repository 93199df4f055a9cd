from pathlib import Path

import pytest

from llmbench.files.strict_json import JsonError, parse_json, read_json_file


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "Expecting value at column 1"),
        (b'{\n "a": }', "Expecting value at line 2, column 7"),
        (b'{"a": {"b": 1, "b": 1}}', "duplicate key 'b'"),
        (b"[NaN]", "NaN is not JSON"),
        (b"-Infinity", "-Infinity is not JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b"9" * 5000, "a number is too long to read"),
        (b'"\xff"', "byte 2 is not UTF-8"),
    ],
)
def test_what_is_not_strict_json_is_refused_with_a_reason(text: bytes, reason: str) -> None:
    """What Python's reader accepts beyond the standard, and what makes it fail in its own ways."""
    with pytest.raises(JsonError) as caught:
        parse_json(text)

    assert reason == str(caught.value)


def test_a_file_has_a_size_cap(tmp_path: Path) -> None:
    """A file of exactly the cap is read, one byte more is not."""
    path = tmp_path / "some.json"
    path.write_text('{"a": 1}')

    assert {"a": 1} == read_json_file(path, most_bytes=8)
    with pytest.raises(JsonError, match="it has 8 bytes; at most 7 are read"):
        read_json_file(path, most_bytes=7)
