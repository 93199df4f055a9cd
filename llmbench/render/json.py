"""JSON in two layouts: llm_bench's own, and our report. Neither ever contains NaN or infinity: they are ``null``."""

import dataclasses
import json
from collections.abc import Mapping, Sequence

import msgspec

from llmbench.analysis import report, stats
from llmbench.analysis.bandwidth import ROW_METRICS, Bounds, Decoding
from llmbench.analysis.comparison.compare import Comparison
from llmbench.analysis.comparison.differences import Difference
from llmbench.analysis.evaluation import Evaluation
from llmbench.analysis.metrics.base import Metric
from llmbench.analysis.metrics.table import LAUNCH_METRICS, LOAD
from llmbench.analysis.output_agreement import Agreement
from llmbench.analysis.placement_proof import Proof, shares
from llmbench.analysis.report import Report, Row
from llmbench.analysis.stability import Stability
from llmbench.analysis.stages import row_metric, stage_metrics
from llmbench.analysis.stats import Summary
from llmbench.render import llm_bench
from llmbench.render.sentences.remarks import instants
from llmbench.render.sentences.verdict import next_steps, sentence
from llmbench.render.text import plain_json
from llmbench.render.tidy import comparison_records, file_value
from llmbench.schema.measurement import Measurement, SocketWork
from llmbench.schema.run import Launch, ModelCache
from llmbench.schema.units import Unit

JsonValue = str | int | float | bool | None | Sequence["JsonValue"] | dict[str, "JsonValue"]


def bounds_value(bounds: Bounds) -> JsonValue:
    """What the bandwidth of a configuration is to be compared with, in bytes and bytes per second."""
    return {
        "step_bytes": round(bounds.step_bytes),
        "sockets": list(bounds.sockets),
        "cache_bytes": bounds.cache_bytes,
        "is_cached": bounds.is_cached,
        "memory_bytes_per_s": bounds.bytes_per_s,
        "measured_at": bounds.rate.measured_at if bounds.rate else None,
    }


def placement_value(found: Proof) -> JsonValue:
    """Where a configuration ran: each socket's CPU time and share, pages by node in bytes, moves between CPUs."""
    placement = found.placement
    return {
        "wall_s": round(placement.wall_s, 6),
        "cpu_s": round(placement.worker_s, 6),
        "asked_sockets": list(found.requested),
        "worked": list(placement.worked),
        "idle": list(placement.idle),
        "is_proved": found.is_proved,
        "sockets": [
            {"socket": work.socket, "share": round(share, 4), **_work(work)}
            for work, share in zip(placement.sockets, shares(placement), strict=True)
        ],
        "pages_loaded_bytes": {str(node): size for node, size in found.loaded.items()},
        "pages_bytes": {str(node): size for node, size in placement.pages.items()},
        "migrations": placement.migrations,
    }


def _work(work: SocketWork) -> dict[str, JsonValue]:
    return {
        "cpus": work.cpus,
        "expected_cpus": work.expected_cpus,
        "threads": work.threads,
        "busy_s": round(work.busy_s, 6),
        "thread_s": round(work.thread_s, 6),
    }


def agreement_value(found: Agreement) -> JsonValue:
    """How many variants of prompts were said more than once, and where they part; ``null`` where none was.

    The second launch is the candidate's where two runs are compared.
    """
    if not found.variants:
        return None
    divergences: list[JsonValue] = [
        {
            "cell": divergence.cell,
            "prompt": divergence.prompt.label,
            "variant": divergence.variant,
            "launches": list(divergence.launches),
            "token": divergence.token,
            "tokens": divergence.tokens,
        }
        for divergence in found.partings
    ]
    return {"variants": found.variants, "has_tokens": found.has_tokens, "partings": divergences}


def stability_value(found: Stability) -> JsonValue:
    """Whether a prompt was measured stably: changes over the iterations as shares, warm-ups made and needed."""
    return {
        "is_steady": found.is_stable,
        "drifts": {name: round(change, 6) for name, change in found.drifts.items()},
        "warmups": found.warmups,
        "warmups_needed": found.needed,
    }


REPORT_SCHEMA = "llmbench.report/1"
"""Changes when a reader of the old form would go wrong."""


def llm_bench_json(evaluation: Evaluation) -> str:
    """Return a run in llm_bench's layout; warm-ups are listed, and out of ``results_averaged``."""
    return dumps(llm_bench.llm_bench_content(evaluation))


def report_json(summarized: Report) -> str:
    """A report with the definitions of its metrics; values in the units named there."""
    run = summarized.run
    content: dict[str, JsonValue] = {
        "schema": REPORT_SCHEMA,
        "run": {
            "id": run.id,
            "started_at": run.started_at,
            "llmbench": run.version,
            "is_complete": run.is_complete,
            "is_valid": summarized.is_valid,
            "source": run.source,
        },
        "origins": [dataclasses.asdict(origin) for origin in run.origins],
        "environment": dataclasses.asdict(run.environment),
        "provenance": dataclasses.asdict(run.provenance),
        "instants": instants(summarized),
        "metrics": {
            metric.name: _definition(metric)
            for metric in (
                *(row_metric(name) for name in (*ROW_METRICS, *stage_metrics(run))),
                *LAUNCH_METRICS.values(),
            )
        },
        "cells": [
            {
                "settings": {name: value for name, value in report.varied_settings(config).items() if value},
                "load": _summary(next(iter(load.values())), LOAD.unit) if len(load) == 1 else None,
                "loads": [_load(state, found) for state, found in load.items()],
                "bandwidth": None if bounds is None else bounds_value(bounds),
                "tensor_parallel": effect.value if effect else None,
                "placement": None if found is None else placement_value(found),
            }
            for config, load, bounds, effect, found in zip(
                run.cells,
                summarized.load,
                summarized.bounds,
                summarized.effects,
                summarized.proofs,
                strict=True,
            )
        ],
        "rows": [
            _row(row, stability) for row, stability in zip(summarized.rows, summarized.stability, strict=True)
        ],
        "agreement": agreement_value(summarized.agreement),
        "warnings": list(summarized.warnings),
    }
    return dumps(content)


