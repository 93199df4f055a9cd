import math

import pytest

from llmbench.analysis.comparison.change import Sample, judge_change
from llmbench.analysis.comparison.rule import Threshold, Verdict, read_thresholds
from llmbench.errors import InputError


def sample(*logs: float) -> Sample:
    """One side's launches from 0."""
    return Sample(logs=dict(enumerate(logs)))


THREE = Threshold(share=0.03)


def test_a_change_by_hand() -> None:
    """Logs 0, 0.01, 0.02 and 0.10, 0.11, 0.12: ratio e^0.1, error sqrt(2 * 0.0001 / 3) = 0.008165, df 4."""
    got = judge_change("tpot", sample(0.0, 0.01, 0.02), sample(0.10, 0.11, 0.12), threshold=THREE)

    assert pytest.approx(math.exp(0.1)) == got.ratio.ratio
    assert pytest.approx(math.exp(0.1 - 2.776445 * 0.0081650), rel=1e-5) == got.ratio.low
    assert Verdict.REGRESSED is got.verdict
    assert (3, 3) == got.launches
    assert pytest.approx([math.exp(0.01), math.exp(0.11)]) == [got.base, got.candidate]


@pytest.mark.parametrize(
    ("shift", "noise", "verdict"),
    [
        (0.10, 0.001, Verdict.REGRESSED),
        (-0.10, 0.001, Verdict.IMPROVED),
        (0.00, 0.001, Verdict.UNCHANGED),
        (0.02, 0.001, Verdict.UNCHANGED),
        (0.02, 0.02, Verdict.INCONCLUSIVE),
        (0.10, 0.20, Verdict.INCONCLUSIVE),
        (0.029, 0.001, Verdict.INCONCLUSIVE),
        (0.04, 0.03, Verdict.INCONCLUSIVE),
    ],
)
def test_the_verdict_needs_interval_and_threshold(shift: float, noise: float, verdict: Verdict) -> None:
    """Regressed excludes 1 and is beyond 3 %; unchanged is whole within 3 %; the rest is undecided."""
    base = sample(-noise, 0.0, noise)

    assert (
        verdict
        is judge_change(
            "tpot", base, sample(*(z + shift for z in base.logs.values())), threshold=THREE
        ).verdict
    )


def test_a_threshold_in_milliseconds_counts_where_it_is_larger() -> None:
    """5 % and 2 ms: of 10 ms that is 20 %, of 1 s 5 %; both must be exceeded."""
    threshold = Threshold(share=0.05, seconds=0.002)

    assert pytest.approx(0.2) == threshold.of(0.010)
    assert 0.05 == threshold.of(1.0)


def test_undecided_says_what_it_could_have_seen() -> None:
    """Noise 2 %, 3 launches a side: error 1.633 %, seen from (2.776 + 0.941) times that; 4 would show 5 %."""
    got = judge_change("tpot", sample(-0.02, 0.0, 0.02), sample(0.0, 0.02, 0.04), threshold=THREE)

    assert pytest.approx(math.expm1((2.776445 + 0.940965) * 0.0163299), rel=1e-3) == got.smallest_visible
    assert 4 == got.needed


def test_pairs_use_the_launches_both_have() -> None:
    """Interleaved launches cancel a drift that independent ones would drown in."""
    drift = {0: 0.0, 1: 0.5, 2: 1.0}
    base = Sample(logs=drift | {7: 3.0})
    candidate = Sample(logs={launch: z + 0.1 + 0.001 * launch for launch, z in drift.items()})

    paired = judge_change("tpot", base, candidate, threshold=THREE, is_paired=True)

    assert ((3, 3), Verdict.REGRESSED) == (paired.launches, paired.verdict)
    assert pytest.approx(math.exp(0.101)) == paired.ratio.ratio
    assert Verdict.INCONCLUSIVE is judge_change("tpot", base, candidate, threshold=THREE).verdict


def test_no_launch_in_common_is_not_paired() -> None:
    """Launches that were not interleaved after all are compared as independent ones."""
    got = judge_change(
        "tpot", Sample(logs={0: 0.0, 1: 0.0}), Sample(logs={2: 0.0, 3: 0.0}), threshold=THREE, is_paired=True
    )

    assert (2, 2) == got.launches


def test_thresholds_are_read() -> None:
    """A percentage, milliseconds, or both; ``all`` is every metric; the others keep theirs."""
    got = read_thresholds(["all=4%", "first_token=5%,2ms", "tpot=1.5ms"])

    assert Threshold(share=0.05, seconds=0.002) == got["first_token"]
    assert Threshold(share=0.0, seconds=0.0015) == got["tpot"]
    assert Threshold(share=0.04) == got["e2e"]
    assert Threshold(share=0.03) == read_thresholds([])["e2e"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("speed=5%", "'speed' is no metric"),
        ("memory=5%", "'memory' is not compared"),
        ("tpot=5", "is not understood"),
        ("tpot", "is not understood"),
        ("tpot=5%,6%", "is not understood"),
        ("tpot=-5%", "is not understood"),
    ],
)
def test_a_threshold_that_cannot_be_is_refused(text: str, message: str) -> None:
    """What was wrong, and what would be right."""
    with pytest.raises(InputError) as caught:
        read_thresholds([text])

    assert message in caught.value.message
    assert caught.value.hint
