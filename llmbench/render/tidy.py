"""The rows of the tidy CSV: one a request, or one a prompt and metric, with the configuration in columns."""

import json
from collections.abc import Iterator, Sequence

from llmbench.analysis import bandwidth, placement_proof, stats, validity
from llmbench.analysis.bandwidth import BANDWIDTH, Decoding
from llmbench.analysis.metrics import LAUNCH_METRICS, LOAD, METRICS, Metric
from llmbench.analysis.report import Report, Row
from llmbench.analysis.stages import row_metric
from llmbench.analysis.stats import Summary
from llmbench.analysis.tidy_layout import CELL_COLUMNS
from llmbench.analysis.validity import JudgedMeasurement
from llmbench.schema.config import PLACES, RunConfig
from llmbench.schema.measurement import Measurement
from llmbench.schema.run import Launch, Run
from llmbench.schema.units import Unit

CsvValue = str | int | float | bool | None
"""A value of a CSV file; ``None`` is an empty cell."""

MS_DIGITS = 6
"""Decimals of a millisecond: a nanosecond."""

SUMMARY_COLUMNS = (
    *CELL_COLUMNS,
    "input_tokens",
    "output_tokens",
    "launches",
    "requests",
    "invalid",
    "metric",
    "unit",
    "model_cache",
    "n",
    "median",
    "low",
    "high",
    "p90",
    "p95",
    "p99",
    "warnings",
)


def rows(run: Run) -> Iterator[dict[str, CsvValue]]:
    """One row a request, warm-ups, invalid ones and cut launches included and marked."""
    cells = [_cell_columns(run, cell) for cell in range(len(run.cells))]
    reads = {launch.index: bandwidth.reads(run, launch) for launch in run.launches}
    for judged in validity.judge_run(run):
        decoding = Decoding(measurement=judged.measurement, reads=reads[judged.launch.index])
        read: dict[str, CsvValue] = {BANDWIDTH.column: _shown(BANDWIDTH.of(decoding), BANDWIDTH.unit)}
        yield cells[judged.launch.cell] | _prompt_columns(judged) | _request_columns(judged) | read


def summary_rows(summarized: Report) -> Iterator[dict[str, CsvValue]]:
    """One row a prompt and metric, the load time of each configuration at its end."""
    run = summarized.run
    for row in summarized.rows:
        cell = _cell_columns(run, row.cell) | _prompt_columns(row)
        for name, summary in row.summaries.items():
            yield cell | _row_columns(row) | _summary_columns(row_metric(name), summary, row.values[name])
    for cell_index, by_state in enumerate(summarized.load):
        for state, load in by_state.items():
            cache: dict[str, CsvValue] = {"model_cache": state.value if state else None}
            yield _cell_columns(run, cell_index) | cache | _summary_columns(LOAD, load, ())


def _cell_columns(run: Run, cell: int) -> dict[str, CsvValue]:
    """The configuration and where it ran, the same for all rows of a cell."""
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
        "openvino": versions.get("openvino"),
        "openvino_genai": versions.get("openvino-genai"),
        "notes": "; ".join(notes),
        "tensor_parallel": effect.value if (effect := placement_proof.effect(run, cell)) else None,
        **_config_columns(config),
    }


def _config_columns(config: RunConfig) -> dict[str, CsvValue]:
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


def _prompt_columns(where: JudgedMeasurement | Row) -> dict[str, CsvValue]:
    """Which prompt: its index and hash, never its text."""
    return {
        "prompt_set": where.prompt.set,
        "prompt": where.prompt.index,
        "prompt_sha256": where.prompt.sha256,
    }


def _request_columns(judged: JudgedMeasurement) -> dict[str, CsvValue]:
    m = judged.measurement
    return {
        "launch": judged.launch.index,
        "launch_outcome": judged.launch.outcome.value,
        **{row.column: _shown(row.of(judged.launch), row.unit) for row in LAUNCH_METRICS.values()},
        "model_cache": judged.launch.model_cache.value if judged.launch.model_cache else None,
        "iteration": m.iteration,
        "is_warmup": m.is_warmup,
        "is_valid": not judged.reasons,
        "reasons": "; ".join(judged.reasons),
        "input_tokens": m.input_tokens,
        "output_tokens": m.output_tokens,
        **{row.column: _shown(row.of(m), row.unit) for row in METRICS.values()},
        "started_at": m.started_at,
        "ended_at": m.ended_at,
    }


def _row_columns(row: Row) -> dict[str, CsvValue]:
    return {
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
        "launches": row.launches,
        "requests": row.measured,
        "invalid": row.invalid,
        "warnings": "; ".join(row.warnings),
    }


def _summary_columns(
    metric: Metric[Measurement] | Metric[Decoding] | Metric[Launch], summary: Summary, values: Sequence[float]
) -> dict[str, CsvValue]:
    """A metric's summary in its unit; an infinite bound is an empty cell."""
    unit = metric.unit
    low, high = (summary.low, summary.high) if summary.has_interval else (None, None)
    shown = {"median": summary.median, "low": low, "high": high}
    shown |= {f"p{percent}": stats.percentile(values, percent) for percent in stats.PERCENTILE_NEEDS}
    return {
        "metric": metric.name,
        "unit": unit.value,
        "n": summary.n,
        **{name: _shown(value, unit) for name, value in shown.items()},
    }


def _shown(value: float | None, unit: Unit) -> float | None:
    return None if value is None else round(value * unit.scale, MS_DIGITS)
