"""A run file that is torn, damaged, full, locked, taken or foreign."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from llmbench.errors import InputError
from llmbench.schema.run import Outcome
from llmbench.store import reader
from tests.command import in_process
from tests.waiting import wait_until

from .conftest import SCRIPTED, Marked, fill, needs_mounts

Run = Callable[..., subprocess.CompletedProcess[str]]
Disk = Callable[..., Path]
FAST = ("run", "-m", "first=20ms,next=10ms", *SCRIPTED, "-n", "3", "-ic", "8")

row_2 = pytest.mark.fault(2, "torn last line / damaged middle line of a run file")
row_3 = pytest.mark.fault(3, "disk full, short write, /dev/full")
row_4 = pytest.mark.fault(4, "output folder unwritable, or a file")
row_5 = pytest.mark.fault(5, "run file of that --name exists")
row_6 = pytest.mark.fault(6, "two processes, one run file")
row_34 = pytest.mark.fault(34, "run file of another schema, CSV with unknown or doubled columns")


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real run of two launches: header, then 2 x (start, 4 requests, end), then the run's end."""
    folder = tmp_path_factory.mktemp("measured")
    assert in_process(folder, "inline", *FAST, "--launches", "2", "--name", "real").returncode == 0
    return folder / "reports/real.jsonl"


@pytest.fixture
def run_file(measured: Path, tmp_path: Path) -> Path:
    """A copy of it in the folder of a test."""
    (tmp_path / "reports").mkdir()
    return Path(shutil.copy(measured, tmp_path / "reports"))


@row_2
def test_row_02_a_real_run_file_reads_when_cut_at_every_byte_of_its_last_two_lines(run_file: Path) -> None:
    """Every request before the cut is there, and only a torn line is left out."""
    whole = run_file.read_bytes()
    lines = whole.splitlines(keepends=True)
    assert 14 == len(lines)
    begin = len(whole) - len(lines[-1]) - len(lines[-2])
    for cut in range(begin, len(whole)):
        run_file.write_bytes(whole[:cut])
        contents = reader.read_contents(run_file)
        assert [4, 4] == [len(launch.measurements) for launch in contents.run.launches]
        is_torn = not whole[:cut].endswith(b"\n") and not whole[cut:].startswith(b"\n")
        assert is_torn == bool(contents.warnings)


@row_2
def test_row_02_a_torn_last_line_is_ignored_and_named(llmbench: Run, run_file: Path) -> None:
    """Exit 0; the line's number is reported, and the launch that lost a request is left out."""
    whole = run_file.read_bytes()
    lines = whole.splitlines(keepends=True)
    run_file.write_bytes(b"".join(lines[:11]) + lines[11][:-30])
    done = llmbench("report", "show", "reports/real.jsonl")

    assert done.returncode == 0, done.stderr
    assert "real.jsonl:12: incomplete last line ignored" in done.stderr
    assert "launch 2 was cut short" in done.stdout


@row_2
def test_row_02_a_damaged_middle_line_is_an_error_that_salvage_reads_around(
    llmbench: Run, run_file: Path
) -> None:
    """Exit 2 and the line's number; with --salvage the rest is read."""
    lines = run_file.read_bytes().splitlines(keepends=True)
    run_file.write_bytes(b"".join([*lines[:3], lines[3][:40] + b"\x00\xff" + lines[3][42:], *lines[4:]]))
    refused = llmbench("report", "show", "reports/real.jsonl")
    salvaged = llmbench("report", "show", "--salvage", "reports/real.jsonl")

    assert refused.returncode == 2
    assert "real.jsonl:4: damaged line" in refused.stderr
    assert "--salvage" in refused.stderr
    assert salvaged.returncode == 0, salvaged.stderr
    assert "real.jsonl:4: damaged line ignored" in salvaged.stderr


@row_2
def test_row_02_resume_with_salvage_makes_the_launch_that_lost_a_line_again(
    llmbench: Run, run_file: Path
) -> None:
    """The damaged line stays where it is; its launch is marked aborted and made again, whole."""
    lines = run_file.read_bytes().splitlines(keepends=True)
    damaged = b"".join([*lines[:3], b'{"event": "meas\n', *lines[4:]])
    run_file.write_bytes(damaged)
    assert llmbench("run", "--resume", "reports/real.jsonl").returncode == 2
    assert damaged == run_file.read_bytes()
    done = llmbench("run", "--resume", "reports/real.jsonl", "--salvage")

    assert done.returncode == 0, done.stderr
    run = reader.read_run(run_file, salvage=True)
    outcomes = [launch.outcome for launch in run.launches]
    assert [Outcome.ABORTED, Outcome.FINISHED, Outcome.FINISHED] == outcomes
    assert [3, 4, 4] == [len(launch.measurements) for launch in run.launches]
    assert run_file.read_bytes().startswith(damaged)


