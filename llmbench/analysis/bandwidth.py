"""What the decode steps of a request read from memory at the least, and what to compare that with.

Each step reads all weights once, whatever the batch, and the keys and values of each sequence so far. That is what is
counted; activations, the scales of a compressed KV cache, what is written, LoRA adapters, and weights that the engine
holds in a wider form than the IR are not, so the true rate is somewhat higher. Of a sliding window the whole context
is counted.
"""

from dataclasses import dataclass

from llmbench.analysis.metrics.base import Metric
from llmbench.analysis.metrics.table import METRICS
from llmbench.analysis.metrics.text import next_token
from llmbench.analysis.placement_proof import Proof
from llmbench.schema.measurement import Measurement
from llmbench.schema.run import EffectiveSettings, Environment, Launch, MemoryRate, Run
from llmbench.schema.units import Direction, Unit

_BITS = {
    "u4": 4,
    "i4": 4,
    "u8": 8,
    "i8": 8,
    "f8e4m3": 8,
    "f8e5m2": 8,
    "f16": 16,
    "bf16": 16,
    "f32": 32,
    "q8_0": 8.5,
    "q5_1": 6,
    "q5_0": 5.5,
    "q4_1": 5,
    "q4_0": 4.5,  # blocks of 32 with their scales (ggml)
}
_KEYS = ("KEY_CACHE_PRECISION", "VALUE_CACHE_PRECISION")
_BOTH = "KV_CACHE_PRECISION"
_PARTLY_READ = ("use_cache_eviction", "use_sparse_attention")
"""Settings of the scheduler with which a step does not read all keys and values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reads:
    """Bytes that a decode step of a launch reads: once, and for each token of each sequence so far."""

    weight_bytes: int
    kv_bytes: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoding:
    """A request, and what its steps read; ``None`` where that is not known."""

    measurement: Measurement
    reads: Reads | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What the rates of a configuration are to be compared with.

    *step_bytes* is the most that a step of its requests reads, *cache_bytes* the last-level cache of the *sockets* that
    worked (empty: all of the machine), and *bytes_per_s* what a triad got from their memory, according to *rate*.
    ``None`` is what is not known.
    """

    step_bytes: float
    sockets: tuple[int, ...]
    cache_bytes: int | None = None
    bytes_per_s: float | None = None
    rate: MemoryRate | None = None

    @property
    def is_cached(self) -> bool:
        """Whether all that a step reads has room in the cache, so that memory is no bound."""
        return self.cache_bytes is not None and self.step_bytes <= self.cache_bytes


def reads(run: Run, launch: Launch) -> Reads | None:
    """What a step of a launch reads.

    ``None`` where the model's file does not report, as a Hugging Face folder; where a step is not one token of each
    sequence (something guesses ahead, or beams share what they read); and where it reads a part of the cache only.
    """
    config, origin = run.config_of(launch), run.origin_of(launch.cell)
    bits = _kv_bits(launch.effective)
    is_plain = config.device.startswith("CPU") and config.num_beams == 1 and not config.is_speculative
    if origin.weight_bytes is None or origin.kv_values is None or bits is None or not is_plain:
        return None
    if run.workload.is_concurrent:  # a step is shared by the requests in flight
        return None
    if any(launch.effective.scheduler.get(name) == "true" for name in _PARTLY_READ):
        return None
    return Reads(weight_bytes=origin.weight_bytes, kv_bytes=origin.kv_values * bits / 8)


def _kv_bits(effective: EffectiveSettings) -> float | None:
    """Bits of a number in the KV cache, keys and values averaged; ``None`` where the engine does not report."""
    reported = [effective.properties.get(name) or effective.properties.get(_BOTH, "") for name in _KEYS]
    bits = [_BITS[name] for name in reported if name in _BITS]
    return sum(bits) / len(bits) if len(bits) == len(_KEYS) else None


def step_bytes(m: Measurement, found: Reads) -> float | None:
    """Bytes that a step reads, averaged over the steps of `next_token`: those that gave tokens 3 to n.

    The step of token j has input + j - 1 tokens before it. ``None`` where there is no such step, or an event is not
    one token.
    """
    steps = len(m.longest.at_ns) - 2
    if steps < 1 or not m.has_token_times or m.later_steps is not None or any(s.counts for s in m.sequences):
        return None
    contexts = (
        (len(s.at_ns) - 2) * (s.input_tokens + (len(s.at_ns) + 1) / 2)
        for s in m.sequences
        if len(s.at_ns) > 2
    )
    return found.weight_bytes + found.kv_bytes * sum(contexts) / steps


def bandwidth(decoding: Decoding) -> float | None:
    """Bytes a second of weights and KV cache while the later tokens were made, at least."""
    wait_s = next_token(decoding.measurement)
    size = None if decoding.reads is None else step_bytes(decoding.measurement, decoding.reads)
    return size / wait_s if size is not None and wait_s else None


BANDWIDTH: Metric[Decoding] = Metric(
    name="bandwidth",
    title="bandwidth of next tokens",
    unit=Unit.GIGABYTES_PER_SECOND,
    direction=Direction.HIGHER,
    definition="(weights + KV cache at the mean context) that a step reads at least / next_token",
    of=bandwidth,
)
"""The one metric that needs to know the model as well."""


ROW_METRICS: dict[str, Metric[Measurement] | Metric[Decoding]] = {**METRICS, BANDWIDTH.name: BANDWIDTH}
"""Every metric that a row of a report may have, by name, in the order of the reports."""


def bounds(run: Run, cell: int, proof: Proof | None) -> Bounds | None:
    """What the rates of a configuration are to be compared with; ``None`` where it has none.

    The sockets are those that worked, or where that is not known, those it was pinned to.
    """
    launches = [found for found in run.launches if found.cell == cell and found.is_finished]
    sizes = [
        step_bytes(m, known)
        for launch in launches
        if (known := reads(run, launch)) is not None
        for m in launch.measurements
    ]
    most = max((size for size in sizes if size is not None), default=None)
    if most is None:
        return None
    pinned = launches[-1].pinned.sockets
    worked = proof.placement.worked if proof is not None and proof.is_reported else ()
    return _of_sockets(run.environment, worked or pinned, most)


def _of_sockets(environment: Environment, sockets: tuple[int, ...], most: float) -> Bounds:
    """The bounds of some sockets; of the whole machine where they are all, or are not known."""
    known, rate = environment.last_caches, environment.memory_rate
    here = sockets or environment.topology.sockets
    is_all = set(here) >= set(environment.topology.sockets)
    parts = [rate.sockets.get(socket) for socket in here] if rate is not None else []
    reported = [part for part in parts if part is not None]
    whole = rate.bytes_per_s if rate is not None else None
    speed = whole if is_all else sum(reported) if reported and len(reported) == len(here) else None
    return Bounds(
        step_bytes=most,
        sockets=() if is_all else here,
        cache_bytes=sum(known[s] for s in here) if here and all(s in known for s in here) else None,
        bytes_per_s=speed,
        rate=rate if speed is not None else None,
    )
