"""Metrics of questions about images."""

from typing import Any

from llmbench.analysis.metrics.base import Metric, latency
from llmbench.schema.measurement import Measurement
from llmbench.schema.units import NS_PER_S


def image_decoding(m: Measurement) -> float | None:
    """Seconds from image files to the pixels that are handed over, before the request begins."""
    return None if m.image_decoding_ns is None else m.image_decoding_ns / NS_PER_S


VISION_METRICS: tuple[Metric[Any], ...] = (
    latency(
        name="image_decoding",
        title="image decoding",
        definition="image files to pixels, before the request and outside every other time",
        of=image_decoding,
    ),
)
"""What images cost beside the request."""