@row_2
def test_row_02_a_missing_run_file_is_named_with_where_run_files_are(llmbench: Run) -> None:
    """Nothing is written, so the remedy is another run file and not another output folder."""
    done = llmbench("run", "--resume", "missing.jsonl")

    assert done.returncode == 2
    assert "missing.jsonl cannot be opened" in done.stderr
    assert "report history" in done.stderr
    assert "--output-dir" not in done.stderr


@row_2
def test_row_02_only_a_run_file_is_ever_cut(llmbench: Run, tmp_path: Path) -> None:
    """A file that is no run file is left as it is, its last line without a newline included."""
    other = tmp_path / "mine.jsonl"
    other.write_text('{"prompt": "one"}\n{"prompt": "two"}')
    done = llmbench("run", "--resume", "mine.jsonl")

    assert done.returncode == 2
    assert '{"prompt": "one"}\n{"prompt": "two"}' == other.read_text()


@row_3
@needs_mounts
@pytest.mark.slow
def test_row_03_a_full_disk_keeps_what_was_measured(llmbench: Run, disk_of: Disk) -> None:
    """Exit 6 with the count of what is safe; with room again, resuming loses nothing and makes the rest."""
    disk = disk_of(32)
    command = ("-n", "60", "-ic", "8", "--output-dir", str(disk), "--name", "full")
    done = llmbench("run", "-m", "first=20ms,next=10ms", *SCRIPTED, *command)
    path = disk / "full.jsonl"
    kept = len(reader.read_run(path).launches[0].measurements)

    assert done.returncode == 6, done.stderr
    assert f"No space left on device; {kept} measurements are safe in {path}" in done.stderr
    assert "--resume" in done.stderr
    assert kept > 5
    assert path.read_bytes().endswith(b"\n")
    subprocess.run(["mount", "-o", "remount,size=4m", str(disk)], check=True)
    assert llmbench("run", "--resume", str(path), "--quiet").returncode == 0
    assert [kept, 61] == [len(launch.measurements) for launch in reader.read_run(path).launches]


@row_3
@needs_mounts
def test_row_03_an_old_report_is_untouched_when_the_new_one_does_not_fit(
    llmbench: Run, disk_of: Disk
) -> None:
    """The run itself is kept and shown; each report is the old one, whole."""
    disk = disk_of(32)
    for name in ("old.csv", "old.json"):
        (disk / name).write_text("precious\n")
    fill(disk)
    done = llmbench(*FAST, "-r", str(disk / "old.csv"), "-rj", str(disk / "old.json"), "--name", "kept")

    assert done.returncode == 6, done.stderr
    assert "No space left on device" in done.stderr
    assert ["precious\n"] * 2 == [(disk / name).read_text() for name in ("old.csv", "old.json")]
    assert {"filler", "old.csv", "old.json"} == {path.name for path in disk.iterdir()}
    assert llmbench("report", "show", "reports/kept.jsonl").returncode == 0


@row_3
@needs_mounts
def test_row_03_overwriting_on_a_full_disk_leaves_the_old_run(llmbench: Run, disk_of: Disk) -> None:
    """A run file is replaced once the new one is complete."""
    disk = disk_of(64)
    assert llmbench(*FAST, "--output-dir", str(disk), "--name", "x").returncode == 0
    before = (disk / "x.jsonl").read_bytes()
    fill(disk)
    done = llmbench(*FAST, "--output-dir", str(disk), "--name", "x", "--overwrite")

    assert done.returncode == 6, done.stderr
    assert before == (disk / "x.jsonl").read_bytes()
    assert {"filler", "x.jsonl"} == {path.name for path in disk.iterdir()}


@row_3
@pytest.mark.parametrize("option", ["-r", "-rj"])
def test_row_03_dev_full_as_a_report_is_exit_6(llmbench: Run, tmp_path: Path, option: str) -> None:
    """What was measured is in the run file all the same."""
    done = llmbench(*FAST, option, "/dev/full", "--name", "kept")

    assert done.returncode == 6, done.stderr
    assert "/dev/full cannot be written: No space left on device" in done.stderr
    assert "20.00" in done.stdout
    assert "written: reports/kept.jsonl" in done.stdout
    assert reader.read_run(tmp_path / "reports/kept.jsonl").is_complete


@row_3
@pytest.mark.slow
def test_row_03_dev_full_as_standard_output_costs_no_measurement(tmp_path: Path) -> None:
    """The run goes on, with a warning that it prints no more; a report, which is its output, fails with 6."""
    base = f"{sys.executable} -m llmbench"
    ran = subprocess.run(
        f"{base} {' '.join(FAST)} --name kept > /dev/full",
        shell=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "LLMBENCH_LAUNCHER": "inline"},
        stderr=subprocess.PIPE,
        text=True,
    )
    shown = subprocess.run(
        f"{base} report csv reports/kept.jsonl > /dev/full",
        shell=True,
        check=False,
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )

    assert "No space left on device" in ran.stderr
    assert "Traceback" not in ran.stderr + shown.stderr
    assert reader.read_run(tmp_path / "reports/kept.jsonl").is_complete
    assert shown.returncode == 6, shown.stderr


