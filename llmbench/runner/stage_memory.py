"""What each stage of a request needed of memory: the first request of a launch and prompt is watched for it.

One call of an engine may contain several stages, so that the high-water mark cannot be reset between them. It is reset
every 2 ms instead, and what a stage needed is the highest of the marks in its time. The first request is a warm-up, in
which an engine needs most, and is never measured. It stands alone, as the one place where memory meets stages.
"""

from collections.abc import Iterator

from llmbench.machine.memory import PeakWatch
from llmbench.workloads.base import Observation

DECODE = "decode"
"""What follows the first token, which is no stage of the wait for it."""


def stage_peaks(watch: PeakWatch, observed: Observation) -> dict[str, int]:
    """Return the most that was resident in bytes during each stage, and while later tokens were made."""
    found = ((name, watch.peak_between(start, end)) for name, start, end in stage_spans(observed))
    return {name: peak for name, peak in found if peak is not None}


def stage_spans(observed: Observation) -> Iterator[tuple[str, int, int]]:
    """Yield each stage's name and when it began and ended.

    Of stages that are reported as durations alone, each begins where the one before ended, and the last ends with the
    first token: what no stage has lies before it.
    """
    first_ns = next((sequence.at_ns[0] for sequence in observed.sequences if sequence.at_ns), observed.end_ns)
    at_ns = observed.start_ns
    for number, stage in enumerate(observed.stages, start=1):
        is_last = number == len(observed.stages)
        begin = first_ns - stage.duration_ns if is_last else at_ns
        begin = begin if stage.at_ns is None else stage.at_ns
        at_ns = begin + stage.duration_ns
        yield stage.name, begin, at_ns
    if observed.sequences and observed.end_ns > first_ns:
        yield DECODE, first_ns, observed.end_ns
