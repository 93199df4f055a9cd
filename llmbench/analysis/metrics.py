"""What a report shows of a measurement: each metric is one function and one row of the table below.

Screens, CSV columns, the importer's columns, and what is compared are derived from the rows and listed nowhere else.
Instants are ``s``, when the token ids are handed to the engine, and ``t1..tn``, when the output tokens of
one sequence became available; in a batch, of the sequence that ends last. Values are seconds, tokens a second
or bytes; ``None`` is a value that does not exist, never 0.
"""

import bisect
import enum
import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from llmbench.schema.measurement import Measurement, Sequence
from llmbench.schema.run import Launch
from llmbench.schema.units import NS_PER_S, Direction, Unit, seconds_between

_Source = TypeVar("_Source")

TEXT_OUTPUTS = ("vectors", "ranks")
"""Kinds of outputs that are one for each text that went in."""

PRODUCTS = ("audio", "frames")
"""Kinds of outputs whose size is part of what a request is: of another length they are other work."""

FRAME_S = 0.04
"""The time of a frame at 25 frames a second."""

NEVER_DROPPED = 100
"""The priority of a column that every screen shows, however narrow."""

_SUFFIXES = {
    Unit.MILLISECONDS: "_ms",
    Unit.MILLISECONDS_PER_TOKEN: "_ms",
    Unit.TOKENS_PER_SECOND: "_tokens_per_s",
    Unit.TOKENS_PER_STEP: "",
    Unit.TEXTS_PER_SECOND: "_per_s",
    Unit.REQUESTS_PER_SECOND: "_per_s",
    Unit.MEBIBYTES: "_MiB",
    Unit.GIGABYTES_PER_SECOND: "_GB_per_s",
    Unit.PERCENT: "_percent",
    Unit.JOULES: "_J",
    Unit.MILLIJOULES_PER_TOKEN: "_mJ",
    Unit.SECONDS: "_s",
    Unit.CALLS: "",
    Unit.RATIO: "",
    Unit.MILLISECONDS_PER_FRAME: "_ms",
    Unit.MILLISECONDS_PER_SECOND: "_ms_per_s",
}
"""What a CSV column's name adds to that of its metric, by unit."""


class Scope(enum.Enum):
    """What a metric has one value for; its function takes a Measurement, a Launch, all requests of one, or a Run."""

    REQUEST = "request"
    LAUNCH = "launch"
    LOAD = "load"
    RUN = "run"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric(Generic[_Source]):
    """One number of a request, a launch or a run, and how reports show and judge it.

    *head* is its short title; without one it is on no screen. Narrow screens drop the lowest *priority* first.
    *llm_bench* is that tool's name for it. *threshold* is the share of its value below which a change does not matter.
    A metric that *is_compared* has a verdict in comparisons; those that are *is_primary* decide the exit code first.
    One that *is_phase* is a part of the wait for an answer, and is plotted.
    """

    name: str
    title: str
    unit: Unit
    direction: Direction
    definition: str
    of: Callable[[_Source], float | None]
    scope: Scope = Scope.REQUEST
    aliases: tuple[str, ...] = ()
    head: str = ""
    priority: int = 0
    llm_bench: str = ""
    threshold: float = 0.03
    is_compared: bool = False
    is_primary: bool = False
    is_phase: bool = False

    def __post_init__(self) -> None:
        if self.is_compared and self.direction is not Direction.LOWER:
            raise ValueError(f"{self.name}: verdicts take metrics that are better lower")
        if self.is_primary and not self.is_compared:
            raise ValueError(f"{self.name}: a primary metric is compared")

    @property
    def short_title(self) -> str:
        """What a table's head calls it."""
        return self.head or self.name

    @property
    def column(self) -> str:
        """Its CSV column: the name and, where that does not say it, the unit."""
        return f"{self.name}{_SUFFIXES[self.unit]}"


def _shown(m: Measurement) -> Sequence | None:
    """The sequence that ends last; ``None`` if no token came out."""
    sequences = m.sequences
    sequence = sequences[0] if len(sequences) == 1 else m.longest
    return sequence if sequence.at_ns else None


def first_token(m: Measurement) -> float | None:
    """Seconds until the first token, tokenization outside."""
    sequence = _shown(m)
    return None if sequence is None else (sequence.at_ns[0] - m.start_ns) / NS_PER_S


def first_token_sent(m: Measurement) -> float | None:
    """Seconds from the instant at which a request was sent to its first token; ``None`` where both are the same."""
    sequence = _shown(m)
    return None if sequence is None or m.sent_ns is None else (sequence.at_ns[0] - m.sent_ns) / NS_PER_S


