import json
import math
from collections.abc import Callable
from typing import Any

import pytest

from llmbench.analysis import report
from llmbench.analysis.evaluation import evaluate
from llmbench.render.json import dumps, llm_bench_json, report_json
from llmbench.render.tidy import file_value
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.measurement import Measurement
from llmbench.schema.run import Launch, Run
from llmbench.schema.units import Unit

Build = Callable[..., Measurement]
BuildLaunch = Callable[..., Launch]
BuildRun = Callable[..., Run]
Golden = Callable[[str, str], None]


def strict(text: str) -> Any:
    """What a strict reader sees: NaN and infinity are refused."""

    def refuse(word: str) -> None:
        pytest.fail(f"{word} in JSON")

    return json.loads(text, parse_constant=refuse)


def test_llm_bench_layout(story_of: BuildRun, golden: Golden) -> None:
    """The whole file, as it was looked at once."""
    golden("story.llm-bench.json", llm_bench_json(evaluate(story_of())))


def test_report_layout(story_of: BuildRun, golden: Golden) -> None:
    """The whole file, as it was looked at once."""
    golden("story.report.json", report_json(report.summarize_run(story_of())))


def test_warm_ups_are_listed_and_out_of_the_averages(story_of: BuildRun) -> None:
    """First tokens 100, 100, 102, 400, 400, 408, 408: 1918 / 7 = 274; the warm-ups of 300 and 1200 are out."""
    perfdata = strict(llm_bench_json(evaluate(story_of())))["perfdata"]

    assert 12 == len(perfdata["results"])
    assert [0, 0, 1, 1, 2, 2, 0, 0, 3, 3, 4, 4] == [found["iteration"] for found in perfdata["results"]]
    assert 274.0 == perfdata["results_averaged"]["first_latency"]


def test_throughput_of_a_batch_is_not_multiplied_twice(
    request_of: Build, launch_of: BuildLaunch, run_of: BuildRun
) -> None:
    """Four sequences, a token each 10 ms: 400 tokens/s."""
    prompts = (Prompt(set="s", index=0, text="Hello"),)
    cells = (RunConfig(model="m", prompts=prompts, output_tokens=3, batch_size=4),)
    run = run_of([launch_of([request_of(*[[100, 110, 120]] * 4)])], cells=cells)

    perfdata = strict(llm_bench_json(evaluate(run)))["perfdata"]

    assert 400.0 == perfdata["results"][0]["second_token_throughput"]
    assert 400.0 == perfdata["results_averaged"]["second_token_throughput"]


def test_what_does_not_exist_is_null(request_of: Build, launch_of: BuildLaunch, run_of: BuildRun) -> None:
    """One token: no other tokens' latency, no throughput, and no average of it; never -1."""
    prompts = (Prompt(set="s", index=0, text="Hello"),)
    run = run_of(
        [launch_of([request_of([100])])], cells=(RunConfig(model="m", prompts=prompts, output_tokens=1),)
    )

    perfdata = strict(llm_bench_json(evaluate(run)))["perfdata"]

    assert perfdata["results"][0]["second_avg_latency"] is None
    assert "second_token_throughput" not in perfdata["results"][0]
    assert "second_avg_latency" not in perfdata["results_averaged"]
    assert perfdata["initial_rss_mem(MiB)"] is None


def test_an_infinite_bound_is_null(request_of: Build, launch_of: BuildLaunch, run_of: BuildRun) -> None:
    """One request has no interval: null, with the reason beside it."""
    run = run_of([launch_of([request_of([100, 110, 120, 130])])])

    row = strict(report_json(report.summarize_run(run)))["rows"][0]

    first = row["metrics"]["first_token"]
    assert (1, 100.0, None, None) == (first["n"], first["median"], first["low"], first["high"])
    assert ["needs 6 values for an interval at 95 %"] == first["warnings"]
    assert first["p99"] is None


def test_a_run_without_launches_is_still_a_file(run_of: BuildRun) -> None:
    """Nothing was measured: empty lists and null, no crash."""
    run = run_of([])

    assert [] == strict(llm_bench_json(evaluate(run)))["perfdata"]["results"]
    assert [] == strict(report_json(report.summarize_run(run)))["rows"]


def test_nan_never_reaches_a_file() -> None:
    """Infinity is nothing; NaN in a file is a bug and is refused."""
    assert file_value(math.inf, Unit.RATIO) is None
    assert file_value(1.5, Unit.RATIO) == 1.5
    with pytest.raises(ValueError, match="not JSON compliant"):
        dumps({"value": math.nan})
