"""The pages of the documentation: each begins with the question that it answers, and the index has all."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
CHAPTERS = re.findall(
    r"^:caption: (?P<title>[^\n]+)\n\n(?P<pages>.+?)```",
    (DOCS / "index.md").read_text(),
    re.MULTILINE | re.DOTALL,
)
PAGES = [
    page for title, pages in CHAPTERS if title in {"Start", "Measure", "Compare"} for page in pages.split()
]


@pytest.mark.parametrize("page", [page for page in PAGES if (DOCS / f"{page}.md").exists()])
def test_a_page_begins_with_the_question_that_it_answers(page: str) -> None:
    """Below its title, in a line of its own."""
    title, _, question, blank, *_ = (DOCS / f"{page}.md").read_text().splitlines()

    assert title.startswith("# ")
    assert re.fullmatch(r"\*[A-Z].*\?\*", question)
    assert not blank


def test_the_index_has_every_page() -> None:
    """In one chapter each."""
    listed = [page for _, pages in CHAPTERS for page in pages.split()]
    there = {path.stem for path in DOCS.glob("*.md")} - {"index"}

    assert there == {page for page in listed if (DOCS / f"{page}.md").exists()}
    assert len(listed) == len(set(listed))
