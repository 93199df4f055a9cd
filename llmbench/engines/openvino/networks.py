"""Networks of a pipeline's stages: read from a file, cut out between tensors, or made with random weights."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llmbench.engines.failures import engine_failures
from llmbench.engines.openvino.device import import_openvino
from llmbench.engines.openvino.programs import read_program
from llmbench.errors import InputError
from llmbench.models.pipeline import PROGRAM_SUFFIX, RANDOM


def read_network(model: str, *, inputs: Sequence[str], outputs: Sequence[str]) -> Any:
    """Return the network in a file (IR, ONNX, TFLite or PyTorch) between the tensors *inputs* and *outputs*.

    Ports of the network itself are tensors, too; an input that lies inside becomes a port of that name.

    Raises:
        InputError: a file that cannot be read, or a tensor that the network does not have.
    """
    if model.startswith(RANDOM):
        from llmbench.engines.openvino.random_networks import make_network

        return make_network(model.removeprefix(RANDOM))
    openvino = import_openvino()
    if model.endswith(PROGRAM_SUFFIX):
        return _between(openvino, read_program(Path(model)), inputs, outputs)
    with engine_failures(f"reading {Path(model).name}"):
        network = openvino.Core().read_model(model)
    return _between(openvino, network, inputs, outputs)


def _between(openvino: Any, network: Any, inputs: Sequence[str], outputs: Sequence[str]) -> Any:
    """Cut out what lies between some tensors; a whole network is returned as it is."""
    given = {name for port in network.inputs for name in port.get_names()}
    made = {name for port in network.outputs for name in port.get_names()}
    inner = [name for name in inputs if name not in given]
    if not inner and set(outputs) <= made:
        return network
    tensors = {
        name: port for node in network.get_ops() for port in node.outputs() for name in port.get_names()
    }
    for name in (*inner, *outputs):
        if name not in tensors:
            raise InputError(f"the network has no tensor {name!r}", hint=_ports(network))
    results = [tensors[name] for name in outputs]
    parameters = [_parameter(tensors[name], name) for name in inner]
    parameters += [node for node in network.get_parameters() if node.output(0).get_names() & set(inputs)]
    with engine_failures("cutting a network"):
        cut = openvino.Model(results, parameters)
    for port, name in zip(cut.outputs, outputs, strict=True):
        port.get_tensor().add_names({name})
    return cut


def _parameter(source: Any, name: str) -> Any:
    """Put a parameter in a tensor's place."""
    from openvino import opset13

    made = opset13.parameter(source.get_partial_shape(), source.get_element_type(), name=name)
    for target in source.get_target_inputs():
        target.replace_source_output(made.output(0))
    made.output(0).get_tensor().set_names({name})
    return made


def _ports(network: Any) -> str:
    ports = (
        f"{kind} {', '.join(port.get_any_name() for port in found)}"
        for kind, found in (("inputs", network.inputs), ("outputs", network.outputs))
    )
    return f"it has {'; '.join(ports)}, and the tensors between them"


def port_of(ports: Mapping[str, Any], name: str, kind: str) -> Any:
    """Return a port by one of its names; raise InputError with those there are."""
    if name not in ports:
        raise InputError(f"the network has no {kind} {name!r}", hint=f"it has {', '.join(sorted(ports))}")
    return ports[name]
