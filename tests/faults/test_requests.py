"""Prompts that no one expects, outputs of hardly any token, and screens of every kind."""

import csv
import fcntl
import io
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import pytest

from llmbench.analysis.metrics.table import METRICS
from llmbench.store import importers, reader
from tests.outcome import assert_measured
from tests.waiting import PATIENCE_S

from .conftest import SCRIPTED, files_below

Run = Callable[..., subprocess.CompletedProcess[str]]

row_17 = pytest.mark.fault(17, "prompt file: bad line N, no prompt, BOM, empty prompt, wrong type")
row_18 = pytest.mark.fault(18, "emoji, CJK, right-to-left, NUL, 1 MB prompt")
row_19 = pytest.mark.fault(19, "lone surrogate")
row_21 = pytest.mark.fault(21, "0 output tokens / 1 output token")
row_22 = pytest.mark.fault(22, "EOS on the first token")
row_33 = pytest.mark.fault(33, "text that starts a formula, in CSV")
row_38 = pytest.mark.fault(38, "stdout closed, LANG=C, no terminal, 40-column terminal, NO_COLOR")

SCRIPT = ("run", "-m", "first=20ms,second=15ms,next=10ms", *SCRIPTED, "-n", "2")
FAST = (*SCRIPT, "-ic", "4")


@row_17
def test_row_17_every_bad_line_is_named_and_nothing_is_run(llmbench: Run, tmp_path: Path) -> None:
    """Exit 2, all lines at once, each with its number and what was expected."""
    lines = [
        '{"prompt": "fine"}',
        "{bad",
        '{"text": "x"}',
        '{"prompt": ""}',
        '{"prompt": 7}',
        '["prompt"]',
        "",
    ]
    (tmp_path / "p.jsonl").write_text("\n".join(lines))
    done = llmbench("run", "-m", "hang@1", *SCRIPTED, "-pf", "p.jsonl")

    assert done.returncode == 2
    for number, what in (
        (2, "expected JSON"),
        (3, '"prompt"'),
        (4, "not empty"),
        (5, "a number"),
        (6, "a list"),
    ):
        assert any(f"p.jsonl:{number}: " in line and what in line for line in done.stderr.splitlines())
    assert [] == list(tmp_path.glob("reports/*"))


@row_17
@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_row_17_a_file_without_a_prompt_is_refused(llmbench: Run, tmp_path: Path, content: bytes) -> None:
    """Exit 2: zero prompts are never zero measurements and success."""
    (tmp_path / "p.jsonl").write_bytes(content)
    done = llmbench(*FAST, "-pf", "p.jsonl")

    assert done.returncode == 2
    assert "p.jsonl contains no prompt" in done.stderr


@row_17
def test_row_17_a_byte_order_mark_is_no_part_of_the_first_prompt(llmbench: Run, tmp_path: Path) -> None:
    """As editors on other systems write it: read, and left out."""
    (tmp_path / "p.jsonl").write_bytes(b'\xef\xbb\xbf{"prompt": "one"}\r\n{"prompt": "two"}\r\n')
    done = llmbench(*FAST, "-pf", "p.jsonl", "--name", "x")

    assert done.returncode == 0, done.stderr
    prompts = reader.read_run(tmp_path / "reports/x.jsonl").cells[0].prompts
    assert ["one", "two"] == [prompt.text for prompt in prompts]


_TEXTS = ("emoji 😀👩‍👩‍👧", "中文 日本語", "עברית \u202e العربية", "a\x00b\x1b[31mred", "word " * 200_000)


@row_18
def test_row_18_any_text_runs_and_is_in_the_run_file_alone(llmbench: Run, tmp_path: Path) -> None:
    """Exit 0; the texts come back from the run file as they were, and CSV, JSON and screen have none of them."""
    (tmp_path / "p.jsonl").write_text("".join(json.dumps({"prompt": text}) + "\n" for text in _TEXTS))
    done = llmbench(*FAST, "-pf", "p.jsonl", "--name", "x", "-r", "out.csv", "-rj", "out.json")

    assert done.returncode == 0, done.stderr
    prompts = reader.read_run(tmp_path / "reports/x.jsonl").cells[0].prompts
    assert _TEXTS == tuple(prompt.text for prompt in prompts)
    tidy = llmbench("report", "csv", "reports/x.jsonl").stdout
    written = [(tmp_path / name).read_text() for name in ("out.csv", "out.json")]
    for text in (*written, tidy, done.stdout):
        assert not any(sign in text for sign in ("😀", "中文", "עברית", "\x00", "\x1b", "word word"))
    assert prompts[0].sha256 in tidy


