"""Tensors by their names: those in the head of a safetensors file, and the error on those that are missing.

Layout: https://github.com/huggingface/safetensors#format
"""

import json
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmbench.errors import InputError

_HEAD_CAP_BYTES = 100 << 20
_LISTED = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class SafetensorsHead:
    """The shape of each tensor by its name, and the size of the whole file, from its head alone.

    *spans* are each tensor's type (``BF16``), and the bytes of the file where it begins and ends.
    """

    shapes: dict[str, tuple[int, ...]]
    spans: dict[str, tuple[str, int, int]]
    file_bytes: int

    @property
    def weights(self) -> dict[str, int]:
        """The number of weights of each tensor."""
        return {name: math.prod(shape) for name, shape in self.shapes.items()}


def read_safetensors_head(path: Path) -> SafetensorsHead:
    """Return the head of a safetensors file; raises OSError, or ValueError where it is none."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            head = json.loads(file.read(min(length, _HEAD_CAP_BYTES)))
        head.pop("__metadata__", None)
        end = max((tensor["data_offsets"][1] for tensor in head.values()), default=0)
        shapes = {name: tuple(map(_length, tensor["shape"])) for name, tensor in head.items()}
        spans = {name: _span(tensor, 8 + length) for name, tensor in head.items()}
        return SafetensorsHead(shapes=shapes, spans=spans, file_bytes=8 + length + end)
    except (
        KeyError,
        IndexError,
        TypeError,
        AttributeError,
        RecursionError,
        ValueError,
        struct.error,
    ) as error:
        raise ValueError("its head does not list tensors") from error


def _span(tensor: Mapping[str, Any], start: int) -> tuple[str, int, int]:
    begin, end = tensor["data_offsets"]
    return str(tensor["dtype"]), start + begin, start + end


def _length(found: object) -> int:
    if not isinstance(found, int) or found < 0:
        raise ValueError(found)
    return found


def missing_weights(folder: str, names: Sequence[str]) -> InputError:
    """Return the error on tensors that an architecture has and a checkpoint has not."""
    return InputError(
        f"{folder} lacks tensors of its architecture ({len(names)}): {first_few(names)}",
        hint="what is missing would be random numbers: fetch its safetensors files again, all of one revision",
    )


def first_few(names: Sequence[str]) -> str:
    """Return the first few names, and how many more there are."""
    more = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {more} more" if more > 0 else "")
