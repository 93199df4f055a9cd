"""``torch.compile`` for the torch engine: what a back end needs, and whether it compiled anything meanwhile.

Shapes are dynamic, so that no context length compiles anew: three graphs, all in the first request of each kind (a
prompt, the first token after it, a later one; seen with torch 2.13).
"""

import os
import shutil
import sysconfig
from pathlib import Path
from typing import Any

from llmbench.errors import InputError, MachineError
from llmbench.files.cache import cache_folder
from llmbench.schema.config import PropertyValue, RunConfig

BACKENDS = ("inductor",)
"""Back ends that work with the models of this engine."""

_REFUSED = {
    "openvino": "it fails on the key-value cache of transformers (seen with torch 2.13 and OpenVINO 2026.4)"
}
"""Back ends that are there and do not work, and why."""


def check_compiler(backend: PropertyValue, config: RunConfig) -> None:
    """Refuse, before anything is loaded, what cannot be compiled or would be measured while it is.

    Raises:
        InputError: an unknown back end, one that does not work, or no warm-up to compile in.
        MachineError: no C++ compiler, or no headers of Python.
    """
    if backend not in BACKENDS:
        why = _REFUSED.get(str(backend), f"it is not one of {', '.join(BACKENDS)}")
        raise InputError(
            f"torch.compile cannot use the back end {backend!r}: {why}", hint="use --torch-compile inductor"
        )
    if config.warmups < 1:
        raise InputError(
            "torch.compile compiles in the first request, which would be measured with it",
            hint="leave out --warmups 0",
        )
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        raise MachineError(
            f"torch.compile needs a C++ compiler; there is no {compiler}",
            hint="install g++, or name another compiler in the variable CXX",
        )
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        raise MachineError(
            "torch.compile needs the headers of Python; there is no Python.h",
            hint="install the package python3-dev of this Python",
        )


def set_cache_folder() -> None:
    """Have compiled code kept in the cache folder; to be called before torch is imported, which else says where."""
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder() / "torchinductor"))
    # headers compiled in advance would be kept in the temporary folder under a fixed name, whatever that says
    os.environ["TORCHINDUCTOR_CPP_CACHE_PRECOMPILE_HEADERS"] = "0"


class Compiler:
    """A model whose forward pass is compiled when it is first called; it counts what was compiled."""

    def __init__(self, model: Any, backend: str) -> None:
        import torch

        model.forward = torch.compile(model.forward, backend=backend, dynamic=True)

    @property
    def graphs(self) -> int:
        """Graphs compiled so far in this process."""
        from torch._dynamo.utils import counters

        return int(counters["stats"]["unique_graphs"])
