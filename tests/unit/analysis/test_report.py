import dataclasses
import math
from collections.abc import Callable, Sequence

import pytest

from llmbench.analysis import report
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.measurement import Conditions, Measurement
from llmbench.schema.run import EffectiveSettings, Failure, Launch, ModelCache, Outcome, Provenance, Run

Build = Callable[..., Measurement]
BuildLaunch = Callable[..., Launch]
BuildRun = Callable[..., Run]
NOISY = Conditions(wall_s=1.0, cpus=1, worker_s=0.5, interference_s=0.5)
FOUR = (0, 10, 20, 30)


@pytest.fixture
def launch_at(request_of: Build, launch_of: BuildLaunch) -> Callable[..., Launch]:
    """Builds a launch from the first-token times of its requests, each with three gaps of 10 ms."""

    def build(firsts: Sequence[float], *, index: int = 0, prompt: int = 0, **fields: object) -> Launch:
        measurements = [
            request_of([first + gap for gap in FOUR], launch=index, iteration=i, prompt=prompt)
            for i, first in enumerate(firsts, start=1)
        ]
        return launch_of(measurements, index=index, **fields)

    return build


def test_one_launch_is_summarised_over_its_iterations(
    launch_at: Callable[..., Launch], run_of: BuildRun
) -> None:
    """Six iterations at 101 to 106 ms: median 103.5, all of them the interval, and a footnote."""
    got = report.summarize_run(run_of([launch_at([101, 102, 103, 104, 105, 106])]))

    first = got.rows[0].summaries["first_token"]
    assert pytest.approx([0.1035, 0.101, 0.106]) == [first.median, first.low, first.high]
    assert pytest.approx(0.010) == got.rows[0].summaries["tpot"].median
    assert (1, 6, 0, 32, 4) == (
        got.rows[0].launches,
        got.rows[0].measured,
        got.rows[0].invalid,
        got.rows[0].input_tokens,
        got.rows[0].output_tokens,
    )
    assert (
        "one launch: ± covers one process only; use --launches 5 for run-to-run variation",
    ) == got.warnings


def test_several_launches_are_the_replicates(launch_at: Callable[..., Launch], run_of: BuildRun) -> None:
    """Launch medians 100 and 121 ms: the centre is 110, whatever the iterations around them do."""
    got = report.summarize_run(run_of([launch_at([90, 100, 400]), launch_at([121, 121, 121], index=1)]))

    row = got.rows[0]
    assert pytest.approx({0: 0.100, 1: 0.121}) == row.medians["first_token"]
    assert pytest.approx(0.110) == row.summaries["first_token"].median
    assert 2 == row.summaries["first_token"].n
    assert () == got.warnings


def test_warm_ups_are_never_averaged_in(request_of: Build, launch_of: BuildLaunch, run_of: BuildRun) -> None:
    """A warm-up of 900 ms beside one request of 100 ms: the median is 100 ms."""
    warmup = request_of([900, 910, 920, 930], is_warmup=True, iteration=0)

    got = report.summarize_run(run_of([launch_of([warmup, request_of([100, 110, 120, 130])])]))

    assert pytest.approx(0.1) == got.rows[0].summaries["first_token"].median
    assert 1 == got.rows[0].measured


def test_invalid_requests_are_counted_and_left_out(
    request_of: Build, launch_of: BuildLaunch, run_of: BuildRun
) -> None:
    """One of three beside a noisy neighbour: left out, counted, and the reason is said."""
    good = request_of([100, 110, 120, 130])
    bad = request_of([300, 310, 320, 330], conditions=NOISY)

    got = report.summarize_run(run_of([launch_of([good, good, bad])]))

    assert pytest.approx(0.1) == got.rows[0].summaries["first_token"].median
    assert (3, 1) == (got.rows[0].measured, got.rows[0].invalid)
    assert ("1 of 3 requests invalid: other processes used 50% of the CPUs (limit 5%)",) == got.rows[
        0
    ].warnings
    assert got.is_valid


def test_reasons_alike_are_told_once(request_of: Build, launch_of: BuildLaunch, run_of: BuildRun) -> None:
    """50 % and 60 % of the CPUs are one kind of reason, two times."""
    louder = dataclasses.replace(NOISY, interference_s=0.6)
    requests = [request_of([1, 2, 3, 4], conditions=seen) for seen in (NOISY, louder)]

    got = report.summarize_run(run_of([launch_of([*requests, *[request_of([1, 2, 3, 4])] * 2])]))

    assert "2 of 4 requests invalid: other processes used 50% of the CPUs (limit 5%)" in got.rows[0].warnings


