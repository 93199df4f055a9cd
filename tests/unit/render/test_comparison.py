import csv
import dataclasses
import io
import json
import re
from collections.abc import Callable
from xml.etree import ElementTree as ET

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from llmbench.analysis.comparison.compare import Comparison
from llmbench.analysis.comparison.differences import Difference
from llmbench.analysis.comparison.rule import COMPARED
from llmbench.render.csv import comparison_csv
from llmbench.render.json import comparison_json
from llmbench.render.junit import comparison_junit
from llmbench.render.markdown import comparison_markdown, escape
from llmbench.render.sentences.verdict import lengths
from llmbench.render.terminal.comparison import render_comparison
from tests.builders import comparison_of as comparison_of_kind

Compare = Callable[[str], Comparison]
Golden = Callable[[str, str], None]
KINDS = ["regressed", "inconclusive", "incomparable"]


def screen(comparison: Comparison, *, width: int = 100) -> str:
    """What a console of that width shows."""
    out = io.StringIO()
    render_comparison(comparison, Console(file=out, width=width))
    return out.getvalue()


def parsed(text: str) -> ET.Element:
    """Our own XML."""
    return ET.fromstring(text)  # noqa: S314  written by the code under test


@pytest.mark.parametrize("kind", KINDS)
def test_the_screen(comparison_of: Compare, golden: Golden, kind: str) -> None:
    """The whole screen, as it was looked at once."""
    golden(f"comparison.{kind}.txt", screen(comparison_of(kind)))


@pytest.mark.parametrize("kind", KINDS)
def test_the_markdown(comparison_of: Compare, golden: Golden, kind: str) -> None:
    """The whole comment, as it was looked at once."""
    golden(f"comparison.{kind}.md", comparison_markdown([comparison_of(kind)]))


def test_the_junit(comparison_of: Compare, golden: Golden) -> None:
    """The whole file, as it was looked at once."""
    golden("comparison.xml", comparison_junit([comparison_of(kind) for kind in KINDS]))


def test_the_json(comparison_of: Compare, golden: Golden) -> None:
    """The whole file, as it was looked at once."""
    golden("comparison.json", comparison_json([comparison_of("inconclusive")]))


def test_the_csv(comparison_of: Compare, golden: Golden) -> None:
    """The whole file, as it was looked at once."""
    golden("comparison.csv", comparison_csv([comparison_of(kind) for kind in KINDS]))


@pytest.mark.parametrize("width", [100, 80, 40])
def test_a_narrow_screen_drops_columns(comparison_of: Compare, width: int) -> None:
    """Prompt, metric, change and verdict are there at every width, and no line of the table is longer."""
    shown = screen(comparison_of("regressed"), width=width)
    row = next(line for line in shown.splitlines() if line.startswith("P0 "))

    assert re.match(r"P0 +first .*\+20 % .*regressed !$", row.rstrip())
    assert max(len(line.rstrip()) for line in shown.splitlines()) <= width


def test_units_are_told_where_they_have_no_column(comparison_of: Compare) -> None:
    """At 72 columns below the table, beside the lengths of the prompts; at 100 in it; at 40 there is no figure."""
    texts = {width: screen(comparison_of("regressed"), width=width) for width in (100, 72, 40)}
    reported = r"input tokens: P0 32, P1 512; first, second, end to end.* in ms; tpot, next in ms/token"

    assert re.search(reported, " ".join(line.strip() for line in texts[72].splitlines()))
    assert "ms/token" in texts[100]
    assert "in ms" not in texts[100]
    assert "in ms" not in texts[40]


def test_of_many_prompts_the_shortest_and_the_longest_are_told(comparison_of: Compare) -> None:
    """Thirteen prompts, 32 and 512 to 523 tokens: more than are told one by one."""
    found = comparison_of("regressed")
    short, long = found.pairs
    added = [
        dataclasses.replace(
            long,
            base=dataclasses.replace(
                long.base,
                input_tokens=512 + index,
                prompt=dataclasses.replace(long.base.prompt, index=1 + index),
            ),
        )
        for index in range(12)
    ]

    assert "input tokens: P0 32, P1 512" == lengths(found)
    assert "input tokens: 32 to 523 in 13 prompts" == lengths(
        dataclasses.replace(found, pairs=(short, *added))
    )
    assert not lengths(comparison_of("incomparable"))


def test_the_command_to_type_is_not_broken(comparison_of: Compare) -> None:
    """A command that can be copied stands on one line, however long."""
    shown = screen(comparison_of("inconclusive"), width=40)

    assert any(
        line.startswith("  llmbench run") and line.endswith("--launches 6") for line in shown.splitlines()
    )


def test_unchanged_rows_are_folded(comparison_of: Compare) -> None:
    """What moved stands in the open; what did not is inside a fold."""
    before, _, folded = comparison_markdown([comparison_of("regressed")]).partition("<details>")

    assert "**regressed**" in before
    assert "unchanged" not in before
    assert f"{2 * len(COMPARED) - 3} unchanged</summary>" in folded


