"""What OpenVINO has to work with on this machine, found without a model of the user's."""

from collections.abc import Mapping
from typing import Any

from llmbench.engines.openvino.device import import_openvino, one_product
from llmbench.schema.config import PropertyValue
from llmbench.schema.run import Split
from llmbench.schema.settings.any_workload import POLICY, TENSOR_PARALLEL

SHOWN = (
    "FULL_DEVICE_NAME",
    "OPTIMIZATION_CAPABILITIES",
    "INFERENCE_PRECISION_HINT",
    "KV_CACHE_PRECISION",
    "DYNAMIC_QUANTIZATION_GROUP_SIZE",
    "ENABLE_HYPER_THREADING",
    "ENABLE_CPU_PINNING",
)
_DECIDING = (
    "PERFORMANCE_HINT",
    "NUM_STREAMS",
    "ENABLE_HYPER_THREADING",
    "SCHEDULING_CORE_TYPE",
    "PERFORMANCE_HINT_NUM_REQUESTS",
)
"""The properties that decide how many threads and streams there are."""


def devices() -> dict[str, dict[str, str]]:
    """The devices OpenVINO finds, and some properties of each, as text; what a device does not know is left out."""
    core = import_openvino().Core()
    found: dict[str, dict[str, str]] = {}
    for device in core.available_devices:
        known = core.get_property(device, "SUPPORTED_PROPERTIES")
        found[device] = {name: _text(core.get_property(device, name)) for name in SHOWN if name in known}
    return found


def probe_split(properties: Mapping[str, PropertyValue] | None = None) -> Split:
    """What the tensor-parallel policy does beside *properties*, seen on a model of one product, in 50 ms.

    Of one requested thread the plug-in makes one on each socket that it splits over. It splits a single stream only.
    """
    openvino = import_openvino()
    model = one_product()
    deciding = {name: value for name, value in (properties or {}).items() if name in _DECIDING}
    requested = {"PERFORMANCE_HINT": "LATENCY", **deciding}

    def compile_with(**more: PropertyValue) -> tuple[int, int]:
        compiled = openvino.Core().compile_model(model, "CPU", {**requested, **more})
        return compiled.get_property("INFERENCE_NUM_THREADS"), compiled.get_property("NUM_STREAMS")

    without, _ = compile_with()
    with_policy, streams = compile_with(**{POLICY: TENSOR_PARALLEL})
    parts, _ = compile_with(**{POLICY: TENSOR_PARALLEL}, INFERENCE_NUM_THREADS=1)
    return Split(without=without, with_policy=with_policy, parts=parts if streams == 1 else 1)


def _text(value: Any) -> str:
    """A property's value as a person reads it: an element type is ``bf16``, a list its items."""
    if isinstance(value, import_openvino().Type):
        return str(value.to_string())
    if isinstance(value, list | tuple | set):
        return " ".join(sorted(str(item) for item in value))
    return str(value)
