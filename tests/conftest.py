"""What every test may use: the command itself, and golden files. What is built by hand is in tests/builders.py."""

import contextlib
import functools
import os
import signal
import sqlite3
from collections.abc import Callable, Generator
from pathlib import Path

import hypothesis
import pytest

from llmbench.analysis.comparison.compare import Comparison
from llmbench.schema.measurement import Measurement
from llmbench.schema.run import Launch, Run
from tests import builders, command
from tests.leaks import name_own_pools, threads_and_children
from tests.waiting import wait_until

RunCommand = command.RunCommand

hypothesis.settings.register_profile(
    "gate",
    deadline=None,  # how long an example takes says how busy the machine is
    derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("gate")


def pytest_configure() -> None:
    """Take interrupts, and have the commands under test take them, though a shell's background job ignores them."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin each worker's part with its share of the long tests, so that none is left alone with one at the end."""
    workers = getattr(config, "workerinput", {}).get("workercount", 1)
    if workers > 1:
        longest_first = sorted(items, key=_shortness)
        long = [item for item in longest_first if _shortness(item) < len(_LONG)]
        short = longest_first[len(long) :]
        items[:] = [item for n in range(workers) for item in (*long[n::workers], *short[n::workers])]


_LONG = ("convert", "rag", "slow")
"""Marks of long tests, those of the longest first."""


def _shortness(item: pytest.Item) -> int:
    return next((n for n, mark in enumerate(_LONG) if item.get_closest_marker(mark)), len(_LONG))


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """Discard what a process was writing of its coverage when a test killed it, before all is combined."""
    result = yield
    if not hasattr(session.config, "workerinput"):
        for path in session.config.rootpath.glob(".coverage.*"):
            if not _is_whole(path):
                path.unlink(missing_ok=True)
    return result


def _is_whole(path: Path) -> bool:
    """Whether SQLite can read a file of coverage to its end."""
    try:
        with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as file:
            is_begun = bool(file.execute("select version from coverage_schema").fetchall())
            return is_begun and [("ok",)] == file.execute("pragma quick_check").fetchall()
    except sqlite3.Error:
        return False


_BEFORE = pytest.StashKey[set[str]]()
name_own_pools()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Note the threads and child processes that a test finds: those of fixtures for several tests may stay."""
    item.stash[_BEFORE] = threads_and_children()
    yield


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None]:
    """Fail a test that leaves a thread or a child process behind; files left open fail it as warnings are errors."""
    yield
    before = item.stash.get(_BEFORE, None)
    if before is not None:
        wait_until(lambda: threads_and_children() <= before, f"an end of {threads_and_children() - before}")


@pytest.fixture(autouse=True)
def _online(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the hub may be asked is for a test to say, not for this environment or for a test before it."""
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)


@pytest.fixture
def llmbench(tmp_path: Path) -> RunCommand:
    """Runs the command and its launches, scripted ones, inside this process, in an empty folder."""
    return functools.partial(command.in_process, tmp_path, "inline")


@pytest.fixture
def llmbench_workers(tmp_path: Path) -> RunCommand:
    """Runs the command inside this process and each launch in a worker process, in an empty folder."""
    return functools.partial(command.in_process, tmp_path, "process")


@pytest.fixture
def llmbench_process(tmp_path: Path) -> RunCommand:
    """Runs the command in a process of its own, in an empty folder; for tests of the process itself."""
    return functools.partial(command.as_process, tmp_path)


@pytest.fixture
def request_of() -> Callable[..., Measurement]:
    """Builds a measurement from token instants in ms."""
    return builders.request_of


@pytest.fixture
def launch_of() -> Callable[..., Launch]:
    """Builds a finished launch from measurements."""
    return builders.launch_of


@pytest.fixture
def run_of() -> Callable[..., Run]:
    """Builds a complete run from launches."""
    return builders.run_of


@pytest.fixture
def story_of() -> Callable[..., Run]:
    """Builds a whole run: see builders."""
    return builders.story_of


@pytest.fixture
def comparison_of() -> Callable[[str], Comparison]:
    """Compares two runs: see builders."""
    return builders.comparison_of


@pytest.fixture
def golden() -> Callable[[str, str], None]:
    """Compares a text with a golden file; with LLMBENCH_UPDATE_GOLDEN=1 it writes the file instead."""

    def check(name: str, text: str) -> None:
        path = Path(__file__).parent / "golden" / name
        if os.environ.get("LLMBENCH_UPDATE_GOLDEN"):
            path.write_text(text, encoding="utf-8")
        assert path.read_text(encoding="utf-8") == text

    return check
