import dataclasses
import math
from collections.abc import Iterable

import pytest

from llmbench.analysis import load_validity
from llmbench.analysis.comparison.change import decide, sample
from llmbench.analysis.comparison.rule import Verdict, compared_metrics
from llmbench.analysis.load_curve import load_curves
from llmbench.analysis.metrics.serving import LaunchLoad, is_good, load_values, read_goodput
from llmbench.analysis.report import summarize_run
from llmbench.analysis.stats import Ratio
from llmbench.errors import InputError
from llmbench.render.sentences.commands import ab_command, run_command
from llmbench.render.views import percentile_table
from llmbench.schema.config import Prompt
from llmbench.schema.load import ClientUse, LoadWindow
from llmbench.schema.measurement import Measurement, Sequence
from llmbench.schema.run import Launch, Run, WorkloadSettings
from llmbench.schema.units import Direction, Nanoseconds, ns_from_ms
from tests.builders import launch_of, run_of

SERVING = WorkloadSettings(
    kind="serving", parameters={"goodput": "ttft:100,e2e:400"}, primary_metrics=("goodput", "first_token")
)


def request(begin_ms: float, *at_ms: float, number: int = 0, **fields: object) -> Measurement:
    """A request due at *begin_ms* whose tokens came at *at_ms* after that; all of one launch."""
    values: dict[str, object] = {
        "launch": 0,
        "iteration": number,
        "prompt": 0,
        "is_warmup": False,
        "start_ns": ns_from_ms(begin_ms),
        "end_ns": ns_from_ms(begin_ms + max(at_ms, default=1)),
        "started_at": "2026-01-02T03:04:05.000006",
        "ended_at": "2026-01-02T03:04:06.000007",
        "requested_tokens": len(at_ms),
        "sequences": (
            Sequence(input_tokens=8, at_ns=tuple(Nanoseconds(ns_from_ms(begin_ms + at)) for at in at_ms)),
        ),
    }
    return Measurement(**(values | fields))  # type: ignore[arg-type]


LOG = (
    request(500, 50, 250, 600, number=0, is_warmup=True),  # ends at 1,100: inside the window, and too slow
    request(1000, 50, 150, 250, number=1),  # good
    request(1200, 120, 200, 300, number=2),  # a first token of 120 ms is too late
    request(1500, 100, 300, 400, number=3),  # exactly at both limits: good
    request(1900, 50, 100, 450, number=4),  # ends at 2,350, behind the window
    request(1950, number=5, error="http_503", suspicions=("busy",)),
    request(2000, 10, 20, 30, number=6, is_warmup=True),  # behind the window
)
"""A log from 1,000 to 2,000 ms, worked by hand."""


def load_of(requests: Iterable[Measurement], limits: str = "ttft:100,e2e:400") -> LaunchLoad:
    found = tuple(requests)
    measured = tuple(m for m in found if not m.is_warmup)
    return LaunchLoad(
        begin_ns=ns_from_ms(1000),
        end_ns=ns_from_ms(2000),
        requests=found,
        measured=measured,
        counted=tuple(m for m in measured if m.error is None),
        limits=read_goodput(limits),
    )


def test_rates_count_what_happened_in_the_window() -> None:
    """By hand: four requests end in the second, two of them good; ten tokens come in it."""
    found = load_values(load_of(LOG))

    assert 4.0 == found["request_rate"]
    assert 2.0 == found["goodput"]
    # by request: 1 of the first (at 1,100), 3, 3, 3 of the next three, 1 of the fifth at 1,950; its second is at 2,000
    assert 11.0 == found["output_throughput"]
    assert 2 / 5 == found["good_share"]
    assert 1 / 5 == found["error_share"]


def test_goodput_is_none_without_limits() -> None:
    """What does not exist is no 0."""
    assert "goodput" not in load_values(load_of(LOG, limits=""))


def test_a_failed_request_is_never_good() -> None:
    """Whatever came of it before it failed."""
    limits = read_goodput("ttft:1000")

    assert is_good(request(0, 5), limits)
    assert not is_good(request(0, 5, error="cut"), limits)
    assert not is_good(request(0), limits)