def test_a_run_of_mostly_invalid_requests_is_invalid(
    request_of: Build, launch_of: BuildLaunch, run_of: BuildRun
) -> None:
    """Two of three are more than half: the run says INVALID before anything else."""
    bad = request_of([300, 310, 320, 330], conditions=NOISY)

    got = report.summarize_run(run_of([launch_of([request_of([100, 110, 120, 130]), bad, bad])]))

    assert not got.is_valid
    assert got.warnings[0] == "INVALID: 2 of 3 requests"


def test_a_row_without_a_valid_request_has_no_summary(
    request_of: Build, launch_of: BuildLaunch, run_of: BuildRun
) -> None:
    """The row stays, to say why it is empty."""
    bad = request_of([300, 310, 320, 330], conditions=NOISY)

    row = report.summarize_run(run_of([launch_of([bad])])).rows[0]

    assert {} == row.summaries
    assert (0, 1, 1, 32) == (row.launches, row.measured, row.invalid, row.input_tokens)


def test_only_finished_launches_count(launch_at: Callable[..., Launch], run_of: BuildRun) -> None:
    """A launch that failed and one cut short are left out, and named."""
    run = run_of(
        [
            launch_at([100]),
            launch_at(
                [500],
                index=1,
                outcome=Outcome.FAILED,
                failure=Failure(phase="next tokens", message="it died", signal="SIGSEGV"),
            ),
            launch_at([900], index=2, outcome=Outcome.ABORTED),
        ],
        is_complete=False,
    )

    got = report.summarize_run(run)

    assert pytest.approx({0: 0.1}) == got.rows[0].medians["first_token"]
    assert (
        "launch 2 failed by SIGSEGV in next tokens: it died",
        "launch 3 was cut short and is left out",
        "the run was cut short",
        "one launch: ± covers one process only; use --launches 5 for run-to-run variation",
    ) == got.warnings


def test_what_does_not_exist_has_no_summary(
    request_of: Build, launch_of: BuildLaunch, run_of: BuildRun
) -> None:
    """One output token: a first token, but no key for the second; nobody averages a None."""
    config = RunConfig(model="m", prompts=(Prompt(set="s", index=0, text="Hello"),), output_tokens=1)

    row = report.summarize_run(run_of([launch_of([request_of([100])])], cells=(config,))).rows[0]

    assert {"first_token", "e2e", "prefill_rate"} == set(row.summaries)


def test_rows_are_by_cell_and_prompt(launch_at: Callable[..., Launch], run_of: BuildRun) -> None:
    """Two configurations of two prompts, launched in another order, are four rows in theirs."""
    prompts = tuple(Prompt(set="s", index=i, text=f"Hello {i}") for i in (0, 1))
    cells = tuple(
        RunConfig(model="m", prompts=prompts, output_tokens=4, threads=threads) for threads in (1, 2)
    )
    launches = [
        launch_at([100 * (1 + cell) + prompt], index=2 * cell + prompt, cell=cell, prompt=prompt)
        for cell in (1, 0)
        for prompt in (1, 0)
    ]

    got = report.summarize_run(run_of(launches, cells=cells))

    assert [(0, 0), (0, 1), (1, 0), (1, 1)] == [(row.cell, row.prompt.index) for row in got.rows]
    assert ({"threads": "1"}, {"threads": "2"}) == got.distinctions


def test_load_is_summarised_over_launches(launch_at: Callable[..., Launch], run_of: BuildRun) -> None:
    """Loads of 1 s and 4 s: the geometric mean is 2 s; a cell without a launch has none."""
    config = RunConfig(model="m", prompts=(Prompt(set="s", index=0, text="Hello"),), output_tokens=4)
    launches = [launch_at([100], load_s=1.0), launch_at([100], index=1, load_s=4.0)]

    got = report.summarize_run(run_of(launches, cells=(config, config)))

    assert {None} == set(got.load[0])
    assert pytest.approx(2.0) == got.load[0][None].median
    assert {} == got.load[1]


