"""How often a gate would cry wolf: comparisons of a machine's own noise with itself, judged by the rule."""

import dataclasses
import math
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

from llmbench.analysis import stats
from llmbench.analysis.comparison.change import decide
from llmbench.analysis.comparison.rule import PRIMARY, Rule, Verdict
from llmbench.analysis.noise.calibration import Calibration
from llmbench.analysis.noise.estimate import Noise, comparable_sessions, estimate_noise, logs_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Matrix = NDArray[np.float64]

SIMULATIONS = 2000


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FalseAlarms:
    """The share of comparisons of a build with itself that would exit 1, with so many launches a side.

    *within* is of two runs of one session, *across* of two runs of different sessions, ``None`` where it is not
    known how sessions differ.
    """

    launches: int
    within: float
    across: float | None


def false_alarms(calibration: Calibration, launches: int, rule: Rule | None = None) -> FalseAlarms:
    """The false alarms of a gate of so many launches a side.

    Launches are drawn from a normal distribution whose figures vary, and vary together, as those measured did.
    Seeded, so that the same calibration gives the same answer.
    """
    rule = rule or Rule()
    noises = [each for each in estimate_noise(calibration) if each.prompt is not None]
    simulator = _Simulator(calibration, noises, launches=launches, rule=rule)
    is_known = all(each.session is not None for each in noises)
    return FalseAlarms(
        launches=launches,
        within=simulator.rate(across=False),
        across=simulator.rate(across=True) if is_known else None,
    )


class _Simulator:
    """Draws sides of some launches, a row a prompt and metric, and judges pairs of them."""

    def __init__(
        self, calibration: Calibration, noises: Sequence[Noise], *, launches: int, rule: Rule
    ) -> None:
        import numpy as np

        self._launches = launches
        self._rule = rule
        self._random = np.random.default_rng(0)
        self._sessions = np.array([each.session or 0.0 for each in noises])
        self._factors = _factors(calibration, noises)
        self._rows = len(noises)
        self._groups = [
            group
            for name in PRIMARY
            if (group := [i for i, each in enumerate(noises) if each.metric == name])
        ]
        centers = [math.log(each.center) for each in noises]
        centers += [statistics.fmean(centers[i] for i in group) for group in self._groups]
        metrics = [each.metric for each in noises] + [noises[group[0]].metric for group in self._groups]
        self._shares = [
            rule.thresholds[metric].of(math.exp(center))
            for metric, center in zip(metrics, centers, strict=True)
        ]

    def rate(self, *, across: bool) -> float:
        """The share of comparisons that would exit 1."""
        found = sum(
            self._is_alarm(self._side(across=across), self._side(across=across)) for _ in range(SIMULATIONS)
        )
        return found / SIMULATIONS

    def _side(self, *, across: bool) -> "Matrix":
        """The logarithms of one side: rows, and below them the primary means, by launches."""
        import numpy as np

        drawn = self._factors @ self._random.standard_normal((self._factors.shape[1], self._launches))
        if across:
            drawn += (self._sessions * self._random.standard_normal())[:, None]
        return np.vstack([drawn, *(drawn[group].mean(axis=0) for group in self._groups)])

    def _is_alarm(self, base: "Matrix", candidate: "Matrix") -> bool:
        """Whether the rule would have the second side regressed against the first."""
        import numpy as np

        differences = candidate.mean(axis=1) - base.mean(axis=1)
        if not (differences > np.log1p(self._shares)).any():
            return False  # nothing is beyond its threshold; most comparisons end here
        found = [
            stats.welch_ratio(before, after)
            for before, after in zip(base.tolist(), candidate.tolist(), strict=True)
        ]
        p_values = [1.0 if ratio.p is None else ratio.p for ratio in found]
        adjusted = stats.holm(p_values[: self._rows])
        allowed = [self._rule.row_error] * self._rows + [self._rule.mean_error(1)] * len(self._groups)
        return any(
            decide(ratio, share) is Verdict.REGRESSED and p <= error
            for ratio, share, p, error in zip(
                found, self._shares, [*adjusted, *p_values[self._rows :]], allowed, strict=True
            )
        )


def _factors(calibration: Calibration, noises: Sequence[Noise]) -> "Matrix":
    """What turns independent normal numbers into launches that vary as those measured: their residuals, scaled."""
    import numpy as np

    sessions = comparable_sessions(calibration)
    logs = [np.array([logs_of(session, each.prompt, each.metric) for each in noises]) for session in sessions]
    residuals = np.hstack([each - each.mean(axis=1, keepdims=True) for each in logs])
    return residuals / math.sqrt(residuals.shape[1] - len(sessions))
