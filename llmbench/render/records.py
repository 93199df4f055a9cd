"""Comparisons as flat records, for machines: one a change, values in the metric's unit."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

from llmbench.analysis.comparison.change import Change
from llmbench.analysis.comparison.compare import Comparison, Mean, Pair
from llmbench.analysis.comparison.differences import Difference
from llmbench.analysis.metrics import METRICS
from llmbench.render.json import JsonValue, agreement_value, dumps, finite
from llmbench.render.sentences.verdict import next_steps, sentence
from llmbench.render.tidy import CsvValue

VALUE_DIGITS = 6

COMPARISON_COLUMNS = (
    "base",
    "candidate",
    "scope",
    "settings",
    "prompt_set",
    "prompt",
    "prompt_sha256",
    "input_tokens",
    "output_tokens",
    "metric",
    "unit",
    "base_value",
    "candidate_value",
    "ratio",
    "low",
    "high",
    "p",
    "threshold",
    "base_launches",
    "candidate_launches",
    "verdict",
    "is_alarm",
    "smallest_visible",
    "launches_needed",
    "reasons",
)


def comparison_records(comparison: Comparison) -> Iterator[dict[str, CsvValue]]:
    """The means over prompts, then each prompt's changes; what is incomparable has one record with its reasons."""
    sides: dict[str, CsvValue] = {"base": comparison.base.run.id, "candidate": comparison.candidate.run.id}
    for mean in comparison.means:
        for found in mean.changes:
            yield sides | _mean(mean) | _change(found)
    for pair in comparison.pairs:
        where = sides | _pair(comparison, pair)
        if pair.reasons:
            yield where | {"verdict": "incomparable", "is_alarm": False, "reasons": "; ".join(pair.reasons)}
        for found in pair.changes:
            yield where | _change(found)


def _mean(mean: Mean) -> dict[str, CsvValue]:
    return {"scope": f"mean of {mean.prompts}", "settings": _text(mean.settings)}


def _pair(comparison: Comparison, pair: Pair) -> dict[str, CsvValue]:
    row = pair.base
    return {
        "scope": "prompt",
        "settings": ", ".join(filter(None, (_text(comparison.base.distinctions[row.cell]), *pair.marks))),
        "prompt_set": row.prompt.set,
        "prompt": row.prompt.index,
        "prompt_sha256": row.prompt.sha256,
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
    }


def _text(settings: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in settings.items())


def _change(found: Change) -> dict[str, CsvValue]:
    unit = METRICS[found.metric].unit
    ratio = found.ratio
    return {
        "metric": found.metric,
        "unit": unit.value,
        "base_value": round(found.base * unit.scale, VALUE_DIGITS),
        "candidate_value": round(found.candidate * unit.scale, VALUE_DIGITS),
        "ratio": _rounded(ratio.ratio),
        "low": _rounded(ratio.low) if ratio.has_interval else None,
        "high": _rounded(finite(ratio.high)),
        "p": None if ratio.p is None else float(f"{ratio.p:.4g}"),
        "threshold": _rounded(found.threshold),
        "base_launches": found.launches[0],
        "candidate_launches": found.launches[1],
        "verdict": found.verdict.value,
        "is_alarm": found.is_alarm,
        "smallest_visible": _rounded(found.smallest_visible),
        "launches_needed": found.needed,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, VALUE_DIGITS)


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
        "verdict": comparison.verdict.value,
        "sentence": sentence(comparison),
        "next": list(next_steps(comparison)),
        "alarms": len(comparison.alarms),
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


def _differences(found: Sequence[Difference]) -> list[JsonValue]:
    return [dict(dataclasses.asdict(each)) for each in found]
