"""Outputs never cost data, and a full or closed standard output has the same exit codes everywhere."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.command import in_process

Done = subprocess.CompletedProcess[str]
Run = Callable[..., Done]
SCRIPTED = (
    "--engine",
    "scripted",
    "-m",
    "first=20ms,next=10ms,noise=1%",
    "-p",
    "x",
    "-ic",
    "4",
    "-n",
    "2",
    "--quiet",
)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs b and c."""
    folder = tmp_path_factory.mktemp("measured")
    for seed, name in ((1, "b"), (2, "c")):
        options = ("--launches", "2", "-s", str(seed), "--name", name)
        assert in_process(folder, "inline", "run", *SCRIPTED, *options).returncode == 0
    return folder / "reports"


@pytest.fixture
def reports(measured: Path, tmp_path: Path) -> Path:
    """A folder with runs b and c, and links to b."""
    shutil.copytree(measured, tmp_path / "reports")
    (tmp_path / "soft.csv").symlink_to(tmp_path / "reports" / "b.jsonl")
    (tmp_path / "hard.csv").hardlink_to(tmp_path / "reports" / "b.jsonl")
    return tmp_path / "reports"


B, C = "reports/b.jsonl", "reports/c.jsonl"
COMPARE = ("report", "compare", B, C)


@pytest.mark.parametrize(
    "command",
    [
        ("run", *SCRIPTED, "--name", "n", "-r"),
        ("run", *SCRIPTED, "--name", "n", "-rj"),
        ("report", "csv", C, "-o"),
        ("report", "csv", C, "--summary", "-o"),
        ("report", "json", C, "-o"),
        ("report", "html", C, "-o"),
        *((*COMPARE, form) for form in ("--md", "--html", "--junit", "--json", "--csv")),
        ("report", "history", "--csv"),
        ("report", "history", "--html"),
        ("ab", *SCRIPTED, "--blocks", "2", "--name", "n", "--md"),
    ],
    ids=" ".join,
)
def test_no_output_replaces_a_run_file(reports: Path, llmbench: Run, command: tuple[str, ...]) -> None:
    """Exit 2 before anything is measured, whichever way leads to the run file, which stays as it was."""
    before = (reports / "b.jsonl").read_bytes()
    for target in (B, "reports/../reports/b.jsonl", "soft.csv", "hard.csv"):
        done = llmbench(*command, target)

        assert 2 == done.returncode, done.stdout
        assert "would replace a run file" in done.stderr or "a file that this command reads" in done.stderr
    assert before == (reports / "b.jsonl").read_bytes()
    assert {"b.jsonl", "c.jsonl"} == {path.name for path in reports.iterdir()}


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", *SCRIPTED, "-r", "x.csv", "-rj", "x.csv"),
        ("run", *SCRIPTED, "-r", "x.csv", "-rj", "./x.csv"),
        ("run", *SCRIPTED, "-r", "reports/mine.jsonl", "--name", "mine"),
        (*COMPARE, "--md", "x", "--junit", "x"),
        (*COMPARE, "--csv", "-", "--json", "/dev/stdout"),
        ("report", "history", "--csv", "x", "--html", "x"),
        (*COMPARE, "--md", "pipe", "--html", "pipe"),
    ],
    ids=" ".join,
)
def test_two_outputs_never_share_a_file(reports: Path, llmbench: Run, arguments: tuple[str, ...]) -> None:
    """Exit 2, and nothing is written, nor waited for the reader of a pipe."""
    os.mkfifo(reports.parent / "pipe")
    done = llmbench(*arguments)

    assert 2 == done.returncode, done.stdout
    assert {"b.jsonl", "c.jsonl"} == {path.name for path in reports.iterdir()}
    assert not (reports.parent / "x").exists()


