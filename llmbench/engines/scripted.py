"""An engine without a model: latencies as given, on a clock of its own.

The model is a script, ``"first=200ms,next=10ms"``. Its keys: ``first``, ``second``, ``next`` (durations with a
unit), ``step`` (tokens that each event after the first gives, where something guesses ahead), ``per-token`` (added
to the first token for each input token), ``noise`` and ``launch-noise`` (log-normal spread, ``1.5%``), ``interference``
(CPU of others, a share), ``throttled`` and ``stalled`` (the share of its time for which a CPU quota or a want of
memory stops a request), ``faults`` (pages of memory read from disk), ``stop`` (tokens after which the sequence ends),
``sleep`` (real time a request takes),
``vision`` (time of a vision encoder for 1,000 pixels, which is added to the first token; 200 pixels are a token),
``cold`` (requests at the beginning that take twice as long), ``drift`` (by how much each request is slower than the
one before, ``1%``), ``NUM_STREAMS.2=80%`` (all latencies where a property, or ``INFERENCE_NUM_THREADS``, has that
value), ``stray`` (the token from which on every launch generates another), and what must not break
us: ``crash=SIGSEGV@3``, ``hang@3``, ``stall@3`` (after the first token), ``nan@3`` at the third request. The whole
tool runs on it in tests, files and processes included. An embedder or reranker is ``dimension=64``, or nothing: texts
with the same words are near.
"""

import dataclasses
import math
import os
import random
import re
import signal
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from llmbench.engines.base import Embedded, Engine, EngineRequest, Generation, Reranked
from llmbench.engines.catalog import check_capabilities
from llmbench.errors import InputError
from llmbench.schema import measurement
from llmbench.schema.config import RunConfig
from llmbench.schema.measurement import Conditions, Finish, Stage, StageSource
from llmbench.schema.run import EffectiveSettings
from llmbench.schema.units import NS_PER_S, Nanoseconds

_PERIOD_S = 0.1
_DIMENSION = 64
_PIXELS_A_TOKEN = 200
_DURATIONS = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
_SHARES = {"noise", "launch-noise", "interference", "drift", "throttled", "stalled"}
_COUNTS = {"stop", "step", "cold", "stray", "faults"}
_KNOWN = {"first", "second", "next", "per-token", "sleep", "vision"} | _SHARES | _COUNTS
_PART = re.compile(
    r"(?P<property>[A-Z_]+\.\w+)=(?P<factor>\d[\d.]*%)|"
    r"(?P<break>crash|hang|stall|nan)(?:=(?P<how>\w+))?@(?P<at>\d+)|(?P<key>[a-z-]+)=(?P<value>[\w.%]+)"
)


def _seconds(text: str) -> float:
    for unit in ("ms", "us", "s"):
        if text.endswith(unit):
            return float(text.removesuffix(unit)) * _DURATIONS[unit]
    raise ValueError(text)


