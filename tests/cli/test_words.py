"""Texts that users read, in the field's terms: help, errors, hints, notes, sentences, and the documentation."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]

WORDS = {
    r"tell|tells|told|telling": "report, record, show",
    r"say|says|said|saying": "report, record, print; the output is the output",
    r"ask|asks|asked|asking": "request",
    r"answer|answers|answered": "respond, return",
    r"in force": "effective",
    r"hold|holds|held|holding": "pin, contain, use",
    r"place|places": "placement, affinity; match",
    r"foreign": "of other processes",
    r"others(?='| took| take| use| used| on)|load of others": "other processes",
    r"neighbours?": "other processes, interference",
    r"ability|abilities": "capabilities",
    r"parting|parts? (?=from|at|company)": "divergence, diverge",
    r"steady": "stable",
    r"no numbers?": "NaN, not a number",
    r"traffic": "bandwidth",
    r"gaps?": "inter-token latency (ITL)",
    r"subjects?": "model",
    r"cells?": "configuration, value",
    r"convicts?": "report a regression",
    r"stands?|stood|lies": "is",
    r"spoils?": "disturb, invalidate",
    r"so many": "N",
    r"whomever|cry wolf": "-",
    r"(?:[GMK]i?B|bytes?|ms|tokens?|rows?|lines?|values?|one|once|launch(?:es)?|processes|threads?|times?|sequences?"
    r"|joules|files?|requests?|iterations?|streams?) an?(?= \w)": "per",
}
"""Words that no text for users has, and what to write; the left column of the style guide."""

SAMPLES = {"convert/texts.py", "workloads/rag/prompt.py"}
"""Modules whose strings are inputs of models, not texts of ours."""

_PATTERNS = {word: re.compile(rf"(?<![-\w])(?:{word})(?![-\w])", re.IGNORECASE) for word in WORDS}
_JINJA = re.compile(r"\{[{%].*?[%}]\}", re.DOTALL)
_FENCE = re.compile(r"^```.*?^```|`[^`\n]+`|<!--.*?-->", re.MULTILINE | re.DOTALL)


def _joined(node: ast.JoinedStr) -> str:
    """Return an f-string with ``{}`` where values go."""
    return "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)


def texts(source: str) -> Iterator[str]:
    """Yield strings of a module that hold a sentence: no docstrings, no single words."""
    nodes = list(ast.walk(ast.parse(source)))
    joined = [node for node in nodes if isinstance(node, ast.JoinedStr)]
    inside = {id(part) for node in joined for part in node.values}
    docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    yield from map(_joined, joined)
    constants = [
        node for node in nodes if isinstance(node, ast.Constant) and id(node) not in inside | docstrings
    ]
    yield from (node.value for node in constants if isinstance(node.value, str) and " " in node.value.strip())


def found(text: str) -> set[str]:
    """Return the words of the list that a text has."""
    return {word for word, pattern in _PATTERNS.items() if pattern.search(text)}


def _files() -> Iterator[tuple[str, str]]:
    """Yield names and texts: strings of modules, templates, and pages without their code."""
    for path in sorted((_ROOT / "llmbench").rglob("*.py")):
        name = path.relative_to(_ROOT / "llmbench").as_posix()
        if name not in SAMPLES:
            yield name, "\n".join(texts(path.read_text(encoding="utf-8")))
    for path in sorted((_ROOT / "llmbench/render/html").glob("*.html")):
        text = _JINJA.sub("", path.read_text(encoding="utf-8"))
        yield path.relative_to(_ROOT / "llmbench").as_posix(), text
    for path in sorted([*_ROOT.glob("*.md"), *_ROOT.glob("docs/*.md"), *_ROOT.glob("*/README.md")]):
        yield path.relative_to(_ROOT).as_posix(), _FENCE.sub("", path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("others took 31% of the CPUs", {word for word in WORDS if word.startswith("others")}),
        ("add --foreign-cpu-limit 1", set()),
        ("the answer is in force", {"in force", "answer|answers|answered"}),
        ("Measured iterations per launch.", set()),
        ("one value a key", {word for word, instead in WORDS.items() if instead == "per"}),
    ],
)
def test_a_word_is_found_and_an_option_is_none(text: str, words: set[str]) -> None:
    """Whole words only; what begins with dashes is an option's name."""
    assert words == found(text)


def test_strings_of_a_module_are_those_that_users_see() -> None:
    """Docstrings and keys are not; parts of an f-string are one text."""
    source = '"""The answer."""\nKEY = "told"\nraise InputError(f"{n} was asked", hint="say it")'

    assert ["{} was asked", "say it"] == list(texts(source))


def test_no_text_has_a_word_of_the_list() -> None:
    """Each text that a user reads is in the field's terms."""
    new = {(name, word) for name, text in _files() for word in found(text)}

    assert {} == {f"{name}: {word}": WORDS[word] for name, word in sorted(new)}
