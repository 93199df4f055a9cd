"""How long a language model makes a person wait, on this machine: LLM latency on OpenVINO.

>>> import llmbench
>>> run = llmbench.measure(config)
>>> run.to_pandas()["first_token_ms"].describe()
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
    "measure": "llmbench.api",
    "load": "llmbench.api",
    "compare": "llmbench.api",
    "Prompt": "llmbench.schema.config",
    "RunConfig": "llmbench.schema.config",
}

__all__ = ["Prompt", "Run", "RunConfig", "__version__", "compare", "load", "measure"]


def __getattr__(name: str) -> Any:
    """The interface's names, imported when first used: ``llmbench --help`` needs none of them."""
    if name not in _HOMES:
        raise AttributeError(f"module 'llmbench' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