@row_19
@pytest.mark.parametrize("number", [1, 4])
def test_row_19_half_a_character_is_refused_with_its_line(llmbench: Run, tmp_path: Path, number: int) -> None:
    """JSON can spell a lone surrogate; no model can read one. Exit 2."""
    lines = ['{"prompt": "fine"}'] * 4
    lines[number - 1] = '{"prompt": "half \\ud83d of it"}'
    (tmp_path / "p.jsonl").write_text("\n".join(lines))
    done = llmbench(*FAST, "-pf", "p.jsonl")

    assert done.returncode == 2
    assert f"p.jsonl:{number}: not valid Unicode" in done.stderr


@row_19
def test_row_19_bytes_that_are_no_text_are_refused_as_an_argument(tmp_path: Path) -> None:
    """A byte that is not UTF-8 on the command line becomes a lone surrogate in Python."""
    command = [sys.executable, "-m", "llmbench", *FAST, "-p", b"caf\xe9"]
    environment = {**os.environ, "LLMBENCH_LAUNCHER": "inline"}
    done = subprocess.run(command, check=False, cwd=tmp_path, env=environment, capture_output=True)

    assert done.returncode == 2
    assert b"not valid Unicode" in done.stderr


@row_21
@pytest.mark.parametrize("count", ["0", "-1"])
def test_row_21_no_output_tokens_are_refused(llmbench: Run, count: str) -> None:
    """Exit 2 with the number."""
    done = llmbench(*SCRIPT, "-ic", count)

    assert done.returncode == 2
    assert count in done.stderr


def _assert_only_a_first_token(llmbench: Run, tmp_path: Path) -> None:
    """The run x has a first token, and neither a second nor a next one, in code and in every file."""
    for m in reader.read_run(tmp_path / "reports/x.jsonl").launches[0].measurements:
        values = {name: METRICS[name].of(m) for name in ("first_token", "second_token", "next_token", "tpot")}
        assert (values.pop("first_token") or 0) > 0
        assert {None} == set(values.values())
    tidy = list(csv.DictReader(io.StringIO(llmbench("report", "csv", "reports/x.jsonl").stdout)))
    assert {("", "", "")} == {(r["second_token_ms"], r["next_token_ms"], r["tpot_ms"]) for r in tidy}
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text())))
    assert {"NA"} == {row["2nd_avg_latency(ms)"] for row in rows}
    results = json.loads((tmp_path / "out.json").read_text())["perfdata"]["results"]
    assert all(result["second_avg_latency"] in {None, "NA"} for result in results)


@row_21
@pytest.mark.parametrize("engine", ["scripted", pytest.param("genai", marks=pytest.mark.model)])
def test_row_21_after_one_token_there_is_no_second(
    llmbench_workers: Run, tmp_path: Path, request: pytest.FixtureRequest, engine: str
) -> None:
    """Exit 0; what does not exist is None, empty or NA, and never the engine's -1."""
    model = "first=20ms" if engine == "scripted" else str(request.getfixturevalue("demo_ir"))
    done = llmbench_workers(
        *("run", "-m", model, "--engine", engine, "-ic", "1", "-n", "2", "--foreign-cpu-limit", "1"),
        *("--name", "x", "-r", "out.csv", "-rj", "out.json"),
    )

    assert_measured(done)
    _assert_only_a_first_token(llmbench_workers, tmp_path)


@row_22
def test_row_22_an_end_at_the_first_token_leaves_no_later_metric(llmbench: Run, tmp_path: Path) -> None:
    """Where an early end was requested it counts: exit 0, and the metrics after it do not exist."""
    done = llmbench(
        *("run", "-m", "first=20ms,stop=1", *SCRIPTED, "-n", "2", "-ic", "8", "--end-token-stopping"),
        *("--name", "x", "-r", "out.csv", "-rj", "out.json"),
    )

    assert done.returncode == 0, done.stderr
    _assert_only_a_first_token(llmbench, tmp_path)


@row_22
def test_row_22_an_end_that_was_not_requested_does_not_count(llmbench: Run, tmp_path: Path) -> None:
    """A request that ended early without leave is marked with both counts; a report in which none counts is exit 5."""
    llmbench(*FAST, "--name", "x")
    path = tmp_path / "reports/x.jsonl"
    cut = []
    for line in path.read_text().splitlines():
        event = json.loads(line)
        for sequence in event.get("sequences", ()):
            sequence |= {
                "at_ns": sequence["at_ns"][:1],
                "token_ids": sequence["token_ids"][:1],
                "finish": "stop",
            }
        cut.append(json.dumps(event))
    path.write_text("\n".join(cut) + "\n")
    done = llmbench("report", "show", "reports/x.jsonl")

    assert "the end of the text cut the output to 1 of 4 tokens" in " ".join(done.stdout.split())
    assert done.returncode == 5


