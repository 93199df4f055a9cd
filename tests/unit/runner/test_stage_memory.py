"""Memory by stage: when each stage ran, and the most that was resident in its time."""

import time
from collections.abc import Sequence

import pytest

from llmbench.machine.memory import PeakWatch, resident_bytes
from llmbench.runner.stage_memory import stage_peaks, stage_spans
from llmbench.schema import measurement
from llmbench.schema.measurement import Stage
from llmbench.schema.units import Nanoseconds
from llmbench.workloads.base import Observation
from tests.waiting import wait_until


def observed(stages: Sequence[Stage], first_ns: int | None = 100, end_ns: int = 150) -> Observation:
    at_ns = () if first_ns is None else (Nanoseconds(first_ns),)
    sequences = (measurement.Sequence(input_tokens=1, at_ns=at_ns),) if at_ns else ()
    return Observation(start_ns=0, end_ns=end_ns, sequences=sequences, stages=tuple(stages))


def test_durations_follow_each_other_and_the_last_ends_with_the_first_token() -> None:
    """10 ns of vision from the start and 60 ns of prefill before 100 ns: what no stage has lies between them."""
    stages = [Stage(name="vision", duration_ns=10), Stage(name="text", duration_ns=5)]

    assert [("vision", 0, 10), ("text", 10, 15), ("prefill", 40, 100), ("decode", 100, 150)] == list(
        stage_spans(observed([*stages, Stage(name="prefill", duration_ns=60)]))
    )


def test_a_stage_with_an_instant_is_where_it_was() -> None:
    """And without tokens nothing is decoded."""
    stage = Stage(name="vocoder", duration_ns=10, at_ns=Nanoseconds(70))

    assert [("vocoder", 70, 80)] == list(stage_spans(observed([stage], first_ns=None)))


def test_the_watch_sees_what_was_resident_and_is_no_longer() -> None:
    """128 MiB that are written and freed between two instants, though nothing is resident before and after.

    A quarter of them is allowance for what the kernel pages out meanwhile.
    """
    watch = PeakWatch()
    start_ns, before = time.perf_counter_ns(), resident_bytes()
    block = bytearray(128 << 20)
    block[::4096] = b"x" * len(block[::4096])
    del block
    end_ns = time.perf_counter_ns()
    wait_until(lambda: _peak_now(watch) < before + (32 << 20), "a look after the block was freed")
    highest = watch.stop()

    during = watch.peak_between(start_ns, end_ns)
    assert during is not None
    assert during - before > 96 << 20
    assert during <= highest
    assert watch.peak_between(0, 1) is None


def _peak_now(watch: PeakWatch) -> int:
    """The most that was resident around now, once the watch has looked."""
    now_ns = time.perf_counter_ns()
    wait_until(lambda: watch.peak_between(now_ns, now_ns + 1) is not None, "the watch to look")
    return watch.peak_between(now_ns, now_ns + 1) or 0


def test_stages_that_were_not_watched_have_no_peak() -> None:
    """Those before the watch began."""
    watch = PeakWatch()
    watch.stop()

    assert {} == stage_peaks(watch, observed([Stage(name="vision", duration_ns=10)]))


@pytest.mark.parametrize("count", [1, 2])
def test_a_stage_alone_or_several(count: int) -> None:
    """A single stage ends with the first token, too."""
    stages = [Stage(name=str(number), duration_ns=20) for number in range(count)]

    assert ("decode", 100, 150) == list(stage_spans(observed(stages)))[-1]
    assert (str(count - 1), 80, 100) == list(stage_spans(observed(stages)))[count - 1]