def test_one_token_has_no_time_per_token_to_keep() -> None:
    """As vLLM counts it."""
    assert is_good(request(0, 5), read_goodput("tpot:1"))
    assert not is_good(request(0, 5, 8), read_goodput("tpot:2"))


def test_limits_are_read_in_the_spellings_of_other_tools() -> None:
    """Those of vLLM and of aiperf, separated by commas or spaces."""
    assert {"first_token": 0.2, "tpot": 0.05, "e2e": 3.0} == read_goodput("ttft:200 tpot:50,e2el:3000")
    assert {"first_token": 0.2, "tpot": 0.05} == read_goodput(
        "time_to_first_token:200,inter_token_latency:50"
    )


@pytest.mark.parametrize("text", ["ttft", "ttft:0", "ttft:fast", "memory:5", "nonsense:5", "ttft:nan"])
def test_a_limit_that_cannot_be_meant_is_refused(text: str) -> None:
    """No number, no latency, or none at all."""
    with pytest.raises(InputError, match="a latency and a limit in ms are needed"):
        read_goodput(text)


def test_percentiles_wait_for_a_sample_that_carries_them() -> None:
    """64 requests have a p90, and no p99; the gaps between all tokens have their own."""
    requests = [request(1000 + n, 10.0 + n, 20.0 + n, 31.0 + n, number=n) for n in range(64)]
    found = load_values(load_of(requests))

    assert found["p90.first_token"] == pytest.approx(0.067)
    assert "p99.first_token" not in found
    assert found["p50.itl"] == pytest.approx(0.0105)
    assert "p99.itl" not in found


def window(**client: object) -> LoadWindow:
    used = ClientUse(**({"cpu_s": 0.1} | client))  # type: ignore[arg-type]
    return LoadWindow(
        begin_ns=Nanoseconds(ns_from_ms(1000)), end_ns=Nanoseconds(ns_from_ms(2000)), client=used
    )


def served_run(launches: Iterable[Launch], **settings: object) -> Run:
    """A run of a server; requests of a launch were in flight at once."""
    run = run_of(launches)
    config = dataclasses.replace(
        run.cells[0], engine="server", server="http://host", concurrency=1, output_tokens=3,
        prompts=(Prompt(set="synthetic", index=0, tokens=8),),
    )  # fmt: skip
    return dataclasses.replace(run, cells=(config,), workload=dataclasses.replace(SERVING, **settings))  # type: ignore[arg-type]


def test_percentiles_of_a_sweep_have_the_level_of_each() -> None:
    """Two levels of load are two rows of each metric, which nothing but the level tells apart."""
    cells = [dataclasses.replace(served_run([]).cells[0], concurrency=level) for level in (1, 2)]
    launches = [
        launch_of(
            [request(1000 + 100 * n, 60, 160, 260, number=n) for n in range(64)],
            index=cell, cell=cell, block=0, window=window(),
        )
        for cell in (0, 1)
    ]  # fmt: skip
    run = dataclasses.replace(served_run(launches), cells=tuple(cells))

    table = percentile_table(summarize_run(run))

    assert [["P0", level, "8", "first", "ms", "64", "60.00"] for level in ("1", "2")] == [
        [cell.text for cell in cells] for cells in table.rows if cells[3].text == "first"
    ]


def test_a_client_that_adds_too_much_makes_the_launch_invalid() -> None:
    """Tokens noticed 6 ms late are 10 % of a first token of 60 ms; 1 ms is 2 %."""
    requests = [request(1000 + 100 * n, 60, 160, 260, number=n) for n in range(6)]
    late, fine = window(event_delay_ns=(6_000_000,) * 9), window(event_delay_ns=(1_000_000,) * 9)

    reports = [summarize_run(served_run([launch_of(requests, window=each)])) for each in (late, fine)]

    assert [6, 0] == [report.rows[0].invalid for report in reports]
    reasons = reports[0].evaluation.requests[0].reasons
    assert (
        "the client added 6.00 ms to the time to the first token of 60.0 ms (10.0%, limit 5%)",
    ) == reasons


