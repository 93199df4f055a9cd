"""GGUF models that OpenVINO GenAI does not read, refused from their head; models in parts."""

import shlex
from pathlib import Path
from typing import Any

import pytest

from llmbench.errors import InputError
from llmbench.models import locate, sources
from llmbench.models.gguf_file import (
    gguf_bytes,
    gguf_kv_values,
    gguf_parts,
    gguf_read_bytes,
    gguf_sha256,
    gguf_weight_format,
)
from llmbench.models.resolve import find_model_info
from tests import gguf_model

BLOCK = tuple(name for name in gguf_model._shapes() if name.startswith("blk."))
REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "clip": ({"architecture": "clip"}, "reads images", "the GGUF of its language model"),
    "nameless": ({"architecture": ""}, "names no architecture", "fetch the file again"),
    "phi3": ({"architecture": "phi3"}, "architecture 'phi3'", "convert the Hugging Face model"),
    "gemma2": ({"architecture": "gemma2"}, "architecture 'gemma2'", "convert the Hugging Face model"),
    "qwen3moe": ({"architecture": "qwen3moe"}, "architecture 'qwen3moe'", "convert the Hugging Face model"),
    "Q5_0": ({"kind": "Q5_0"}, "Q5_0 tensors: 9 of 12", "Q4_K_M"),
    "BF16": ({"kind": "BF16"}, "BF16 tensors: 9 of 12", "F16 file"),
    "F32": ({"kind": "F32"}, "F32 tensors", "F16 file"),
    "file type": ({"kind": "Q8_0", "file_type": 1}, r"general\.file_type", "llama-quantize"),
    "sentencepiece": ({"vocabulary": "llama"}, "vocabulary", "convert the Hugging Face model"),
    "wordpiece": ({"vocabulary": "bert"}, "vocabulary", "convert the Hugging Face model"),
    "no merges": ({"without": ["tokenizer.ggml.merges"]}, "merges", "convert the Hugging Face model"),
    "no tokens": ({"without": ["tokenizer.ggml.tokens"]}, "tokens", "convert the Hugging Face model"),
    "vocabulary only": (
        {"without": [*BLOCK, "token_embd.weight"]},
        "no weights",
        "with the model's weights",
    ),
    "no norm": ({"without": ["output_norm.weight"]}, r"\(1\): output_norm", "fetch the file again"),
    "no gate": ({"without": ["blk.0.ffn_gate.weight"]}, r"\(1\): blk\.0\.ffn_gate", "fetch the file again"),
}


@pytest.mark.parametrize(("changes", "message", "remedy"), REFUSED.values(), ids=REFUSED)
def test_what_the_engine_does_not_read_is_refused_from_the_head(
    changes: dict[str, Any], message: str, remedy: str, tmp_path: Path
) -> None:
    """Exit 2 and the right remedy each, before any engine is loaded."""
    path = gguf_model.build(tmp_path / "model.gguf", **changes)

    with pytest.raises(InputError, match=message) as caught:
        find_model_info(str(path), engine="genai")

    assert remedy in str(caught.value.hint)
    assert str(path) in caught.value.message


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"kind": "Q4_0"},
        {"kind": "Q8_0"},
        {"architecture": "qwen2"},
        {"architecture": "qwen3"},
        {"without": ["output.weight"]},
    ],
)
def test_what_the_engine_reads_passes(changes: dict[str, Any], tmp_path: Path) -> None:
    """Each of these was loaded with GenAI 2026.4.1; tied embeddings have no output.weight."""
    path = gguf_model.build(tmp_path / "model.gguf", **changes)

    assert find_model_info(str(path), engine="genai").provenance.known
    assert changes.get("kind", "F16") == gguf_weight_format(path)


def test_all_parts_are_one_model(tmp_path: Path) -> None:
    """Size, hash and verification cover every part: another part 2 is another model."""
    first = gguf_model.build(tmp_path / "m.gguf", parts=3)
    parts = gguf_parts(first)
    before = gguf_sha256(first)
    found = find_model_info(str(first), engine="genai")

    assert [gguf_model.part_path(tmp_path / "m.gguf", number, 3) for number in (1, 2, 3)] == list(parts)
    assert sum(part.stat().st_size for part in parts) == gguf_bytes(first)
    assert before == found.provenance.content_sha256
    assert before == sources.find_source(str(first), revision=None, trusts_remote_code=False).revision

    content = bytearray(parts[1].read_bytes())
    content[-200] ^= 1
    parts[1].write_bytes(content)

    assert before != gguf_sha256(first)
    assert found.provenance.stamp != find_model_info(str(first), engine="genai").provenance.stamp


@pytest.mark.parametrize("count", [2, 3])
def test_a_missing_part_is_named(count: int, tmp_path: Path) -> None:
    """By run and by convert."""
    first = gguf_model.build(tmp_path / "m.gguf", parts=count)
    gguf_model.part_path(tmp_path / "m.gguf", count, count).unlink()

    with pytest.raises(InputError, match=f"missing beside it: m-0000{count}-of-0000{count}.gguf"):
        locate.locate(first)
    with pytest.raises(InputError, match="missing beside it"):
        sources.find_source(str(first), revision=None, trusts_remote_code=False)


def test_a_later_part_points_to_the_first(tmp_path: Path) -> None:
    """One line, with the path to give instead."""
    first = gguf_model.build(tmp_path / "m.gguf", parts=2)

    with pytest.raises(InputError, match="is part 2 of 2") as caught:
        locate.locate(gguf_model.part_path(tmp_path / "m.gguf", 2, 2))

    assert f"give the first: -m {shlex.quote(str(first))}" == caught.value.hint


def test_a_truncated_part_is_named(tmp_path: Path) -> None:
    """With its size and where its tensors end."""
    first = gguf_model.build(tmp_path / "m.gguf", parts=2)
    second = gguf_parts(first)[1]
    second.write_bytes(second.read_bytes()[:-600])

    with pytest.raises(InputError, match=f"{second.name} has"):
        locate.check_model_files(locate.locate(first))


def test_a_step_reads_all_weights_but_the_table_that_is_looked_up(tmp_path: Path) -> None:
    """F16 at two bytes: 7 square matrices, 3 norms, and the last product; tied, the table is that product."""
    square, norms, table = 7 * 256 * 256 * 2, 3 * 256 * 4, 258 * 256 * 2

    whole = gguf_model.build(tmp_path / "m.gguf")
    tied = gguf_model.build(tmp_path / "t.gguf", without=("output.weight",))

    assert square + norms + table == gguf_read_bytes(whole) == gguf_read_bytes(tied)


def test_a_token_adds_keys_and_values_of_all_its_heads(tmp_path: Path) -> None:
    """One layer, 4 heads of 64 for keys and as many for values: 512 numbers."""
    assert 512 == gguf_kv_values(gguf_model.build(tmp_path / "m.gguf"))