@row_3
@pytest.mark.slow
def test_row_03_a_short_write_is_cut_back(tmp_path: Path) -> None:
    """A limit on the size of files cuts a line in its middle: the half line is taken away again, and it is exit 6."""
    limited = ["bash", "-c", 'trap "" XFSZ; ulimit -f 20; exec "$@"', "limit"]  # 20 KiB
    done = subprocess.run(
        [*limited, sys.executable, "-m", "llmbench", *FAST, "-n", "99", "--name", "short", "--quiet"],
        check=False,
        cwd=tmp_path,
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("COV")},
            "LLMBENCH_LAUNCHER": "inline",
        },
        capture_output=True,
        text=True,
    )
    path = tmp_path / "reports/short.jsonl"
    kept = len(reader.read_run(path).launches[0].measurements)

    assert done.returncode == 6, done.stderr
    assert f"; {kept} measurements are safe in reports/short.jsonl" in done.stderr
    assert kept > 5
    assert path.read_bytes().endswith(b"\n")


@row_4
@pytest.mark.parametrize("kind", ["a file", "below a file", "below /proc"])
def test_row_04_an_output_folder_that_is_none_is_found_before_the_model_loads(
    llmbench: Run, tmp_path: Path, kind: str
) -> None:
    """Exit 2 and the folder's name, though the model hangs when it is used."""
    (tmp_path / "file").write_text("mine")
    folder = {"a file": "file", "below a file": "file/below", "below /proc": "/proc/1/llmbench"}[kind]
    done = llmbench("run", "-m", "hang@1", *SCRIPTED, "--output-dir", folder)

    assert done.returncode == 2, done.stderr
    assert folder in done.stderr
    assert "mine" == (tmp_path / "file").read_text()


@row_4
@needs_mounts
def test_row_04_a_read_only_folder_is_found_before_the_model_loads(llmbench: Run, disk_of: Disk) -> None:
    """Exit 2 for the output folder, for a run in it that is to go on, and for a report."""
    disk = disk_of(64)
    llmbench(*FAST, "--output-dir", str(disk), "--name", "x")
    whole = (disk / "x.jsonl").read_bytes()
    (disk / "x.jsonl").write_bytes(whole[:-200])
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    hang = ("run", "-m", "hang@1", *SCRIPTED)

    for options in (
        (*hang, "--output-dir", str(disk)),
        (*hang, "--output-dir", str(disk / "below")),
        (*hang, "-r", str(disk / "x.csv")),
        (*hang, "-rj", str(disk / "x.json")),
        ("run", "--resume", str(disk / "x.jsonl")),
    ):
        done = llmbench(*options)
        assert done.returncode == 2, done.stderr
        assert str(disk) in done.stderr
    assert "incomplete last line" in llmbench("report", "show", str(disk / "x.jsonl")).stderr


@row_5
def test_row_05_a_run_of_that_name_is_refused_or_replaced_on_request(llmbench: Run, tmp_path: Path) -> None:
    """Exit 2 before the model loads; with --overwrite it is replaced."""
    llmbench(*FAST, "--name", "mine")
    path = tmp_path / "reports/mine.jsonl"
    before = path.read_bytes()
    done = llmbench("run", "-m", "hang@1", *SCRIPTED, "--name", "mine")

    assert done.returncode == 2
    assert "reports/mine.jsonl exists" in done.stderr
    assert "--overwrite" in done.stderr
    assert before == path.read_bytes()
    assert llmbench(*FAST, "--name", "mine", "--overwrite").returncode == 0
    assert before != path.read_bytes()


@row_5
def test_row_05_reports_are_replaced_atomically(llmbench: Run, tmp_path: Path) -> None:
    """-r and -rj make a new file and rename it; a reader that has the old one open keeps it whole."""
    for name in ("out.csv", "out.json"):
        (tmp_path / name).write_text("old")
    pinned = [(tmp_path / name).open() for name in ("out.csv", "out.json")]
    done = llmbench(*FAST, "-r", "out.csv", "-rj", "out.json")

    assert done.returncode == 0, done.stderr
    assert ["old", "old"] == [file.read() for file in pinned]
    for file in pinned:
        file.close()
    assert (tmp_path / "out.csv").read_text().startswith("iteration,")
    assert {"out.csv", "out.json", "reports"} == {path.name for path in tmp_path.iterdir()}