def test_names_cannot_do_harm_in_markdown() -> None:
    """No markup, mention, reference or cell of its own."""
    assert "&#124;&#96;x&#96; &#42;&#42;b&#42;&#42; &#64;user &#35;12 &lt;img&gt; &#92;x1b" == escape(
        "|`x` **b** @user #12 <img> \x1b"
    )


@pytest.mark.slow
def test_a_comment_stays_within_a_megabyte(comparison_of: Compare) -> None:
    """A thousand rows and long names are cut, and how many were left out is said."""
    found = comparison_of("regressed")
    long = "x" * 3_000
    many = dataclasses.replace(
        found,
        pairs=found.pairs * 300,
        changes=tuple(Difference(name=long, base=long, candidate=long) for _ in range(500)),
        warnings=(long,) * 500,
        unpaired=(long,) * 500,
    )

    text = comparison_markdown([many])

    assert len(text) < 65_536
    left_out = re.search(r"(\d+) more rows are left out\. All are in the files of --csv", text)
    assert left_out is not None
    assert 1200 + 1 == int(left_out[1]) + text.count("| **regressed** !")


def test_a_job_sees_failures_and_what_was_skipped(comparison_of: Compare) -> None:
    """Alarms fail; undecided and incomparable rows are skipped; a name with a control character is still XML."""
    found = comparison_of("regressed")
    found = dataclasses.replace(found, unpaired=("prompt 7 \x1b is in the base only",))

    suites = parsed(comparison_junit([found, comparison_of("one launch"), comparison_of("incomparable")]))

    rows = 2 * len(COMPARED) + 2  # two prompts, two means
    assert [(str(rows + 1), "5", "1"), (str(rows), "0", str(rows)), ("2", "0", "0")] == [
        (suite.get("tests"), suite.get("failures"), suite.get("skipped")) for suite in suites
    ]


def test_a_regression_within_doubt_does_not_fail_a_job(comparison_of: Compare) -> None:
    """What the exit code does not heed is skipped, with its numbers."""
    found = comparison_of("regressed")
    calm = dataclasses.replace(
        found,
        means=(),
        pairs=tuple(
            dataclasses.replace(
                pair, changes=tuple(dataclasses.replace(c, is_alarm=False) for c in pair.changes)
            )
            for pair in found.pairs
        ),
    )

    (suite,) = parsed(comparison_junit([calm]))

    assert ("0", "4") == (suite.get("failures"), suite.get("skipped"))
    messages = [str(each.get("message")) for each in suite.iter("skipped")]
    assert all(
        each.startswith("regressed, but not after correction for the number of rows: ") for each in messages
    )


def test_json_holds_no_infinity(comparison_of: Compare) -> None:
    """One launch has no interval: null."""
    content = json.loads(comparison_json([comparison_of("one launch")]))["comparisons"][0]

    assert "inconclusive" == content["verdict"]
    assert {(None, None, None)} == {(c["low"], c["high"], c["p"]) for c in content["changes"]}
    assert content["rule"]["thresholds"]["first_token"] == {"share": 0.05, "ms": 0.0}


def test_csv_has_a_row_a_change(comparison_of: Compare) -> None:
    """Means and prompts of every comparison; pandas sees numbers."""
    text = comparison_csv([comparison_of("regressed"), comparison_of("incomparable")])

    table = pd.read_csv(io.StringIO(text))
    rows = list(csv.DictReader(io.StringIO(text)))

    assert 2 * len(COMPARED) + 4 == len(rows)
    assert pytest.approx(1.2) == table.ratio[0]
    assert ["incomparable"] * 2 == [row["verdict"] for row in rows[-2:]]
    assert rows[-1]["reasons"] == "cpu: Example CPU 9000 against Other CPU"


NAMES = st.text(st.characters(exclude_characters="\r"), min_size=1, max_size=12) | st.sampled_from(
    ["]]>", "`|`", "<b>&", "\u202e", "\x1b[31m", "\ud800", "\"'", "a\nb", "@all #1", "=1+1"]
)


@settings(max_examples=40)
@given(NAMES, NAMES)
def test_every_format_is_well_formed_whatever_a_name_holds(run: str, label: str) -> None:
    """XML, JSON and CSV parse, a table has its columns in every row, and all can be encoded."""
    found = comparison_of_kind("regressed")
    named = dataclasses.replace(found.base.evaluation, run=dataclasses.replace(found.base.run, id=run))
    found = dataclasses.replace(
        found, base=dataclasses.replace(found.base, evaluation=named), unpaired=(label, label), remark=label
    )

    suite = parsed(comparison_junit([found, found]))
    names = [(case.get("classname"), case.get("name")) for case in suite.iter("testcase")]
    assert len(names) == len(set(names))
    assert {"name", "tests", "failures", "errors", "skipped"} <= set(suite[0].keys())
    assert all(result.text for tag in ("failure", "skipped") for result in suite.iter(tag))
    json.loads(comparison_json([found]))
    rows = list(csv.reader(io.StringIO(comparison_csv([found]), newline="")))
    assert 1 == len({len(row) for row in rows})
    for line in comparison_markdown([found]).splitlines():
        assert not line.startswith("| ") or line.count("|") == 8
    for form in (comparison_junit, comparison_json, comparison_csv, comparison_markdown):
        assert form([found]).encode()
