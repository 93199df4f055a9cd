"""What a pipeline makes, described: audio by its samples, frames by their number; and why it cannot be right.

It stands alone because every workload that makes audio or frames describes them alike.
"""

import hashlib
from typing import Any

import numpy as np

from llmbench.schema.measurement import Artifact
from llmbench.schema.pipeline import Product
from llmbench.schema.units import Nanoseconds

SILENT_BELOW = 1e-4
"""Audio of a root mean square below this share of full scale (-80 dB) is silence."""


def describe(
    product: Product, value: "np.ndarray[Any, Any]", ready_ns: int | None
) -> tuple[Artifact, tuple[str, ...]]:
    """Return a product's description and a sentence on each fault; *ready_ns* is when it was there."""
    array = np.ascontiguousarray(value)
    digest = hashlib.sha256(array.tobytes()).hexdigest()
    ready = None if ready_ns is None else Nanoseconds(ready_ns)
    if product.kind == "frames":
        faults = ("no frame came out",) if not len(array) else ()
        return Artifact(kind="frames", count=len(array), sha256=digest, ready_ns=ready), faults
    audio_s = array.size / (product.sample_rate or 1)
    level = float(np.sqrt(np.mean(np.square(array, dtype=np.float64)))) if array.size else 0.0
    faults = () if level >= SILENT_BELOW else ("the audio is silent",)
    return (Artifact(kind="audio", count=array.size, audio_s=audio_s, sha256=digest, ready_ns=ready), faults)
