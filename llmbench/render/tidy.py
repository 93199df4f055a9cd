"""The rows of the tidy CSV: one per request, or one per prompt and metric, with the configuration in columns."""

import itertools
import json
import math
from collections.abc import Iterator, Sequence

from llmbench.analysis import stats
from llmbench.analysis.bandwidth import BANDWIDTH, Decoding
from llmbench.analysis.comparison.change import Change
from llmbench.analysis.comparison.compare import Comparison, Pair
from llmbench.analysis.evaluation import EvaluatedRequest, Evaluation
from llmbench.analysis.layouts import CELL_COLUMNS, IMAGE_COLUMNS
from llmbench.analysis.metrics.base import Metric
from llmbench.analysis.metrics.table import LAUNCH_METRICS, LOAD, METRICS
from llmbench.analysis.report import Report, Row
from llmbench.analysis.stages import request_metric, row_metric
from llmbench.analysis.stats import Summary
from llmbench.render.sentences.verdict import is_open, launches_to_decide
from llmbench.render.table import TableValue
from llmbench.render.text import settings_text
from llmbench.schema.config import PLACES, Prompt, RunConfig
from llmbench.schema.measurement import Measurement
from llmbench.schema.run import Launch
from llmbench.schema.units import Unit

MS_DIGITS = 6
"""Decimals of a millisecond: a nanosecond."""

_METRIC_COLUMNS = tuple((row.column, row.of, row.unit.scale) for row in METRICS.values())
"""Column, function and scale of each metric of a request, looked up once for a file of many."""

SUMMARY_COLUMNS = (
    *CELL_COLUMNS,
    *("input_tokens", "output_tokens", *IMAGE_COLUMNS, "launches", "requests", "invalid"),
    *("metric", "unit", "model_cache", "n", "median", "low", "high"),
    *(f"p{percent}" for percent in stats.PERCENTILE_NEEDS),
    "warnings",
)


def rows(evaluation: Evaluation) -> Iterator[dict[str, TableValue]]:
    """One row per request, warm-ups, invalid ones and cut launches included and marked."""
    cells = [_cell_columns(evaluation, cell) for cell in range(len(evaluation.run.cells))]
    for _, group in itertools.groupby(evaluation.requests, key=lambda judged: judged.launch.index):
        first, *later = group
        launch = cells[first.launch.cell] | _launch_columns(first.launch)
        shared = [launch | _prompt_columns(prompt) for prompt in first.config.prompts]
        for judged in (first, *later):
            yield shared[judged.measurement.prompt] | _request_columns(judged)


def summary_rows(summarized: Report) -> Iterator[dict[str, TableValue]]:
    """One row per prompt and metric, the load time of each configuration at its end."""
    evaluation = summarized.evaluation
    for row in summarized.rows:
        cell = _cell_columns(evaluation, row.cell) | _prompt_columns(row.prompt)
        for name, summary in row.figures.items():
            values = row.values.get(name, ())
            yield cell | _row_columns(row) | _summary_columns(row_metric(name), summary, values)
    for cell_index, by_state in enumerate(summarized.load):
        for state, load in by_state.items():
            cache: dict[str, TableValue] = {"model_cache": state.value if state else None}
            yield _cell_columns(evaluation, cell_index) | cache | _summary_columns(LOAD, load, ())


def _cell_columns(evaluation: Evaluation, cell: int) -> dict[str, TableValue]:
    """The configuration and where it ran, the same for all rows of a cell."""
    run, effect = evaluation.run, evaluation.effects[cell]
    config, origin, versions = run.cells[cell], run.origin_of(cell), run.software_of(cell)
    notes = dict.fromkeys(
        note for launch in run.launches if launch.cell == cell for note in launch.effective.notes
    )
    return {
        "run": run.id,
        "run_started_at": run.started_at,
        "llmbench": run.version,
        "cell": cell,
        "source": origin.source,
        "source_id": origin.source_id,
        "revision": origin.revision,
        "weight_format": origin.weight_format,
        "ir_sha256": origin.content_sha256,
        "cpu": run.environment.cpu_model,
        "kernel": run.environment.kernel,
        "cpu_quota": run.environment.limits.cpu_quota if run.environment.limits else None,
        "openvino": versions.get("openvino"),
        "openvino_genai": versions.get("openvino-genai"),
        "notes": "; ".join(notes),
        "tensor_parallel": effect.value if effect else None,
        **_config_columns(config),
    }


def _config_columns(config: RunConfig) -> dict[str, TableValue]:
    return {
        "model": config.model,
        "engine": config.engine,
        "device": config.device,
        "attention": config.attention,
        "properties": json.dumps(dict(config.properties), sort_keys=True),
        "threads": config.threads,
        **{name: ",".join(map(str, getattr(config, name))) for name in PLACES},
        "batch_size": config.batch_size,
        "asked_tokens": config.output_tokens,
        "stop_at_eos": config.stop_at_eos,
        "apply_chat_template": config.apply_chat_template,
        "generation": json.dumps(config.generation, sort_keys=True, default=dict),
    }


def _prompt_columns(prompt: Prompt) -> dict[str, TableValue]:
    """Which prompt: its index and hash, never its text."""
    return {
        "prompt_set": prompt.set,
        "prompt": prompt.index,
        "prompt_sha256": prompt.sha256,
        "image_size": prompt.image_size,
    }


def _launch_columns(launch: Launch) -> dict[str, TableValue]:
    return {
        "launch": launch.index,
        "launch_outcome": launch.outcome.value,
        **{row.column: file_value(row.of(launch), row.unit) for row in LAUNCH_METRICS.values()},
        "model_cache": launch.model_cache.value if launch.model_cache else None,
    }


