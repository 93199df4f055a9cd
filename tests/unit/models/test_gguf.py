"""The head of a GGUF, against files that the gguf package itself writes."""

import struct
from pathlib import Path

import gguf
import numpy as np
import pytest

from llmbench.errors import InputError
from llmbench.models.gguf import is_gguf, read_gguf_header


def write_gguf(path: Path, *, context: int | None = 8192) -> Path:
    """A GGUF with two tensors: 32 by 32 weights in Q4_0 (576 bytes) and 32 in F32 (128 bytes)."""
    writer = gguf.GGUFWriter(path, "llama")
    if context is not None:
        writer.add_context_length(context)
    writer.add_token_list(["<s>", "a", "ü", "日本"])
    writer.add_token_scores([0.5, 1.0, 2.0, 3.0])
    writer.add_chat_template("{{ messages }}")
    writer.add_bool("example.flag", val=True)
    writer.add_float32("example.share", 0.5)
    quantized = gguf.quants.quantize(np.ones((32, 32), dtype=np.float32), gguf.GGMLQuantizationType.Q4_0)
    writer.add_tensor("blk.0.attn_q.weight", quantized, raw_dtype=gguf.GGMLQuantizationType.Q4_0)
    writer.add_tensor("output_norm.weight", np.ones(32, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_reads_scalars_and_steps_over_arrays(tmp_path: Path) -> None:
    """Strings, numbers and booleans are told, the vocabulary is not."""
    metadata = read_gguf_header(write_gguf(tmp_path / "tiny.gguf")).metadata

    assert "llama" == metadata["general.architecture"]
    assert "{{ messages }}" == metadata["tokenizer.chat_template"]
    assert metadata["example.flag"] is True
    assert 0.5 == metadata["example.share"]
    assert "tokenizer.ggml.tokens" not in metadata


def test_context_is_that_of_the_architecture(tmp_path: Path) -> None:
    """``llama.context_length`` for a Llama; nothing where the file does not say."""
    assert 8192 == read_gguf_header(write_gguf(tmp_path / "tiny.gguf")).context_tokens
    assert read_gguf_header(write_gguf(tmp_path / "mute.gguf", context=None)).context_tokens is None


def test_tensors_have_sizes_and_ends(tmp_path: Path) -> None:
    """Q4_0 packs 32 weights into 18 bytes; the last tensor ends the file, but for padding to 32 bytes."""
    path = write_gguf(tmp_path / "tiny.gguf")

    first, second = read_gguf_header(path).tensors

    assert ("Q4_0", 1024, 576) == (first.type, first.weights, first.bytes)
    assert ("F32", 32, 128) == (second.type, second.weights, second.bytes)
    assert second.end == first.end + 128
    assert 0 <= path.stat().st_size - second.end < 32


def test_agrees_with_the_gguf_package(tmp_path: Path) -> None:
    """Places and sizes are those of the format's own reader."""
    path = write_gguf(tmp_path / "tiny.gguf")
    theirs = [(t.name, t.tensor_type.name, t.data_offset + t.n_bytes) for t in gguf.GGUFReader(path).tensors]

    assert theirs == [(t.name, t.type, t.end) for t in read_gguf_header(path).tensors]


def _string(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()


def _array(kind: int, *items: bytes) -> bytes:
    return struct.pack("<IQ", kind, len(items)) + b"".join(items)


def _head(kind: int, value: bytes) -> bytes:
    """A GGUF without tensors and with two keys: *value* of type *kind*, then the number 7."""
    keys = _string("example.value") + struct.pack("<I", kind) + value
    return b"GGUF" + struct.pack("<IQQ", 3, 0, 2) + keys + _string("seven") + struct.pack("<II", 4, 7)


@pytest.mark.parametrize(
    "value",
    [
        _array(4, b"\1\0\0\0", b"\2\0\0\0"),
        _array(8, _string("a"), _string("")),
        _array(9, _array(0, b"x", b"y"), _array(8, _string("z"))),
        _array(10),
    ],
    ids=["numbers", "strings", "nested", "empty"],
)
def test_what_follows_an_array_is_read_right(value: bytes, tmp_path: Path) -> None:
    """Arrays of any kind are stepped over by exactly their length."""
    path = tmp_path / "arrays.gguf"
    path.write_bytes(_head(9, value))

    header = read_gguf_header(path)

    assert {"seven": 7} == header.metadata
    assert () == header.tensors


@pytest.mark.parametrize(("kind", "value"), [(13, b""), (9, _array(13))], ids=["value", "array"])
def test_an_unknown_type_of_value_is_told(kind: int, value: bytes, tmp_path: Path) -> None:
    """Its length is unknown, so nothing after it can be read."""
    path = tmp_path / "future.gguf"
    path.write_bytes(_head(kind, value))

    with pytest.raises(InputError, match="unknown type 13"):
        read_gguf_header(path)


def test_an_unknown_type_of_tensor_is_told(tmp_path: Path) -> None:
    """A quantization of the future has a size that nobody here knows."""
    tensor = _string("a") + struct.pack("<IQIQ", 1, 32, 999, 0)
    path = tmp_path / "future.gguf"
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + tensor)

    with pytest.raises(InputError, match="unknown GGUF type 999"):
        read_gguf_header(path).tensors  # noqa: B018  (a property that reads)


@pytest.mark.parametrize("size", [0, 3, 4, 8, 20, 60, 120, 200])
def test_a_cut_head_is_an_input_error(size: int, tmp_path: Path) -> None:
    """Wherever the head ends, the error names the file."""
    path = write_gguf(tmp_path / "tiny.gguf")
    path.write_bytes(path.read_bytes()[:size])

    with pytest.raises(InputError, match=r"tiny\.gguf is not a whole GGUF file"):
        read_gguf_header(path)


@pytest.mark.parametrize(
    ("at", "content", "reason"),
    [
        (0, b"GGML", "does not begin with GGUF"),
        (4, b"\x01\0\0\0", "has version 1 of GGUF; 2 and 3 are read"),
        (4, b"\x04\0\0\0", "has version 4 of GGUF"),
        (4, b"\0\0\0\x03", "is big-endian"),
        (8, b"\xff" * 8, "announces 18446744073709551615 entries"),
        (24, b"\xff" * 7 + b"\x7f", "it ends at byte"),
    ],
)
def test_a_damaged_head_says_how(at: int, content: bytes, reason: str, tmp_path: Path) -> None:
    """A wrong magic, version, count or length is told, and nothing large is allocated."""
    path = write_gguf(tmp_path / "tiny.gguf")
    whole = path.read_bytes()
    path.write_bytes(whole[:at] + content + whole[at + len(content) :])

    with pytest.raises(InputError, match=reason):
        read_gguf_header(path)


def test_a_missing_file_is_an_input_error(tmp_path: Path) -> None:
    """A path that is not there is named."""
    with pytest.raises(InputError, match=r"missing\.gguf cannot be read"):
        read_gguf_header(tmp_path / "missing.gguf")


def test_knows_a_gguf_by_its_magic(tmp_path: Path) -> None:
    """The ending does not matter."""
    other = tmp_path / "other.gguf"
    other.write_bytes(b"PK\x03\x04")

    assert is_gguf(write_gguf(tmp_path / "model.bin"))
    assert not is_gguf(other)
