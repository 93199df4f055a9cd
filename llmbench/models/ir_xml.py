"""The one reader of an IR's ``.xml``: its constants, and what one decode step must read of weights and KV cache.

An operation all of whose inputs are constants is a constant itself: a compressed weight and its scales meet in such
operations before anything uses them. What the others use is read in each step, from end to end; but of a table that is
looked up (an embedding, a cut of a mask) a step takes a row, and a size that is requested is known before.
"""

import contextlib
import dataclasses
import math
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from llmbench.models.ir_attention import constant_operations, count_fused, count_plain

_LOOK_UPS = frozenset(("Gather", "GatherElements", "GatherND", "Slice", "StridedSlice", "ShapeOf"))
"""Operations that do not read their first input from end to end."""

_CHOICE = "TopK"
"""The choice among experts: what a step reads is another each time."""

_WEIGHT_TYPES = frozenset(
    ("f64", "f32", "f16", "bf16", "f8e4m3", "f8e5m2", "i8", "u8", "i4", "u4", "nf4", "f4e2m1")
)
"""Element types of weights; indices and sizes of shapes have others."""

_CAP_BYTES = 256 << 20
_TOO_LARGE = 1 << 62


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant:
    """A constant of a network: its element type, its shape, and where its *size* bytes begin in the weights file."""

    name: str
    element_type: str
    shape: tuple[int, ...]
    offset: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """What a decode step reads: *weight_bytes* as they are stored, once per step whatever the batch.

    *kv_values* is how many numbers a token of context adds to the keys and values of all layers, *parameters* the
    number of its weights, without the scales and zero points of compressed ones. *fused_attention* and
    *plain_attention* are its attention layers by how they are written, *cached_layers* those with a KV cache. ``None``
    is what the network does not report. *inputs* are the names of its inputs, empty where it could not be read.
    """

    weight_bytes: int | None = None
    kv_values: int | None = None
    parameters: int | None = None
    inputs: tuple[str, ...] = ()
    has_logits: bool = False
    has_state: bool = False
    fused_attention: int | None = None
    plain_attention: int | None = None
    cached_layers: int = 0


def read_constants(path: Path) -> tuple[Constant, ...]:
    """Return the constants of an IR's ``.xml``, up to where it is damaged; raises OSError."""
    return tuple(_parsed(path).constants)


def read_names(path: Path, kinds: Container[str]) -> tuple[str, ...]:
    """Return the names of an IR's operations of these kinds, up to where it is damaged; raises OSError."""
    return tuple(layer.name for layer in _parsed(path).layers.values() if layer.kind in kinds)


def _parsed(path: Path) -> "_Parsed":
    parsed = _Parsed()
    with contextlib.suppress(expat.ExpatError, KeyError, ValueError):
        parsed.parse(path.read_bytes())
    return parsed


def read_ir_xml(path: Path) -> Network:
    """Return the network of an IR's ``.xml``; one that cannot be read has nothing known, and is refused elsewhere."""
    parsed = _Parsed()
    try:
        if path.stat().st_size > _CAP_BYTES:
            return Network()
        parsed.parse(path.read_bytes())
        layers = parsed.layers
        known = Network(
            parameters=_sane(_parameters(parsed.constants)),
            inputs=tuple(
                name
                for key, each in layers.items()
                if each.kind == "Parameter" and ":" not in key
                for name in each.names
                if name
            ),
            has_logits=any("logits" in layer.names for layer in layers.values()),
            has_state=any(layer.kind == "ReadValue" for layer in layers.values()),
            fused_attention=count_fused(layers),
            plain_attention=count_plain(layers),
            cached_layers=_cached_layers(layers.values()),
        )
        if parsed.has_bodies:
            return known
        return dataclasses.replace(
            known, weight_bytes=_sane(_weight_bytes(layers)), kv_values=_sane(_kv_values(layers.values()))
        )
    except (OSError, expat.ExpatError, KeyError, ValueError):
        return Network()


@dataclass(slots=True)
class _Layer:
    """One operation: where its inputs come from, by port, and what it contains if it is a constant."""

    kind: str
    name: str = ""
    sources: dict[str, str] = field(default_factory=dict)
    constant: Constant | None = None
    shape: str | None = None
    names: list[str] = field(default_factory=list)


