import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from llmbench.store import reader

Run = Callable[..., subprocess.CompletedProcess[str]]
SCRIPT = "first=20ms,next=10ms,noise=1%"


@pytest.fixture
def measure(llmbench: Run) -> Run:
    """Measures a script into reports/ under a name."""

    def run(
        name: str, *options: str, script: str = SCRIPT, by: Run = llmbench
    ) -> subprocess.CompletedProcess[str]:
        return by(
            *("run", "--engine", "scripted", "-m", script, "--name", name, "-p", "one two"),
            *("-n", "1", "-ic", "4", "--launches", "2", "--quiet", *options),
        )

    return run


def base_of(done: subprocess.CompletedProcess[str]) -> str:
    """The run that a comparison took for its base."""
    assert done.stdout.startswith("base: "), done.stderr
    return done.stdout.split()[1].rstrip(",")


@pytest.mark.slow
def test_latest_is_the_last_green_run_of_the_same(
    measure: Run, llmbench: Run, llmbench_workers: Run, tmp_path: Path
) -> None:
    """Not one of other settings, not one cut short, not one among busy neighbours, not one that came after."""
    assert measure("old").returncode == 0
    assert measure("good").returncode == 0
    assert measure("longer", "-ic", "5").returncode == 0
    assert measure("noisy", script="first=1s,interference=20%").returncode == 5
    assert measure("cut", script=f"{SCRIPT},crash=SIGKILL@2", by=llmbench_workers).returncode == 5
    (tmp_path / "reports/damaged.jsonl").write_text('{"event": "run started", "schema": 1}\n')
    (tmp_path / "reports/other.jsonl").write_text("no run\n")
    assert measure("candidate").returncode == 0
    assert measure("later").returncode == 0

    done = llmbench("report", "compare", "--baseline", "latest", "reports/candidate.jsonl")

    assert "good" == base_of(done)


def test_a_new_version_is_compared_with_the_old(measure: Run, llmbench: Run, tmp_path: Path) -> None:
    """Versions are what changes from release to release; the number of launches is no setting."""
    assert measure("old").returncode == 0
    path = tmp_path / "reports/old.jsonl"
    path.write_text(path.read_text().replace('"llmbench":"', '"llmbench":"0.0.'))
    assert measure("new", "--launches", "3").returncode == 0

    done = llmbench("report", "compare", "--baseline", "latest", "reports/new.jsonl")

    assert "old" == base_of(done)
    assert "changed: llmbench: 0.0." in done.stdout


def test_a_name_is_that_run(measure: Run, llmbench: Run) -> None:
    """Whatever came between; from the folder that --reports names."""
    for name in ("release", "between", "candidate"):
        assert measure(name, "--output-dir", "store").returncode == 0
    compare = ("report", "compare", "--reports", "store", "store/candidate.jsonl", "--baseline")

    assert "release" == base_of(llmbench(*compare, "release"))
    assert "release" == base_of(llmbench(*compare, "release.jsonl"))
    assert "between" == base_of(llmbench(*compare, "latest"))


def test_each_candidate_has_its_own_baseline(measure: Run, llmbench: Run) -> None:
    """Two configurations, each against its own last run."""
    for name, tokens in (("a1", "4"), ("b1", "6"), ("a2", "4"), ("b2", "6")):
        assert measure(name, "-ic", tokens).returncode == 0

    done = llmbench("report", "compare", "--baseline", "latest", "reports/a2.jsonl", "reports/b2.jsonl")

    assert "base: a1, candidate: a2" in done.stdout
    assert "base: b1, candidate: b2" in done.stdout


def test_a_trial_is_no_baseline_of_a_run(measure: Run, llmbench: Run) -> None:
    """What ab and calibrate leave in the folder holds two configurations, and a run of one is compared with a run."""
    options = ("--engine", "scripted", "-m", SCRIPT, "-p", "one two", "-n", "1", "-ic", "4", "--blocks", "2")
    assert measure("old").returncode == 0
    assert llmbench("ab", *options, "--name", "trial").returncode == 0
    assert measure("candidate").returncode == 0

    done = llmbench("report", "compare", "--baseline", "latest", "reports/candidate.jsonl")

    assert "old" == base_of(done)


@pytest.mark.parametrize(
    ("baseline", "output"),
    [("latest", "none of the runs in reports (1)"), ("v1", "there is no reports/v1.jsonl")],
)
def test_a_missing_baseline_is_never_green(measure: Run, llmbench: Run, baseline: str, output: str) -> None:
    """The first run of a machine has nothing to be compared with: exit 2, and what to do."""
    assert measure("candidate").returncode == 0
    done = llmbench("report", "compare", "--baseline", baseline, "reports/candidate.jsonl")

    assert done.returncode == 2
    assert output in done.stderr


def test_one_run_alone_needs_a_base(measure: Run, llmbench: Run) -> None:
    """Only a run of two sides stands alone."""
    assert measure("candidate").returncode == 0
    done = llmbench("report", "compare", "reports/candidate.jsonl")

    assert done.returncode == 2
    assert "name a base and a candidate" in done.stderr


def test_a_header_is_read_without_the_rest(measure: Run, tmp_path: Path) -> None:
    """What was asked for, no launches; nothing of a file that is no run file."""
    assert measure("x").returncode == 0
    (tmp_path / "text").write_text("hello\n")
    (tmp_path / "empty").write_text("")
    header = reader.read_run_header(tmp_path / "reports/x.jsonl")

    assert header is not None
    assert ("x", ()) == (header.id, header.launches)
    assert [None] * 3 == [reader.read_run_header(tmp_path / name) for name in ("text", "empty", "none")]


@pytest.mark.parametrize("name", ["feature/x y", ".hidden", "a" * 300, "é ü", "v1.jsonl"])
def test_a_baseline_is_found_by_its_name(measure: Run, llmbench: Run, name: str) -> None:
    """Whatever file the name became, and by the file's own name as well."""
    assert measure(name).returncode == 0
    assert measure("candidate", "-s", "9").returncode == 0
    done = llmbench("report", "compare", "reports/candidate.jsonl", "--baseline", name)

    assert done.returncode == 0, done.stderr
    assert done.stdout.replace("\n", "").startswith(f"base: {name}")
