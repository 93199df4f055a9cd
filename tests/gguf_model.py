"""Tiny GGUF models of random weights, whole, in parts, or with what OpenVINO GenAI does not read."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import gguf
import numpy as np

SIZE = 256
FILE_TYPES = {"F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q5_0": 8, "BF16": 32, "F32": 0}


def build(
    path: Path,
    *,
    architecture: str = "llama",
    kind: str = "F16",
    file_type: int | None = None,
    vocabulary: str = "gpt2",
    without: Iterable[str] = (),
    parts: int = 1,
) -> Path:
    """Write a model of one block and single-byte tokens; *without* names tensors and keys to leave out.

    In *parts*, the first has the metadata and *path* is its name without the number.
    """
    tensors = {name: shape for name, shape in _shapes().items() if name not in without}
    names = np.array_split(list(tensors), parts)
    paths = [path] if parts == 1 else [part_path(path, number, parts) for number in range(1, parts + 1)]
    generator = np.random.default_rng(0)
    for number, (file, mine) in enumerate(zip(paths, names, strict=True)):
        writer = gguf.GGUFWriter(file, architecture)
        if number == 0:
            _describe(writer, FILE_TYPES[kind] if file_type is None else file_type, vocabulary, set(without))
        if parts > 1:
            writer.add_uint16("split.no", number)
            writer.add_uint16("split.count", parts)
        for name in mine.tolist():
            values = generator.standard_normal(tensors[name]).astype(np.float32) * 0.05
            _add(writer, name, values, gguf.GGMLQuantizationType[kind])
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    return paths[0]


def part_path(path: Path, number: int, count: int) -> Path:
    """Return the name of a part, as llama.cpp gives it."""
    return path.with_name(f"{path.stem}-{number:05d}-of-{count:05d}.gguf")


def _shapes() -> dict[str, tuple[int, ...]]:
    ends: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (258, SIZE),
        "output_norm.weight": (SIZE,),
        "output.weight": (258, SIZE),
    }
    matrices = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
    norms = ("attn_norm", "ffn_norm")
    return (
        ends
        | {f"blk.0.{name}.weight": (SIZE, SIZE) for name in matrices}
        | {f"blk.0.{name}.weight": (SIZE,) for name in norms}
    )


def _add(writer: Any, name: str, values: "np.ndarray[Any, Any]", kind: gguf.GGMLQuantizationType) -> None:
    if values.ndim == 1 or kind is gguf.GGMLQuantizationType.F32:
        writer.add_tensor(name, values)
    elif kind is gguf.GGMLQuantizationType.F16:
        writer.add_tensor(name, values.astype(np.float16))
    else:
        writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)


_BYTES = [chr(code) for code in (*range(33, 127), *range(161, 173), *range(174, 324))]
"""GPT-2's character for each byte: the printable ones of Latin-1, and the 68 characters after it."""


def _describe(writer: Any, file_type: int, vocabulary: str, without: set[str]) -> None:
    writer.add_context_length(512)
    writer.add_embedding_length(SIZE)
    writer.add_block_count(1)
    writer.add_feed_forward_length(SIZE)
    writer.add_head_count(4)
    writer.add_head_count_kv(4)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_dimension_count(SIZE // 4)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(258)
    writer.add_file_type(file_type)
    writer.add_tokenizer_model(vocabulary)
    writer.add_tokenizer_pre("default")
    if "tokenizer.ggml.tokens" not in without:
        writer.add_token_list([*_BYTES, "</s>", "ab"])
        writer.add_token_types([1] * 256 + [3, 1])
    if "tokenizer.ggml.merges" not in without:
        writer.add_token_merges(["a b"])
    writer.add_bos_token_id(256)
    writer.add_eos_token_id(256)
