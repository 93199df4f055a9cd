"""LLM latency on OpenVINO: how long a model takes for its first token, its second, and each later one.

>>> import llmbench
>>> run = llmbench.measure("models/pytorch/dldt/INT8", input_tokens=[32, 512], launches=5)
>>> print(run)
>>> run.summary()[["input_tokens", "first_token_ms", "next_token_ms"]]
>>> llmbench.compare(llmbench.load("reports/base.jsonl"), run).verdict
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from llmbench._version import __version__

if TYPE_CHECKING:
    from llmbench.api import Run, compare, load, measure
    from llmbench.schema.config import Prompt, RunConfig

_HOMES = {
    "Run": "llmbench.api",
    "compare": "llmbench.api",
    "load": "llmbench.api",
    "measure": "llmbench.api",
    "Prompt": "llmbench.schema.config",
    "RunConfig": "llmbench.schema.config",
}

__all__ = ["Prompt", "Run", "RunConfig", "__version__", "compare", "load", "measure"]


def __getattr__(name: str) -> Any:
    """Import a name of the interface when it is first used: ``llmbench --help`` needs none of them."""
    if name not in _HOMES:
        raise AttributeError(f"module 'llmbench' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """Return the names of the interface, so that Tab and ``help`` show them."""
    return sorted({*__all__, *globals()} - {"Any", "TYPE_CHECKING", "import_module"})
