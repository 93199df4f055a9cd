import csv
import dataclasses
import io
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from llmbench.analysis import report
from llmbench.analysis.evaluation import Evaluation, evaluate
from llmbench.analysis.layouts import LLM_BENCH_COLUMNS
from llmbench.cli.main import invoke
from llmbench.errors import ExitCode
from llmbench.render.csv import llm_bench_csv
from llmbench.render.json import llm_bench_json
from llmbench.schema.measurement import Conditions
from llmbench.schema.run import EffectiveSettings, Failure, MemoryRate, ModelCache, Outcome, Run
from llmbench.store import reader
from tests import builders, run_files

Write = Callable[..., Path]
BuildRun = Callable[..., Run]


@pytest.fixture
def run_file(tmp_path: Path) -> Write:
    """Writes a run as a run file."""
    return lambda run, name="run.jsonl": run_files.write(run, tmp_path / name)


def on_metal(run: Run) -> Run:
    """That run as a server tells it: 3.5 J a request, a model of 1 GB, 10 numbers a token, a cache cold, then warm.

    Its launches load in 2.5 and 3.5 s, next tokens take 10 ms, and a triad got 200 GB/s from its memory.
    """
    launches = [
        dataclasses.replace(
            launch,
            model_cache=state,
            effective=EffectiveSettings(properties={"KV_CACHE_PRECISION": "u8"}),
            measurements=tuple(dataclasses.replace(m, energy_j=3.5) for m in launch.measurements),
        )
        for launch, state in zip(run.launches, (ModelCache.COLD, ModelCache.WARM), strict=True)
    ]
    rate = MemoryRate(measured_at="2026-01-02T03:04:05+00:00", bytes_per_s=200e9)
    return dataclasses.replace(
        run,
        launches=tuple(launches),
        environment=dataclasses.replace(run.environment, last_caches={0: 32 << 20}, memory_rate=rate),
        provenance=dataclasses.replace(run.provenance, weight_bytes=10**9, kv_values=10),
    )


