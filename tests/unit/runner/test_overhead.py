"""What the tool itself may cost, as ratios: ``benchmarks/overhead.py`` prints the figures of a quiet machine."""

import time

import pytest

from llmbench.schema.config import Prompt, RunConfig
from tests import benchmark

overhead = benchmark.load("overhead")

_CALLS = 200_000
_AIM_IN_CALLS = 500
"""50 microseconds, where Python calls a function in 100 ns; a slower machine is slower at both."""


def _seconds_a_call() -> float:
    """CPU seconds of an empty function's call, the least of three."""

    def nothing() -> None:
        pass

    found = []
    for _ in range(3):
        start = time.process_time()
        for _ in range(_CALLS):
            nothing()
        found.append((time.process_time() - start) / _CALLS)
    return min(found)


def test_between_two_tokens_our_code_takes_next_to_nothing() -> None:
    """A token of the scripted engine, and a heartbeat, against an empty call: both far under 50 microseconds."""
    call_s = _seconds_a_call()
    ours_s, beat_s = (
        min(found) for found in zip(*(overhead.seconds_a_token(2_000) for _ in range(3)), strict=True)
    )

    assert ours_s < _AIM_IN_CALLS * call_s
    assert beat_s < _AIM_IN_CALLS * call_s


@pytest.mark.slow
def test_the_parent_takes_next_to_nothing_while_its_worker_measures() -> None:
    """It waits for requests of half a second on a pipe; writing them down takes CPU time, waiting none."""
    config = RunConfig(
        model="first=1ms,sleep=500ms",
        engine="scripted",
        attention="sdpa",
        prompts=(Prompt(set="s", index=0, text="x"),),
        iterations=4,
        output_tokens=128,
    )

    assert overhead.parent_share(config) < 0.05
