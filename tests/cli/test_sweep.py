import re
import subprocess
from collections.abc import Callable
from pathlib import Path

from llmbench.store import reader

Run = Callable[..., subprocess.CompletedProcess[str]]
SWEEP = ("run", "-m", "first=20ms,next=5ms", "--engine", "scripted", "-n", "1", "-ic", "3,5", "-bs", "1,2")


def _order(path: Path) -> list[tuple[int, int]]:
    """Output tokens and batch size of each launch, in the order in which they were made."""
    run = reader.read_run(path)
    return [(run.config_of(each).output_tokens, run.config_of(each).batch_size) for each in run.launches]


def test_each_cell_has_launches_of_its_own_in_an_order_by_the_seed(llmbench: Run, tmp_path: Path) -> None:
    """The cross product runs, shuffled within a round; the same seed gives the same order, a dry run tells it."""
    options = (*SWEEP, "--launches", "2", "--seed", "7")
    assert 0 == llmbench(*options, "--name", "a").returncode
    assert 0 == llmbench(*options, "--name", "b").returncode
    order = _order(tmp_path / "reports/a.jsonl")
    reported = llmbench(*options, "--dry-run").stdout

    cells = [(3, 1), (5, 1), (3, 2), (5, 2)]
    assert order == _order(tmp_path / "reports/b.jsonl")
    assert sorted(cells) == sorted(order[:4]) == sorted(order[4:])
    assert order[:4] != order[4:]
    found = re.findall(r"batch_size=(\d), output_tokens=(\d)|output_tokens=(\d), batch_size=(\d)", reported)
    assert order[:4] == [(int(t or u), int(b or c)) for b, t, u, c in found]
    assert "launches: 8; nothing was run" in reported


def test_the_order_given_is_kept_where_it_is_wanted(llmbench: Run, tmp_path: Path) -> None:
    """The last list changes fastest."""
    done = llmbench(*SWEEP, "--order", "given", "--name", "a")

    assert 0 == done.returncode, done.stderr
    assert [(3, 1), (5, 1), (3, 2), (5, 2)] == _order(tmp_path / "reports/a.jsonl")


def test_the_table_shows_what_varies_and_nothing_else(llmbench: Run) -> None:
    """One row a cell, with a column for each list."""
    done = llmbench(*SWEEP, "--attention", "pa", "--quiet")

    assert 0 == done.returncode, done.stderr
    assert "batch_size" in done.stdout
    assert "output_tokens" in done.stdout
    assert "attention" not in done.stdout
    assert 4 == sum(line.startswith("P0") for line in done.stdout.splitlines())


def test_guessed_tokens_reach_the_table_exactly(llmbench: Run) -> None:
    """A told first token of 100 ms, then steps of four tokens in 12 ms each: 3 ms a token, 4 tokens a step."""
    script = ("-m", "first=100ms,next=12ms,step=4", "--engine", "scripted", "-ic", "13", "-n", "2")
    done = llmbench("run", *script, "--max-ngram-size", "3", "--quiet")

    assert 0 == done.returncode, done.stderr
    (row,) = (line.split() for line in done.stdout.splitlines() if line.startswith("P0"))
    assert {"100.0", "12.00", "3.00", "4.00"} <= set(row)
    assert "tokens/step" in done.stdout


def test_a_cell_that_cannot_run_is_found_before_the_first_does(llmbench: Run, tmp_path: Path) -> None:
    """A sweep does not end in its middle for what could be known at its start."""
    options = ("run", "-m", "fist=20ms", "--engine", "scripted", "-ic", "3,5")
    done = llmbench(*options)

    assert 2 == done.returncode
    assert "'fist=20ms' is not understood" in done.stderr
    assert [] == list(tmp_path.rglob("*.jsonl"))
    assert 2 == llmbench(*SWEEP, "--num-beams", "2").returncode
