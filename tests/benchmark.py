"""``benchmarks/overhead.py`` as a module: what it prints for a person is asserted as ratios by tests."""

import importlib.util
from pathlib import Path
from types import ModuleType

_FILE = Path(__file__).parents[1] / "benchmarks" / "overhead.py"


def load() -> ModuleType:
    """The module; it is a script in no package, so it is loaded by its file."""
    spec = importlib.util.spec_from_file_location("overhead", _FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
