"""The headline, the exit code and every rendering stand on the same verdicts as the rows."""

import dataclasses
import itertools
import json
import random
from collections.abc import Sequence as Values
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmbench.analysis.comparison.change import Change, decide
from llmbench.analysis.comparison.compare import Comparison, Mean
from llmbench.analysis.comparison.rule import Rule, Verdict
from llmbench.analysis.stats import welch_ratio
from llmbench.cli.compare import INVALID, UNDECIDED, comparison_exit_code
from llmbench.errors import ExitCode
from llmbench.render.json import comparison_json
from llmbench.render.junit import comparison_junit
from llmbench.render.markdown import comparison_markdown
from llmbench.render.sentences.verdict import sentence
from tests.builders import comparison_of

REGRESSED, IMPROVED = Verdict.REGRESSED, Verdict.IMPROVED
UNCHANGED, OPEN = Verdict.UNCHANGED, Verdict.INCONCLUSIVE
KINDS = [(REGRESSED, True), (REGRESSED, False), (IMPROVED, False), (UNCHANGED, False), (OPEN, False)]


def comparison_with(means: Values[tuple[Verdict, bool]], rows: Values[tuple[Verdict, bool]]) -> Comparison:
    """A comparison whose means and rows have these verdicts, and are alarms or not."""
    found = comparison_of("unchanged")
    change = found.pairs[0].changes[0]

    def changes(kinds: Values[tuple[Verdict, bool]]) -> tuple[Change, ...]:
        return tuple(dataclasses.replace(change, verdict=v, is_alarm=alarm) for v, alarm in kinds)

    clean = tuple(dataclasses.replace(row, invalid=0) for row in found.base.rows)
    report = dataclasses.replace(found.base, rows=clean)
    return dataclasses.replace(
        found,
        base=report,
        candidate=report,
        means=(Mean(prompts=2, settings={}, changes=changes(means)),),
        pairs=(dataclasses.replace(found.pairs[0], changes=changes(rows)),),
        unpaired=(),
    )


@pytest.mark.parametrize(
    ("means", "rows", "verdict"),
    [
        ([(UNCHANGED, False)], [(UNCHANGED, False)], UNCHANGED),
        ([(UNCHANGED, False)], [(REGRESSED, True)], REGRESSED),
        ([(UNCHANGED, False)], [(REGRESSED, False)], OPEN),
        ([(UNCHANGED, False)], [(OPEN, False)], OPEN),
        ([(UNCHANGED, False)], [(IMPROVED, False)], IMPROVED),
        ([(IMPROVED, False)], [(OPEN, False)], OPEN),
        ([(REGRESSED, False)], [(UNCHANGED, False)], OPEN),
        ([(REGRESSED, True)], [(IMPROVED, False)], REGRESSED),
    ],
)
def test_the_headline_agrees_with_the_rows(
    means: list[tuple[Verdict, bool]], rows: list[tuple[Verdict, bool]], verdict: Verdict
) -> None:
    """Unchanged never stands over a row that is not, and improved only where nothing is open."""
    assert verdict is comparison_with(means, rows).verdict


KIND_LISTS = st.lists(st.sampled_from(KINDS), min_size=1, max_size=3)


@given(KIND_LISTS, KIND_LISTS)
@pytest.mark.slow
def test_every_rendering_and_exit_code_has_one_verdict(
    means: list[tuple[Verdict, bool]], rows: list[tuple[Verdict, bool]]
) -> None:
    """Sentence, Markdown, JSON, JUnit and codes 1 and 3 agree, whatever the rows are."""
    found = comparison_with(means, rows)
    alarms = sum(alarm for _, alarm in (*means, *rows))
    is_open = any(v is OPEN or (v is REGRESSED and not alarm) for v, alarm in (*means, *rows))

    assert (alarms > 0) == (found.verdict is REGRESSED)
    assert is_open == (not found.is_clean)
    assert f"### llmbench: {found.verdict.value}" == comparison_markdown([found]).splitlines()[0]
    content = json.loads(comparison_json([found]))["comparisons"][0]
    assert (found.verdict.value, alarms, sentence(found)) == (
        content["verdict"],
        content["alarms"],
        content["sentence"],
    )
    suite = ET.fromstring(comparison_junit([found]))[0]  # noqa: S314  our own
    assert str(alarms) == suite.get("failures")
    assert is_open == (suite.get("skipped") != "0")
    assert (found.verdict is UNCHANGED) == sentence(found).startswith("Nothing changed")
    for gate, strict in itertools.product((True, False), (None, UNDECIDED, INVALID)):
        code = comparison_exit_code(found, fail_on_regression=gate, strict=strict)
        fails = strict == UNDECIDED and is_open
        assert code is (ExitCode.REGRESSION if gate and alarms else ExitCode.STRICT if fails else ExitCode.OK)


def test_a_metric_that_did_not_move_is_not_called_slower() -> None:
    """What regressed comes first; what did not says so."""
    found = comparison_with([(UNCHANGED, False), (REGRESSED, True)], [(UNCHANGED, False)])
    means = found.means[0].changes
    named = (
        dataclasses.replace(means[0], metric="first_token"),
        dataclasses.replace(means[1], metric="tpot"),
    )
    found = dataclasses.replace(found, means=(dataclasses.replace(found.means[0], changes=named),))

    assert sentence(found).startswith("The candidate is slower: time per output token ")
    assert "; first token 0.0 % (-0.2 to +0.2 %), no change." in sentence(found)


@pytest.mark.parametrize(
    "change",
    [
        lambda found: dataclasses.replace(found, unpaired=("prompt 7 is in the base only",)),
        lambda found: dataclasses.replace(
            found, pairs=(dataclasses.replace(found.pairs[0], reasons=("batch: 1 against 2",)),)
        ),
        lambda found: dataclasses.replace(found, pairs=(), means=()),
    ],
)
def test_strict_invalid_fails_on_what_is_missing_alone(change: object) -> None:
    """An undecided row passes; a row that was not compared does not."""
    found = comparison_with([(OPEN, False)], [(OPEN, False)])

    assert found.is_whole
    assert not change(found).is_whole  # type: ignore[operator]


def _mean(one: list[float], other: list[float]) -> list[float]:
    return [(a + b) / 2 for a, b in zip(one, other, strict=True)]


def _undecided(noise: float, launches: int, comparisons: int) -> float:
    """The share of comparisons of an unchanged build with an open row: two prompts, five metrics, two means."""
    draw, rule = random.Random(3), Rule()  # noqa: S311  a seeded stream, not a secret

    def side() -> list[float]:
        return [draw.gauss(0, noise) for _ in range(launches)]

    def is_open() -> bool:
        found = []
        for metric in ("first_token", "second_token", "next_token", "tpot", "e2e"):
            rows = [(side(), side()) for _ in range(2)]
            if metric in {"first_token", "tpot"}:
                (a, b), (c, d) = rows
                rows.append((_mean(a, c), _mean(b, d)))
            found += [decide(welch_ratio(*row), rule.threshold_of(metric).share) for row in rows]
        return any(verdict is not UNCHANGED for verdict in found)

    return sum(is_open() for _ in range(comparisons)) / comparisons


@pytest.mark.parametrize(
    ("noise", "launches", "share"), [(0.005, 5, 0.0), (0.01, 5, 0.26), (0.015, 5, 0.99), (0.015, 20, 0.0)]
)
def test_what_a_bare_strict_needs_is_as_documented(noise: float, launches: int, share: float) -> None:
    """Some figures of the table in docs/ci.md."""
    assert pytest.approx(share, abs=0.12) == _undecided(noise, launches, 100)
