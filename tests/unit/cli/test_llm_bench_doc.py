import re
from pathlib import Path

import click

from llmbench.cli import run
from llmbench.cli.options.llm_bench import REPLACEMENTS

DOC = (Path(__file__).parents[3] / "docs" / "llm_bench.md").read_text(encoding="utf-8")
OPTIONS = {name for option in run.command.params if isinstance(option, click.Option) for name in option.opts}


def _rows(heading: str) -> list[str]:
    """The first cells of the table below a heading."""
    section = DOC.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    assert rows, heading
    return rows


def test_what_is_said_to_have_the_same_name_has_it() -> None:
    """Each option of that table is an option of run, with dashes in place of underscores."""
    named = {
        name.replace("_", "-") for row in _rows("The same name") for name in re.findall(r"`(-[\w-]+)`", row)
    }

    assert set() == named - OPTIONS


def test_what_is_said_not_to_be_here_is_not() -> None:
    """An option that has come is moved to its table."""
    named = {name.replace("_", "-") for row in _rows("Not here") for name in re.findall(r"`(--[\w-]+)`", row)}

    assert set() == named & OPTIONS


def test_each_option_that_is_not_here_is_answered_with_what_to_type() -> None:
    """On the command line as on the page, in both tables of what is called otherwise or missing."""
    rows = [*_rows("Another name, or not needed"), *_rows("Not here")]
    named = {name.replace("_", "-") for row in rows for name in re.findall(r"`(--?[\w-]+)`?", row)}

    assert set() == named - OPTIONS - set(REPLACEMENTS)
    assert set() == OPTIONS & set(REPLACEMENTS)
