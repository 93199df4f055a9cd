"""Reports on large run files: their cost as a multiple of parsing the same bytes with msgspec alone."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import coverage
import pytest

from llmbench.cli.main import invoke
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


@pytest.fixture(autouse=True)
def _untraced() -> Iterator[None]:
    """Stop recording coverage, which multiplies what our own lines cost but not what parsing does."""
    active = coverage.Coverage.current()
    if active is not None:
        active.stop()
    yield
    if active is not None:
        active.start()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base and a candidate of 5,000 measurements each."""
    found = tmp_path_factory.mktemp("big")
    for seed, name in enumerate(("base", "candidate")):
        big_files.write(found / f"{name}.jsonl", seed, 5000)
    return found


def cpu_s(arguments: Sequence[str]) -> float:
    """CPU seconds of one command line."""
    start = time.process_time()
    assert invoke(list(arguments)) == 0
    return time.process_time() - start


@pytest.mark.parametrize("title", MOST)
def test_cost_is_a_small_multiple_of_parsing(title: str, folder: Path) -> None:
    """Warm, and the least of two runs: other work on the machine does not count."""
    command = big_files.arguments(big_files.COMMANDS[title], folder)
    cpu_s(command)  # imports
    least = min(cpu_s(command) for _ in range(2))
    parsing = min(big_files.parsing_s(folder / "base.jsonl") for _ in range(5))

    assert least / parsing < MOST[title]
