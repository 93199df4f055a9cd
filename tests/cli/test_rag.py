"""``llmbench rag index`` and ``llmbench run -t rag`` on a real database, with a scripted model and embedder."""

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from llmbench.analysis.report import summarize_run
from llmbench.retrieval import database
from llmbench.retrieval import server as pg
from llmbench.schema.run import Outcome, Run
from llmbench.store import reader
from llmbench.workloads.rag.settings import demo_documents
from tests import postgres
from tests.waiting import wait_until

pytestmark = [pytest.mark.rag, pytest.mark.slow]
Command = Callable[..., subprocess.CompletedProcess[str]]
_ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
SCRIPT = ("-m", "first=300ms,next=1ms", "--engine", "scripted", "-ic", "2")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The name of a database that is up while these tests run."""
    with postgres.database() as name:
        yield name


def _last_run(folder: Path) -> Run:
    return reader.read_run(max((folder / "reports").glob("*.jsonl"), key=lambda path: path.stat().st_mtime))


def _documents(folder: Path, *texts: str) -> Path:
    folder.mkdir(exist_ok=True)
    for number, text in enumerate(texts):
        (folder / f"d{number}.txt").write_text(text)
    return folder


def test_indexing_twice_stores_once_and_follows_the_folder(
    llmbench: Command, tmp_path: Path, server: str
) -> None:
    """Documents that are there are left; a changed one is stored again, a vanished one is removed."""
    folder = _documents(tmp_path / "twice", "The cat sat.", "A dog ran.", "Fish swim.")
    index = ("rag", "index", "--documents", str(folder), "--database", server, "--engine", "scripted")

    first = llmbench(*index, "--index", "hnsw")
    assert first.returncode == 0, first.stderr
    assert "documents  3: 3 stored now, 0 there before" in first.stdout
    assert "index      hnsw_16_64, built in" in first.stdout
    assert "llmbench run -t rag" in first.stdout

    (folder / "d0.txt").write_text("The cat slept.")
    (folder / "d2.txt").unlink()
    again = llmbench(*index)
    assert "documents  2: 1 stored now, 1 there before, 1 removed" in again.stdout
    assert "chunks     2, 1 of them new" in again.stdout


def test_the_demo_is_one_command_and_its_stages_add_up(
    llmbench: Command, tmp_path: Path, server: str
) -> None:
    """Indexed first, once; twenty questions; the first token is the sum of its stages within 2 %."""
    fresh = ("--database", server, "--documents", str(demo_documents()), "--collection", "fresh")
    done = llmbench("run", "-t", "rag", *SCRIPT, "-n", "20", *fresh)

    assert done.returncode == 0, done.stderr
    assert "indexing" in done.stderr
    assert all(word in done.stdout for word in ("embed", "retrieve", "prefill", "recall@k", "right chunk"))
    (row,) = summarize_run(_last_run(tmp_path)).rows
    stages = [
        row.values[f"stage.{name}"] for name in ("embed", "retrieve", "prompt", "prefill", "unexplained")
    ]
    for parts, whole in zip(zip(*stages, strict=True), row.values["first_token"], strict=True):
        assert pytest.approx(whole) == sum(parts)
    assert min(row.values["share.unexplained"]) < 0.02  # of the request that was disturbed least
    assert row.summaries["recall"].median == 1
    assert 0 < row.summaries["right_chunk"].median <= 1
    assert row.summaries["retrieve_server"].median < row.summaries["stage.retrieve"].median * 3

    again = llmbench("run", "-t", "rag", *SCRIPT, "-n", "1", *fresh)
    assert "indexing" not in again.stderr


def test_a_fixed_context_holds_the_length_of_every_question(
    llmbench: Command, tmp_path: Path, server: str
) -> None:
    """Without it, what was retrieved changes the length, and the first token with it."""
    common = ("run", "-t", "rag", *SCRIPT, "-n", "5", "--database", server)
    lengths = []
    for more in ((), ("--fixed-context", "150")):
        assert llmbench(*common, *more).returncode == 0
        (launch,) = _last_run(tmp_path).launches
        lengths.append({m.input_tokens for m in launch.measurements})

    assert len(lengths[0]) > 1
    assert lengths[1] == {150}


def test_a_sweep_has_a_row_for_each_that_means_something(
    llmbench: Command, tmp_path: Path, server: str
) -> None:
    """--ef-search varies HNSW alone; the plan is recorded for each."""
    done = llmbench(
        *("run", "-t", "rag", *SCRIPT, "-n", "2", "--database", server),
        *("--index", "exact,hnsw", "--ef-search", "40,80", "--retrieve-top-k", "2,4"),
    )

    assert done.returncode == 0, done.stderr
    run = _last_run(tmp_path)
    assert len(run.cells) == 6
    notes = [" ".join(launch.effective.notes) for launch in run.launches]
    assert all("plan: " in note or "the planner did not use the index" in note for note in notes)
    assert all("pgvector" in note for note in notes)


def test_top_k_is_how_many_chunks_are_retrieved_unless_tokens_are_sampled(
    llmbench: Command, tmp_path: Path, server: str
) -> None:
    """A sweep over it; with --do-sample it is the sampling's, and both spellings at once are refused."""
    run = ("run", "-t", "rag", *SCRIPT, "-n", "1", "--database", server, "--top-k", "2,4")
    assert llmbench(*run).returncode == 0
    assert [2, 4] == [cell.parameters["retrieve_top_k"] for cell in _last_run(tmp_path).cells]

    done = llmbench(*run, "--retrieve-top-k", "6")
    assert (2, True) == (done.returncode, "--top-k and --retrieve-top-k were given" in done.stderr)


