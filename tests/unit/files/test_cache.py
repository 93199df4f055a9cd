"""SHA-256 of files: right, remembered, and never stale."""

import hashlib
import os
import time
from pathlib import Path

import pytest

from llmbench.errors import InputError
from llmbench.files import cache as digests

WAIT_S = 0.15
"""Longer than a change must be old to be remembered."""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "llmbench"


def _settled(path: Path, content: bytes) -> Path:
    """A file that was written a moment ago."""
    path.write_bytes(content)
    time.sleep(WAIT_S)
    return path


def test_is_the_sha256_of_the_content(tmp_path: Path) -> None:
    """The first reading and the remembered one agree with hashlib."""
    path = _settled(tmp_path / "model.bin", b"weights")
    expected = hashlib.sha256(b"weights").hexdigest()

    assert [expected, expected] == [digests.file_sha256(path), digests.file_sha256(path)]


def test_an_unchanged_file_is_not_read_again(tmp_path: Path, cache: Path) -> None:
    """What is remembered is what is told: a false memory shows that the file was not read."""
    path = _settled(tmp_path / "model.bin", b"weights")
    true = digests.file_sha256(path)
    memory = cache / "sha256.json"
    memory.write_text(memory.read_text().replace(true, "f" * 64))

    assert "f" * 64 == digests.file_sha256(path)


def test_a_flipped_bit_is_seen_even_with_its_time_put_back(tmp_path: Path) -> None:
    """Same size, same modification time, other content: another digest."""
    path = _settled(tmp_path / "model.bin", b"weights")
    before = digests.file_sha256(path)
    state = path.stat()

    path.write_bytes(b"Weights")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))

    assert before != digests.file_sha256(path)


def test_a_file_changed_just_now_is_not_remembered(tmp_path: Path, cache: Path) -> None:
    """Its times may not tell the next change: the kernel's clock ticks in milliseconds.

    The change lies an hour ahead, so that it is recent however slowly this test runs.
    """
    path = tmp_path / "model.bin"
    path.write_bytes(b"weights")
    ahead_ns = time.time_ns() + 3_600_000_000_000
    os.utime(path, ns=(ahead_ns, ahead_ns))

    digests.file_sha256(path)

    assert not cache.exists()


def test_a_moved_folder_stays_known(tmp_path: Path, cache: Path) -> None:
    """A conversion is hashed in its partial folder and known under its final name."""
    (tmp_path / "INT8.partial").mkdir()
    path = _settled(tmp_path / "INT8.partial" / "model.bin", b"weights")
    true = digests.file_sha256(path)
    memory = cache / "sha256.json"
    memory.write_text(memory.read_text().replace(true, "f" * 64))

    path.parent.rename(tmp_path / "INT8")

    assert "f" * 64 == digests.file_sha256(tmp_path / "INT8" / "model.bin")


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"1:2": 3}'])
def test_a_damaged_memory_only_costs_time(content: bytes, tmp_path: Path, cache: Path) -> None:
    """The cache is never trusted further than it can be read."""
    cache.mkdir(parents=True)
    (cache / "sha256.json").write_bytes(content)
    path = _settled(tmp_path / "model.bin", b"weights")

    assert hashlib.sha256(b"weights").hexdigest() == digests.file_sha256(path)


def test_an_unwritable_cache_only_costs_time(tmp_path: Path) -> None:
    """Where the cache folder cannot be made, the digest is still told."""
    (tmp_path / "cache").write_text("a file where the folder should be")
    path = _settled(tmp_path / "model.bin", b"weights")

    assert hashlib.sha256(b"weights").hexdigest() == digests.file_sha256(path)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """A missing file is an input error with its path."""
    with pytest.raises(InputError, match=r"missing\.bin"):
        digests.file_sha256(tmp_path / "missing.bin")


def test_the_combined_digest_does_not_depend_on_order() -> None:
    """A set of files has one digest; another name or content gives another."""
    one = digests.combined_sha256({"a": "1", "b": "2"})

    assert one == digests.combined_sha256({"b": "2", "a": "1"})
    assert one != digests.combined_sha256({"a": "2", "b": "1"})


def test_the_cache_lies_below_home_without_xdg(monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative XDG_CACHE_HOME is ignored, as its specification says."""
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")

    assert Path("/home/someone/.cache/llmbench") == digests.cache_folder()
