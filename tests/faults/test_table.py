import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.table import PAGE

ROWS = 46
ITEMS = 8


@pytest.mark.slow
def test_the_page_of_faults_is_made_from_the_markers_of_the_tests() -> None:
    """Every row and every item has a test, and docs/faults.md is what the markers say."""
    program = Path(__file__).with_name("table.py")
    done = subprocess.run([sys.executable, str(program)], check=False, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert done.stdout == PAGE.read_text(encoding="utf-8"), f"python {program} > {PAGE}"
    lines = done.stdout.splitlines()
    assert list(range(1, ROWS + 1)) == _numbers(lines[: lines.index("## Security")])
    assert list(range(1, ITEMS + 1)) == _numbers(lines[lines.index("## Security") :])


def _numbers(lines: list[str]) -> list[int]:
    """The numbers of a table's rows."""
    cells = [line.split("|")[1].strip() for line in lines if line.startswith("| ")]
    return [int(cell) for cell in cells if cell.isdecimal()]
