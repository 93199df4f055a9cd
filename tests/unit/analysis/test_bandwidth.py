import dataclasses
from collections.abc import Callable, Mapping

import pytest

from llmbench.analysis import bandwidth, report
from llmbench.analysis.bandwidth import BANDWIDTH, Bounds, Decoding, Reads
from llmbench.render.sentences.remarks import bandwidth_sentence, bandwidth_sentences
from llmbench.schema.measurement import Measurement, Placement, SocketWork
from llmbench.schema.run import Cpu, EffectiveSettings, Launch, MemoryRate, Pinning, Provenance, Run, Topology

Build = Callable[..., Measurement]
BuildLaunch = Callable[..., Launch]
BuildRun = Callable[..., Run]

ORIGIN = Provenance(path="models/tiny", known=True, weight_bytes=1_000_000, kv_values=1000)
READS = Reads(weight_bytes=1_000_000, kv_bytes=1000.0)
U8 = EffectiveSettings(properties={"KV_CACHE_PRECISION": "u8"})
RATE = MemoryRate(measured_at="2026-01-02T03:04:05+00:00", bytes_per_s=200e6, sockets={0: 120e6, 1: 110e6})


@pytest.fixture
def run_with(request_of: Build, launch_of: BuildLaunch, run_of: BuildRun) -> BuildRun:
    """A run of one request, tokens at 100, 115, 125 and 135 ms behind 32, of a model of 1 MB; u8 is in force."""

    def build(
        config: Mapping[str, object] | None = None,
        environment: Mapping[str, object] | None = None,
        **launch: object,
    ) -> Run:
        run = run_of([launch_of([request_of([100, 115, 125, 135])], **({"effective": U8} | launch))])
        cell = dataclasses.replace(run.cells[0], **(config or {}))  # type: ignore[arg-type]
        machine = dataclasses.replace(run.environment, **(environment or {}))  # type: ignore[arg-type]
        return dataclasses.replace(run, cells=(cell,), environment=machine, provenance=ORIGIN)

    return build


def test_a_step_reads_the_weights_and_the_cache_so_far(request_of: Build) -> None:
    """Tokens 3 and 4 have 34 and 35 tokens before them: 1,000,000 + 1000 * 34.5 bytes."""
    assert pytest.approx(1_034_500) == bandwidth.step_bytes(request_of([100, 115, 125, 135]), READS)


def test_a_batch_reads_the_weights_once_and_each_cache(request_of: Build) -> None:
    """Two sequences, one that ended at its third token: (34 + 35 + 34) / 2 steps = 51.5 tokens a step."""
    m = request_of([100, 115, 125, 135], [100, 115, 125])

    assert pytest.approx(1_051_500) == bandwidth.step_bytes(m, READS)


def test_the_bandwidth_is_over_the_steady_gaps(request_of: Build) -> None:
    """1,034,500 bytes in each of two gaps of 10 ms: 103.45 MB/s."""
    decoding = Decoding(measurement=request_of([100, 115, 125, 135]), reads=READS)

    assert pytest.approx(103.45e6) == BANDWIDTH.of(decoding)


def test_where_an_event_is_not_a_token_there_is_no_step(request_of: Build) -> None:
    """Two tokens have no third; several tokens an event, guessed tokens, and a report's two instants are no steps."""
    assert bandwidth.step_bytes(request_of([100, 115]), READS) is None
    assert bandwidth.step_bytes(request_of([100, 115, 125], counts=(1, 2, 2)), READS) is None
    assert bandwidth.step_bytes(request_of([100, 115, 125], later_steps=2), READS) is None
    assert bandwidth.step_bytes(request_of([100, 115, 125], has_token_times=False), READS) is None
    assert BANDWIDTH.of(Decoding(measurement=request_of([100, 115, 125]), reads=None)) is None


@pytest.mark.parametrize(
    ("properties", "kv_bytes"),
    [
        ({"KV_CACHE_PRECISION": "u8"}, 1000.0),
        ({"KV_CACHE_PRECISION": "f16"}, 2000.0),
        ({"KV_CACHE_PRECISION": "u8", "KEY_CACHE_PRECISION": "u8", "VALUE_CACHE_PRECISION": "u4"}, 750.0),
        ({"KV_CACHE_PRECISION": "dynamic"}, None),
        ({}, None),
    ],
)
def test_the_cache_is_counted_in_the_precision_in_force(
    run_with: BuildRun, properties: dict[str, str], kv_bytes: float | None
) -> None:
    """1000 numbers a token: 8 bits, 16 bits, or 8 for keys and 4 for values; what is not told is not guessed."""
    run = run_with(effective=EffectiveSettings(properties=properties))
    found = bandwidth.reads(run, run.launches[0])

    assert kv_bytes == (found.kv_bytes if found else None)


@pytest.mark.parametrize(
    "config",
    [
        {"max_ngram_size": 3},
        {"draft_model": "small"},
        {"num_beams": 4, "attention": "sdpa"},
        {"device": "GPU"},
    ],
)
def test_where_a_step_is_more_than_a_token_nothing_is_said(
    run_with: BuildRun, config: dict[str, object]
) -> None:
    """Guessing ahead and beams read otherwise, and another device has a memory of its own."""
    run = run_with(config)

    assert bandwidth.reads(run, run.launches[0]) is None
    assert BANDWIDTH.name not in report.summarize_run(run).rows[0].summaries


