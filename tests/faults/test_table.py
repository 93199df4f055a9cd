import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.table import PAGE

ROWS = 46
ITEMS = 8
"""How many there are at least: a number is given once."""


@pytest.mark.slow
def test_the_page_of_faults_is_made_from_the_markers_of_the_tests() -> None:
    """Every row and every item has a test, and docs/faults.md is what the markers say."""
    program = Path(__file__).with_name("table.py")
    done = subprocess.run([sys.executable, str(program)], check=False, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert done.stdout == PAGE.read_text(encoding="utf-8"), f"python {program} > {PAGE}"
    lines = done.stdout.splitlines()
    end = lines.index("## Security")
    for found, least in ((_numbers(lines[:end]), ROWS), (_numbers(lines[end:]), ITEMS)):
        assert list(range(1, max(least, len(found)) + 1)) == found


def _numbers(lines: list[str]) -> list[int]:
    """The numbers of a table's rows."""
    cells = [line.split("|")[1].strip() for line in lines if line.startswith("| ")]
    return [int(cell) for cell in cells if cell.isdecimal()]
