"""Where a noisy series changes its level. Knows no run, unit or table.

Segments are those of least squares with a penalty for each (PELT: Killick, Fearnhead and Eckley, JASA 107, 2012), found
by ruptures; of their borders only those are kept that Student's t shows, one after the other, with an error shared over
the places of the series. Simulated rates are in the tests.
"""

import itertools
import math
import statistics
from collections.abc import Sequence

from llmbench.analysis import stats
from llmbench.analysis.t_distribution import t_cdf

LEAST_VALUES = 8
"""A shorter series shows nothing: its noise is not known."""

LEAST_SEGMENT = 3
"""Values between two changes at least: one or two that stand out are noise."""

FALSE_CHANGES = 0.04
"""The chance of a false change in a whole series, as simulated; shared over its places."""

_PENALTY = 6.0
"""For one more segment, in variances: more borders than there are, for the test to choose among."""

_FAR = 3.5
"""A value this many standard deviations from the median of the five around it is taken for that median."""

_REACH = 2
_MOVING_RANGE = 1.0483
"""The standard deviation over the median difference between one and the next, for normal values."""


def find_change_points(values: Sequence[float]) -> tuple[int, ...]:
    """Return where a series of logarithms changes: the index of the first value of each new level."""
    if len(values) < LEAST_VALUES:
        return ()
    noise = _MOVING_RANGE * statistics.median(abs(b - a) for a, b in itertools.pairwise(values))
    if not noise:
        return _borders(values, 1e-12)
    calm = _calmed(values, noise)
    borders = list(_borders(calm, _PENALTY * noise**2))
    while borders:
        p_values = [_p_value(calm, borders, index) for index in range(len(borders))]
        if max(p_values) <= FALSE_CHANGES / len(values):
            break
        borders.pop(p_values.index(max(p_values)))
    return tuple(borders)


def _borders(values: Sequence[float], penalty: float) -> tuple[int, ...]:
    import numpy as np
    from ruptures import KernelCPD

    search = KernelCPD(kernel="linear", min_size=LEAST_SEGMENT).fit(np.array(values)[:, None])
    return tuple(map(int, search.predict(pen=penalty)[:-1]))


def _calmed(values: Sequence[float], noise: float) -> list[float]:
    found = []
    for index, value in enumerate(values):
        near = statistics.median(values[max(0, index - _REACH) : index + _REACH + 1])
        found.append(value if abs(value - near) <= _FAR * noise else near)
    return found


def _p_value(values: Sequence[float], borders: Sequence[int], index: int) -> float:
    """The two-sided p-value of one border, with the spread inside all segments."""
    ends = [0, *borders, len(values)]
    segments = [values[start:end] for start, end in itertools.pairwise(ends)]
    spread = stats.pooled_deviation(segments)
    before, after = segments[index], segments[index + 1]
    difference = abs(statistics.fmean(after) - statistics.fmean(before))
    if not spread:
        return float(difference == 0)
    error = spread * math.sqrt(1 / len(before) + 1 / len(after))
    return 2 * t_cdf(len(values) - len(segments), -difference / error)