class _Parsed:
    """Operations by id, and every constant, those in a body of an operation too.

    Ids are unique in a body and outside of bodies; that of a body's operation begins with the number of the body.
    """

    def __init__(self) -> None:
        self.layers: dict[str, _Layer] = {}
        self.constants: list[Constant] = []
        self.has_bodies = False
        self._body = ""
        self._outer: list[str] = []
        self._last = _Layer(kind="")

    def parse(self, text: bytes) -> None:
        """Read a network; raises ExpatError, KeyError or ValueError where it is damaged."""
        parser = expat.ParserCreate()
        parser.StartElementHandler = self._begin
        parser.EndElementHandler = self._end
        parser.Parse(text, True)

    def _begin(self, element: str, values: dict[str, str]) -> None:
        if element == "layer":
            names = values.get("output_names", "").split(",")
            self._last = _Layer(kind=values["type"], name=values.get("name", ""), names=names)
            self.layers[self._body + values["id"]] = self._last
        elif element == "data" and {"offset", "size"} <= values.keys():
            self._last.constant = _constant(self._last.name, values)
            self.constants.append(self._last.constant)
        elif element == "data":
            self._last.shape = values.get("variable_shape")
        elif element == "port":
            self._last.names += values.get("names", "").split(",")
        elif element == "edge":
            target = self.layers[self._body + values["to-layer"]]
            target.sources[values["to-port"]] = self._body + values["from-layer"]
        elif element.endswith("body"):
            self.has_bodies = True
            self._outer.append(self._body)
            self._body = f"{len(self.layers)}:"

    def _end(self, element: str) -> None:
        if element.endswith("body"):
            self._body = self._outer.pop()


def _constant(name: str, values: dict[str, str]) -> Constant:
    return Constant(
        name=name,
        element_type=values.get("element_type", ""),
        shape=tuple(int(part) for part in values.get("shape", "").split(",") if part.strip().isdigit()),
        offset=int(values["offset"]),
        size=int(values["size"]),
    )


def _sane(size: int | None) -> int | None:
    """A size that something can have; ``None`` for any other, which a damaged file may have."""
    return size if size is not None and 0 < size < _TOO_LARGE else None


def _parameters(constants: Iterable[Constant]) -> int:
    """Weights of all constants, shared ones once; scales and zero points have a last dimension of 1."""
    found = {
        each.offset: math.prod(each.shape)
        for each in constants
        if each.element_type in _WEIGHT_TYPES and each.shape and each.shape[-1] != 1
    }
    return sum(found.values())


def _weight_bytes(layers: dict[str, _Layer]) -> int | None:
    """Bytes of all constants that a step reads from end to end, each once; ``None`` where that is not known."""
    if any(layer.kind == _CHOICE for layer in layers.values()):
        return None
    constant = constant_operations(layers)
    read = [
        source
        for name, layer in layers.items()
        if name not in constant
        for source in _read_whole(layer)
        if source in constant
    ]
    return sum(size for _, size in set(_locations(layers, read)))


def _read_whole(layer: _Layer) -> Iterator[str]:
    for port, source in layer.sources.items():
        if not (layer.kind in _LOOK_UPS and port == "0"):
            yield source


def _locations(layers: dict[str, _Layer], names: Iterable[str]) -> Iterator[tuple[int, int]]:
    """Where the constants lie in the weights file that some constant operations are made of."""
    todo, seen = list(names), set[str]()
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        constant = layers[name].constant
        if constant is not None:
            yield constant.offset, constant.size
        todo.extend(layers[name].sources.values())


def _cached_layers(layers: Iterable[_Layer]) -> int:
    """Return how many layers keep keys and values: two states each, whose batch and length are not fixed."""
    return sum(len(shape) == 4 and shape.count("?") == 2 for shape in _state_shapes(layers)) // 2


def _state_shapes(layers: Iterable[_Layer]) -> list[list[str]]:
    states = (layer.shape or "" for layer in layers if layer.kind == "ReadValue")
    return [[part.strip() for part in shape.split(",")] for shape in states]


def _kv_values(layers: Iterable[_Layer]) -> int | None:
    """Numbers that a token adds to the states of the network: what is left of their shapes beside batch and length.

    ``None`` where there is no state, or one that is no cache of keys or values, as a recurrent network has.
    """
    found = _state_shapes(layers)
    if not found or any(shape.count("?") != 2 for shape in found):
        return None
    return sum(math.prod(int(part) for part in shape if part != "?") for shape in found)
