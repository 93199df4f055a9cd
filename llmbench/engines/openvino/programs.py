"""PyTorch programs (``torch.export``, files ``.pt2``) as networks: read by OpenVINO, and run by PyTorch to compare.

It stands alone because it is the only module of pipelines that needs PyTorch.
"""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from llmbench.engines.openvino.device import import_openvino
from llmbench.errors import InputError, MachineError
from llmbench.files.package_data import install_command


def read_program(path: Path) -> Any:
    """Return the network of a program; its ports have the names of the program's inputs and outputs.

    Raises:
        InputError: no program that PyTorch reads, or an operation that OpenVINO does not have.
        MachineError: PyTorch is not installed.
    """
    program = _load(path)
    try:
        network = import_openvino().convert_model(program)
    except Exception as error:  # the front end raises errors of its own classes
        raise InputError(
            f"{path.name} cannot be converted", hint=str(error).strip().splitlines()[-1][:200]
        ) from error
    for port, name in zip(network.outputs, program.graph_signature.user_outputs, strict=True):
        port.get_tensor().add_names({str(name)})
    return network


def run_program(path: Path, inputs: Mapping[str, Any], outputs: Iterable[str]) -> dict[str, Any]:
    """Return outputs of a program by name, as PyTorch makes them of inputs by name."""
    import torch

    program = _load(path)
    signature = program.graph_signature
    given = [torch.from_numpy(inputs[str(name)]) for name in signature.user_inputs]
    with torch.inference_mode():
        made = program.module()(*given)
    arrays = made if isinstance(made, tuple | list) else (made,)
    found = {str(name): array.numpy() for name, array in zip(signature.user_outputs, arrays, strict=True)}
    return {name: found[name] for name in outputs}


def _load(path: Path) -> Any:
    try:
        import torch.export
    except ImportError as error:
        raise MachineError(
            f"{path.name} needs PyTorch, which is not installed", hint=install_command("convert")
        ) from error
    logging.getLogger("torch.export").setLevel(logging.ERROR)  # it prints what it raises
    try:
        return torch.export.load(path)
    except Exception as error:  # a damaged archive raises whatever its reader meets
        raise InputError(
            f"{path.name} is not a program of torch.export that this PyTorch reads",
            hint="write it with torch.export.save(torch.export.export(model, ...), FILE.pt2)",
        ) from error
