"""What a test leaves behind is seen, whichever way it was made."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.leaks import threads_and_children


def _thread(over: threading.Event) -> Callable[[], None]:
    thread = threading.Thread(target=over.wait)
    thread.start()
    return thread.join


def _pool(over: threading.Event) -> Callable[[], None]:
    pool = ThreadPoolExecutor(1)
    pool.submit(over.wait)
    return pool.shutdown


@pytest.fixture
def over() -> Iterator[threading.Event]:
    """Ends what a test leaves behind on purpose."""
    event = threading.Event()
    yield event
    event.set()


@pytest.mark.parametrize("make", [_thread, _pool])
def test_a_thread_that_still_runs_is_seen(
    over: threading.Event, make: Callable[[threading.Event], Callable[[], None]]
) -> None:
    """One of its own, and one of a pool that nobody shut down; neither once it has ended."""
    before = threads_and_children()
    end = make(over)
    left = threads_and_children() - before
    over.set()
    end()

    assert 1 == len(left), left
    assert not left & threads_and_children()
