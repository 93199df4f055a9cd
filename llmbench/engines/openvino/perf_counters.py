"""What the CPU plug-in reports of a compiled model: the time of each operation, and bytes of the model's constants.

It stands alone because its counters are read by ``profile`` only.
"""

import collections
from dataclasses import dataclass
from pathlib import Path
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


def constant_bytes(path: Path) -> dict[str, int]:
    """Return bytes of an IR's constants by element type, most first; types of less than a byte are packed."""
    nodes = import_openvino().Core().read_model(path).get_ops()
    found: collections.Counter[str] = collections.Counter()
    for constant in (node for node in nodes if node.get_type_name() == "Constant"):
        kind, elements = constant.get_element_type(), 1
        for size in constant.get_output_shape(0):
            elements *= int(size)
        found[kind.get_type_name()] += -(-elements * kind.bitwidth // _BITS_A_BYTE)
    return dict(found.most_common())