def test_a_reranker_is_a_stage_of_its_own(llmbench: Command, tmp_path: Path, server: str) -> None:
    """Six chunks are retrieved, two go into the prompt."""
    common = ("run", "-t", "rag", *SCRIPT, "-n", "2", "--database", server, "--retrieve-top-k", "6")
    lengths = []
    for more in ((), ("--reranker", "dimension=64", "--rerank-top-n", "2")):
        done = llmbench(*common, *more)
        assert done.returncode == 0, done.stderr
        (row,) = summarize_run(_last_run(tmp_path)).rows
        lengths.append(row.input_tokens)

    assert row.summaries["stage.rerank"].median > 0
    assert lengths[1] < lengths[0] / 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--ef-search", "40"), "--ef-search is for --index hnsw"),
        (("--index", "hnsw", "--ef-search", "2"), "--ef-search 2 is below --retrieve-top-k 4"),
        (("--rerank-top-n", "2"), "--rerank-top-n needs a --reranker"),
        (("--input-tokens", "8"), "-t rag measures questions"),
        (("--retrieve-top-k", "9999"), "has 540 chunks, fewer than --retrieve-top-k 9999"),
        (("--collection", "none"), "has no collection none"),
        (("--fixed-context", "3"), "--fixed-context 3 leaves no context"),
        (("--questions", "none.jsonl"), "--questions none.jsonl cannot be read"),
        (("--database", "mysql://h/d"), "is not an address of PostgreSQL"),
    ],
)
def test_bad_settings_are_refused_in_one_line(
    *, arguments: tuple[str, ...], message: str, llmbench: Command, tmp_path: Path, server: str
) -> None:
    """Exit 2, and no run file."""
    done = llmbench("run", "-t", "rag", *SCRIPT, "--database", server, *arguments)

    assert done.returncode == 2
    assert f"error: {message}" in done.stderr or message in done.stderr
    assert not list((tmp_path / "reports").glob("*.jsonl"))


def test_a_database_that_is_down_is_exit_4(llmbench: Command, tmp_path: Path) -> None:
    """One line, the password nowhere."""
    done = llmbench("run", "-t", "rag", *SCRIPT, "--database", "postgresql://u:geheim99@127.0.0.1:1/d")

    assert done.returncode == 4
    assert "error: the database postgresql://u@127.0.0.1:1/d cannot be reached" in done.stderr
    assert "geheim99" not in done.stdout + done.stderr
    assert not list((tmp_path / "reports").glob("*.jsonl"))


