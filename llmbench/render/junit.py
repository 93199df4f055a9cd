"""Comparisons as JUnit XML: a test case per change; alarms fail, what is undecided is skipped.

A comparison in which nothing can be compared is an error. Jenkins (xUnit schema) and GitLab read it.
"""

import collections
import itertools
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from xml.etree import ElementTree as ET

from llmbench.analysis.comparison.compare import Comparison
from llmbench.analysis.comparison.rule import Verdict
from llmbench.render.sentences.verdict import VerdictLine, line_label, sentence, side_lines, verdict_lines
from llmbench.render.text import plain


def comparison_junit(comparisons: Sequence[Comparison]) -> str:
    """One test suite a comparison."""
    root = ET.Element("testsuites", name="llmbench")
    for comparison in comparisons:
        suite = _suite(comparison, names={each.get("name", "") for each in root})
        root.append(suite)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _suite(comparison: Comparison, *, names: AbstractSet[str]) -> ET.Element:
    name = plain(f"{comparison.base.run.id} against {comparison.candidate.run.id}")
    numbered = itertools.chain([name], (f"{name} ({number})" for number in itertools.count(2)))
    suite = ET.Element("testsuite", name=next(each for each in numbered if each not in names))
    kind = "skipped" if comparison.judged else "error"  # a comparison of nothing has failed
    for line in verdict_lines(comparison):
        _outcome(_case(suite, f"{line.where} {line.metric}"), line)
    for pair in comparison.pairs:
        if pair.reasons:
            _result(_case(suite, line_label(comparison, pair)), kind, "not compared", "; ".join(pair.reasons))
    for text in comparison.unpaired:
        _result(_case(suite, text), kind, "without a partner", text)
    if not len(suite):
        _result(_case(suite, "comparison"), "error", "not compared", sentence(comparison))
    _distinguish(suite)
    counts = {"testcase": "tests", "failure": "failures", "error": "errors", "skipped": "skipped"}
    for tag, attribute in counts.items():
        suite.set(attribute, str(len(list(suite.iter(tag)))))
    ET.SubElement(suite, "system-out").text = plain(
        "; ".join((sentence(comparison), *side_lines(comparison)))
    )
    return suite


def _case(suite: ET.Element, name: str) -> ET.Element:
    """A test case; its class is named after both runs, for readers keep one case of each class and name."""
    classname = f"llmbench.{suite.get('name', '')}".replace("/", "_")
    return ET.SubElement(suite, "testcase", classname=classname, name=plain(name), time="0")


def _distinguish(suite: ET.Element) -> None:
    """Number the cases that have the name of one before them."""
    seen: collections.Counter[str] = collections.Counter()
    for case in suite.iter("testcase"):
        name = case.get("name", "")
        seen[name] += 1
        if seen[name] > 1:
            case.set("name", f"{name} ({seen[name]})")


def _result(case: ET.Element, tag: str, message: str, text: str) -> None:
    ET.SubElement(
        case, tag, message=plain(message), type=tag if tag != "failure" else "regressed"
    ).text = plain(text)


def _outcome(case: ET.Element, line: VerdictLine) -> None:
    """Failed where the exit code heeds it, skipped where it is undecided or too uncertain for that."""
    launches = " + ".join(map(str, line.source.launches))
    text = f"{line.base} -> {line.candidate} {line.unit}: {line.change}"
    text += f" ({line.interval})" if line.interval else ""
    text += f", {launches} launches"
    if line.is_alarm:
        _result(case, "failure", text, text)
    elif line.verdict in {Verdict.INCONCLUSIVE, Verdict.REGRESSED}:
        why = (
            ""
            if line.verdict is Verdict.INCONCLUSIVE
            else ", but not after correction for the number of rows"
        )
        _result(case, "skipped", f"{line.verdict.value}{why}: {text}", text)
    else:
        ET.SubElement(case, "system-out").text = text