def _request_columns(judged: EvaluatedRequest) -> dict[str, TableValue]:
    m = judged.measurement
    rate = judged.value(BANDWIDTH.name) if judged.reads is not None else None
    return {
        "iteration": m.iteration,
        "is_warmup": m.is_warmup,
        "is_valid": not judged.reasons,
        "reasons": "; ".join(judged.reasons),
        "input_tokens": m.input_tokens,
        "output_tokens": m.output_tokens,
        "image_slices": m.longest.image_slices,
        "image_tokens": m.longest.image_tokens,
        **{
            column: None if (value := of(m)) is None else round(value * scale, MS_DIGITS)
            for column, of, scale in _METRIC_COLUMNS
        },
        BANDWIDTH.column: file_value(rate, BANDWIDTH.unit),
        "started_at": m.started_at,
        "ended_at": m.ended_at,
    }


def _row_columns(row: Row) -> dict[str, TableValue]:
    return {
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
        "image_slices": row.image_slices,
        "image_tokens": row.image_tokens,
        "launches": row.launches,
        "requests": row.measured,
        "invalid": row.invalid,
        "warnings": "; ".join(row.warnings),
    }


def _summary_columns(
    metric: Metric[Measurement] | Metric[Decoding] | Metric[Launch], summary: Summary, values: Sequence[float]
) -> dict[str, TableValue]:
    """A metric's summary in its unit; an infinite bound is an empty cell."""
    unit = metric.unit
    low, high = (summary.low, summary.high) if summary.has_interval else (None, None)
    shown = {"median": summary.median, "low": low, "high": high}
    shown |= {f"p{percent}": stats.percentile(values, percent) for percent in stats.PERCENTILE_NEEDS}
    return {
        "metric": metric.name,
        "unit": unit.value,
        "n": summary.n,
        **{name: file_value(value, unit) for name, value in shown.items()},
    }


def file_value(value: float | None, unit: Unit) -> float | None:
    """Return a value in its unit, rounded for a file; ``None`` where it does not exist or is infinite."""
    return round(value * unit.scale, MS_DIGITS) if value is not None and math.isfinite(value) else None


VALUE_DIGITS = 6

COMPARISON_COLUMNS = (
    *("base", "candidate", "scope", "settings", "prompt_set", "prompt", "prompt_sha256"),
    *("input_tokens", "output_tokens", "metric", "unit", "base_value", "candidate_value"),
    *("ratio", "low", "high", "p", "threshold", "base_launches", "candidate_launches"),
    *("verdict", "is_alarm", "smallest_visible", "launches_needed", "reasons"),
    *(f"{side}_{name}" for side in ("base", "candidate") for name in ("model", "engine", "openvino", "cpu")),
)


def comparison_records(comparison: Comparison) -> Iterator[dict[str, TableValue]]:
    """The means over prompts, then each prompt's changes; what is incomparable has one record with its reasons."""
    sides = _sides(comparison)
    for mean in comparison.means:
        for found in mean.changes:
            about = {"scope": f"mean of {mean.prompts}", "settings": settings_text(mean.settings)}
            yield sides | about | _change_columns(found)
    for pair in comparison.pairs:
        where = sides | _pair_columns(comparison, pair)
        if pair.reasons:
            yield where | {"verdict": "incomparable", "is_alarm": False, "reasons": "; ".join(pair.reasons)}
        for found in pair.changes:
            yield where | _change_columns(found)
    for text in comparison.unpaired:
        yield sides | {"scope": "prompt", "verdict": "incomparable", "is_alarm": False, "reasons": text}


def _sides(comparison: Comparison) -> dict[str, TableValue]:
    found: dict[str, TableValue] = {}
    for side, report in (("base", comparison.base), ("candidate", comparison.candidate)):
        run = report.run
        cells = range(len(run.cells))
        found |= {
            side: run.id,
            f"{side}_model": " / ".join(dict.fromkeys(run.origin_of(cell).name for cell in cells)),
            f"{side}_engine": " / ".join(dict.fromkeys(each.engine for each in run.cells))
            if run.version
            else None,
            f"{side}_openvino": run.software_of(0).get("openvino"),
            f"{side}_cpu": run.environment.cpu_model or None,
        }
    return found


def _pair_columns(comparison: Comparison, pair: Pair) -> dict[str, TableValue]:
    row = pair.base
    return {
        "scope": "prompt",
        "settings": ", ".join(
            filter(None, (settings_text(comparison.base.distinctions[row.cell]), *pair.marks))
        ),
        "prompt_set": row.prompt.set,
        "prompt": row.prompt.index,
        "prompt_sha256": row.prompt.sha256,
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
    }


def _change_columns(found: Change) -> dict[str, TableValue]:
    unit = request_metric(found.metric).unit
    ratio = found.ratio
    return {
        "metric": found.metric,
        "unit": unit.value,
        "base_value": round(found.base * unit.scale, VALUE_DIGITS),
        "candidate_value": round(found.candidate * unit.scale, VALUE_DIGITS),
        "ratio": _ratio(ratio.ratio),
        "low": _ratio(ratio.low) if ratio.has_interval else None,
        "high": _ratio(ratio.high if math.isfinite(ratio.high) else None),
        "p": None if ratio.p is None else float(f"{ratio.p:.4g}"),
        "threshold": _ratio(found.threshold),
        "base_launches": found.launches[0],
        "candidate_launches": found.launches[1],
        "verdict": found.verdict.value,
        "is_alarm": found.is_alarm,
        "smallest_visible": _ratio(found.smallest_visible),
        "launches_needed": launches_to_decide([found]) if is_open(found) else None,
    }


def _ratio(value: float | None) -> float | None:
    return None if value is None else round(value, VALUE_DIGITS)
