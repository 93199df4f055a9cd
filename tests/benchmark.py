"""Scripts that are in no package as modules: what benchmarks print for a person is asserted as ratios by tests."""

import importlib.util
from pathlib import Path
from types import ModuleType

_ROOT = Path(__file__).parents[1]


def load(name: str, *, folder: str = "benchmarks") -> ModuleType:
    """Return a script as a module; it is loaded by its file."""
    spec = importlib.util.spec_from_file_location(name, _ROOT / folder / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
