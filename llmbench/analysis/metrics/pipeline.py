"""Metrics of what pipelines make: audio and frames."""

from typing import Any

from llmbench.analysis.metrics.base import NEVER_DROPPED, Metric, latency, percentage
from llmbench.schema.measurement import Measurement
from llmbench.schema.units import NS_PER_S, Direction, Unit, seconds_between

PRODUCTS = ("audio", "frames")
"""Kinds of outputs whose size is part of what a request is: of another length they are other work."""

FRAME_S = 0.04
"""The time of a frame at 25 frames per second."""


def audio(m: Measurement) -> float | None:
    """Seconds of audio that came out, or of that which went in; ``None`` where there was none."""
    durations = [each.audio_s for each in m.outputs] + [each.audio_s for each in m.sequences]
    return sum(filter(None, durations)) or None


def real_time_factor(m: Measurement) -> float | None:
    """Processing time over the duration of the audio; below 1 is faster than real time."""
    duration_s = audio(m)
    return None if duration_s is None else seconds_between(m.start_ns, m.end_ns) / duration_s


def inverse_real_time_factor(m: Measurement) -> float | None:
    """Duration of the audio over processing time."""
    factor = real_time_factor(m)
    return 1 / factor if factor else None


def first_audio(m: Measurement) -> float | None:
    """Seconds until the first samples were there; all of them, where the pipeline does not stream."""
    ready = [each.ready_ns for each in m.outputs if each.kind == "audio" and each.ready_ns is not None]
    return seconds_between(m.start_ns, min(ready)) if ready else None


def _frames(m: Measurement) -> int:
    return sum(each.count for each in m.outputs if each.kind == "frames") if m.outputs else 0


def frame(m: Measurement) -> float | None:
    """Seconds a frame, everything included."""
    count = _frames(m)
    return seconds_between(m.start_ns, m.end_ns) / count if count else None


def in_time(m: Measurement) -> float | None:
    """Share of the frames within 40 ms, those of a call in equal parts; what ran once is shared by all of them."""
    count = _frames(m)
    if not count:
        return None
    times = [0.0] * count
    for name in dict.fromkeys(stage.name for stage in m.stages):
        calls = [stage.duration_ns / NS_PER_S for stage in m.stages if stage.name == name]
        size = -(-count // len(calls))
        for number in range(count):
            index = min(number // size, len(calls) - 1)
            is_last = index == len(calls) - 1
            times[number] += calls[index] / (count - index * size if is_last else size)
    return sum(time <= FRAME_S for time in times) / count


PIPELINE_METRICS: tuple[Metric[Any], ...] = (
    Metric(
        name="audio",
        head="audio",
        priority=60,
        unit=Unit.SECONDS,
        direction=Direction.HIGHER,
        definition="duration of the audio that came out, or that went in",
        made_of=("outputs", "audio_s"),
        of=audio,
    ),
    Metric(
        name="rtf",
        title="real-time factor",
        head="RTF",
        priority=NEVER_DROPPED,
        unit=Unit.RATIO,
        direction=Direction.LOWER,
        definition="processing time / duration of the audio; below 1 is faster than real time",
        made_of=("outputs", "audio_s"),
        of=real_time_factor,
    ),
    Metric(
        name="rtfx",
        title="inverse real-time factor",
        head="RTFX",
        priority=55,
        unit=Unit.RATIO,
        direction=Direction.HIGHER,
        definition="duration of the audio / processing time",
        made_of=("outputs", "audio_s"),
        of=inverse_real_time_factor,
    ),
    latency(
        name="first_audio",
        head="first audio",
        priority=65,
        definition="first samples - s; all samples, where the pipeline does not stream",
        made_of=("outputs",),
        of=first_audio,
    ),
    Metric(
        name="frame",
        head="frame",
        priority=NEVER_DROPPED,
        unit=Unit.MILLISECONDS_PER_FRAME,
        direction=Direction.LOWER,
        definition="request / frames",
        made_of=("outputs",),
        of=frame,
    ),
    percentage(
        name="in_time",
        title="frames in time",
        head="in 40 ms",
        priority=60,
        definition="share of the frames within 40 ms (25 frames a second)",
        made_of=("outputs",),
        of=in_time,
    ),
)
"""Audio and frames, and the time they take."""
