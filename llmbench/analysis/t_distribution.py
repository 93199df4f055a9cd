"""Student's t in plain Python: importing scipy.special for it would take longer than most reports."""

import functools
import math
from statistics import NormalDist

NORMAL = NormalDist()
_LEAST_ASYMPTOTIC = 100.0
"""From here on the difference of two logarithms of gammas has fewer right digits than its asymptotic series."""


def t_cdf(freedom: float, t: float) -> float:
    """Return the chance that Student's t is at most *t*."""
    tail, _ = _tail(freedom, abs(t))
    return tail if t < 0 else 1 - tail


@functools.lru_cache(maxsize=4096)
def t_quantile(freedom: float, confidence: float) -> float:
    """Return what Student's t exceeds to neither side with the chance *confidence*, less than 1.

    Newton's method for the logarithm of the tail over that of t: its slope falls, so that no start diverges.
    """
    share = (1 - confidence) / 2
    t = -NORMAL.inv_cdf(share)
    step = 1.0
    while t and abs(step) > 1e-6:  # the error that is left is its square
        tail, slope = _tail(freedom, t)
        step = math.log(tail / share) * tail / slope
        t *= math.exp(step)
    return t


def _tail(freedom: float, t: float) -> tuple[float, float]:
    """The chance that t is exceeded, and t times its density: both from the incomplete beta function (DLMF 8.17)."""
    a, square = freedom / 2, t * t / freedom
    x, y = 1 / (1 + square), square / (1 + square)
    slope = math.exp(-a * math.log1p(square)) * math.sqrt(y / math.pi) * _gamma_ratio(a)
    if x < (a + 1) / (a + 2.5):
        return slope / (2 * a) / _fraction(a, 0.5, x), slope
    return 0.5 - slope / _fraction(0.5, a, y), slope


def _gamma_ratio(a: float) -> float:
    """Gamma of a + 1/2 over gamma of a (for large ones DLMF 5.11.13)."""
    if a < _LEAST_ASYMPTOTIC:
        return math.exp(math.lgamma(a + 0.5) - math.lgamma(a))
    return math.sqrt(a) * math.exp(1 / (192 * a**3) - 1 / (8 * a))


def _fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of the incomplete beta function, DLMF 8.17.22, by Lentz's method (DLMF 3.10)."""
    value, c, d, m = 1.0, 1.0, 0.0, 0
    while abs(c * d - 1) > 1e-15:
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        m += 1
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        for term in (odd, even):
            c, d = 1 + term / c, 1 / (1 + term * d)
            value *= c * d
    return value


def noncentral_t_cdf(freedom: float, shift: float, t: float) -> float:
    """Return the chance that Student's t around *shift* is at most *t*.

    It is the mean of the normal chances of t * s - shift, where s is the deviation of a sample over the true one: a
    sum over equal steps of the logarithm of s, whose error falls exponentially with their number (Trefethen and
    Weideman, The Exponentially Convergent Trapezoidal Rule, SIAM Review 56, 2014). What is left out weighs e^-25.
    """
    width = 1 / math.sqrt(freedom)
    step = 0.3 / (1 / width + abs(t))
    steps = range(-round((25 * width**2 + 5 * width) / step), round(5 * width / step) + 1)
    weights = [math.exp(freedom * (i * step - math.expm1(2 * i * step) / 2)) for i in steps]
    chances = [NORMAL.cdf(t * math.exp(i * step) - shift) for i in steps]
    return sum(weight * chance for weight, chance in zip(weights, chances, strict=True)) / sum(weights)