def _share(text: str) -> float:
    return float(text.removesuffix("%")) / 100 if text.endswith("%") else float(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """Latencies in seconds, spreads as shares, and the request at which something breaks."""

    first: float = 0.1
    second: float | None = None
    next: float = 0.01
    per_token: float = 0.0
    noise: float = 0.0
    launch_noise: float = 0.0
    interference: float = 0.0
    throttled: float = 0.0
    stalled: float = 0.0
    faults: int = 0
    drift: float = 0.0
    cold: int = 0
    stray: int | None = None
    stop: int | None = None
    step: int = 1
    vision: float = 0.0
    sleep: float = 0.0
    breaks: dict[int, str] = field(default_factory=dict)
    factors: dict[str, float] = field(default_factory=dict)


def _value(key: str, text: str) -> float:
    """The value of one key in seconds, as a share, or as a count; raises ValueError."""
    if key in _SHARES:
        return _share(text)
    if key == "step" and int(text) < 1:
        raise ValueError(text)
    return int(text) if key in _COUNTS else _seconds(text)


def read_script(text: str) -> Script:
    """The script a model name spells out; InputError names the part that is wrong."""
    values: dict[str, Any] = {}
    breaks: dict[int, str] = {}
    factors: dict[str, float] = {}
    for part in filter(None, text.split(",")):
        found = _PART.fullmatch(part)
        try:
            if found and found["property"]:
                factors[found["property"]] = _share(found["factor"])
            elif found and found["break"]:
                breaks[int(found["at"])] = found["how"] or found["break"]
            elif found and found["key"] in _KNOWN:
                values[found["key"].replace("-", "_")] = _value(found["key"], found["value"])
            else:
                found = None
        except ValueError:
            found = None
        if found is None:
            raise InputError(
                f"script part {part!r} is not understood",
                hint="for example first=200ms,next=10ms,noise=1%,crash=SIGSEGV@3",
            )
    return Script(**values, breaks=breaks, factors=factors)


class ScriptedSession:
    """Responds at once with instants laid out by the script."""

    bos_id: int | None = None

    def __init__(self, script: Script, config: RunConfig) -> None:
        self.script = script
        self.effective = EffectiveSettings(
            properties={key: str(value) for key, value in config.properties.items()}, attention="none"
        )
        self._seed = config.seed
        settings = {**config.properties, "INFERENCE_NUM_THREADS": config.threads}
        self._setting_factor = math.prod(
            script.factors.get(f"{name}.{value}", 1.0) for name, value in settings.items()
        )
        self._random = random.Random()  # noqa: S311  seeded by the first request
        self._launch_factor = 1.0
        self._requests = 0

    def _spread(self, share: float) -> float:
        """A log-normal factor around 1."""
        return self._random.lognormvariate(0.0, share) if share else 1.0

    def encode(self, text: str, *, chat: bool) -> tuple[int, ...]:
        """One token per word; a chat turn has two more."""
        ids = tuple(sum(word.encode()) % 30_000 + 2 for word in text.split()) or (2,)
        return (1, *ids, 1) if chat else ids

    def go_on(self, earlier: Sequence[int], response: Sequence[int], text: str) -> tuple[int, ...]:
        """The chat so far, the response, and one token per word in a turn of its own."""
        return (*earlier, *response, *self.encode(text, chat=True))

    def decode(self, token_ids: Sequence[int]) -> str:
        """The ids themselves, as words."""
        return " ".join(f"t{token}" for token in token_ids)

    def _break(self, request: EngineRequest) -> None:
        how = self.script.breaks.get(self._requests)
        if how in {"hang", "stall"}:
            request.beat(int(how == "stall"), time.perf_counter_ns())
            time.sleep(3600)
        elif how and how != "nan":
            os.kill(os.getpid(), signal.Signals[how])

    def _counts(self, request: EngineRequest) -> tuple[int, ...]:
        script = self.script
        count = request.output_tokens
        if script.stop is not None and request.stop_at_eos:
            count = min(count, script.stop)
        whole, rest = divmod(count - 1, script.step)
        return (1, *[script.step] * whole, *([rest] if rest else []))

    def _layout(self, request: EngineRequest, start_ns: int, later: int) -> tuple[Nanoseconds, ...]:
        script = self.script
        longest = max(len(ids) for ids in request.input_ids)
        gaps = [script.first + script.per_token * longest + self._vision_s(request)]
        gaps += [script.second if script.second is not None else script.next][:later]
        gaps += [script.next] * max(later - 1, 0)
        factor = self._launch_factor * self._spread(script.noise) * (1 + script.drift) ** (self._requests - 1)
        factor *= self._setting_factor * (2 if self._requests <= script.cold else 1)
        at = start_ns
        instants = []
        for gap in gaps:
            at += round(gap * factor * NS_PER_S)
            instants.append(Nanoseconds(at))
        return tuple(instants)

    def _vision_s(self, request: EngineRequest) -> float:
        return self.script.vision * _pixels(request) / 1000

    def _seen(self, request: EngineRequest) -> EngineRequest:
        """A question as token ids: those of its text, and one for 200 pixels."""
        question = request.question
        if question is None:
            return request
        added = [1] * (_pixels(request) // _PIXELS_A_TOKEN)
        ids = (*self.encode(question.text, chat=question.is_chat), *added)
        return dataclasses.replace(request, input_ids=(ids,))

    def _stages(self, request: EngineRequest, first_s: float) -> tuple[Stage, ...]:
        """The stages of a question; its wait is the vision encoder and the prefill."""
        if request.question is None:
            return ()
        whole = self.script.first + self._vision_s(request)
        vision_s = self._vision_s(request) / whole * first_s
        parts = {
            "tokenization": 0.0,
            "vision_encoder": vision_s,
            "text_embedding": 0.0,
            "prefill": first_s - vision_s,
        }
        return tuple(
            Stage(name=name, duration_ns=round(seconds * NS_PER_S), source=StageSource.ENGINE)
            for name, seconds in parts.items()
        )

    def _token(self, start: int, number: int, launch: int) -> int:
        """The token at a position from 0, chosen by what went in, and past ``stray`` by the launch too."""
        is_stray = self.script.stray is not None and number + 1 >= self.script.stray
        return (start + number + (launch if is_stray else 0)) % 997

    def generate(self, request: EngineRequest) -> Generation:
        """One request by the script; the clock of its instants is the script's."""
        if not self._requests:
            self._random.seed(f"{self._seed}:{request.launch}")
            self._launch_factor = self._spread(self.script.launch_noise)
        self._requests += 1
        request = self._seen(request)
        self._break(request)
        time.sleep(self.script.sleep)
        start_ns = Nanoseconds(time.perf_counter_ns())
        counts = self._counts(request)
        at_ns = self._layout(request, start_ns, len(counts) - 1)
        is_stopped = sum(counts) < request.output_tokens
        sequences = tuple(
            measurement.Sequence(
                input_tokens=len(ids),
                at_ns=at_ns,
                counts=counts if self.script.step > 1 else (),
                token_ids=tuple(
                    self._token(sum(ids), number, request.launch) for number in range(sum(counts))
                ),
                finish=Finish.STOP if is_stopped else Finish.LENGTH,
            )
            for ids in request.input_ids
        )
        wall_s = (at_ns[-1] - start_ns) / NS_PER_S
        return Generation(
            start_ns=start_ns,
            end_ns=at_ns[-1],
            sequences=sequences,
            conditions=self._conditions(wall_s),
            stages=self._stages(request, (at_ns[0] - start_ns) / NS_PER_S),
            suspicions=("non-finite logits",) if self.script.breaks.get(self._requests) == "nan" else (),
        )

    def _conditions(self, wall_s: float) -> Conditions:
        """One CPU, of which other work and a quota take their shares in each period of 100 ms."""
        script, periods = self.script, math.ceil(wall_s / _PERIOD_S)
        return Conditions(
            wall_s=wall_s,
            cpus=1,
            worker_s=wall_s * (1 - script.throttled),
            interference_s=wall_s * script.interference,
            cpu_quota=1 - script.throttled if script.throttled else None,
            quota_periods=periods if script.throttled else 0,
            throttled_periods=periods if script.throttled else 0,
            throttled_s=wall_s * script.throttled,
            memory_stall_s=wall_s * script.stalled,
            major_faults=script.faults,
        )


def _pixels(request: EngineRequest) -> int:
    images = request.question.images if request.question else ()
    return sum(int(pixels.shape[0] * pixels.shape[1]) for pixels in images)


class ScriptedEngine:
    """Loads a script in place of a model."""

    def check(self, config: RunConfig) -> None:
        """Refuse a script that cannot be read, and what a script cannot play."""
        check_capabilities(config)
        read_script(config.model)

    def open_tokenizer(self, config: RunConfig) -> ScriptedSession:
        """Return the session itself, which is made in no time."""
        return self.open(config)

    def open(self, config: RunConfig) -> ScriptedSession:
        """Return a session that plays the script."""
        return ScriptedSession(read_script(config.model), config)


class ScriptedEmbedder:
    """Counts words, each in the place that its hash gives, and normalizes the counts."""

    effective = EffectiveSettings()

    def __init__(self, dimension: int) -> None:
        self._dimension = dimension

    def count_tokens(self, text: str) -> int:
        """How many words a text has."""
        return len(text.split())

    def embed(self, texts: Sequence[str]) -> Embedded:
        """Embed documents."""
        start_ns = time.perf_counter_ns()
        vectors = tuple(map(self._vector, texts))
        return Embedded(
            start_ns=Nanoseconds(start_ns), end_ns=Nanoseconds(time.perf_counter_ns()), vectors=vectors
        )

    def embed_query(self, text: str) -> Embedded:
        """Embed one question."""
        return self.embed((text,))

    def _vector(self, text: str) -> list[float]:
        counts = [0.0] * self._dimension
        for word in text.casefold().split():
            counts[zlib.crc32(word.strip(".,;:?!()").encode()) % self._dimension] += 1
        length = math.sqrt(sum(count * count for count in counts)) or 1.0
        return [count / length for count in counts]


class ScriptedEmbeddingEngine(Engine):
    """Loads a script in place of an embedding model."""

    def check(self, config: RunConfig) -> None:
        """Refuse a script that cannot be read."""
        _dimension(config.model)

    def open(self, config: RunConfig) -> ScriptedEmbedder:
        """Return an embedder of as many dimensions as the script has."""
        return ScriptedEmbedder(_dimension(config.model))


def _dimension(script: str) -> int:
    name, _, value = script.partition("=")
    if not script:
        return _DIMENSION
    if name != "dimension" or not value.isdecimal() or int(value) < 1:
        raise InputError(f"script {script!r} is not understood", hint="write dimension=64")
    return int(value)


class ScriptedReranker:
    """Judges a text by the nearness of its words to those of the question."""

    effective = EffectiveSettings()

    def __init__(self, dimension: int) -> None:
        self._embedder = ScriptedEmbedder(dimension)
        self.count_tokens = self._embedder.count_tokens

    def rerank(self, query: str, texts: Sequence[str]) -> Reranked:
        """Judge all texts."""
        start_ns = time.perf_counter_ns()
        wanted, *vectors = self._embedder.embed((query, *texts)).vectors
        scores = [sum(a * b for a, b in zip(wanted, vector, strict=True)) for vector in vectors]
        ranks = sorted(enumerate(scores), key=lambda found: -found[1])
        return Reranked(
            start_ns=Nanoseconds(start_ns), end_ns=Nanoseconds(time.perf_counter_ns()), ranks=ranks
        )


class ScriptedRerankEngine(ScriptedEmbeddingEngine):
    """Loads a script in place of a reranking model."""

    def open(self, config: RunConfig) -> ScriptedReranker:  # type: ignore[override]
        """Return a reranker that counts words in as many places as the script has."""
        return ScriptedReranker(_dimension(config.model))
