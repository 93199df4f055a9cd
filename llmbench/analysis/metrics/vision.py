"""Metrics of questions about images."""

from typing import Any

from llmbench.analysis.metrics.base import Metric, latency, recorded_time

VISION_METRICS: tuple[Metric[Any], ...] = (
    latency(
        name="image_decoding",
        definition="image files to pixels, before the request and outside every other time",
        made_of=("image_decoding_ns",),
        of=recorded_time("image_decoding_ns"),
    ),
)
"""What images cost beside the request."""
