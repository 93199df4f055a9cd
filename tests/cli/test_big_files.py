"""Reports on large run files: their cost as a multiple of parsing the same bytes with msgspec alone."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests import benchmark

big_files = benchmark.load("big_files")

pytestmark = pytest.mark.slow

MOST = {
    "show": 20,
    "csv": 25,
    "csv --summary": 12,
    "csv --layout llm-bench": 25,
    "json": 20,
    "json --layout llm-bench": 25,
    "html": 45,
    "compare": 20,
}
"""Ratios beyond which a command does its work twice; on an idle machine they are about half of these."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base and a candidate of 5,000 measurements each."""
    found = tmp_path_factory.mktemp("big")
    for seed, name in enumerate(("base", "candidate")):
        big_files.write(found / f"{name}.jsonl", seed, 5000)
    return found


_TIMED = """
import sys, time
from llmbench.cli.main import invoke
invoke(sys.argv[1:])
took = []
for _ in range(2):
    start = time.process_time()
    assert invoke(sys.argv[1:]) == 0
    took.append(time.process_time() - start)
print(min(took), file=sys.stderr)
"""


def cpu_s(arguments: Sequence[str]) -> float:
    """CPU seconds of one command line: warm, the least of two, without coverage, which slows our own lines only."""
    done = subprocess.run(
        [sys.executable, "-c", _TIMED, *arguments],
        env={name: value for name, value in os.environ.items() if not name.startswith("COV")},
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stderr.splitlines()[-1])


NIGHTLY = ("csv --summary", "csv --layout llm-bench", "json", "json --layout llm-bench")


@pytest.mark.parametrize(
    "title", [pytest.param(title, marks=[pytest.mark.nightly] * (title in NIGHTLY)) for title in MOST]
)
def test_cost_is_a_small_multiple_of_parsing(title: str, folder: Path) -> None:
    """CPU time: other work on the machine does not count."""
    command = big_files.arguments(big_files.COMMANDS[title], folder)
    least = cpu_s(command)
    parsing = min(big_files.parsing_s(folder / "base.jsonl") for _ in range(5))

    assert least / parsing < MOST[title]