def test_a_search_that_became_slow_is_named_by_the_comparison(
    llmbench: Command, tmp_path: Path, server: str
) -> None:
    """The table is made slow behind the tool's back: every row read takes a tenth of a millisecond."""
    texts = (f"Page {number} is on configuration {number}." for number in range(200))
    documents = str(_documents(tmp_path / "slow", *texts))
    run = ("run", "-t", "rag", "-m", "first=20ms,next=1ms", "--engine", "scripted", "-ic", "2", "-n", "3")
    run = (*run, "--documents", documents, "--database", server, "-p", "configuration", "--launches", "5")
    assert llmbench(*run, "--name", "base").returncode == 0
    address = pg.address_of(server)
    with contextlib.closing(database.connect(address)) as admin:
        (number,) = admin.execute("SELECT id FROM llmbench.collections WHERE name = 'slow'").fetchone()
        admin.execute(f"ALTER TABLE llmbench.chunks_{number} RENAME TO real_{number}")
        admin.execute(
            f"CREATE VIEW llmbench.chunks_{number} AS SELECT * FROM llmbench.real_{number} "  # noqa: S608
            "WHERE pg_sleep(0.0001) IS NOT NULL"
        )

    assert llmbench(*run, "--name", "slow").returncode == 0
    done = llmbench("report", "compare", "reports/base.jsonl", "reports/slow.jsonl")

    assert "The slower stage is retrieve" in " ".join(done.stdout.split()), done.stdout


def test_every_command_of_the_page_can_be_typed(llmbench: Command, tmp_path: Path, server: str) -> None:
    """In order, in one folder; with scripted models here, with real ones nightly."""
    _documents(tmp_path / "docs", *(f"ab compares two configurations, page {number}." for number in range(5)))
    commands = [
        line for block in _BLOCK.findall((_ROOT / "docs/rag.md").read_text()) for line in block.splitlines()
    ]
    assert len(commands) == 6

    for command in commands[:-1]:  # the last one embeds alone, which a script does not
        arguments = shlex.split(command)[1:]
        arguments += ["--engine", "scripted", *(("--database", server) if "rag" in arguments else ())]
        needs_model = "rag" in arguments and "index" not in arguments
        done = llmbench(*arguments, *(("-m", "first=30ms,next=1ms") if needs_model else ()))

        assert done.returncode in {0, 1}, f"{command}\n{done.stderr}"


def test_a_password_is_in_no_file_and_on_no_screen(llmbench: Command, tmp_path: Path, server: str) -> None:
    """It is taken out of the address before anything is recorded."""
    address = pg.address_of(server).replace("postgres@", "postgres:geheim99@")

    done = llmbench("run", "-t", "rag", *SCRIPT, "-n", "1", "--database", address)

    assert done.returncode == 0, done.stderr
    (path,) = (tmp_path / "reports").glob("*.jsonl")
    assert "geheim99" not in path.read_text() + done.stdout + done.stderr
    assert "postgresql://postgres@/" in path.read_text()


def _as_process(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "llmbench", *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "LLMBENCH_LAUNCHER": "inline"},
    )


def test_killing_the_database_loses_nothing_and_says_how_to_go_on(tmp_path: Path) -> None:
    """Exit 5 with what was measured kept and the command to type; it starts the database, and makes what is missing."""
    with postgres.database() as name:
        victim = _as_process(
            tmp_path,
            *("run", "-t", "rag", "--database", name, "--name", "victim"),
            *("-m", "first=2ms,next=1ms,sleep=50ms", "--engine", "scripted", "-ic", "2", "-n", "40"),
        )
        path = tmp_path / "reports/victim.jsonl"
        wait_until(lambda: path.exists() and path.read_text().count('"measurement"') > 5, "measurements")
        pid = int((pg.data_folder(name) / "postmaster.pid").read_text().split()[0])
        psutil.Process(pid).send_signal(signal.SIGQUIT)
        _, err = victim.communicate(timeout=120)
        kept = path.read_bytes()
        resumed = _as_process(tmp_path, "run", "--resume", "reports/victim.jsonl")
        again, failure = resumed.communicate(timeout=120)

    assert victim.returncode == 5, err
    assert "was lost while" in err
    assert "hint: go on with what is missing: llmbench run --resume reports/victim.jsonl" in err
    assert resumed.returncode == 0, failure
    assert "1 of 2 launches FAILED" in " ".join(again.split())
    assert path.read_bytes().startswith(kept)
    lost, whole = reader.read_run(path).launches
    assert (Outcome.FAILED, Outcome.FINISHED) == (lost.outcome, whole.outcome)
    assert len(lost.measurements) > 5
    assert [m.is_warmup for m in whole.measurements].count(False) == 40
