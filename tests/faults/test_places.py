"""What SECURITY.md promises of where is written: where it was told, and nowhere else."""

import os
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from llmbench.store import reader
from tests.outcome import assert_measured

from .conftest import FAST, SCRIPTED, Marked, files_below

Run = Callable[..., subprocess.CompletedProcess[str]]
MakeIr = Callable[..., Path]

locations = pytest.mark.security(3, "nothing is written outside the output folder and the cache")


@pytest.fixture
def watched_home(tmp_path: Path) -> dict[str, str]:
    """A home, a cache and a temporary folder of their own, as environment variables."""
    folders = {
        "HOME": "home",
        "TMPDIR": "temporary",
        "XDG_CACHE_HOME": "home/cache",
        "XDG_CONFIG_HOME": "home/config",
    }
    for name in folders.values():
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
    return {name: str(tmp_path / folder) for name, folder in folders.items()}


def _assert_untouched(tmp_path: Path) -> None:
    """Below home there is at most what llmbench remembers of models; below the temporary folder there is nothing."""
    allowed = {tmp_path / f"home/cache/llmbench/{name}.json" for name in ("sha256", "weights")}
    assert set(files_below(tmp_path / "home", tmp_path / "temporary")) <= allowed


@locations
@pytest.mark.slow
def test_run_and_report_write_to_the_given_folders_and_nowhere_else(
    llmbench_process: Run, tmp_path: Path, watched_home: dict[str, str]
) -> None:
    """The output folder has the runs, the requested files are there, and home and temporary folder are as before."""
    commands = (
        (*FAST, "--output-dir", "out", "--name", "x", "-r", "x.csv", "-rj", "x.json"),
        (*FAST, "--output-dir", "out", "--name", "z"),
        ("report", "show", "out/x.jsonl"),
        ("report", "csv", "out/x.jsonl", "-o", "y.csv"),
        ("report", "html", "out/x.jsonl", "-o", "y.html"),
        ("report", "compare", "out/x.jsonl", "out/z.jsonl", "--md", "y.md"),
        (
            *("ab", "-m", "first=1ms", "-m", "first=2ms", *SCRIPTED, "-n", "1", "-ic", "4", "--blocks", "2"),
            *("--output-dir", "out", "--name", "ab"),
        ),
        ("doctor", "--no-bandwidth"),
    )
    for number, command in enumerate(commands):  # the first in a worker of its own, too
        launcher = "inline" if number else "process"
        done = llmbench_process(*command, LLMBENCH_LAUNCHER=launcher, **watched_home)
        assert done.returncode in {0, 1}, done.stderr
    _assert_untouched(tmp_path)
    left = {path.relative_to(tmp_path).parts[0] for path in files_below(tmp_path)} - {"home"}
    assert {"out", "x.csv", "x.json", "y.csv", "y.html", "y.md"} == left
    assert {"x.jsonl", "z.jsonl", "ab.jsonl"} == {path.name for path in (tmp_path / "out").iterdir()}


@locations
@pytest.mark.model
@pytest.mark.parametrize("engine", ["genai", pytest.param("core", marks=pytest.mark.nightly)])
def test_a_real_engine_writes_nothing_either(
    llmbench_process: Run, demo_ir: Path, tmp_path: Path, *, watched_home: dict[str, str], engine: str
) -> None:
    """Loading the engine leaves no telemetry, no cache and no temporary file; the model's folder is as it was."""
    before = files_below(demo_ir)
    done = llmbench_process(
        *("run", "-m", str(demo_ir), "--engine", engine, "-n", "1", "-ic", "4", "--foreign-cpu-limit", "1"),
        **watched_home,
    )

    assert_measured(done)
    assert before == files_below(demo_ir)
    _assert_untouched(tmp_path)