def second_token(m: Measurement) -> float | None:
    """Seconds from the first token to the second, that one gap.

    ``None`` if there is none, or if the first event held both.
    """
    sequence = _shown(m)
    if sequence is None or len(sequence.at_ns) < 2 or not m.has_token_times:
        return None
    if sequence.counts and sequence.counts[0] > 1:
        return None
    return (sequence.at_ns[1] - sequence.at_ns[0]) / NS_PER_S


def next_token(m: Measurement) -> float | None:
    """Seconds a token after the second event, the mean of those gaps; ``None`` if nothing followed it."""
    sequence = _shown(m)
    if sequence is None or len(sequence.at_ns) < 3 or not m.has_token_times:
        return None
    at = sequence.at_ns
    tokens = sum(sequence.counts[2:]) if sequence.counts else len(at) - 2
    return (at[-1] - at[1]) / NS_PER_S / tokens


def time_per_output_token(m: Measurement) -> float | None:
    """Seconds a token after the first event; ``None`` if nothing followed it."""
    sequence = _shown(m)
    if sequence is None or len(sequence.at_ns) < 2:
        return None
    at = sequence.at_ns
    tokens = sum(sequence.counts[1:]) if sequence.counts else len(at) - 1
    return (at[-1] - at[0]) / NS_PER_S / tokens


def end_to_end(m: Measurement) -> float | None:
    """Seconds until the last token; until the call returned, where it makes something else."""
    sequence = _shown(m)
    if sequence is None and (m.stages or m.outputs) and not m.requested_tokens:
        return (m.end_ns - m.start_ns) / NS_PER_S
    return None if sequence is None else (sequence.at_ns[-1] - m.start_ns) / NS_PER_S


def prefill_rate(m: Measurement) -> float | None:
    """Input tokens of all sequences a second, until the first token."""
    wait = first_token(m)
    return sum(s.input_tokens for s in m.sequences) / wait if wait else None


def decode_rate(m: Measurement) -> float | None:
    """Tokens a second that all sequences together gave after the first instant.

    Counted, not multiplied: a throughput times the batch size counts twice what is a total already.
    """
    live = [s for s in m.sequences if s.at_ns]
    if not live:
        return None
    start = min(s.at_ns[0] for s in live)
    wait = max(s.at_ns[-1] for s in live) - start
    return sum(_tokens_after(s, start) for s in live) * NS_PER_S / wait if wait else None


def _tokens_after(sequence: Sequence, instant_ns: int) -> int:
    begin = bisect.bisect_right(sequence.at_ns, instant_ns)
    return sum(sequence.counts[begin:]) if sequence.counts else len(sequence.at_ns) - begin


def tokens_per_step(m: Measurement) -> float | None:
    """Tokens a step after the first event, where a step may give several; ``None`` where each gives one.

    One of them is the model's own, the others were guessed ahead and accepted.
    """
    sequence = _shown(m)
    if sequence is None or not m.later_steps:
        return None
    first = sequence.counts[0] if sequence.counts else 1
    return (sequence.output_tokens - first) / m.later_steps


def text_rate(m: Measurement) -> float | None:
    """Texts per second that were made into vectors or judged; ``None`` where a request does neither."""
    texts = sum(output.count for output in m.outputs if output.kind in TEXT_OUTPUTS)
    wait_s = (m.end_ns - m.start_ns) / NS_PER_S
    return texts / wait_s if texts and wait_s else None


def first_callback(m: Measurement) -> float | None:
    """Seconds until a streamer was first called with text; ``None`` where nothing was streamed."""
    return (m.callback_ns[0] - m.start_ns) / NS_PER_S if m.callback_ns else None


def first_infer(m: Measurement) -> float | None:
    """Seconds of the first forward pass; ``None`` where the backend shows none (prompt lookup says 0)."""
    return m.infer_ns[0] / NS_PER_S if any(m.infer_ns) else None


def next_infer(m: Measurement) -> float | None:
    """Seconds a forward pass after the first, their mean."""
    if len(m.infer_ns) < 2 or not any(m.infer_ns):
        return None
    return sum(m.infer_ns[1:]) / NS_PER_S / (len(m.infer_ns) - 1)


def tokenize(m: Measurement) -> float | None:
    """Seconds from text to token ids."""
    return None if m.tokenize_ns is None else m.tokenize_ns / NS_PER_S


def detokenize(m: Measurement) -> float | None:
    """Seconds from token ids to text."""
    return None if m.detokenize_ns is None else m.detokenize_ns / NS_PER_S


