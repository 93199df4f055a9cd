"""The engines by name. Each is imported only when it is asked for."""

from importlib import import_module
from typing import cast

from llmbench.engines.base import Engine

_MODULES = {
    "genai": "GenaiEngine",
    "core": "CoreEngine",
    "optimum": "OptimumEngine",
    "torch": "TorchEngine",
    "scripted": "ScriptedEngine",
}


def find(name: str) -> Engine:
    """The engine of that name; its packages are imported here, not before."""
    module = import_module(f"llmbench.engines.{name}")
    return cast("Engine", getattr(module, _MODULES[name])())