@row_6
def test_row_06_a_run_file_in_use_is_refused_with_the_process(
    llmbench: Run, marked: Marked, tmp_path: Path
) -> None:
    """Neither --resume nor --overwrite takes a run away from the process that makes it."""
    running = marked.start(
        "run", "-m", "first=1ms,hang@4", *SCRIPTED, "-n", "9", "-ic", "4", "--name", "mine"
    )
    path = tmp_path / "reports/mine.jsonl"
    wait_until(lambda: path.exists() and path.read_bytes().count(b"\n") == 5, "three requests")
    before = path.read_bytes()
    for options in (
        ("--resume", "reports/mine.jsonl"),
        ("-m", "first=1ms", *SCRIPTED, "--name", "mine", "--overwrite"),
    ):
        done = llmbench("run", *options)
        assert done.returncode == 2, done.stderr
        assert f"in use by process {running.pid}" in done.stderr
    assert before == path.read_bytes()
    assert "launch 1 was cut short" in llmbench("report", "show", "reports/mine.jsonl").stdout
    os.kill(running.pid, signal.SIGKILL)
    running.communicate()


@row_34
def test_row_34_a_run_file_of_another_schema_is_refused(llmbench: Run, run_file: Path) -> None:
    """Exit 2 with both numbers, whatever else the other schema has changed."""
    header, *rest = run_file.read_text().splitlines()
    other = json.loads(header) | {"schema": 3, "configurations": "another type"}
    run_file.write_text("\n".join([json.dumps(other), *rest]))
    for command in (("report", "show", "reports/real.jsonl"), ("run", "--resume", "reports/real.jsonl")):
        done = llmbench(*command)
        assert done.returncode == 2
        assert "real.jsonl:1: schema 3; this llmbench reads 1" in done.stderr


@row_34
@pytest.mark.parametrize(
    ("change", "output"),
    [
        ("launch,", "doubled columns: 'launch'"),
        ("colour,", "unknown columns: 'colour'"),
        (None, "missing columns"),
    ],
)
def test_row_34_a_csv_whose_columns_are_not_ours_is_refused(
    llmbench: Run, run_file: Path, tmp_path: Path, *, change: str | None, output: str
) -> None:
    """Exit 2 and the names of the columns."""
    assert run_file.exists()
    text = llmbench("report", "csv", "reports/real.jsonl").stdout
    head, *rows = text.splitlines()
    doubled = [f"{change}{head}", *(f"0,{row}" for row in rows)]
    lines = doubled if change else [head.replace("e2e_ms,", "", 1), *rows]
    (tmp_path / "x.csv").write_text("\n".join(lines))
    done = llmbench("report", "show", "x.csv")

    assert done.returncode == 2, done.stderr
    assert output in done.stderr


@row_2
def test_row_02_a_launch_whose_start_is_lost_is_salvaged(run_file: Path) -> None:
    """The requests of a launch are read though the line of its start is damaged."""
    lines = run_file.read_bytes().splitlines(keepends=True)
    run_file.write_bytes(b"".join([lines[0], b"damage\n", *lines[2:]]))

    with pytest.raises(InputError, match="damaged line"):
        reader.read_run(run_file)
    contents = reader.read_contents(run_file, salvage=True)
    assert [4, 4] == [len(launch.measurements) for launch in contents.run.launches]


@row_2
@pytest.mark.parametrize("cut", [1, 30], ids=["its newline", "its end"])
def test_row_02_resume_goes_on_after_a_torn_last_line(llmbench: Run, run_file: Path, cut: int) -> None:
    """What is torn is cut off and what lacks its newline gets it: every line reads afterwards, none is doubled."""
    lines = run_file.read_bytes().splitlines(keepends=True)
    whole, last = b"".join(lines[:10]), lines[10]
    run_file.write_bytes(whole + last[:-cut])
    done = llmbench("run", "--resume", "reports/real.jsonl", "--quiet")

    assert done.returncode == 0, done.stderr
    assert run_file.read_bytes().startswith(whole + (last if cut == 1 else b""))
    contents = reader.read_contents(run_file)
    assert () == contents.warnings
    assert contents.run.is_complete
    assert 2 == sum(launch.outcome is Outcome.FINISHED for launch in contents.run.launches)


@row_2
@pytest.mark.parametrize(("key", "value"), [("prompt", 7), ("prompt", -1), ("launch", 9)])
def test_row_02_a_request_that_was_not_planned_is_damage(
    llmbench: Run, run_file: Path, *, key: str, value: int
) -> None:
    """A prompt or a launch that the run does not have: exit 2 and the line, and no traceback later on."""
    lines = run_file.read_text().splitlines()
    lines[3] = json.dumps(json.loads(lines[3]) | {key: value})
    run_file.write_text("\n".join(lines) + "\n")
    done = llmbench("report", "show", "reports/real.jsonl")

    assert done.returncode == 2, done.stdout
    assert "real.jsonl:4: damaged line" in done.stderr
