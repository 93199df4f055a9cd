"""Metrics of retrieval; the stages of a question are metrics by themselves."""

from typing import Any

from llmbench.analysis.metrics.base import Metric, latency, percentage, score

RAG_METRICS: tuple[Metric[Any], ...] = (
    latency(
        name="retrieve_server",
        title="retrieval in the server",
        head="server",
        priority=35,
        definition="planning and execution as the database reports them, of the same search made once more",
        made_of=("scores",),
        of=score("retrieve_server_s"),
    ),
    percentage(
        name="recall",
        aliases=("recall@k",),
        title="recall@k",
        head="recall@k",
        priority=90,
        definition="of the exact nearest k chunks, how many the index returned, over all questions",
        made_of=("scores",),
        of=score("recall"),
    ),
    percentage(
        name="right_chunk",
        title="right chunk found",
        head="right chunk",
        priority=80,
        definition="questions whose right chunk is among the k, of those whose right chunk is known",
        made_of=("scores",),
        of=score("right_chunk"),
    ),
)
"""How well and how fast is retrieved."""
