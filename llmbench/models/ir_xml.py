"""What one decode step of an IR must read, from the text of its network: weights, and KV cache for each token.

An operation all of whose inputs are constants is a constant itself: a compressed weight and its scales meet in such
operations before anything uses them. What the others use is read in each step, from end to end; but of a table that is
looked up (an embedding, a cut of a mask) a step takes a row, and a size that is asked for is known before.
"""

import graphlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

_LOOK_UPS = frozenset(("Gather", "GatherElements", "GatherND", "Slice", "StridedSlice", "ShapeOf"))
"""Operations that do not read their first input from end to end."""

_CHOICE = "TopK"
"""The choice among experts: what a step reads is another each time."""

_CAP_BYTES = 256 << 20
_TOO_LARGE = 1 << 62


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """What a decode step reads: *weight_bytes* as they are stored, once a step whatever the batch.

    *kv_values* is how many numbers a token of context adds to the keys and values of all layers. ``None`` is what the
    network does not tell.
    """

    weight_bytes: int | None
    kv_values: int | None


@dataclass(slots=True)
class _Layer:
    """One operation: where its inputs come from, by port, and what it holds if it is a constant."""

    kind: str
    sources: dict[str, str] = field(default_factory=dict)
    place: tuple[int, int] | None = None
    shape: str | None = None


def read_ir_xml(path: Path) -> Network:
    """The network of an IR's ``.xml``; one that cannot be read tells nothing, for others complain of it."""
    try:
        if path.stat().st_size > _CAP_BYTES:
            return Network(weight_bytes=None, kv_values=None)
        layers = _layers(path.read_bytes())
        return Network(
            weight_bytes=_sane(_weight_bytes(layers)), kv_values=_sane(_kv_values(layers.values()))
        )
    except (OSError, expat.ExpatError, KeyError, ValueError):
        return Network(weight_bytes=None, kv_values=None)


def _sane(size: int | None) -> int | None:
    """A size that something can have; ``None`` for any other, which a file that is wrong may tell."""
    return size if size is not None and 0 < size < _TOO_LARGE else None


def _layers(text: bytes) -> dict[str, _Layer]:
    """The operations of a network by their ids; raises ValueError where one holds a network of its own."""
    layers: dict[str, _Layer] = {}
    last = _Layer(kind="")

    def begin(element: str, told: dict[str, str]) -> None:
        nonlocal last
        if element == "layer":
            last = layers[told["id"]] = _Layer(kind=told["type"])
        elif element == "data" and last.kind == "Const":
            last.place = (int(told["offset"]), int(told["size"]))
        elif element == "data":
            last.shape = told.get("variable_shape")
        elif element == "edge":
            layers[told["to-layer"]].sources[told["to-port"]] = told["from-layer"]
        elif element.endswith("body"):
            raise ValueError(element)

    parser = expat.ParserCreate()
    parser.StartElementHandler = begin
    parser.Parse(text, True)
    return layers


def _weight_bytes(layers: dict[str, _Layer]) -> int | None:
    """Bytes of all constants that a step reads from end to end, each once; ``None`` where that cannot be said."""
    if any(layer.kind == _CHOICE for layer in layers.values()):
        return None
    constant: set[str] = set()
    read: list[str] = []
    for name in graphlib.TopologicalSorter(
        {n: layer.sources.values() for n, layer in layers.items()}
    ).static_order():
        layer = layers[name]
        if layer.kind == "Const" or (layer.sources and constant.issuperset(layer.sources.values())):
            constant.add(name)
        else:
            read.extend(source for source in _read_whole(layer) if source in constant)
    return sum(size for _, size in set(_places(layers, read)))


def _read_whole(layer: _Layer) -> Iterator[str]:
    """Where an operation's inputs come from that it reads from end to end."""
    for port, source in layer.sources.items():
        if not (layer.kind in _LOOK_UPS and port == "0"):
            yield source


def _places(layers: dict[str, _Layer], names: Iterable[str]) -> Iterator[tuple[int, int]]:
    """Where the constants lie in the weights file that some constant operations are made of."""
    todo, seen = list(names), set[str]()
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        place = layers[name].place
        if place is not None:
            yield place
        todo.extend(layers[name].sources.values())


def _kv_values(layers: Iterable[_Layer]) -> int | None:
    """Numbers that a token adds to the states of the network: what is left of their shapes beside batch and length.

    ``None`` where there is no state, or one that is no cache of keys or values, as a recurrent network has.
    """
    found = [
        [part.strip() for part in (layer.shape or "").split(",")]
        for layer in layers
        if layer.kind == "ReadValue"
    ]
    if not found or any(shape.count("?") != 2 for shape in found):
        return None
    return sum(math.prod(int(part) for part in shape if part != "?") for shape in found)
