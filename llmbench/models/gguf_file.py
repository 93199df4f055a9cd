"""A GGUF model as files: its parts, what is wrong with them, and whether OpenVINO GenAI reads such a one.

What GenAI reads was tried with 2026.4.1, a file for each type and architecture; a larger model is published in parts
(``NAME-00001-of-00003.gguf``), which the engine finds by the first one's name.
"""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from llmbench.errors import InputError
from llmbench.files.cache import combined_sha256, file_sha256
from llmbench.models.gguf import GgufHeader, Tensor, read_gguf_header

_PART = re.compile(r"-(?P<number>\d{5})-of-(?P<count>\d{5})(?P<end>\.gguf)$", re.IGNORECASE)
_ARCHITECTURES = ("llama", "qwen2", "qwen3")
_MATRIX_TYPES = frozenset({"F16", "Q4_0", "Q4_1", "Q8_0", "Q4_K", "Q6_K"})
_UNQUANTIZED_FILE_TYPES = (0, 1)
"""Values of ``general.file_type`` (F32, F16) by which the engine looks for plain matrices."""

_ENDS = ("token_embd.weight", "output_norm.weight")
_BLOCK = (
    "attn_q",
    "attn_k",
    "attn_v",
    "attn_output",
    "ffn_gate",
    "ffn_up",
    "ffn_down",
    "attn_norm",
    "ffn_norm",
)
_LISTED = 4
_CONVERT = "convert the Hugging Face model it was made from: llmbench convert --model-id ID --output-dir OUT"


def gguf_parts(path: Path) -> tuple[Path, ...]:
    """Return every file of a GGUF model in order, *path* alone where it is whole.

    Raises:
        InputError: *path* is a later part, or parts are missing.
    """
    named = _PART.search(path.name)
    if named is None:
        return (path,)
    stem, count = path.name[: named.start()], int(named["count"])
    parts = tuple(
        path.with_name(f"{stem}-{number:05d}-of-{count:05d}{named['end']}") for number in range(1, count + 1)
    )
    if int(named["number"]) != 1:
        raise InputError(
            f"{path} is part {int(named['number'])} of {count}",
            hint=f"give the first: -m {shlex.quote(str(parts[0]))}",
        )
    missing = [part.name for part in parts if not part.is_file()]
    if missing:
        raise InputError(
            f"{path} is the first of {count} parts; missing beside it: {', '.join(missing[:_LISTED])}"
            + (" …" if len(missing) > _LISTED else ""),
            hint="fetch every part into the same folder",
        )
    return parts


def gguf_sha256(path: Path) -> str:
    """Return one SHA-256 for a GGUF model, over all its parts."""
    parts = gguf_parts(path)
    if len(parts) == 1:
        return file_sha256(path)
    return combined_sha256({part.name: file_sha256(part) for part in parts})


def gguf_bytes(path: Path) -> int:
    """Return the size of a GGUF model, of all its parts."""
    return sum(part.stat().st_size for part in gguf_parts(path))


def gguf_parameters(path: Path) -> int:
    """Return the number of weights of a GGUF model, of all its parts."""
    return sum(tensor.weights for tensor in _tensors(path))


def gguf_weight_format(path: Path) -> str | None:
    """Return the type of the tensors that contain most weights, of all parts; ``None`` where there are none."""
    weights: dict[str, int] = {}
    for tensor in _tensors(path):
        weights[tensor.type] = weights.get(tensor.type, 0) + tensor.weights
    return max(weights, key=lambda name: weights[name]) if weights else None


def gguf_read_bytes(path: Path) -> int | None:
    """Return the bytes of weights that a decode step reads; ``None`` with experts, of which it reads a choice.

    Of the table of token embeddings a step reads a row, unless the last matrix multiplication uses it as well.
    """
    tensors = _tensors(path)
    names = {tensor.name for tensor in tensors}
    if any("_exps." in name for name in names):
        return None
    is_tied = "output.weight" not in names
    return sum(tensor.bytes for tensor in tensors if is_tied or tensor.name != "token_embd.weight")