def test_what_only_servers_tell_is_shown(
    run_file: Write, story_of: BuildRun, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Energy has a column, load one figure for each state of the cache, and the next tokens their share of memory.

    1 GB in 10 ms are 100 GB/s, half of what the triad got.
    """
    monkeypatch.setenv("COLUMNS", "140")
    invoke(["report", "show", "-v", str(run_file(on_metal(story_of())))])
    shown = " ".join(capsys.readouterr().out.split())

    assert re.search(r"P0 32 .* 3\.50 n=2", shown)
    assert "load: 2.50 s (model cache cold), 3.50 s (model cache warm);" in shown
    assert (
        "next tokens: 100.0 GB/s of weights and KV cache, 50 % of what this memory can do "
        "(triad 200.0 GB/s, measured 2026-01-02)"
    ) in shown


def test_what_only_servers_tell_is_in_every_file(
    run_file: Write, story_of: BuildRun, capsys: pytest.CaptureFixture[str]
) -> None:
    """The tidy CSV, its summary, JSON and the page: joules, millijoules a token (3.5 J over 4), GB/s, and the cache."""
    path = str(run_file(on_metal(story_of())))
    invoke(["report", "csv", path])
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    invoke(["report", "csv", "--summary", path])
    summary = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    invoke(["report", "json", path])
    reported = json.loads(capsys.readouterr().out)
    invoke(["report", "html", path, "-o", f"{path}.html"])

    assert ("3.5", "875.0", "cold") == tuple(
        rows[0][n] for n in ("energy_J", "energy_per_token_mJ", "model_cache")
    )
    assert pytest.approx(100.0, rel=1e-4) == float(rows[0]["bandwidth_GB_per_s"])
    loads = [(row["model_cache"], row["median"]) for row in summary if row["metric"] == "load"]
    assert [("cold", "2500.0"), ("warm", "3500.0")] == loads
    assert {"GB/s"} == {row["unit"] for row in summary if row["metric"] == "bandwidth"}
    (cell,) = reported["cells"]
    assert (None, ["cold", "warm"]) == (cell["load"], [load["model_cache"] for load in cell["loads"]])
    assert (200e9, False, 32 << 20) == tuple(
        cell["bandwidth"][name] for name in ("memory_bytes_per_s", "is_cached", "cache_bytes")
    )
    assert pytest.approx(875.0) == reported["rows"][0]["metrics"]["energy_per_token"]["median"]
    page = Path(f"{path}.html").read_text(encoding="utf-8")
    assert "50 % of what this memory can do" in page
    assert "(model cache warm)" in page


def test_a_run_file_comes_back_whole(run_file: Write, story_of: BuildRun) -> None:
    """What the tests write is what the store reads, so that they test what a person has."""
    assert (
        report.summarize_run(story_of()).rows
        == report.summarize_run(reader.read_run(run_file(story_of()))).rows
    )


def test_show(run_file: Write, story_of: BuildRun, capsys: pytest.CaptureFixture[str]) -> None:
    """The table on standard output; every run of several has its own."""
    path = run_file(story_of())

    assert ExitCode.OK == invoke(["report", "show", str(path), str(path)])

    shown = capsys.readouterr().out
    assert 2 == shown.count("2 launches of 2 iterations")
    assert "101.0" in shown


@pytest.mark.parametrize("render", [llm_bench_csv, llm_bench_json])
def test_show_reads_other_reports(
    tmp_path: Path,
    story_of: BuildRun,
    capsys: pytest.CaptureFixture[str],
    render: Callable[[Evaluation], str],
) -> None:
    """llm_bench's CSV and JSON are shown like runs."""
    path = tmp_path / "report.txt"
    path.write_text(render(evaluate(story_of())))

    assert ExitCode.OK == invoke(["report", "show", "--explain", str(path)])
    assert "imported from llm_bench" in capsys.readouterr().out


def test_csv_is_tidy_unless_asked_otherwise(
    run_file: Write, story_of: BuildRun, capsys: pytest.CaptureFixture[str]
) -> None:
    """A row a request on standard output; llm_bench's columns and the summary when asked for."""
    path = str(run_file(story_of()))

    def columns(*options: str) -> tuple[str, ...]:
        assert ExitCode.OK == invoke(["report", "csv", path, *options])
        return tuple(next(csv.reader(io.StringIO(capsys.readouterr().out))))

    assert "first_token_ms" in columns()
    assert LLM_BENCH_COLUMNS == columns("--layout", "llm-bench")
    assert "median" in columns("--summary")


def test_csv_of_several_runs_is_one_table(
    run_file: Write, story_of: BuildRun, capsys: pytest.CaptureFixture[str]
) -> None:
    """One header, the rows of both."""
    run = story_of()
    one, other = (
        str(run_file(dataclasses.replace(run, id=name), f"{name}.jsonl")) for name in ("one", "other")
    )

    assert ExitCode.OK == invoke(["report", "csv", one, other])
    assert 24 == len(list(csv.DictReader(io.StringIO(capsys.readouterr().out))))


@pytest.mark.parametrize("command", ["csv", "history"])
@pytest.mark.parametrize("is_copied", [False, True])
def test_a_run_that_is_given_twice_is_refused(
    run_file: Write,
    story_of: BuildRun,
    capsys: pytest.CaptureFixture[str],
    command: str,
    *,
    is_copied: bool,
) -> None:
    """Its requests would count double: one file named twice, and a copy under another name."""
    one = run_file(story_of())
    other = run_file(story_of(), "copy.jsonl") if is_copied else one

    assert ExitCode.USAGE == invoke(["report", command, str(one), str(other)])
    assert ("are the same run" if is_copied else "was given twice") in capsys.readouterr().err


def test_a_copy_in_a_folder_is_left_out_of_the_history(
    run_file: Write, story_of: BuildRun, capsys: pytest.CaptureFixture[str]
) -> None:
    """Somebody kept a second file of one run: the others are shown, and the copy is named."""
    folder = run_file(story_of()).parent
    run_file(story_of(), "zcopy.jsonl")

    assert ExitCode.OK == invoke(["report", "history", str(folder)])
    shown = capsys.readouterr()
    assert "zcopy.jsonl is a copy of" in shown.err
    assert "1 run" in shown.out


def test_the_llm_bench_layout_holds_one_run(
    run_file: Write, story_of: BuildRun, capsys: pytest.CaptureFixture[str]
) -> None:
    """Several runs, or a summary, have no place in it."""
    path = str(run_file(story_of()))

    assert ExitCode.USAGE == invoke(["report", "csv", "--layout", "llm-bench", path, path])
    assert "the llm-bench layout has one run" in capsys.readouterr().err
    assert ExitCode.USAGE == invoke(["report", "csv", "--layout", "llm-bench", "--summary", path])


def test_output_goes_to_a_file(
    run_file: Write, story_of: BuildRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """-o replaces the file, and nothing but a word about it is said."""
    out = tmp_path / "out.json"
    out.write_text("old")

    assert ExitCode.OK == invoke(["report", "json", str(run_file(story_of())), "-o", str(out)])
    assert "llmbench.report/1" == json.loads(out.read_text())["schema"]
    assert ("", f"written: {out}\n") == capsys.readouterr()


def test_json_in_llm_benchs_layout(
    run_file: Write, story_of: BuildRun, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its metadata and perfdata."""
    assert ExitCode.OK == invoke(["report", "json", "--layout", "llm-bench", str(run_file(story_of()))])
    assert {"metadata", "perfdata"} == set(json.loads(capsys.readouterr().out))


def test_a_full_disk_is_exit_6(
    run_file: Write, story_of: BuildRun, capsys: pytest.CaptureFixture[str]
) -> None:
    """A device that takes nothing."""
    assert ExitCode.OUTPUT == invoke(["report", "csv", str(run_file(story_of())), "-o", "/dev/full"])
    assert "No space left on device" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["show", "csv", "json"])
def test_a_run_without_a_row_is_exit_2(
    run_file: Write, run_of: BuildRun, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    """Nothing that counts is empty input, never green."""
    assert ExitCode.USAGE == invoke(["report", command, str(run_file(run_of([])))])
    capsys.readouterr()


@pytest.mark.parametrize("command", ["show", "csv", "json"])
def test_a_run_without_a_valid_request_is_exit_5_and_says_why(
    run_file: Write, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    """As when it was measured; its figures are shown all the same."""
    noisy = Conditions(wall_s=1.0, cpus=1, worker_s=0.5, interference_s=0.5)
    request = builders.request_of([100, 110, 120, 130], conditions=noisy)
    run = builders.run_of([builders.launch_of([request])])

    assert ExitCode.LAUNCH == invoke(["report", command, str(run_file(run))])
    reported = capsys.readouterr()
    assert "error: 1 row without a valid request: other processes used 50%" in reported.err
    assert reported.out


def test_a_run_s_name_is_shown_without_a_subcommand(
    run_file: Write, story_of: BuildRun, capsys: pytest.CaptureFixture[str]
) -> None:
    """As with ``show``; what is nearly a subcommand is taken for one."""
    path = run_file(story_of())
    shown = {
        arguments: (invoke(["report", *arguments, str(path)]), capsys.readouterr().out)
        for arguments in [(), ("show",)]
    }

    assert shown[()] == shown["show",]
    assert ExitCode.USAGE == invoke(["report", "comapre", "a", "b"])
    assert "did you mean compare? llmbench report compare a b" in capsys.readouterr().err
    assert ExitCode.USAGE == invoke(["report", "nothere"])
    assert "there is no file, folder or run 'nothere'" in capsys.readouterr().err


def test_a_run_of_sockets_is_shown_as_it_was_when_it_ended(
    run_file: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    """The answer first; cut short in its first block it has none, and its figures are shown as those of any run."""
    run = builders.sockets_run(wobble=0.01)

    assert ExitCode.OK == invoke(["report", "show", str(run_file(run))])
    assert capsys.readouterr().out.startswith("Tensor parallelism over 2 sockets: first token ")
    cut = dataclasses.replace(run, launches=run.launches[:2], is_complete=False)
    assert ExitCode.OK == invoke(["report", "show", str(run_file(cut, "cut.jsonl"))])
    assert "TTFT ms" in capsys.readouterr().out


def test_sockets_with_a_failed_launch_is_exit_5_though_every_setup_has_others(run_file: Write) -> None:
    """As with --keep-going: the run ended, and one launch of three of a setup failed."""
    run = builders.sockets_run(wobble=0.01)
    failure = Failure(phase="load", message="out of memory")
    failed = dataclasses.replace(run.launches[0], outcome=Outcome.FAILED, failure=failure, measurements=())

    assert ExitCode.OK == invoke(["sockets", "--show", str(run_file(run))])
    broken = dataclasses.replace(run, launches=(failed, *run.launches[1:]))
    assert ExitCode.LAUNCH == invoke(["sockets", "--show", str(run_file(broken, "failed.jsonl"))])


def test_a_misspelt_metric_is_answered_with_the_right_one(capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is read."""
    assert ExitCode.USAGE == invoke(["report", "history", "--metric", "fisrt_token"])
    assert "did you mean first_token?" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["show", "csv", "json"])
def test_a_missing_file_is_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str) -> None:
    """One line that names it, and one that says where runs are."""
    assert ExitCode.USAGE == invoke(["report", command, str(tmp_path / "none.jsonl")])
    reported = capsys.readouterr().err
    assert "none.jsonl cannot be read: No such file or directory" in reported
    assert "llmbench report history" in reported


def test_a_damaged_line_is_read_around_when_asked(
    run_file: Write, story_of: BuildRun, capsys: pytest.CaptureFixture[str]
) -> None:
    """An error that names the line; --salvage warns instead."""
    path = run_file(story_of())
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:3], b'{"event": broken}\n', *lines[3:]]))

    assert ExitCode.USAGE == invoke(["report", "show", str(path)])
    assert "run.jsonl:4: " in capsys.readouterr().err
    assert ExitCode.OK == invoke(["report", "show", "--salvage", str(path)])
    assert "warning: run.jsonl:4: " in capsys.readouterr().err


@pytest.mark.parametrize("name", ["show", "compare"])
def test_reports_import_no_package_that_is_slow_to_import(
    run_file: Write, story_of: BuildRun, name: str
) -> None:
    """Scipy and NumPy alone would take as long as a report."""
    runs = (story_of(), dataclasses.replace(story_of(1.1), id="other"))[: 2 if name == "compare" else 1]
    paths = [str(run_file(run, f"{number}.jsonl")) for number, run in enumerate(runs)]
    code = (
        "import sys; from llmbench.cli.main import invoke; "
        f"code = invoke({['report', name, *paths]!r}); "
        "slow = {'pandas', 'numpy', 'scipy', 'openvino', 'torch', 'ruptures', 'jinja2', 'plotille'}; "
        "sys.exit(code or ' '.join(slow & set(sys.modules)) or None)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert ("", 0) == (done.stderr, done.returncode)