def test_a_model_that_is_not_known_and_a_cache_that_is_cut_have_no_bandwidth(run_with: BuildRun) -> None:
    """PyTorch has no IR; eviction reads a part of the cache."""
    run = run_with()
    unknown = dataclasses.replace(run, provenance=Provenance(path="x"))
    cut = run_with(effective=dataclasses.replace(U8, scheduler={"use_cache_eviction": "true"}))

    assert [None, None] == [bandwidth.reads(each, each.launches[0]) for each in (unknown, cut)]
    assert (None,) == report.summarize_run(unknown).bounds
    assert [] == list(bandwidth_sentences(report.summarize_run(unknown)))


def test_a_row_has_its_bandwidth_in_bytes_a_second(run_with: BuildRun) -> None:
    """Beside its latencies, by launch and in its summary."""
    row = report.summarize_run(run_with()).rows[0]

    assert pytest.approx(103.45e6) == row.summaries["bandwidth"].median
    assert pytest.approx({0: 103.45e6}) == row.medians["bandwidth"]


TWO = Topology(
    cpus=tuple(Cpu(number=n, socket=n, core=n, node=n) for n in range(2)),
    allowed=(0, 1),
)


@pytest.mark.parametrize(
    ("sockets", "reported"),
    [((0,), ((0,), 300, 120e6)), ((0, 1), ((), 700, 200e6)), ((), ((), 700, 200e6))],
)
def test_a_run_is_compared_with_the_memory_it_was_held_to(
    run_with: BuildRun, sockets: tuple[int, ...], reported: tuple[object, ...]
) -> None:
    """Socket 0 alone gives 120 MB/s and has a cache of 300 bytes; both together 200 MB/s and 700 bytes."""
    machine = {"topology": TWO, "last_caches": {0: 300, 1: 400}, "memory_rate": RATE}
    (bounds,) = report.summarize_run(run_with(None, machine, pinned=Pinning(sockets=sockets))).bounds

    assert bounds is not None
    assert reported == (bounds.sockets, bounds.cache_bytes, bounds.bytes_per_s)


def test_a_run_is_compared_with_the_socket_that_worked(run_with: BuildRun) -> None:
    """Pinning nowhere, but only socket 1 was busy: without a policy the engine takes the threads of one socket."""
    machine = {"topology": TWO, "memory_rate": RATE}
    run = run_with(None, machine, pinned=Pinning(sockets=(0, 1)))
    works = tuple(SocketWork(socket=n, cpus=1, expected_cpus=1, busy_s=float(n)) for n in (0, 1))
    (launch,) = run.launches
    seen = Placement(wall_s=1.0, worker_s=1.0, sockets=works)
    measured = tuple(dataclasses.replace(m, placement=seen) for m in launch.measurements)
    run = dataclasses.replace(run, launches=(dataclasses.replace(launch, measurements=measured),))
    (bounds,) = report.summarize_run(run).bounds

    assert bounds is not None
    assert ((1,), 110e6, None) == (bounds.sockets, bounds.bytes_per_s, bounds.cache_bytes)


def reported(run: Run) -> str:
    """The sentence of a run."""
    return next(bandwidth_sentences(report.summarize_run(run)))


def environment(rate: float | None = None, cache_bytes: int = 1000) -> dict[str, object]:
    """A machine whose triad got so many MB/s."""
    known = None if rate is None else dataclasses.replace(RATE, bytes_per_s=rate * 1e6)
    return {"last_caches": {0: cache_bytes}, "memory_rate": known}


def test_a_share_of_what_the_memory_can_do(run_with: BuildRun) -> None:
    """103.45 of 200 MB/s are 52 %."""
    assert reported(run_with(None, environment(200))) == (
        "next tokens: 0.103 GB/s of weights and KV cache, 52 % of what this memory can do "
        "(triad 0.200 GB/s, measured 2026-01-02)"
    )


def test_what_was_never_measured_says_how_to(run_with: BuildRun) -> None:
    """Without a figure the command is named, and nothing is measured."""
    assert reported(run_with(None, environment())).endswith(
        "KV cache; run llmbench doctor once to see it as a share of this machine's bandwidth"
    )


def test_what_fits_the_cache_has_no_share(run_with: BuildRun) -> None:
    """A step's 1.03 MB in a cache of 4 MiB: no share of the memory's bandwidth, above 100 % or below."""
    output = reported(run_with(None, environment(50, 4 << 20)))

    assert output.endswith(
        "; 1034500 bytes per token fit in the 4 MiB cache, memory bandwidth is not the limit"
    )


@pytest.mark.parametrize(
    ("rate", "output"),
    [
        (
            100,
            "103 % of what this memory can do (triad 0.100 GB/s, measured 2026-01-02); reads alone can give",
        ),
        (
            50,
            "KV cache: more than this memory gave (triad 0.050 GB/s, measured 2026-01-02); run llmbench doctor again",
        ),
    ],
)
def test_more_than_the_triad(run_with: BuildRun, rate: float, output: str) -> None:
    """Reads alone may be a third above a triad, which does not count the read of a write; twice of it is an error."""
    assert output in reported(run_with(None, environment(rate)))


def test_prompts_of_several_lengths_have_a_span(run_with: BuildRun) -> None:
    """The lowest and the highest rate, and their shares; on one socket its number; caches that helped are told."""
    row = report.summarize_run(run_with()).rows[0]
    other = dataclasses.replace(
        row, summaries={"bandwidth": dataclasses.replace(row.summaries["bandwidth"], median=150e6)}
    )
    rate = dataclasses.replace(RATE, is_beyond_caches=False)
    bounds = Bounds(step_bytes=1e6, sockets=(1,), cache_bytes=None, bytes_per_s=200e6, rate=rate)

    assert bandwidth_sentence([row, other], bounds) == (
        "next tokens: 0.103 to 0.150 GB/s of weights and KV cache, 52 % to 75 % of what the memory of socket 1 can do "
        "(triad 0.200 GB/s, partly from caches, measured 2026-01-02)"
    )
