"""How often a gate would raise a false alarm: comparisons of a machine's own noise with itself, judged by the rule."""

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from llmbench.analysis import stats
from llmbench.analysis.comparison.rule import PRIMARY, Rule
from llmbench.analysis.noise.calibration import Calibration
from llmbench.analysis.noise.estimate import Noise, comparable_sessions, estimate_noise, logs_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Matrix = NDArray[np.float64]

SIMULATIONS = 2000
MOST_SLOWDOWN = 4.0
"""The largest slowdown, as a share, that is searched."""

PRECISION = 1e-4
"""How exactly a slowdown is found, as a logarithm."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FalseAlarms:
    """The share of comparisons of a build with itself that would exit 1, with this many launches per side.

    *within* is of two runs of one session, *across* of two runs of different sessions, ``None`` where it is not
    known how sessions differ. *detectable* has, by primary metric, the smallest slowdown of all prompts, as a share,
    for which the gate exits 1 four times in five; ``None`` where that takes more than `MOST_SLOWDOWN`.
    """

    launches: int
    within: float
    across: float | None
    detectable: Mapping[str, float | None] = dataclasses.field(default_factory=dict)


def false_alarms(calibration: Calibration, launches: int, rule: Rule | None = None) -> FalseAlarms:
    """The false alarms of a gate of this many launches per side.

    Launches are drawn from a normal distribution whose figures vary, and vary together, as those measured did.
    Seeded, so that the same calibration gives the same result.
    """
    rule = rule or Rule()
    noises = [each for each in estimate_noise(calibration) if each.prompt is not None]
    simulator = _Simulator(calibration, noises, launches=launches, rule=rule)
    is_known = all(each.session is not None for each in noises)
    return FalseAlarms(
        launches=launches,
        within=simulator.rate(across=False),
        across=simulator.rate(across=True) if is_known else None,
        detectable=simulator.detectable(),
    )


class _Simulator:
    """Draws comparisons, a row per prompt and metric and below them the primary means, and judges all at once."""

    def __init__(
        self, calibration: Calibration, noises: Sequence[Noise], *, launches: int, rule: Rule, seed: int = 0
    ) -> None:
        import numpy as np

        self._launches = launches
        self._random = np.random.default_rng(seed)
        self._sessions = np.array([[each.session or 0.0] for each in noises])
        self._factors = _factors(calibration, noises)
        self._rows = len(noises)
        self._groups = [
            group
            for name in PRIMARY
            if (group := [i for i, each in enumerate(noises) if each.metric == name])
        ]
        centers = [math.log(each.center) for each in noises]
        centers += [statistics.fmean(centers[i] for i in group) for group in self._groups]
        self.metrics = [
            *(each.metric for each in noises),
            *(noises[group[0]].metric for group in self._groups),
        ]
        self._shares = [
            rule.thresholds[metric].of(math.exp(center))
            for metric, center in zip(self.metrics, centers, strict=True)
        ]
        self._allowed = [rule.row_error] * self._rows + [rule.mean_error(1)] * len(self._groups)

    def rate(self, *, across: bool) -> float:
        """The share of comparisons of unchanged builds that would exit 1."""
        return self._power(_Draws.of(self.sides(across=across)), 0.0)

    def detectable(self) -> dict[str, float | None]:
        """The smallest slowdown of each primary metric that exits 1 four times in five, by the rule itself."""
        drawn = _Draws.of(self.sides(across=False))
        return {metric: self._smallest(drawn, metric) for metric in PRIMARY if metric in self.metrics}

    def sides(self, *, across: bool) -> "Matrix":
        """Logarithms: comparisons by both sides by rows by launches; *across* sessions each side has a shift."""
        import numpy as np

        size = self._factors.shape[1] * self._launches
        drawn = self._random.standard_normal((SIMULATIONS, 2, size + across))
        found = self._factors @ drawn[..., :size].reshape(SIMULATIONS, 2, -1, self._launches)
        if across:
            found += self._sessions * drawn[..., size:, None]
        means = [found[:, :, group].mean(axis=2, keepdims=True) for group in self._groups]
        return np.concatenate([found, *means], axis=2)

    def _smallest(self, drawn: "_Draws", metric: str) -> float | None:
        """The slowdown of one metric at which the power reaches `stats.POWER`, by bisection of its logarithm."""
        import numpy as np

        moved = np.array([name == metric for name in self.metrics], dtype=float)
        low, high = 0.0, math.log1p(MOST_SLOWDOWN)
        if self._power(drawn, high * moved) < stats.POWER:
            return None
        while high - low > PRECISION:
            middle = (low + high) / 2
            low, high = (low, middle) if self._power(drawn, middle * moved) >= stats.POWER else (middle, high)
        return math.expm1(high)

    def _power(self, drawn: "_Draws", shift: "Matrix | float") -> float:
        """The share of the drawn comparisons that exit 1 where the candidate is slower by *shift* (logarithms)."""
        import numpy as np

        differences = drawn.differences + shift
        p = drawn.p_values(differences)
        rows = p[:, : self._rows]
        order = np.argsort(rows, axis=1)
        ranked = np.take_along_axis(rows, order, axis=1) * np.arange(self._rows, 0, -1)
        holm = np.empty_like(rows)
        np.put_along_axis(holm, order, np.maximum.accumulate(ranked, axis=1), axis=1)
        adjusted = np.hstack([holm, p[:, self._rows :]])
        is_beyond = (differences > np.log1p(self._shares)) & (p < 1 - stats.CONFIDENCE)
        return float((is_beyond & (adjusted <= self._allowed)).any(axis=1).mean())


@dataclasses.dataclass(frozen=True, slots=True)
class _Draws:
    """Comparisons of unchanged builds: differences of logarithms, their standard errors, and degrees of freedom."""

    differences: "Matrix"
    errors: "Matrix"
    freedom: "Matrix"

    @classmethod
    def of(cls, sides: "Matrix") -> "_Draws":
        """Welch's figures of each pair of sides, as `stats.welch_ratio` has them."""
        import numpy as np

        launches = sides.shape[3]
        shares = sides.var(axis=3, ddof=1) / launches
        total = shares.sum(axis=1)
        squares = (shares**2).sum(axis=1) / (launches - 1)
        freedom = np.divide(total**2, squares, out=np.full_like(total, 2.0 * launches - 2), where=squares > 0)
        means = sides.mean(axis=3)
        return cls(means[:, 1] - means[:, 0], np.sqrt(total), freedom)

    def p_values(self, differences: "Matrix") -> "Matrix":
        """The two-sided p-values of such differences."""
        import numpy as np
        from scipy.special import stdtr

        t = np.divide(
            -np.abs(differences), self.errors, out=np.full_like(differences, -np.inf), where=self.errors > 0
        )
        found: Matrix = 2 * stdtr(self.freedom, t)
        return found


def _factors(calibration: Calibration, noises: Sequence[Noise]) -> "Matrix":
    """What turns independent normal numbers into launches that vary as those measured: their residuals, scaled."""
    import numpy as np

    sessions = comparable_sessions(calibration)
    logs = [np.array([logs_of(session, each.prompt, each.metric) for each in noises]) for session in sessions]
    residuals = np.hstack([each - each.mean(axis=1, keepdims=True) for each in logs])
    return residuals / math.sqrt(residuals.shape[1] - len(sessions))
