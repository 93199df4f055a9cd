"""What the CPU plug-in tells of a compiled model: the time of each operation, and what it made of the model."""

import collections
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from llmbench.engines.openvino.device import import_openvino

_BITS_A_BYTE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation that was executed: its kind, the code that ran, and its seconds on average.

    The plug-in averages over *all* inferences since the model was compiled, in whole microseconds.
    """

    name: str
    kind: str
    primitive: str
    seconds: float


def operations(request: Any) -> tuple[Operation, ...]:
    """Every operation of an infer request's model that was executed; the model was compiled with ``PERF_COUNT``."""
    return tuple(
        Operation(
            name=found.node_name,
            kind=found.node_type,
            primitive=found.exec_type,
            seconds=found.real_time.total_seconds(),
        )
        for found in request.get_profiling_info()
        if found.status.name == "EXECUTED"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphSource:
    """A model before it is compiled: how many operations of each kind, and bytes of constants by precision."""

    kinds: Mapping[str, int]
    constant_bytes: Mapping[str, int]


def read_graph_source(path: str) -> GraphSource:
    """The model of an IR file."""
    nodes = import_openvino().Core().read_model(path).get_ops()
    return GraphSource(
        kinds=dict(collections.Counter(node.get_type_name() for node in nodes)),
        constant_bytes=_constant_bytes(node for node in nodes if node.get_type_name() == "Constant"),
    )


def _constant_bytes(constants: Iterable[Any]) -> dict[str, int]:
    """Bytes by element type, most first; types of less than a byte are packed."""
    found: collections.Counter[str] = collections.Counter()
    for constant in constants:
        kind, elements = constant.get_element_type(), 1
        for size in constant.get_output_shape(0):
            elements *= int(size)
        found[kind.get_type_name()] += -(-elements * kind.bitwidth // _BITS_A_BYTE)
    return dict(found.most_common())
