"""Metrics of text embedding and reranking."""

from typing import Any

from llmbench.analysis.metrics.base import NEVER_DROPPED, Metric
from llmbench.schema.measurement import Measurement
from llmbench.schema.units import NS_PER_S, Direction, Unit

TEXT_OUTPUTS = ("vectors", "ranks")
"""Kinds of outputs that are one for each text that went in."""


def text_rate(m: Measurement) -> float | None:
    """Texts per second that were made into vectors or judged; ``None`` where a request does neither."""
    if not m.outputs:
        return None
    texts = sum(output.count for output in m.outputs if output.kind in TEXT_OUTPUTS)
    wait_s = (m.end_ns - m.start_ns) / NS_PER_S
    return texts / wait_s if texts and wait_s else None


EMBEDDING_METRICS: tuple[Metric[Any], ...] = (
    Metric(
        name="text_rate",
        head="rate",
        priority=NEVER_DROPPED,
        unit=Unit.TEXTS_PER_SECOND,
        direction=Direction.HIGHER,
        definition="texts of a request / its time",
        made_of=("outputs",),
        of=text_rate,
    ),
)
"""How many texts are embedded or ranked."""
