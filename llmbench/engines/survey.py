"""What OpenVINO has to work with on this machine, told without a model of the user's."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llmbench.engines.device import import_openvino

SHOWN = (
    "FULL_DEVICE_NAME",
    "OPTIMIZATION_CAPABILITIES",
    "INFERENCE_PRECISION_HINT",
    "KV_CACHE_PRECISION",
    "DYNAMIC_QUANTIZATION_GROUP_SIZE",
    "ENABLE_HYPER_THREADING",
    "ENABLE_CPU_PINNING",
)
_SIDE = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Threads the CPU plug-in takes for one request, without and with the tensor-parallel policy.

    The policy is accepted and reads back as set even where it does nothing; only this number tells.
    """

    without: int
    with_policy: int

    @property
    def is_effective(self) -> bool:
        """Whether the policy brings in another socket."""
        return self.with_policy > self.without


def devices() -> dict[str, dict[str, str]]:
    """The devices OpenVINO finds, and some properties of each, as text; what a device does not know is left out."""
    core = import_openvino().Core()
    found: dict[str, dict[str, str]] = {}
    for device in core.available_devices:
        known = core.get_property(device, "SUPPORTED_PROPERTIES")
        found[device] = {name: _text(core.get_property(device, name)) for name in SHOWN if name in known}
    return found


def split(properties: Mapping[str, str] | None = None) -> Split:
    """Threads in force for a model of one product, in some hundredths of a second."""
    import numpy as np

    openvino = import_openvino()
    from openvino import opset13

    rows = opset13.parameter([-1, _SIDE], np.float32)
    weights = opset13.constant(np.ones((_SIDE, _SIDE), np.float32))
    model = openvino.Model([opset13.matmul(rows, weights, False, False)], [rows])
    asked = {"PERFORMANCE_HINT": "LATENCY", **(properties or {})}

    def threads(**policy: str) -> int:
        compiled = openvino.Core().compile_model(model, "CPU", {**asked, **policy})
        return int(compiled.get_property("INFERENCE_NUM_THREADS"))

    return Split(without=threads(), with_policy=threads(MODEL_DISTRIBUTION_POLICY="TENSOR_PARALLEL"))


def _text(value: Any) -> str:
    """A property's value as a person reads it: an element type is ``bf16``, a list its items."""
    if isinstance(value, import_openvino().Type):
        return str(value.to_string())
    if isinstance(value, list | tuple | set):
        return " ".join(sorted(str(item) for item in value))
    return str(value)
