"""What every test may use: the command itself, and golden files. What is built by hand is in tests/builders.py."""

import contextlib
import functools
import itertools
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


def _worker(config: pytest.Config) -> tuple[int, int]:
    """Which of how many processes that run tests side by side this is, from zero."""
    seen = getattr(config, "workerinput", {"workerid": "gw0", "workercount": 1})
    return int(seen["workerid"].removeprefix("gw")), seen["workercount"]


class _Turned(pytest.Dir):
    """A folder that each worker reads from another file on: what one has compiled the others find compiled."""

    def collect(self) -> list[pytest.Item | pytest.Collector]:
        """Return what is in the folder, the worker's own share first."""
        found, (number, workers) = list(super().collect()), _worker(self.config)
        begin = len(found) * number // workers
        return found[begin:] + found[:begin]


def pytest_collect_directory(path: Path, parent: pytest.Collector) -> pytest.Collector:
    """Read the folders of tests in turns."""
    return _Turned.from_parent(parent, path=path)


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Generator[None]:
    """Begin each worker's part with its share of the long tests, so that none is left alone with one at the end.

    A share has whole modules but for the first and the last: what a module's tests have in common is made once.
    """
    _, workers = _worker(config)
    if workers > 1:
        items.sort(key=lambda item: item.path)  # all workers must have them in one order
    yield
    if workers > 1:
        kinds = [[item for item in items if _shortness(item) == kind] for kind in range(len(_LONG) + 1)]
        shares = [_share(kind, n, workers) for n in range(workers) for kind in kinds]
        items[:] = itertools.chain.from_iterable(shares)


_LONG = ("convert", "rag", "slow")
"""Marks of long tests, those of the longest first."""


def _shortness(item: pytest.Item) -> int:
    return next((n for n, mark in enumerate(_LONG) if item.get_closest_marker(mark)), len(_LONG))


def _share(items: list[pytest.Item], number: int, workers: int) -> list[pytest.Item]:
    """Return one of equal parts of a list."""
    return items[len(items) * number // workers : len(items) * (number + 1) // workers]


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