@row_33
@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "=cmd|' /C calc'!A0", "'=1"])
def test_row_33_no_value_runs_in_a_spreadsheet_and_each_reads_back(
    llmbench: Run, tmp_path: Path, name: str
) -> None:
    """A run's name is in a column of text: neutral in the file, and as it was once read again."""
    done = llmbench(*FAST, f"--name={name}", "--output-dir", "out", "-p", name)
    assert done.returncode == 0, done.stderr
    (run_file,) = (tmp_path / "out").iterdir()
    assert llmbench("report", "csv", f"./{run_file.relative_to(tmp_path)}", "-o", "x.csv").returncode == 0
    for row in csv.reader(io.StringIO((tmp_path / "x.csv").read_text())):
        assert not any(
            cell.startswith(("=", "+", "-", "@", "\t", "\r")) and not _is_number(cell) for cell in row
        )
    assert reader.read_run(run_file).id == importers.read_report(tmp_path / "x.csv").id


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


_SCREENS = (
    {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"PYTHONIOENCODING": "ascii", "COLUMNS": "40", "TERM": "dumb"},
    {"NO_COLOR": "", "FORCE_COLOR": "1", "TZ": "Asia/Kathmandu"},
)


@row_38
@pytest.mark.parametrize("changes", _SCREENS, ids=[",".join(changes) for changes in _SCREENS])
@pytest.mark.slow
def test_row_38_files_do_not_depend_on_the_screen(
    llmbench: Run, llmbench_process: Run, tmp_path: Path, changes: dict[str, str]
) -> None:
    """Exit 0 and a table; the reports made of one run file are the same bytes, whatever the screen."""
    (tmp_path / "p.jsonl").write_text('{"prompt": "emoji 😀 and 中文"}\n')
    ran = llmbench_process(*FAST, "-pf", "p.jsonl", "--name", "x", LLMBENCH_LAUNCHER="inline", **changes)
    assert ran.returncode == 0, ran.stderr
    assert "20.00" in ran.stdout
    for kind in ("csv", "json", *(["html"] if "LANG" in changes else [])):
        show = ("report", kind, "reports/x.jsonl", "-o")
        done = llmbench_process(*show, f"changed.{kind}", **changes)
        assert done.returncode == 0, done.stderr
        assert llmbench(*show, f"plain.{kind}").returncode == 0
        assert (tmp_path / f"plain.{kind}").read_bytes() == (tmp_path / f"changed.{kind}").read_bytes()


@row_38
@pytest.mark.parametrize("redirect", [">&-", ">&- 2>&-", "<&- >&- 2>&-", "2>&-", "| head -n 1", "| true"])
@pytest.mark.slow
def test_row_38_a_closed_stream_costs_no_measurement(tmp_path: Path, redirect: str) -> None:
    """The run goes on to its end, and what is in its files is all there."""
    command = f"{sys.executable} -m llmbench {' '.join(FAST)} --name x -r out.csv {redirect}"
    environment = {**os.environ, "LLMBENCH_LAUNCHER": "inline"}
    done = subprocess.run(
        command, shell=True, check=False, cwd=tmp_path, env=environment, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert reader.read_run(tmp_path / "reports/x.jsonl").is_complete
    assert {tmp_path / "out.csv", tmp_path / "reports/x.jsonl"} == set(files_below(tmp_path))


def _on_a_terminal(command: list[str], folder: Path, columns: int) -> tuple[int, str]:
    """Exit code and output of a command on a real terminal of so many columns.

    The command is started as any child is, never by a fork that goes on in Python: this process has the threads of
    engines in it, and a copy of it without them was seen to crash before it became the command.
    """
    environment = {name: os.environ[name] for name in os.environ if name not in {"COLUMNS", "NO_COLOR"}}
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    child = subprocess.Popen(
        command,
        cwd=folder,
        env=environment | {"TERM": "xterm"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    output = b""
    try:
        while chunk := os.read(ours, 1 << 16):
            output += chunk
    except OSError:  # how a terminal says that nobody is on it any more
        pass
    os.close(ours)
    return child.wait(timeout=PATIENCE_S), output.decode()


@row_38
def test_row_38_a_table_fits_a_terminal_of_40_columns(llmbench: Run, tmp_path: Path) -> None:
    """No line of a report is broken by the terminal, and numbers are whole."""
    llmbench(*FAST, "--name", "x")
    show = [sys.executable, "-m", "llmbench", "report", "show", "reports/x.jsonl"]
    code, output = _on_a_terminal(show, tmp_path, 40)
    lines = [_without_colours(line) for line in output.splitlines()]

    assert code == 0
    assert max(map(len, lines)) <= 40
    assert any("20.00" in line for line in lines)


def _without_colours(text: str) -> str:
    import click

    return click.unstyle(text).rstrip()
