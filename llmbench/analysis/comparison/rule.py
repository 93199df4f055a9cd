"""The rule of a verdict: thresholds, the error allowed, and what may vary. Written into every comparison."""

import enum
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from llmbench.analysis.metrics.table import METRICS
from llmbench.analysis.stages import named_metric, stage_of, stage_times
from llmbench.errors import InputError
from llmbench.schema.run import Run

COMPARED = tuple(name for name, metric in METRICS.items() if metric.is_compared)
"""The metrics that have a verdict; all are better lower."""

COMPARED_LOAD = ("goodput", "output_throughput", "first_token", "p90.first_token", "tpot", "e2e")
"""Those of a load, where its run has them."""

PRIMARY = tuple(name for name, metric in METRICS.items() if metric.is_primary)
"""The metrics whose geometric means over prompts decide the exit code first."""

MAY_VARY = ("model", "input_tokens", "output_tokens", "batch_size", "generation", "product")
"""What ``--vary`` lifts; the CPU never varies."""

ALL = "all"
"""What stands for every metric in ``--threshold``."""

_DEFAULT_SHARE = 0.03
_THRESHOLD = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>%|ms)")


def compared_metrics(run: Run) -> tuple[str, ...]:
    """Return the metrics of a run that have a verdict: the usual ones, the primary ones of its workload, its stages."""
    if run.workload.is_concurrent:
        return tuple(dict.fromkeys((*run.workload.primary_metrics, *COMPARED_LOAD)))
    return tuple(dict.fromkeys((*COMPARED, *run.workload.primary_metrics, *stage_times(run))))


class Verdict(enum.Enum):
    """What a comparison says of a row."""

    REGRESSED = "regressed"
    IMPROVED = "improved"
    UNCHANGED = "unchanged"
    INCONCLUSIVE = "inconclusive"
    INCOMPARABLE = "incomparable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """A change that matters is larger than *share* of the base, and larger than *seconds*."""

    share: float
    seconds: float = 0.0

    def of(self, base_s: float) -> float:
        """The share of a base value in seconds that a change must exceed."""
        return max(self.share, self.seconds / base_s) if base_s > 0 else self.share


def _default_thresholds() -> dict[str, Threshold]:
    return {name: Threshold(share=METRICS[name].threshold) for name in COMPARED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How a comparison decides. *error* is the chance of a false alarm allowed to the exit code.

    A quarter of it goes to each primary mean, the other half to all single rows together (Holm).
    """

    thresholds: Mapping[str, Threshold] = field(default_factory=_default_thresholds)
    vary: frozenset[str] = frozenset()
    error: float = 0.05

    def __post_init__(self) -> None:
        for name in sorted(self.vary - set(MAY_VARY)):
            hint = "the CPU never varies" if name == "cpu" else f"choose among {', '.join(MAY_VARY)}"
            raise InputError(f"--vary {name} is not possible", hint=hint)

    @property
    def row_error(self) -> float:
        """The error allowed to all single rows together."""
        return self.error / 2

    def mean_error(self, means: int, metrics: int = len(PRIMARY)) -> float:
        """Return the error allowed to one of this many primary *metrics*' means, of as many configurations."""
        return self.error / 2 / max(1, means * metrics)

    def threshold_of(self, metric: str) -> Threshold:
        """Return the threshold of a metric; one that only its workload compares, such as a stage, has the default."""
        found = self.thresholds.get(metric) or self.thresholds.get(ALL)
        return found or Threshold(share=_DEFAULT_SHARE)


def read_thresholds(texts: Iterable[str]) -> dict[str, Threshold]:
    """The thresholds with those of ``first_token=5%,2ms`` in place; ``all=4%`` sets every one.

    Raises InputError on an unknown metric or a size that is neither a percentage nor milliseconds.
    """
    thresholds = _default_thresholds()
    for text in texts:
        name, _, sizes = text.partition("=")
        names = (*COMPARED, name) if name == ALL else (named_metric(name) or name,)
        if not set(names) <= {*COMPARED, ALL} and stage_of(names[0]) is None:
            known = "is not compared" if name in METRICS else "is no metric"
            raise InputError(
                f"--threshold {text}: {name!r} {known}", hint=f"choose all, {', '.join(COMPARED)}"
            )
        thresholds |= dict.fromkeys(names, _read_sizes(text, sizes))
    return thresholds


def _read_sizes(text: str, sizes: str) -> Threshold:
    """``5%,2ms``, in any order, either alone."""
    found: dict[str, float] = {}
    for part in sizes.split(","):
        match = _THRESHOLD.fullmatch(part.strip())
        if match is None or match["unit"] in found:
            raise InputError(
                f"--threshold {text} is not understood", hint="write first_token=5% or tpot=3%,2ms"
            )
        found[match["unit"]] = float(match["number"])
    return Threshold(share=found.get("%", 0.0) / 100, seconds=found.get("ms", 0.0) / 1e3)