@locations
@pytest.mark.parametrize(
    "name", ["../evil", "/evil", "..", ".hidden", "a/../../evil", "new\nline", "x" * 300]
)
def test_a_name_does_not_lead_out_of_the_output_folder(llmbench: Run, tmp_path: Path, name: str) -> None:
    """Whatever a run is called, its file is in the output folder, or it is refused."""
    (tmp_path / "a/b").mkdir(parents=True)
    done = llmbench(*FAST, "--output-dir", "a/b", "--name", name)

    assert done.returncode in {0, 2}, done.stderr
    assert "Traceback" not in done.stderr
    assert {"b"} == {path.name for path in (tmp_path / "a").iterdir()}
    assert not Path("/evil.jsonl").exists()
    for path in (tmp_path / "a/b").iterdir():
        assert re.fullmatch(r"[^./\n][^/\n]*\.jsonl", path.name)


@locations
def test_a_models_name_becomes_a_plain_part_of_a_files_name() -> None:
    """Slashes, dots at the front, control characters and secrets of a model's name stay out of the run's."""
    for name in ("..", "a/../../b", "\x1b[31m", "hf_" + "A1" * 17, "模型", "x" * 400):
        made = reader.new_id(name)
        assert re.fullmatch(r"\d{8}T\d{6}Z-[A-Za-z0-9][A-Za-z0-9.-]{0,59}-[0-9a-f]{6}", made)
        assert "A1A1" not in made


@locations
def test_symbolic_links_are_not_followed(llmbench: Run, tmp_path: Path) -> None:
    """A link where a file is to be written is replaced or refused; what it leads to is as it was."""
    precious = tmp_path / "precious"
    precious.write_text("mine")
    reports = tmp_path / "reports"
    reports.mkdir()
    for link in (reports / "x.jsonl", tmp_path / "out.csv", tmp_path / "out.json"):
        link.symlink_to(precious)
    for refused in (
        (*FAST, "--name", "x"),
        (*FAST, "--name", "x", "--overwrite"),
        ("run", "--resume", "reports/x.jsonl"),
    ):
        assert llmbench(*refused).returncode == 2
    done = llmbench(*FAST, "-r", "out.csv", "-rj", "out.json")

    assert done.returncode == 0, done.stderr
    assert "mine" == precious.read_text()
    assert not (tmp_path / "out.csv").is_symlink()
    assert not (tmp_path / "out.json").is_symlink()


@locations
@pytest.mark.slow
def test_a_property_does_not_have_the_engine_write_elsewhere(
    llmbench: Run, llmbench_workers: Run, ir_of: MakeIr, tmp_path: Path, *, watched_home: dict[str, str]
) -> None:
    """CACHE_DIR outside the output folder and the cache is refused, also by way of a link; inside it is fine."""
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports/link").symlink_to(tmp_path / "home")
    run = ("run", "-m", str(ir_of()))
    for outside in ("/var/ov", "elsewhere", "reports/../elsewhere", "reports/link"):
        done = llmbench_workers(*run, "-lc", f"CACHE_DIR={outside}", **watched_home)
        assert done.returncode == 2, done.stderr
        assert "property CACHE_DIR leads to" in done.stderr
        assert str(tmp_path / "reports") in done.stderr
    assert llmbench(*FAST, "-lc", "CACHE_DIR=reports/cache", **watched_home).returncode == 0
    _assert_untouched(tmp_path)


@locations
@pytest.mark.slow
def test_two_users_do_not_meet_in_the_temporary_folder(llmbench: Run, tmp_path: Path) -> None:
    """No name is fixed: two runs use no name in common (Python tries a random one), and none is left behind."""
    marked = Marked(tmp_path)
    users = {}
    for user in ("one", "other"):
        folder = tmp_path / user
        folder.mkdir()
        users[folder] = marked.start(
            *FAST[:2], "first=1ms,sleep=50ms", *SCRIPTED, "-n", "20", "-ic", "4", TMPDIR=str(folder)
        )
    seen: dict[Path, set[str]] = {folder: set() for folder in users}
    while any(process.poll() is None for process in users.values()):
        for folder, names in seen.items():
            names.update(name for _, folders, files in os.walk(folder) for name in (*folders, *files))
        time.sleep(0.005)
    for process in users.values():
        process.communicate()

    assert set() == set.intersection(*seen.values())
    assert [] == [left for folder in users for left in folder.rglob("*")]