def test_cold_and_warm_loads_are_never_averaged(launch_at: Callable[..., Launch], run_of: BuildRun) -> None:
    """A cold load of 8 s and warm ones of 1 and 4 s: 8 s and 2 s, not one figure between them."""
    states = {0: ModelCache.COLD, 1: ModelCache.WARM, 2: ModelCache.WARM}
    launches = [
        launch_at([100], index=index, load_s=seconds, model_cache=states[index])
        for index, seconds in enumerate((8.0, 1.0, 4.0))
    ]

    (load,) = report.summarize_run(run_of(launches)).load

    assert [ModelCache.COLD, ModelCache.WARM] == list(load)
    assert pytest.approx([8.0, 2.0]) == [summary.median for summary in load.values()]


def test_only_the_metrics_wanted(launch_at: Callable[..., Launch], run_of: BuildRun) -> None:
    """A comparison asks for the few it compares."""
    got = report.summarize_run(run_of([launch_at([100])]), ("tpot",))

    assert {"tpot"} == set(got.rows[0].summaries)


@pytest.mark.parametrize(("middle_ms", "is_warned"), [(20, True), (100, False), (300, False)])
def test_a_first_token_far_below_the_line_warns(
    request_of: Build,
    launch_of: BuildLaunch,
    run_of: BuildRun,
    *,
    middle_ms: float,
    is_warned: bool,
) -> None:
    """100 tokens in 100 ms and 300 in 300 ms suggest 200 ms for 200 tokens; 20 ms came from a cache."""
    prompts = tuple(Prompt(set="s", index=i, tokens=n) for i, n in enumerate((100, 200, 300)))
    config = RunConfig(model="m", prompts=prompts, output_tokens=2)
    requests = [
        request_of([ms, ms + 10], prompt=i, input_tokens=n)
        for i, (n, ms) in enumerate(((100, 100), (200, middle_ms), (300, 300)))
    ]

    got = report.summarize_run(run_of([launch_of(requests)], cells=(config,)))

    warning = "first token 20 ms where the other lengths suggest 200 ms: did it hit a cache?"
    assert ((), (warning,) if is_warned else (), ()) == tuple(row.warnings for row in got.rows)


def test_what_a_reader_must_know_is_said_once(launch_at: Callable[..., Launch], run_of: BuildRun) -> None:
    """Notes of every launch, unknown provenance and unverified files are warnings of the run."""
    effective = EffectiveSettings(notes=("tensor_parallel=ineffective: one socket seen, nothing is split",))
    config = RunConfig(
        model="m", prompts=(Prompt(set="s", index=0, text="Hello"),), output_tokens=4, is_verified=False
    )
    run = run_of(
        [launch_at([100], effective=effective), launch_at([100], index=1, effective=effective)],
        cells=(config,),
        provenance=Provenance(path="m"),
    )

    assert (
        "tensor_parallel=ineffective: one socket seen, nothing is split",
        "provenance of the model unknown",
        "the model's files were not verified",
    ) == report.summarize_run(run).warnings


def test_settings_are_flat() -> None:
    """Properties stand under their own names, what is not set is empty, prompts are left out."""
    config = RunConfig(
        model="m",
        prompts=(Prompt(set="s", index=0, text="Hello"),),
        properties={"NUM_STREAMS": 1},
        sockets=(0, 1),
    )

    got = report.varied_settings(config)

    assert ("1", "0,1", "") == (got["NUM_STREAMS"], got["sockets"], got["threads"])
    assert "prompts" not in got


def test_an_interval_that_is_unknown_is_infinite(launch_at: Callable[..., Launch], run_of: BuildRun) -> None:
    """Two iterations of one launch: a median, no interval, and why."""
    first = report.summarize_run(run_of([launch_at([100, 102])])).rows[0].summaries["first_token"]

    assert (2, math.inf) == (first.n, first.high)
    assert ("needs 6 values for an interval at 95 %",) == first.warnings


def test_a_raised_limit_counts_and_says_what_others_took(
    request_of: Build, launch_of: BuildLaunch, run_of: BuildRun
) -> None:
    """Half of the CPUs less two ticks is 48 %: with the limit at 1 it counts, and the report says so."""
    prompts = (Prompt(set="s", index=0, text="Hello"),)
    config = RunConfig(model="m", prompts=prompts, output_tokens=4, foreign_cpu_limit=1.0)
    noisy = request_of([300, 310, 320, 330], conditions=NOISY)

    got = report.summarize_run(run_of([launch_of([noisy])], cells=(config,)))

    assert (1, 0) == (got.rows[0].launches, got.rows[0].invalid)
    assert any(w.startswith("launch 1: other processes used 48% of the CPUs") for w in got.warnings)
