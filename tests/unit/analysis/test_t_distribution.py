"""Every function against scipy, which has its own way to each."""

import pytest
import scipy.special

from llmbench.analysis.t_distribution import noncentral_t_cdf, t_cdf, t_quantile

FREEDOMS = (1.0, 1.4706, 2.0, 3.0, 4.0, 7.3, 18.0, 198.0, 199.9, 200.0, 1e3, 1e4, 1e5, 1e6)
TAILS = (1e-12, 3e-9, 1e-6, 1e-4, 0.004, 0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.45)
"""The chances that t is exceeded; with the sign of t both ends of the distribution."""


@pytest.mark.parametrize("freedom", FREEDOMS)
def test_chances_agree_with_scipy(freedom: float) -> None:
    """On both sides of 0, to nine digits."""
    points = [float(scipy.special.stdtrit(freedom, tail)) for tail in TAILS]

    for t in (0.0, *points, *(-point for point in points)):
        assert pytest.approx(float(scipy.special.stdtr(freedom, t)), rel=1e-9, abs=0) == t_cdf(freedom, t)


@pytest.mark.parametrize("freedom", FREEDOMS)
def test_quantiles_agree_with_scipy(freedom: float) -> None:
    """The upper quantile is the lower one of the other side, which has more digits of a small chance."""
    for confidence in (1 - 2 * tail for tail in TAILS):
        expected = -float(scipy.special.stdtrit(freedom, (1 - confidence) / 2))

        assert pytest.approx(expected, rel=1e-9, abs=0) == t_quantile(freedom, confidence)


def test_no_confidence_takes_no_interval() -> None:
    """Half of the distribution is on either side of 0."""
    assert 0 == t_quantile(3, 0)


@pytest.mark.parametrize("freedom", [1.0, 2.0, 4.0, 18.0, 198.0, 1998.0])
@pytest.mark.parametrize("shift", [-2.0, 0.0, 1.0, 3.0, 10.0, 100.0])
def test_noncentral_chances_agree_with_scipy(freedom: float, shift: float) -> None:
    """At the bars of tests at 95 and 60 %, to nine decimals."""
    for t in (t_quantile(freedom, 0.95), t_quantile(freedom, 0.6)):
        expected = float(scipy.special.nctdtr(freedom, shift, t))

        assert pytest.approx(expected, abs=1e-9) == noncentral_t_cdf(freedom, shift, t)
