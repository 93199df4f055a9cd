"""A run as a trace in Chrome's event format, which Perfetto and chrome://tracing draw: requests, stages and tokens.

Each launch is a process; requests in flight at once have a thread each. A stage whose engine reported a duration alone
is laid behind the stage before it, and marked.
"""

import json
from collections.abc import Iterator

from llmbench.analysis.evaluation import EvaluatedRequest, Evaluation
from llmbench.render.text import plain_json
from llmbench.schema.measurement import Measurement
from llmbench.schema.units import NS_PER_US

TraceEvent = dict[str, object]


def trace_json(evaluation: Evaluation) -> str:
    """Return the trace of a run; times are microseconds from its first request on."""
    requests = sorted(evaluation.requests, key=lambda judged: judged.measurement.start_ns)
    origin = requests[0].measurement.start_ns if requests else 0
    events: list[TraceEvent] = []
    for launch in evaluation.run.launches:
        name = f"launch {launch.index + 1}"
        events.append({"name": "process_name", "ph": "M", "pid": launch.index + 1, "args": {"name": name}})
    ends: dict[int, list[int]] = {}
    for judged in requests:
        m = judged.measurement
        lane = _lane(ends.setdefault(judged.launch.index, []), m)
        about = {"pid": judged.launch.index + 1, "tid": lane + 1}
        events += [about | event for event in _request_events(judged, origin)]
    content = {"displayTimeUnit": "ms", "otherData": {"run": evaluation.run.id}, "traceEvents": events}
    return plain_json(json.dumps(content, ensure_ascii=False, allow_nan=False)) + "\n"


def _lane(ends: list[int], m: Measurement) -> int:
    """The first thread that is free when a request begins; *ends* has when each was last busy, and is updated."""
    free = next((lane for lane, end_ns in enumerate(ends) if end_ns <= m.start_ns), len(ends))
    ends[free : free + 1] = [m.end_ns]
    return free


def _request_events(judged: EvaluatedRequest, origin: int) -> Iterator[TraceEvent]:
    m = judged.measurement
    kind = "warm-up" if m.is_warmup else f"iteration {m.iteration - judged.config.warmups + 1}"
    name = f"{judged.prompt.label} {kind}"
    args = {"valid": not judged.reasons, "reasons": list(judged.reasons)}
    yield {"name": name, "cat": "request", "args": args} | _span(m.start_ns - origin, m.end_ns - m.start_ns)
    yield from _stage_events(m, origin)
    for number, event in enumerate(m.events, start=1):
        yield {
            "name": f"token {number}" if event.count == 1 else f"{event.count} tokens",
            "cat": "token",
            "ph": "i",
            "s": "t",
            "ts": (event.at_ns - origin) / NS_PER_US,
        }


def _stage_events(m: Measurement, origin: int) -> Iterator[TraceEvent]:
    next_ns: int = m.start_ns
    for stage in m.stages:
        start = next_ns if stage.at_ns is None else stage.at_ns
        args = {
            "calls": stage.count,
            "timed by": stage.source.value,
            "start": "not reported, laid behind the stage before" if stage.at_ns is None else "observed",
        }
        yield {"name": stage.name, "cat": "stage", "args": args} | _span(start - origin, stage.duration_ns)
        next_ns = start + stage.duration_ns


def _span(start_ns: int, duration_ns: int) -> TraceEvent:
    return {"ph": "X", "ts": start_ns / NS_PER_US, "dur": duration_ns / NS_PER_US}