def gguf_kv_values(path: Path) -> int | None:
    """Return how many numbers a token adds to keys and values; ``None`` where the layers differ or lack sizes."""
    header = read_gguf_header(path)
    layers, heads, width = map(header.size_of, ("block_count", "attention.head_count", "embedding_length"))
    if layers is None or heads is None or width is None:
        return None
    is_shared = any(key.endswith(".head_count_kv") for key in (*header.metadata, *header.arrays))
    shared = header.size_of("attention.head_count_kv") if is_shared else heads
    key, value = (header.size_of(f"attention.{part}_length") or width // heads for part in ("key", "value"))
    return layers * shared * (key + value) if shared is not None else None


def gguf_faults(path: Path) -> Iterator[str]:
    """Yield what is wrong with the sizes of a GGUF's files; a damaged head raises by itself."""
    parts = gguf_parts(path)
    for part in parts:
        size = part.stat().st_size
        needed = max((tensor.end for tensor in read_gguf_header(part).tensors), default=0)
        if size < needed:
            what = "it" if len(parts) == 1 else part.name
            yield f"{what} has {size} bytes; its tensors end at {needed}"


def check_gguf_supported(path: Path) -> None:
    """Raise an ``InputError`` with the right remedy if OpenVINO GenAI does not read such a GGUF, by its head alone."""
    header = read_gguf_header(path)
    tensors = _tensors(path)
    _check_architecture(path, header)
    _check_tensors(path, header, tensors)
    _check_types(path, header, tensors)
    _check_vocabulary(path, header)


def _tensors(path: Path) -> list[Tensor]:
    return [tensor for part in gguf_parts(path) for tensor in read_gguf_header(part).tensors]


def _check_architecture(path: Path, header: GgufHeader) -> None:
    architecture = header.metadata.get("general.architecture")
    if not isinstance(architecture, str) or not architecture:
        raise InputError(f"{path} names no architecture (general.architecture)", hint="fetch the file again")
    if architecture == "clip":
        raise InputError(
            f"{path} is the part of a vision-language model that reads images (mmproj)",
            hint="give the GGUF of its language model",
        )
    if architecture not in _ARCHITECTURES:
        raise InputError(
            f"OpenVINO GenAI does not read GGUFs of the architecture {architecture!r} ({path}); "
            f"it reads {', '.join(_ARCHITECTURES)}",
            hint=_CONVERT,
        )


def _check_tensors(path: Path, header: GgufHeader, tensors: list[Tensor]) -> None:
    names = {tensor.name for tensor in tensors}
    if not any(name.startswith("blk.") for name in names):
        raise InputError(
            f"{path} contains a vocabulary and no weights", hint="give the file with the model's weights"
        )
    blocks = header.metadata.get(f"{header.metadata.get('general.architecture')}.block_count")
    count = blocks if isinstance(blocks, int) and 0 < blocks < 10_000 else 0
    wanted = [*_ENDS, *(f"blk.{block}.{part}.weight" for block in range(count) for part in _BLOCK)]
    missing = [name for name in wanted if name not in names]
    if missing:
        raise InputError(
            f"{path} lacks tensors of its architecture ({len(missing)}): {', '.join(missing[:_LISTED])}",
            hint="fetch the file again, every part of it",
        )


def _check_types(path: Path, header: GgufHeader, tensors: list[Tensor]) -> None:
    matrices = [tensor for tensor in tensors if tensor.dimensions > 1 and tensor.name.endswith(".weight")]
    unread = [tensor for tensor in matrices if tensor.type not in _MATRIX_TYPES]
    if unread:
        types = ", ".join(sorted({tensor.type for tensor in unread}))
        raise InputError(
            f"OpenVINO GenAI does not read {types} tensors: {len(unread)} of {len(tensors)} in {path}, "
            f"first {unread[0].name}",
            hint=f"use its Q4_0, Q4_1, Q4_K_M, Q6_K, Q8_0 or F16 file, or {_CONVERT}",
        )
    quantized = next((tensor for tensor in matrices if tensor.type.startswith("Q")), None)
    if quantized is not None and header.metadata.get("general.file_type") in _UNQUANTIZED_FILE_TYPES:
        raise InputError(
            f"{path} is not quantized according to its metadata (general.file_type), "
            f"but {quantized.name} is {quantized.type}",
            hint="use a GGUF that llama-quantize wrote",
        )


def _check_vocabulary(path: Path, header: GgufHeader) -> None:
    kind = header.metadata.get("tokenizer.ggml.model")
    if kind != "gpt2":
        raise InputError(
            f"OpenVINO GenAI does not read the vocabulary of {path} ({kind!r}); it reads byte-level BPE ('gpt2')",
            hint=_CONVERT,
        )
    for key in ("tokenizer.ggml.tokens", "tokenizer.ggml.merges"):
        if key not in header.arrays:
            raise InputError(f"{path} has no {key}, so that its tokenizer cannot be built", hint=_CONVERT)
