"""Comparisons as JUnit XML: a test case a change; alarms fail, what is undecided or incomparable is skipped."""

from collections.abc import Sequence
from xml.etree import ElementTree as ET

from llmbench.analysis.comparison.compare import Comparison
from llmbench.analysis.comparison.rule import Verdict
from llmbench.render.sentences.verdict import VerdictLine, line_label, sentence, verdict_lines
from llmbench.render.text import plain


def comparison_junit(comparisons: Sequence[Comparison]) -> str:
    """One test suite a comparison."""
    root = ET.Element("testsuites", name="llmbench")
    for comparison in comparisons:
        root.append(_suite(comparison))
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _suite(comparison: Comparison) -> ET.Element:
    name = f"{comparison.base.run.id} against {comparison.candidate.run.id}"
    suite = ET.Element("testsuite", name=plain(name))
    for line in verdict_lines(comparison):
        _outcome(_case(suite, f"{line.where} {line.metric}"), line)
    for pair in comparison.pairs:
        if pair.reasons:
            case = _case(suite, line_label(comparison, pair))
            ET.SubElement(case, "skipped", message=plain("; ".join(pair.reasons)))
    for text in comparison.unpaired:
        ET.SubElement(_case(suite, text), "skipped", message="without a partner")
    for tag, attribute in (("testcase", "tests"), ("failure", "failures"), ("skipped", "skipped")):
        suite.set(attribute, str(len(list(suite.iter(tag)))))
    ET.SubElement(suite, "system-out").text = plain(sentence(comparison))
    return suite


def _case(suite: ET.Element, name: str) -> ET.Element:
    return ET.SubElement(suite, "testcase", classname="llmbench.compare", name=plain(name))


def _outcome(case: ET.Element, line: VerdictLine) -> None:
    """Failed where the exit code heeds it, skipped where it is undecided or too uncertain for that."""
    text = f"{line.base} -> {line.candidate} {line.unit}: {line.change}"
    text += f" ({line.interval})" if line.interval else ""
    if line.is_alarm:
        ET.SubElement(case, "failure", message=text, type=line.verdict.value)
    elif line.verdict in {Verdict.INCONCLUSIVE, Verdict.REGRESSED}:
        why = "" if line.verdict is Verdict.INCONCLUSIVE else ", but too uncertain among so many rows to fail"
        ET.SubElement(case, "skipped", message=f"{line.verdict.value}{why}: {text}")
    else:
        ET.SubElement(case, "system-out").text = text
