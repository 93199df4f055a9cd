"""The head of a GGUF file: its scalar metadata and where its tensors lie.

The ``gguf`` package reads a whole vocabulary into objects first (2 s for 49,000 tokens); this steps over
arrays. Layout: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3, little-endian.
"""

import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from llmbench.errors import InputError

MAGIC = b"GGUF"
_STRING, _ARRAY = 8, 9
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_ALIGNMENT_KEY = "general.alignment"
_DEFAULT_ALIGNMENT = 32
_COUNT_CAP = 1 << 20
_VERSIONS = (2, 3)
_OTHER_LAYOUT = "fetch a little-endian file of version 2 or 3, as llama.cpp has written since 2023"

Scalar = str | int | float | bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """One tensor: its type (``Q4_1``, ``F16``), how many weights it has, and where it ends in the file."""

    name: str
    type: str
    dimensions: int
    weights: int
    bytes: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufHeader:
    """Scalar and string metadata by key, and the places of the tensors: (name, dimensions, type, offset).

    *arrays* are the keys whose values are arrays, which were stepped over.
    """

    metadata: Mapping[str, Scalar]
    arrays: frozenset[str]
    entries: tuple[tuple[str, tuple[int, ...], int, int], ...]
    data_start: int

    @property
    def context_tokens(self) -> int | None:
        """Longest context the model was trained for; ``None`` where the file does not report."""
        return self.size_of("context_length")

    def size_of(self, name: str) -> int | None:
        """Return a size of the architecture, such as ``block_count``; ``None`` without one, or with one per layer."""
        value = self.metadata.get(f"{self.metadata.get('general.architecture')}.{name}")
        return value if isinstance(value, int) and value > 0 else None

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The tensors with their sizes. A type that the ``gguf`` package lacks is an ``InputError``."""
        from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

        tensors = []
        for name, dimensions, number, offset in self.entries:
            try:
                kind = GGMLQuantizationType(number)
            except ValueError as error:
                raise InputError(
                    f"tensor {name!r} has the unknown GGUF type {number}",
                    hint="use a file of another quantization, such as Q4_0 or Q8_0",
                ) from error
            block_weights, block_bytes = GGML_QUANT_SIZES[kind]
            weights = 1
            for dimension in dimensions:
                weights *= dimension
            size = weights // block_weights * block_bytes
            end = self.data_start + offset + size
            tensors.append(
                Tensor(
                    name=name,
                    type=kind.name,
                    dimensions=len(dimensions),
                    weights=weights,
                    bytes=size,
                    end=end,
                )
            )
        return tuple(tensors)


class _UnreadError(ValueError):
    """A layout of GGUF that is whole, and not one of those that are read."""


def is_gguf(path: Path) -> bool:
    """Whether the file begins with GGUF's magic bytes."""
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def read_gguf_header(path: Path) -> GgufHeader:
    """The head of *path*; an ``InputError`` names what is wrong where it is not a whole GGUF head."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return _Cursor(content).header()
    except _UnreadError as error:
        raise InputError(f"{path} {error}", hint=_OTHER_LAYOUT) from error
    except (ValueError, struct.error, RecursionError) as error:  # mmap refuses an empty file with ValueError
        reason = f"it ends at byte {path.stat().st_size}" if isinstance(error, struct.error) else error
        raise InputError(
            f"{path} is not a whole GGUF file: {reason}", hint="fetch it again and compare its size"
        ) from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error


class _Cursor:
    """A place in the mapped file that moves forward as values are read."""

    def __init__(self, content: mmap.mmap) -> None:
        self.content = content
        self.at = 0

    def header(self) -> GgufHeader:
        """Read the head from its first byte."""
        if self.content[:4] != MAGIC:
            raise ValueError("it does not begin with GGUF")
        self.at = 4
        version = self.number("I")
        if version and version & 0xFFFF == 0:
            raise _UnreadError("is big-endian; little-endian GGUFs are read")
        if version not in _VERSIONS:
            raise _UnreadError(f"has version {version} of GGUF; 2 and 3 are read")
        tensors, keys = self.count(), self.count()
        metadata: dict[str, Scalar] = {}
        arrays: set[str] = set()
        for _ in range(keys):
            key, value = self.string(), self.value(self.number("I"))
            if value is None:
                arrays.add(key)
            else:
                metadata[key] = value
        entries = tuple(self.tensor_entry() for _ in range(tensors))
        alignment = metadata.get(_ALIGNMENT_KEY, _DEFAULT_ALIGNMENT)
        if not isinstance(alignment, int) or alignment < 1:
            raise ValueError(f"its alignment is {alignment!r}")
        data_start = -(-self.at // alignment) * alignment
        return GgufHeader(metadata=metadata, arrays=frozenset(arrays), entries=entries, data_start=data_start)

    def number(self, letter: str) -> int:
        """The next integer of a ``struct`` letter."""
        (value,) = struct.unpack_from(f"<{letter}", self.content, self.at)
        self.at += struct.calcsize(f"<{letter}")
        return int(value)

    def count(self) -> int:
        """The next count, capped: a larger one is a damaged file, not a model."""
        value = self.number("Q")
        if value > _COUNT_CAP:
            raise ValueError(f"it announces {value} entries")
        return value

    def skip(self, size: int) -> int:
        """Step over *size* bytes; the place where they began."""
        start, self.at = self.at, self.at + size
        if self.at > len(self.content):
            raise ValueError(f"it ends at byte {len(self.content)}")
        return start

    def string(self) -> str:
        """The next string."""
        start = self.skip(self.number("Q"))
        return self.content[start : self.at].decode("utf-8", errors="replace")

    def value(self, kind: int) -> Scalar | None:
        """The next value of type *kind*; an array is stepped over and is ``None``."""
        if kind == _STRING:
            return self.string()
        if kind == _ARRAY:
            self.skip_array()
            return None
        if kind not in _SCALARS:
            raise ValueError(f"it contains a value of unknown type {kind}")
        (value,) = struct.unpack_from(f"<{_SCALARS[kind]}", self.content, self.at)
        self.at += struct.calcsize(f"<{_SCALARS[kind]}")
        scalar: Scalar = value
        return scalar

    def skip_array(self) -> None:
        """Step over an array, nested ones included."""
        kind, length = self.number("I"), self.number("Q")
        if kind in _SCALARS:
            self.skip(length * struct.calcsize(f"<{_SCALARS[kind]}"))
        elif kind == _STRING:
            for _ in range(length):
                self.skip(self.number("Q"))
        elif kind == _ARRAY:
            for _ in range(length):
                self.skip_array()
        else:
            raise ValueError(f"it contains an array of unknown type {kind}")

    def tensor_entry(self) -> tuple[str, tuple[int, ...], int, int]:
        """The next tensor's name, dimensions, type number and offset into the data."""
        name = self.string()
        dimensions = self.number("I")
        if dimensions > 8:
            raise ValueError(f"tensor {name!r} has {dimensions} dimensions")
        shape = tuple(self.number("Q") for _ in range(dimensions))
        return name, shape, self.number("I"), self.number("Q")
