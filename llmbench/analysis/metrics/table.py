"""Every metric, in the order of reports, and the lists derived from it.

Screens, CSV columns, the importer's columns, and what is compared are derived from the rows and listed nowhere else. A
new metric is a function and a row in the module of its workload.
"""

from collections.abc import Iterable
from typing import Any

from llmbench.analysis.metrics.any_workload import LAUNCH_ROWS, RESOURCE_METRICS
from llmbench.analysis.metrics.base import NEVER_DROPPED, Metric, Scope
from llmbench.analysis.metrics.embedding import EMBEDDING_METRICS
from llmbench.analysis.metrics.pipeline import PIPELINE_METRICS
from llmbench.analysis.metrics.rag import RAG_METRICS
from llmbench.analysis.metrics.text import LATENCY_METRICS, RATE_METRICS, SPECULATION_METRICS, STEP_METRICS
from llmbench.analysis.metrics.vision import VISION_METRICS
from llmbench.schema.measurement import Measurement
from llmbench.schema.run import Launch

ROWS: tuple[Metric[Any], ...] = (
    *LATENCY_METRICS,
    *RAG_METRICS,
    *STEP_METRICS,
    *VISION_METRICS,
    *RATE_METRICS,
    *EMBEDDING_METRICS,
    *SPECULATION_METRICS,
    *RESOURCE_METRICS,
    *PIPELINE_METRICS,
    *LAUNCH_ROWS,
)
"""Every metric, in the order of the reports."""


def _in_scope(scope: Scope) -> dict[str, Metric[Any]]:
    return {row.name: row for row in ROWS if row.scope is scope}


METRICS: dict[str, Metric[Measurement]] = _in_scope(Scope.REQUEST)
"""Every metric of a measurement, by name, in the order of the reports."""

LAUNCH_METRICS: dict[str, Metric[Launch]] = _in_scope(Scope.LAUNCH)
"""Those of a launch."""

LOAD = LAUNCH_METRICS["load"]

SCREEN_METRICS = tuple(name for name, row in METRICS.items() if row.head)
"""The metrics on a screen, in order."""

PHASES = tuple(name for name, row in METRICS.items() if row.is_phase)
"""The parts of the wait for an answer, in order."""

HEADLINES = tuple(name for name in PHASES if METRICS[name].priority == NEVER_DROPPED)
"""The parts that every screen shows."""


def find_metric(name: str) -> str | None:
    """Return the name of the request metric that *name* or an alias (``ttft``) stands for; ``None`` if none does."""
    plain = name.replace("-", "_")
    return next((row.name for row in METRICS.values() if plain in (row.name, *row.aliases)), None)


def present(names: Iterable[str], found: Iterable[Iterable[str]]) -> list[str]:
    """Return those of *names*, in their order, that are in any of *found*."""
    having = {name for each in found for name in each}
    return [name for name in names if name in having]
