"""``docs/faults.md`` from the markers of the tests: ``python tests/faults/table.py`` prints it."""

import contextlib
import io
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/faults.md"
_HEAD = """# Faults

What must not break llmbench, and the tests that prove it; made from the tests' own markers by
`python tests/faults/table.py > docs/faults.md`. After every case each line that was recorded still reads, nothing
outside the output folder and the cache has changed, and the message has what, where, and what to do.

Tests marked *model* run a real model, those marked *convert* need the extra `convert`. Those marked
*injected*, machines that run tests cannot do it (throttle, change their governor, suspend), so counters or clocks are
changed instead. All else is done for real: processes are killed, disks are full, memory is limited.
"""


@dataclass(slots=True)
class Entry:
    """A row or an item: its text, and what each of its tests says, by the test's name."""

    text: str
    tests: dict[str, tuple[str, str]] = field(default_factory=dict)


class Collector:
    """Takes the markers of all tests that pytest finds, deselected ones too."""

    def __init__(self) -> None:
        self.found: dict[str, dict[int, Entry]] = {"fault": {}, "security": {}}

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """One test, or one of its parameters."""
        for kind, entries in self.found.items():
            for marker in item.iter_markers(kind):
                number, text = marker.args
                entry = entries.setdefault(number, Entry(text))
                if entry.text != text:
                    sys.exit(f"{kind} {number} is {entry.text!r} and {text!r}")
                self._add(entry, item)

    @staticmethod
    def _add(entry: Entry, item: pytest.Item) -> None:
        """The first sentence of a test's docstring, and its marks."""
        function = getattr(item, "function", None)
        marks = " ".join(f"*{name}*" for name in ("model", "convert") if item.get_closest_marker(name))
        name = getattr(item, "originalname", item.name)
        lines = (function.__doc__ or "").strip().split("\n\n")[0].split()
        entry.tests.setdefault(name, (" ".join(lines), marks))


def collect() -> Mapping[str, Mapping[int, Entry]]:
    """Rows and items by their numbers."""
    collector = Collector()
    options = ["--collect-only", "-qq", "-p", "no:cacheprovider", "-p", "no:randomly"]
    with contextlib.redirect_stdout(io.StringIO()) as output:
        code = pytest.main([*options, *map(str, _files())], plugins=[collector])
    if code != 0:
        sys.exit(f"the tests could not be collected: {output.getvalue()}")
    return collector.found


def _files() -> list[Path]:
    """The modules of tests that have a marker of either kind."""
    marked = re.compile(r"pytest\.mark\.(fault|security)\(")
    return [path for path in sorted((ROOT / "tests").rglob("test_*.py")) if marked.search(path.read_text())]


def page(found: Mapping[str, Mapping[int, Entry]]) -> str:
    """The page as text."""
    parts = [_HEAD, "## Rows\n", *_table("row", "fault", found["fault"])]
    parts += ["\n## Security\n", "The items are those of [SECURITY.md](../SECURITY.md).\n"]
    parts += _table("item", "promise", found["security"])
    return "\n".join(parts) + "\n"


def _table(number: str, what: str, entries: Mapping[int, Entry]) -> Iterable[str]:
    """A Markdown table, a line a row or item."""
    yield f"| {number} | {what} | what is tested |"
    yield "|---|---|---|"
    for key in sorted(entries):
        entry = entries[key]
        reported = [
            f"{_spoken(name)}: {output}{marks and f' ({marks})'}"
            for name, (output, marks) in entry.tests.items()
        ]
        yield f"| {key} | {_cell(entry.text)} | {_cell('<br>'.join(reported))} |"


def _spoken(name: str) -> str:
    """A test's name as words."""
    return f"**{re.sub('^test_(row_[0-9]+_)?', '', name).replace('_', ' ')}**"


def _cell(text: str) -> str:
    """A text that may stand in a table."""
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(page(collect()))
