"""Whether the weights of a model are numbers, by a look at every value of theirs that is a floating-point one.

A model of NaNs runs at a plausible speed, and an engine that shows no logits gives no sign of it. What is looked at
are the weights, or the scales of weights that are integers; infinities are left alone, for a mask is made of them.
Layouts: the OpenVINO IR's network file; https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmbench.errors import InputError
from llmbench.files.cache import recall
from llmbench.models.checkpoint import weight_files
from llmbench.models.gguf import is_gguf, read_gguf_header
from llmbench.models.gguf_file import gguf_parts
from llmbench.models.integrity import networks
from llmbench.models.ir_xml import read_constants
from llmbench.models.safetensors import read_safetensors_head

if TYPE_CHECKING:
    from io import BufferedReader

    import numpy as np

    Bytes = np.ndarray[Any, np.dtype[np.uint8]]

_CHUNK = 1 << 18
"""Values looked at together: few enough for the processor's cache, where it goes seven times faster."""

_FORMATS = {
    "f64": ("<u8", 0x7FFF_FFFF_FFFF_FFFF, 0x7FF0_0000_0000_0000),
    "f32": ("<u4", 0x7FFF_FFFF, 0x7F80_0000),
    "f16": ("<u2", 0x7FFF, 0x7C00),
    "bf16": ("<u2", 0x7FFF, 0x7F80),
    "f8e5m2": ("<u1", 0x7F, 0x7C),
    "f8e4m3": ("<u1", 0x7F, 0x7E),
    "f8e8m0": ("<u1", 0xFF, 0xFE),
}
"""Each format's unsigned integer, its bits without the sign, and the largest of these that is no NaN."""

_WHOLE = {"F64": "f64", "F32": "f32", "F16": "f16", "BF16": "bf16"}
"""Types of a GGUF's tensors that are plain numbers."""

_PUBLISHED = {**_WHOLE, "F8_E4M3": "f8e4m3", "F8_E5M2": "f8e5m2", "F8_E8M0": "f8e8m0"}
"""Types of a safetensors file that are floating-point numbers."""

_SCALES = {
    **dict.fromkeys(("Q4_0", "Q5_0", "Q8_0", "IQ4_NL"), (0, 2)),
    **dict.fromkeys(("Q4_1", "Q5_1", "Q4_K", "Q5_K"), (0, 4)),
    "Q2_K": (80, 84),
    "Q3_K": (108, 110),
    "Q6_K": (208, 210),
}
"""Where the half-precision scales are in a block of a GGUF's quantized type, from byte to byte."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """A tensor's bytes in a file, from *begin*; of each *block* of them only *wanted*, where not all are numbers."""

    name: str
    kind: str
    begin: int
    size: int
    block: int = 0
    wanted: tuple[int, int] = (0, 0)


def fault(model: str | Path) -> str | None:
    """What is wrong with the weights of an IR folder or a GGUF file, as a sentence; ``None`` where all are numbers.

    A file is read once, and again when it has changed. Raises InputError where it cannot be read.
    """
    location = Path(model)
    if location.is_dir():
        found = next(filter(None, map(_ir_fault, networks(location))), "")
    elif location.is_file() and is_gguf(location):
        found = next(filter(None, map(_gguf_fault, gguf_parts(location))), "")
    else:
        return None
    return found or None


def published_fault(folder: Path) -> str | None:
    """Return what is wrong with the weights of a Hugging Face *folder*, as `fault` does."""
    return next(filter(None, map(_safetensors_fault, weight_files(folder))), None)


def _ir_fault(network: Path) -> str:
    weights = network.with_suffix(".bin")
    if not (network.is_file() and weights.is_file()):
        return ""
    state = network.stat()
    return recall(
        "weights",
        weights,
        lambda file: _describe(file, _constants(network)),
        also=f"{state.st_size}:{state.st_mtime_ns}",
    )


def _safetensors_fault(file: Path) -> str:
    return recall("weights", file, lambda opened: _describe(opened, _published_tensors(file)))


def _published_tensors(file: Path) -> Iterator[_Part]:
    for name, (kind, begin, end) in read_safetensors_head(file).spans.items():
        if kind in _PUBLISHED and end > begin:
            yield _Part(name=name, kind=_PUBLISHED[kind], begin=begin, size=end - begin)


def _gguf_fault(part: Path) -> str:
    return recall("weights", part, lambda file: _describe(file, _tensors(part)))


def _constants(network: Path) -> Iterator[_Part]:
    """The floating-point constants of an IR of more than one value: a single one may stand for what is undefined."""
    for each in read_constants(network):
        if each.element_type in _FORMATS and each.size > int(_FORMATS[each.element_type][0][-1]):
            yield _Part(name=each.name, kind=each.element_type, begin=each.offset, size=each.size)


def _tensors(path: Path) -> Iterator[_Part]:
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

    for tensor in read_gguf_header(path).tensors:
        begin = tensor.end - tensor.bytes
        if tensor.type in _WHOLE:
            yield _Part(name=tensor.name, kind=_WHOLE[tensor.type], begin=begin, size=tensor.bytes)
        elif tensor.type in _SCALES:
            block = GGML_QUANT_SIZES[GGMLQuantizationType[tensor.type]][1]
            wanted = _SCALES[tensor.type]
            yield _Part(
                name=tensor.name, kind="f16", begin=begin, size=tensor.bytes, block=block, wanted=wanted
            )


def _describe(file: "BufferedReader", parts: Iterator[_Part]) -> str:
    """The sentence on the parts that contain a NaN; empty where none does."""
    import numpy as np

    known = list(parts)
    needed = max((part.begin + part.size for part in known), default=0)
    size = os.fstat(file.fileno()).st_size
    if size < needed:
        raise InputError(
            f"{file.name} {f'is truncated at {size} bytes' if size else 'is empty'}; its tensors need {needed}",
            hint="convert or fetch the model again",
        )
    if not known:
        return ""
    content = np.memmap(file, dtype=np.uint8, mode="r")
    bad = [part.name for part in known if _holds_nan(content, part)]
    if not bad:
        return ""
    return f"NaN weights: {len(bad)} of {len(known)} tensors have some (first {bad[0]})"


def _holds_nan(content: "Bytes", part: _Part) -> bool:
    name, magnitude, last = _FORMATS[part.kind]
    raw = content[part.begin : part.begin + part.size]
    if part.block:
        begin, end = part.wanted
        raw = raw.reshape(-1, part.block)[:, begin:end].reshape(-1)
    values = raw.view(name)
    chunks = (values[at : at + _CHUNK] for at in range(0, len(values), _CHUNK))
    return any((chunk & magnitude).max() > last for chunk in chunks)
