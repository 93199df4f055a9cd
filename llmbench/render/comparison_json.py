"""Comparisons as JSON: the rule used, every change, what was not compared, and what else changed."""

import dataclasses
from collections.abc import Sequence

from llmbench.analysis.comparison.compare import Comparison
from llmbench.analysis.comparison.differences import Difference
from llmbench.render.json import dumps
from llmbench.render.records import records
from llmbench.render.values import Value, agreement_value
from llmbench.render.verdict import next_steps, sentence

SCHEMA = "llmbench.comparison/1"
"""Changes when a reader of the old form would go wrong."""


def comparison_json(comparisons: Sequence[Comparison]) -> str:
    """All comparisons of one call."""
    return dumps({"schema": SCHEMA, "comparisons": [_comparison(comparison) for comparison in comparisons]})


def _comparison(comparison: Comparison) -> Value:
    """One base and one candidate."""
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
        "changes": [dict(record) for record in records(comparison)],
        "agreement": agreement_value(comparison.agreement),
        "unpaired": list(comparison.unpaired),
        "mismatches": _differences(comparison.mismatches),
        "what_else_changed": _differences(comparison.changes),
        "warnings": list(comparison.warnings),
    }


def _differences(found: Sequence[Difference]) -> list[Value]:
    """Names with their values on both sides."""
    return [dict(dataclasses.asdict(each)) for each in found]