def image_decoding(m: Measurement) -> float | None:
    """Seconds from image files to the pixels that are handed over, before the request begins."""
    return None if m.image_decoding_ns is None else m.image_decoding_ns / NS_PER_S


def memory(m: Measurement) -> float | None:
    """Bytes: the worker's own high-water mark, reset between load and generation."""
    return None if m.memory is None else float(m.memory.peak_bytes)


def audio(m: Measurement) -> float | None:
    """Seconds of audio that came out; ``None`` where none did."""
    return sum(each.audio_s or 0.0 for each in m.outputs) or None


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
    return sum(each.count for each in m.outputs if each.kind == "frames")


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


def energy(m: Measurement) -> float | None:
    """Joules that all CPU packages took during the request; ``None`` where their counters cannot be read."""
    return m.energy_j


def energy_per_token(m: Measurement) -> float | None:
    """Joules for each output token of all sequences, the input's work included."""
    tokens = sum(sequence.output_tokens for sequence in m.sequences)
    return None if m.energy_j is None or not tokens else m.energy_j / tokens


def _score(name: str) -> Callable[[Measurement], float | None]:
    """The function of a score that the workload gives."""
    return lambda m: m.scores.get(name)


_latency = functools.partial(Metric, unit=Unit.MILLISECONDS, direction=Direction.LOWER)
_per_token = functools.partial(Metric, unit=Unit.MILLISECONDS_PER_TOKEN, direction=Direction.LOWER)
_rate = functools.partial(Metric, unit=Unit.TOKENS_PER_SECOND, direction=Direction.HIGHER)

