"""What a host step is, and how it is found.

A step is made once per launch from the files and parameters of its stage, and then called with its inputs by port; it
returns its outputs by port. What it reads from files it reads when it is made, which is part of loading.
It stands alone because steps and the workload that runs them may not import each other.
"""

import pkgutil
from collections.abc import Callable, Mapping
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np

from llmbench.errors import InputError, MachineError, cause_of
from llmbench.files.package_data import install_command
from llmbench.schema.pipeline import STEPS, RecipeScalar

Values = Mapping[str, Any]
"""Arrays and texts by name."""

Step = Callable[[Values], dict[str, Any]]
MakeStep = Callable[[Mapping[str, Path], Mapping[str, RecipeScalar]], Step]


def read_array(files: Mapping[str, Path], _parameters: Mapping[str, RecipeScalar]) -> Step:
    """Make a step that gives the ``array`` of a NumPy file (``files.array``), read once, when the step is made."""
    try:
        array = np.load(files["array"], allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{files['array']} is no .npy file: {cause_of(error)}") from error
    return lambda _values: {"array": array}


def find_step(name: str) -> MakeStep:
    """Return the function that makes a step, one of those that recipes may name; raise MachineError on its packages."""
    try:
        made: MakeStep = pkgutil.resolve_name(STEPS[name])
    except ImportError as error:
        raise MachineError(
            f"step {name} needs {error.name}, which is not installed", hint=install_command("vision")
        ) from error
    return made


def load_code(file: Path, function: str) -> Step:
    """Return a function of a recipe's own code, which runs it: it takes inputs by port and returns outputs by port."""
    spec = spec_from_file_location(f"recipe_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise InputError(f"{file} is not a Python module")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    found: Step | None = getattr(module, function, None)
    if not callable(found):
        raise InputError(f"{file} has no function {function!r}")
    return found
