"""``report html``, ``report history`` and ``report show --plot`` as a user types them."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.command import in_process

RunCommand = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs, a tenth apart, as run writes them."""
    folder = tmp_path_factory.mktemp("measured")
    for name, ms in (("base", 10), ("cand", 11)):
        script = ("--engine", "scripted", "-m", f"first=50ms,per-token=300us,next={ms}ms")
        options = ("--input-tokens", "8,32", "-ic", "4", "-n", "2", "--launches", "2", "--quiet")
        where = ("--output-dir", ".", "--name", name)
        done = in_process(folder, "inline", "run", *script, *options, *where)
        assert 0 == done.returncode, done.stderr
    return folder


@pytest.fixture
def runs(measured: Path, tmp_path: Path) -> Path:
    """A copy of them in the folder of a test."""
    return shutil.copytree(measured, tmp_path / "reports")


def test_a_page_is_written_where_it_is_asked_for(llmbench: RunCommand, runs: Path, tmp_path: Path) -> None:
    """With -o there; without, under the run's name in the working directory."""
    asked = llmbench("report", "html", str(runs / "base.jsonl"), "-o", "page.html")
    default = llmbench("report", "html", str(runs / "base.jsonl"), str(runs / "cand.jsonl"))

    assert (0, "written: page.html\n") == (asked.returncode, asked.stderr)
    assert (0, "written: base.html\n") == (default.returncode, default.stderr)
    assert (tmp_path / "page.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert "cand" in (tmp_path / "base.html").read_text(encoding="utf-8")


def test_a_comparison_on_a_page(llmbench: RunCommand, runs: Path, tmp_path: Path) -> None:
    """The first is the base; the page says what the comparison says, and the comparison writes the same page."""
    paths = (str(runs / "base.jsonl"), str(runs / "cand.jsonl"))
    done = llmbench("report", "html", "--compare", *paths, "-o", "c.html")
    compared = llmbench("report", "compare", *paths, "--html", "d.html")

    assert (0, 0) == (done.returncode, compared.returncode)
    text = (tmp_path / "c.html").read_text(encoding="utf-8")
    assert "The candidate is slower" in text
    assert text == (tmp_path / "d.html").read_text(encoding="utf-8")


def test_a_run_of_one_configuration_is_no_comparison(llmbench: RunCommand, runs: Path) -> None:
    """Alone it has nothing to be compared with; it is said what to name."""
    done = llmbench("report", "html", "--compare", str(runs / "base.jsonl"))

    assert 2 == done.returncode
    assert "hint: name a base and a candidate, or a run of llmbench ab" in done.stderr


def test_a_run_of_two_sides_stands_alone(llmbench: RunCommand, tmp_path: Path) -> None:
    """What ab measured in turns is base and candidate by itself, launches paired."""
    measured = llmbench(
        *("ab", "-m", "first=50ms,next=10ms,noise=1%", "-m", "first=50ms,next=12ms,noise=1%"),
        *("--engine", "scripted", "-p", "Hello", "-ic", "4", "-n", "2", "--blocks", "3", "--name", "both"),
    )
    assert (tmp_path / "reports" / "both.jsonl").is_file(), measured.stderr

    done = llmbench("report", "html", "--compare", "reports/both.jsonl", "-o", "both.html")

    assert (0, "written: both.html\n") == (done.returncode, done.stderr)
    text = (tmp_path / "both.html").read_text(encoding="utf-8")
    assert "B is slower" in text
    assert "launches paired" in text


def test_a_page_that_cannot_be_written_is_refused(llmbench: RunCommand, runs: Path) -> None:
    """Before anything is read."""
    done = llmbench("report", "html", str(runs / "base.jsonl"), "-o", "nowhere/page.html")

    assert 2 == done.returncode
    assert "nowhere" in done.stderr


def test_a_reader_that_left_costs_no_file_of_a_history(runs: Path, tmp_path: Path) -> None:
    """Standard output is closed before the table, as by head: the page and the CSV are there."""
    command = f"{sys.executable} -m llmbench report history {runs} --html h.html --csv h.csv | true"
    subprocess.run(["sh", "-c", command], check=True, cwd=tmp_path, capture_output=True, timeout=120)

    assert (tmp_path / "h.html").is_file()
    assert (tmp_path / "h.csv").is_file()


def test_the_history_of_a_folder(llmbench: RunCommand, runs: Path, tmp_path: Path) -> None:
    """reports/ is where it looks; a file that is no run is named and left out; both files are written."""
    (runs / "torn.jsonl").write_text('{"event": "run st', encoding="utf-8")

    done = llmbench("report", "history", "--csv", "h.csv", "--html", "h.html", "--metric", "next_token")

    assert 0 == done.returncode
    assert "2 runs" in done.stdout
    assert "+10 % regressed" in done.stdout
    assert "warning: left out: reports/torn.jsonl" in done.stderr
    rows = (tmp_path / "h.csv").read_text(encoding="utf-8").splitlines()
    assert {"base", "cand"} == {row.split(",")[0] for row in rows[1:]}
    assert "History of 2 runs" in (tmp_path / "h.html").read_text(encoding="utf-8")


def test_the_last_runs_of_a_line(llmbench: RunCommand, runs: Path) -> None:
    """With --last 1 the older run is gone."""
    done = llmbench("report", "history", str(runs), "--last", "1")

    assert "1 run" in done.stdout
    assert "base" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "output"),
    [
        (("--metric", "speed"), "error: --metric speed is not a metric"),
        (("elsewhere",), "elsewhere"),
        (("--csv", "nowhere/h.csv"), "nowhere"),
    ],
)
def test_what_history_cannot_do(
    llmbench: RunCommand, runs: Path, arguments: tuple[str, ...], output: str
) -> None:
    """An unknown metric, a folder that is not there, a file that cannot be written: exit 2, by name."""
    done = llmbench("report", "history", *arguments)

    assert 2 == done.returncode
    assert output in done.stderr


def test_an_empty_folder_has_no_history(llmbench: RunCommand, tmp_path: Path) -> None:
    """It is an error, with what to do."""
    (tmp_path / "reports").mkdir()

    done = llmbench("report", "history")

    assert (2, "") == (done.returncode, done.stdout)
    assert "error: there are no runs in reports" in done.stderr


def test_show_draws_when_asked(llmbench: RunCommand, runs: Path) -> None:
    """With --plot below the table, without not."""
    plain = llmbench("report", "show", str(runs / "base.jsonl"), PYTHONIOENCODING="utf-8")
    drawn = llmbench("report", "show", "--plot", str(runs / "base.jsonl"), PYTHONIOENCODING="utf-8")

    assert "against input tokens" not in plain.stdout
    assert "first token against input tokens" in drawn.stdout