ROWS: tuple[Metric[Any], ...] = (
    _latency(
        name="first_token",
        aliases=("ttft",),
        title="first token",
        head="first",
        priority=NEVER_DROPPED,
        llm_bench="first_latency",
        definition="t1 - s, tokenization outside",
        of=first_token,
        threshold=0.05,  # first tokens vary more than the others
        is_compared=True,
        is_primary=True,
        is_phase=True,
    ),
    _latency(
        name="second_token",
        title="second token",
        head="second",
        priority=70,
        definition="t2 - t1, the first decode step",
        of=second_token,
        is_compared=True,
        is_phase=True,
    ),
    _per_token(
        name="next_token",
        aliases=("itl",),
        title="next tokens",
        head="next",
        priority=NEVER_DROPPED,
        definition="mean of t3-t2 ... tn-t(n-1): inter-token latency (ITL)",
        of=next_token,
        is_compared=True,
        is_phase=True,
    ),
    _per_token(
        name="tpot",
        title="time per output token",
        head="tpot",
        priority=40,
        llm_bench="second_avg_latency",
        definition="(tn - t1) / (n - 1)",
        of=time_per_output_token,
        is_compared=True,
        is_primary=True,
    ),
    _latency(
        name="e2e",
        title="end to end",
        head="end to end",
        priority=30,
        definition="tn - s",
        of=end_to_end,
        is_compared=True,
    ),
    _latency(
        name="first_token_sent",
        title="first token from the send",
        definition="t1 - the instant at which the request was sent; s is when it was due",
        of=first_token_sent,
    ),
    _latency(
        name="retrieve_server",
        title="retrieval in the server",
        head="server",
        priority=35,
        definition="planning and execution as the database reports them, of the same search made once more",
        of=_score("retrieve_server_s"),
    ),
    Metric(
        name="recall",
        aliases=("recall@k",),
        title="recall@k",
        head="recall@k",
        priority=90,
        unit=Unit.PERCENT,
        direction=Direction.HIGHER,
        definition="of the exact nearest k chunks, how many the index returned, over all questions",
        of=_score("recall"),
    ),
    Metric(
        name="right_chunk",
        title="right chunk found",
        head="right chunk",
        priority=80,
        unit=Unit.PERCENT,
        direction=Direction.HIGHER,
        definition="questions whose right chunk is among the k, of those whose right chunk is known",
        of=_score("right_chunk"),
    ),
    _latency(
        name="first_infer",
        title="first inference",
        llm_bench="first_infer_latency",
        definition="the first forward pass alone",
        of=first_infer,
    ),
    _latency(
        name="next_infer",
        title="next inferences",
        llm_bench="second_infer_avg_latency",
        definition="mean of the later forward passes",
        of=next_infer,
    ),
    _latency(
        name="tokenize",
        title="tokenize",
        llm_bench="tokenization_time",
        definition="text to token ids",
        of=tokenize,
    ),
    _latency(
        name="detokenize",
        title="detokenize",
        llm_bench="detokenization_time",
        definition="token ids to text",
        of=detokenize,
    ),
    _latency(
        name="image_decoding",
        title="image decoding",
        definition="image files to pixels, before the request and outside every other time",
        of=image_decoding,
    ),
    _latency(
        name="first_callback",
        title="first callback",
        definition="first call of the streamer - s",
        of=first_callback,
    ),
    _rate(
        name="prefill_rate",
        title="prefill rate",
        definition="input tokens / first_token",
        of=prefill_rate,
    ),
    _rate(
        name="decode_rate",
        title="decode rate",
        head="decode",
        priority=NEVER_DROPPED,
        definition="tokens of all sequences after t1 / (tn - t1)",
        of=decode_rate,
    ),
    Metric(
        name="text_rate",
        title="text rate",
        head="rate",
        priority=NEVER_DROPPED,
        unit=Unit.TEXTS_PER_SECOND,
        direction=Direction.HIGHER,
        definition="texts of a request / its time",
        of=text_rate,
    ),
    Metric(
        name="tokens_per_step",
        title="tokens per step",
        head="per step",
        priority=NEVER_DROPPED,
        unit=Unit.TOKENS_PER_STEP,
        direction=Direction.HIGHER,
        definition="tokens after t1 / steps after t1; one is the model's own, the rest were guessed and accepted",
        of=tokens_per_step,
    ),
    Metric(
        name="memory",
        title="peak memory",
        unit=Unit.MEBIBYTES,
        direction=Direction.LOWER,
        definition="the worker's own high-water mark while it generates",
        of=memory,
    ),
    Metric(
        name="energy",
        title="energy",
        head="energy",
        priority=20,
        unit=Unit.JOULES,
        direction=Direction.LOWER,
        definition="energy of all CPU packages during the request, other processes included",
        of=energy,
    ),
    Metric(
        name="energy_per_token",
        title="energy per token",
        unit=Unit.MILLIJOULES_PER_TOKEN,
        direction=Direction.LOWER,
        definition="energy / output tokens of all sequences",
        of=energy_per_token,
    ),
    Metric(
        name="audio",
        title="audio",
        head="audio",
        priority=60,
        unit=Unit.SECONDS,
        direction=Direction.HIGHER,
        definition="duration of the audio that came out",
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
        of=inverse_real_time_factor,
    ),
    _latency(
        name="first_audio",
        title="first audio",
        head="first audio",
        priority=65,
        definition="first samples - s; all samples, where the pipeline does not stream",
        of=first_audio,
    ),
    Metric(
        name="frame",
        title="frame",
        head="frame",
        priority=NEVER_DROPPED,
        unit=Unit.MILLISECONDS_PER_FRAME,
        direction=Direction.LOWER,
        definition="request / frames",
        of=frame,
    ),
    Metric(
        name="in_time",
        title="frames in time",
        head="in 40 ms",
        priority=60,
        unit=Unit.PERCENT,
        direction=Direction.HIGHER,
        definition="share of the frames within 40 ms (25 frames a second)",
        of=in_time,
    ),
    Metric(
        name="load",
        title="load",
        scope=Scope.LAUNCH,
        unit=Unit.MILLISECONDS,
        direction=Direction.LOWER,
        definition="read + compile, in the launch",
        of=lambda launch: launch.load_s,
    ),
)
"""Every metric, in the order of the reports."""


def _in_scope(scope: Scope) -> dict[str, Metric[Any]]:
    return {row.name: row for row in ROWS if row.scope is scope}


METRICS: dict[str, Metric[Measurement]] = _in_scope(Scope.REQUEST)
"""Every metric of a measurement, by name, in the order of the reports."""

LAUNCH_METRICS: dict[str, Metric[Launch]] = _in_scope(Scope.LAUNCH)
"""Those of a launch."""

LOAD = LAUNCH_METRICS["load"]

SCREEN_METRICS = tuple(name for name, row in METRICS.items() if row.head)
"""The metrics on a screen, in order."""

PHASES = tuple(name for name, row in METRICS.items() if row.is_phase)
"""The parts of the wait for an answer, in order."""

HEADLINES = tuple(name for name in PHASES if METRICS[name].priority == NEVER_DROPPED)
"""The parts that every screen shows."""


def find_metric(name: str) -> str | None:
    """Return the name of the request metric that *name* or an alias (``ttft``) stands for; ``None`` if none does."""
    plain = name.replace("-", "_")
    return next((row.name for row in METRICS.values() if plain in (row.name, *row.aliases)), None)


def present(names: Iterable[str], found: Iterable[Iterable[str]]) -> list[str]:
    """Return those of *names*, in their order, that are in any of *found*."""
    having = {name for each in found for name in each}
    return [name for name in names if name in having]