def test_an_input_is_not_replaced(reports: Path, llmbench: Run) -> None:
    """A CSV that is read is no place for the one that is written."""
    llmbench("report", "csv", B, "-o", "b.csv")
    before = (reports.parent / "b.csv").read_text()
    done = llmbench("report", "csv", "b.csv", "--summary", "-o", "b.csv")

    assert 2 == done.returncode
    assert before == (reports.parent / "b.csv").read_text()


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "-m", "x", "-p", "y", "-r", "x"),
        ("run", "-m", "x", "-p", "y", "-rj", "./x"),
        ("run", "-m", "m", "-p", "y", "-lc", "x", "-r", "same"),
        ("run", "-m", "m", "-pf", "x", "-r", "x"),
        ("run", "-m", "m", "-p", "y", "--lora", "x", "-r", "same"),
        ("ab", "-m", "x", "-p", "y", "--threads", "1,2", "--md", "x"),
        ("quality", "m", "x", "--csv", "same"),
    ],
    ids=" ".join,
)
def test_no_file_of_the_command_line_is_replaced(
    tmp_path: Path, llmbench: Run, arguments: tuple[str, ...]
) -> None:
    """A model, properties, prompts or an adapter in one file, by its name or by a link to it."""
    (tmp_path / "x").write_text("{}")
    (tmp_path / "same").hardlink_to(tmp_path / "x")
    done = llmbench(*arguments)

    assert 2 == done.returncode, done.stdout
    assert "is a file that this command reads" in done.stderr
    assert "{}" == (tmp_path / "x").read_text()


def test_devices_and_new_files_are_written(reports: Path, llmbench: Run) -> None:
    """The null device may be named twice; an old report is replaced."""
    assert 0 == llmbench(*COMPARE, "--md", "/dev/null", "--json", "/dev/null").returncode
    for _ in range(2):
        assert 0 == llmbench(*COMPARE, "--md", "new.md", "--csv", "new.csv").returncode
    assert (reports.parent / "new.md").read_text().startswith("### llmbench")


@pytest.mark.parametrize("target", ["-", "/dev/stdout"])
def test_standard_output_holds_the_file_alone(reports: Path, llmbench: Run, target: str) -> None:
    """No table stands before or after what was asked for."""
    assert llmbench(*COMPARE, "--md", target).stdout.startswith("### llmbench")
    assert llmbench(*COMPARE, "--csv", target).stdout.startswith("base,")
    assert not (reports.parent / "-").exists()


READERS = [
    ("show", B, "--plot"),
    ("csv", B),
    ("html", B, "-o", "-"),
    ("compare", B, C),
    *(
        pytest.param(arguments, marks=pytest.mark.nightly)
        for arguments in (
            ("show", B),
            ("csv", B, "--summary"),
            ("json", B),
            ("compare", B, C, "--md", "-"),
            ("history",),
        )
    ),
]
"""The table, text of each kind, and a comparison; by night what is written the same way."""


def _process(folder: Path, *arguments: str, out: object) -> int:
    return subprocess.run(
        [sys.executable, "-m", "llmbench", "report", *arguments],
        cwd=folder,
        stdout=out,  # type: ignore[call-overload]
        stderr=subprocess.DEVNULL,
        check=False,
    ).returncode


@pytest.mark.slow
@pytest.mark.parametrize("arguments", READERS, ids=" ".join)
def test_a_full_output_is_6_and_a_closed_one_0(reports: Path, arguments: tuple[str, ...]) -> None:
    """Every report, on a full disk and into a pipe whose reader has left, as ``| head`` does."""
    with Path("/dev/full").open("w") as full:
        assert 6 == _process(reports.parent, *arguments, out=full)
    read, write = os.pipe()
    os.close(read)
    try:
        assert 0 == _process(reports.parent, *arguments, out=write)
    finally:
        os.close(write)


@pytest.mark.slow
def test_a_redirected_standard_output_stays_a_file(reports: Path) -> None:
    """``--md /dev/stdout > x`` fills x, and the device is still a link."""
    with (reports.parent / "x").open("w") as file:
        assert 0 == _process(reports.parent, "compare", B, C, "--md", "/dev/stdout", out=file)

    assert (reports.parent / "x").read_text().startswith("### llmbench")
    assert Path("/dev/stdout").is_symlink()
