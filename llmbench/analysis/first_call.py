"""The first call of each prompt in a launch, a warm-up: what no stage of it has, and how much memory each stage needs.

An engine compiles and allocates in it what later calls find ready, so that it is slower, and needs the most memory.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from llmbench.analysis.evaluation import EvaluatedRequest, Evaluation
from llmbench.analysis.metrics.table import METRICS
from llmbench.analysis.report import Row
from llmbench.analysis.stages import UNEXPLAINED, request_metric
from llmbench.analysis.stats import median_of
from llmbench.schema.measurement import Measurement


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstCall:
    """The first calls of one prompt, medians over launches.

    *first_token_s* is the wait for the first token (``None`` without tokens), *unexplained_s* what no stage of it has.
    *load_bytes* and *stage_bytes* are the most memory that was resident while the model was loaded and during each
    stage; empty where that was not watched.
    """

    first_token_s: float | None
    unexplained_s: float | None
    load_bytes: int | None
    stage_bytes: Mapping[str, int]


def first_call(evaluation: Evaluation, row: Row) -> FirstCall | None:
    """Return the first calls of a row's prompt; ``None`` where there were none, or they have no stages.

    Where requests are in flight at once, the first of a launch is one of several, and there is none either.
    """
    if evaluation.run.workload.is_concurrent:
        return None
    found = [
        judged
        for judged in evaluation.requests
        if judged.launch.cell == row.cell and judged.prompt == row.prompt and _is_first(judged)
    ]
    if not any(judged.measurement.stages for judged in found):
        return None
    requests = [judged.measurement for judged in found]
    loads = [judged.launch.load_memory.peak_bytes for judged in found if judged.launch.load_memory]
    return FirstCall(
        first_token_s=median_of(METRICS["first_token"].of(m) for m in requests),
        unexplained_s=median_of(request_metric(f"stage.{UNEXPLAINED}").of(m) for m in requests),
        load_bytes=statistics.median_low(loads) if loads else None,
        stage_bytes=_stage_bytes(requests),
    )


def _is_first(judged: EvaluatedRequest) -> bool:
    m = judged.measurement
    return m.is_warmup and not m.iteration and judged.launch.is_finished


def _stage_bytes(requests: Sequence[Measurement]) -> dict[str, int]:
    watched = [m.memory.stages for m in requests if m.memory]
    names = dict.fromkeys(name for stages in watched for name in stages)
    return {
        name: statistics.median_low([stages[name] for stages in watched if name in stages]) for name in names
    }