def report_lines(summarized: Report) -> str:
    """Return a line of JSON per row of a report: run, model and settings, and what was measured."""
    run = summarized.run
    lines = []
    for row, stability in zip(summarized.rows, summarized.stability, strict=True):
        about = {"run": run.id, "model": run.model, "settings": dict(summarized.distinctions[row.cell])}
        lines.append({**about, **_row(row, stability)})
    return "".join(f"{plain_json(json.dumps(line, ensure_ascii=False, allow_nan=False))}\n" for line in lines)


def dumps(content: Mapping[str, object]) -> str:
    """Indented JSON with a newline at its end; raises ValueError on NaN, which is a bug."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False)  # its indent=2 is ten times slower
    return msgspec.json.format(plain_json(text), indent=2) + "\n"


def _definition(metric: Metric[Measurement] | Metric[Decoding] | Metric[Launch]) -> JsonValue:
    return {
        "title": metric.title,
        "unit": metric.unit.value,
        "direction": metric.direction.value,
        "definition": metric.definition,
    }


def _load(state: ModelCache | None, load: Summary) -> JsonValue:
    return {"model_cache": state.value if state else None} | _summary(load, LOAD.unit)


def _row(row: Row, stability: Stability) -> dict[str, JsonValue]:
    return {
        "cell": row.cell,
        "prompt": {"set": row.prompt.set, "index": row.prompt.index, "sha256": row.prompt.sha256},
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
        **_images(row),
        "launches": row.launches,
        "requests": row.measured,
        "invalid": row.invalid,
        "steadiness": stability_value(stability),
        "metrics": {name: _metric(row, name) for name in row.summaries},
        "warnings": list(row.warnings),
    }


def _images(row: Row) -> dict[str, JsonValue]:
    if row.prompt.image_size is None:
        return {}
    return {
        "image_size": row.prompt.image_size,
        "image_slices": row.image_slices,
        "image_tokens": row.image_tokens,
    }


def _metric(row: Row, name: str) -> JsonValue:
    """A metric's summary, its percentiles where the data carry them, and the median of each launch."""
    unit = row_metric(name).unit
    percentiles = {
        f"p{percent}": file_value(stats.percentile(row.values[name], percent), unit)
        for percent in stats.PERCENTILE_NEEDS
    }
    launches: list[JsonValue] = [
        {"launch": launch, "median": file_value(median, unit)} for launch, median in row.medians[name].items()
    ]
    return _summary(row.summaries[name], unit) | percentiles | {"launches": launches}


def _summary(summary: Summary, unit: Unit) -> dict[str, JsonValue]:
    return {
        "n": summary.n,
        "median": file_value(summary.median, unit),
        "low": file_value(summary.low, unit),
        "high": file_value(summary.high, unit),
        "warnings": list(summary.warnings),
    }


COMPARISON_SCHEMA = "llmbench.comparison/1"
"""Changes when a reader of the old form would go wrong."""


def comparison_json(comparisons: Sequence[Comparison]) -> str:
    """All comparisons of one call."""
    return dumps(
        {"schema": COMPARISON_SCHEMA, "comparisons": [_comparison(comparison) for comparison in comparisons]}
    )


def _comparison(comparison: Comparison) -> JsonValue:
    rule = comparison.rule
    return {
        "base": comparison.base.run.id,
        "candidate": comparison.candidate.run.id,
        "sides": {"base": _side_value(comparison.base), "candidate": _side_value(comparison.candidate)},
        "verdict": comparison.verdict.value,
        "sentence": sentence(comparison),
        "next": list(next_steps(comparison)),
        "doubts": list(comparison.doubts),
        "alarms": len(comparison.alarms),
        "is_whole": comparison.is_whole,
        "is_clean": comparison.is_clean,
        "rule": {
            "thresholds": {
                name: {"share": threshold.share, "ms": threshold.seconds * 1e3}
                for name, threshold in rule.thresholds.items()
            },
            "vary": sorted(rule.vary),
            "error": rule.error,
            "is_paired": comparison.is_paired,
        },
        "changes": [dict(record) for record in comparison_records(comparison)],
        "agreement": agreement_value(comparison.agreement),
        "unpaired": list(comparison.unpaired),
        "mismatches": _differences(comparison.mismatches),
        "what_else_changed": _differences(comparison.changes),
        "warnings": list(comparison.warnings),
    }


def _side_value(report: Report) -> JsonValue:
    run = report.run
    return {
        "models": [run.origin_of(cell).name for cell in range(len(run.cells))],
        "weight_formats": [run.origin_of(cell).weight_format for cell in range(len(run.cells))],
        "engines": [config.engine for config in run.cells] if run.version else [],
        "versions": dict(run.software_of(0)),
        "cpu": run.environment.cpu_model or None,
        "launches": len(run.finished),
    }


def _differences(found: Sequence[Difference]) -> list[JsonValue]:
    return [dict(dataclasses.asdict(each)) for each in found]
