"""How a run is named to ``report``: nothing, a folder, the beginning of a name; and what comes out."""

import json
import shutil
import subprocess
import sys
import webbrowser
from pathlib import Path

import pytest

from tests.command import RunCommand

DATA = Path(__file__).parents[1] / "data/run_files/schema_2"
SCRIPTED = ("run", "-m", "first=5ms,next=2ms", "--engine", "scripted", "--foreign-cpu-limit", "1")


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    """A folder of runs, of which ``two-sockets`` began last."""
    folder = tmp_path / "reports"
    folder.mkdir()
    for name in ("text", "two-sockets", "sweep"):
        shutil.copy(DATA / f"{name}.jsonl", folder)
    return folder


def _shown(llmbench: RunCommand, *arguments: str) -> list[str]:
    """The ids of the runs that are shown."""
    done = llmbench(*arguments, "--jsonl")
    assert 0 == done.returncode, done.stderr
    return list(dict.fromkeys(json.loads(line)["run"] for line in done.stdout.splitlines()))


@pytest.mark.parametrize("named", [(), ("reports",), ("two",), ("reports/two",), ("two-sockets",)])
def test_a_run_is_found_by_little(llmbench: RunCommand, reports: Path, named: tuple[str, ...]) -> None:
    """Nothing and a folder stand for the last run; the beginning of a name is enough if it is unique."""
    assert ["two-sockets"] == _shown(llmbench, "report", "show", *named)


def test_report_alone_shows_the_last_run(llmbench: RunCommand, reports: Path) -> None:
    """As ``report show`` does; so do the other formats."""
    assert llmbench("report").stdout == llmbench("report", "show", "two-sockets").stdout
    assert llmbench("report", "csv").stdout == llmbench("report", "csv", "two-sockets").stdout
    assert llmbench("report", "json").stdout == llmbench("report", "json", "two-sockets").stdout


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ("t", "error: 2 runs begin with 't': text, two-sockets\nhint: type more of the name"),
        ("zz", "error: there is no file, folder or run 'zz'\nhint: the last runs are two-sockets"),
        (".", "error: there are no runs in .\nhint: measure something first: llmbench demo"),
    ],
)
def test_what_names_no_run_says_which_there_are(
    llmbench: RunCommand, reports: Path, named: str, expected: str
) -> None:
    """In one line, with exit code 2."""
    done = llmbench("report", "show", named)

    assert 2 == done.returncode
    assert done.stderr.startswith(expected)


@pytest.mark.parametrize("subcommand", [(), ("show",), ("history",), ("html",)])
def test_without_runs_the_hint_is_no_circle(llmbench: RunCommand, subcommand: tuple[str, ...]) -> None:
    """A report that fails does not recommend itself."""
    done = llmbench("report", *subcommand)

    assert 2 == done.returncode
    assert "error: there are no runs in reports" in done.stderr
    assert "hint: llmbench report history lists" not in done.stderr


def test_markdown_of_a_run_is_a_table(llmbench: RunCommand, reports: Path) -> None:
    """With units in its head, and as many bars in each line."""
    lines = llmbench("report", "show", "sweep", "--md").stdout.splitlines()
    table = [line for line in lines if line.startswith("|")]

    assert "first (ms)" in table[0]
    assert 8 + 2 == len(table)
    assert 1 == len({line.count("|") for line in table})


def test_percentiles_are_shown_where_the_sample_carries_them(llmbench: RunCommand) -> None:
    """64 requests carry the 90th; 6 carry none."""
    many = llmbench(*SCRIPTED, "-n", "64", "-ic", "3").stdout
    few = llmbench(*SCRIPTED, "-n", "6", "-ic", "3").stdout

    assert "p90" in many
    assert "p95" not in many
    assert "percentiles" not in few


def test_a_page_is_opened_when_wanted(
    llmbench: RunCommand, reports: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the browser; where there is none, its path is said."""
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda url: opened.append(url) or len(opened) == 1)
    first, second = (llmbench("report", "html", "text", "--open") for _ in range(2))

    assert opened == [(reports.parent / "text.html").as_uri()] * 2
    assert "no browser" not in first.stderr
    assert "no browser was found; open" in second.stderr


def test_a_reader_that_leaves_early_is_no_failure(reports: Path) -> None:
    """``| head -1`` ends with 0: 1 would be a regression."""
    command = f"set -o pipefail; {sys.executable} -m llmbench report show text sweep two-sockets | head -1"
    done = subprocess.run(["bash", "-c", command], cwd=reports.parent, capture_output=True, check=False)

    assert 0 == done.returncode, done.stderr
