"""Retrieval with real models: the walk of docs/rag.md as a stranger types it, and figures on many chunks."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmbench.analysis.comparison.compare import compare
from llmbench.analysis.comparison.rule import Rule, Verdict
from llmbench.analysis.report import summarize_run
from llmbench.cli.retrieval_source import embedder_ir
from llmbench.render.sentences.verdict import sentence
from llmbench.retrieval.documents import find_documents
from llmbench.store import reader
from llmbench.workloads.rag.settings import demo_documents
from tests import postgres

pytestmark = [pytest.mark.model, pytest.mark.convert, pytest.mark.rag]
_ROOT = Path(__file__).parents[2]
ONE_COMMAND, SHORT = "llmbench run -t rag", " -n 3 -ic 4"
_BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The name of a database that is up while these tests run."""
    with postgres.database() as name:
        yield name


@pytest.fixture(scope="module")
def embedder() -> Path:
    """The IR of all-MiniLM-L6-v2."""
    return embedder_ir(None)


def _type(command: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        command,
        shell=True,
        check=False,
        cwd=folder,
        env={**os.environ, "PATH": path, "COLUMNS": "120"},
        capture_output=True,
        text=True,
        timeout=900,
    )


@pytest.mark.nightly
def test_every_command_of_the_page_runs_as_written(tmp_path: Path, server: str, embedder: Path) -> None:
    """In order, in one folder, on a database of its own; measured whatever else the machine does."""
    (tmp_path / "docs").mkdir()
    for page in ("comparing.md", "validity.md"):
        shutil.copy(_ROOT / "docs" / page, tmp_path / "docs")
    text = (_ROOT / "docs/rag.md").read_text(encoding="utf-8")
    commands = [line for block in _BLOCK.findall(text) for line in block.splitlines()]
    assert len(commands) == 6

    for command in commands:
        typed = command.replace("EMBEDDER", str(embedder))
        typed += " --foreign-cpu-limit 1" if "rag index" not in command else ""
        typed += f" --database {server}" if "rag" in command else ""
        typed += SHORT if command == ONE_COMMAND else ""
        done = _type(typed, tmp_path)

        assert done.returncode in {0, 1}, f"{command}\n{done.stdout}\n{done.stderr}"


@pytest.mark.alone
def test_one_command_measures_a_question_with_real_models(
    tmp_path: Path, server: str, embedder: Path
) -> None:
    """Stages add up within 2 %, an exact search finds all, and nearly every right chunk is found."""
    assert embedder.is_dir()

    done = _type(f"{ONE_COMMAND}{SHORT} --foreign-cpu-limit 1 --database {server}", tmp_path)

    assert done.returncode == 0, done.stderr
    (path,) = (tmp_path / "reports").glob("*.jsonl")
    (row,) = summarize_run(reader.read_run(path)).rows
    assert abs(row.summaries["share.unexplained"].median) < 0.02
    assert row.summaries["recall"].median == 1
    assert row.summaries["right_chunk"].median >= 0.85


@pytest.mark.nightly
def test_an_index_trades_recall_for_time_on_ten_thousand_chunks(tmp_path: Path, server: str) -> None:
    """HNSW is faster than exact search and finds nearly all; a search that was slowed on purpose is named."""
    documents = str(demo_documents())
    assert find_documents(demo_documents())
    common = (
        f"llmbench run -t rag --documents {documents} --collection ten --chunk-size 60 --chunk-overlap 30 "
        f"--database {server} --fixed-context 64 -n 20 -ic 2 --launches 3 --foreign-cpu-limit 1"
    )

    fast = _type(f"{common} --index hnsw --ef-search 40 --name fast", tmp_path)
    slow = _type(f"{common} --index exact --name slow", tmp_path)

    assert (fast.returncode, slow.returncode) == (0, 0), fast.stderr + slow.stderr
    before, after = (
        summarize_run(reader.read_run(tmp_path / f"reports/{name}.jsonl")) for name in ("fast", "slow")
    )
    times = [report.rows[0].summaries["stage.retrieve"].median for report in (before, after)]
    recalls = [report.rows[0].summaries["recall"].median for report in (before, after)]
    assert any(
        " 9" in note or " 1" in note for launch in before.run.launches for note in launch.effective.notes
    )
    assert times[0] * 2 < times[1]
    assert 0.8 < recalls[0] <= recalls[1] == 1
    comparison = compare(before, after, Rule())
    assert comparison.verdict is Verdict.REGRESSED
    assert "slower stage is retrieve" in sentence(comparison)