def test_a_busy_client_makes_the_launch_invalid() -> None:
    """It is one thread: above nine tenths of a CPU it cannot be on time."""
    requests = [request(1000, 60, 160, number=0)]
    config = served_run([]).cells[0]

    assert load_validity.window_reasons(window(cpu_s=0.95), config, requests) == (
        "the client used 95% of a CPU (limit 90%): it was the bottleneck",
    )
    assert not load_validity.window_reasons(window(cpu_s=0.5), config, requests)
    overloaded = dataclasses.replace(
        window(cpu_s=0.95), metered_s=9.0
    )  # requests that ended behind the window
    assert not load_validity.window_reasons(overloaded, config, requests)


def test_requests_sent_late_are_the_clients_doing_unless_a_limit_made_them_wait() -> None:
    """In an open loop without a limit nothing but the client delays a send."""
    requests = [request(1000, 60, 160, number=0, sent_ns=ns_from_ms(1010))]
    config = served_run([]).cells[0]
    limited = dataclasses.replace(config, request_rate=2.0, concurrency=4)

    assert load_validity.window_reasons(window(), config, requests)
    assert not load_validity.window_reasons(window(), limited, requests)


def test_a_higher_goodput_is_an_improvement() -> None:
    """A ratio above 1 is a regression of a latency, and an improvement of a rate."""
    ratio = Ratio(ratio=1.2, low=1.1, high=1.3)

    assert Verdict.REGRESSED is decide(ratio, 0.05)
    assert Verdict.IMPROVED is decide(ratio, 0.05, Direction.HIGHER)
    assert Verdict.REGRESSED is decide(Ratio(ratio=0.8, low=0.7, high=0.9), 0.05, Direction.HIGHER)


def test_the_knee_is_where_throughput_over_latency_is_highest() -> None:
    """By hand: 1 at once 10/s at 100 ms (power 100), 2: 19/s at 105 ms (181), 4: 20/s at 200 ms (100)."""
    launches = []
    cells = []
    base = served_run([]).cells[0]
    for cell, (at_once, per_second, ms) in enumerate(((1, 10, 100), (2, 19, 105), (4, 20, 200))):
        cells.append(dataclasses.replace(base, concurrency=at_once))
        requests = [
            request(1000 + (1000 - ms - 1) * n / per_second, ms / 4, ms / 2, ms, number=n, launch=cell)
            for n in range(per_second)
        ]
        launches.append(launch_of(requests, index=cell, cell=cell, block=0, window=window()))
    run = dataclasses.replace(served_run(launches), cells=tuple(cells))

    (curve,) = load_curves(summarize_run(run))

    assert [1.0, 2.0, 4.0] == [point.level for point in curve.points]
    assert 1 == curve.knee
    assert 1.0 == curve.agreement
    assert curve.is_inside


def test_a_launch_without_anything_good_counts_as_half_of_the_least() -> None:
    """A rate of 0 has no logarithm; left out, the worst launches would not count at all."""
    row = dataclasses.replace(
        summarize_run(served_run([launch_of([request(1000, 60, 160, 260)], window=window())])).rows[0],
        medians={"goodput": {0: 4.0, 1: 0.0, 2: 2.0}},
    )

    found = sample([row], "goodput")

    assert found is not None
    assert {0: math.log(4), 1: math.log(1), 2: math.log(2)} == dict(found.logs)


def test_a_load_compares_its_own_metrics() -> None:
    """Its primary ones first; the second token of a request among others tells little."""
    run = served_run([launch_of([request(1000, 60, 160, 260)], window=window())])

    assert ("goodput", "first_token", "output_throughput") == compared_metrics(run)[:3]
    assert "second_token" not in compared_metrics(run)


def test_the_command_to_measure_again_is_a_load() -> None:
    """With all that its configuration and its workload keep; two sides are compared by ``ab``."""
    run = served_run([])
    config = dataclasses.replace(run.cells[0], iterations=9)
    other = dataclasses.replace(config, server="genai")
    same = f"--concurrency 1 --input-tokens 8 -ic 3 -n 9 --warmups {config.warmups} --goodput"

    assert f"llmbench load --url http://host -m models/tiny {same}" in run_command(
        config, 5, workload=run.workload
    )
    assert f"llmbench ab --url http://host --server genai -m models/tiny {same}" in str(
        ab_command(config, other, 5, workload=run.workload)
    )
