"""What llm_bench gets wrong, each fault with figures worked by hand: here they come out right.

Faults of an engine's own clocks are in tests/model/test_engines.py as well, on a real model.
"""

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmbench.analysis.comparison.compare import compare
from llmbench.analysis.comparison.rule import COMPARED, Verdict
from llmbench.analysis.evaluation import evaluate
from llmbench.analysis.metrics import text
from llmbench.analysis.metrics.table import METRICS
from llmbench.analysis.report import summarize_run
from llmbench.engines.base import Counters, Generation
from llmbench.engines.clock_check import suspicions
from llmbench.engines.openvino.scheduler import prefills_in_chunks
from llmbench.engines.scripted import ScriptedSession, read_script
from llmbench.render.json import llm_bench_json
from llmbench.runner import properties
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.measurement import Measurement, Sequence
from llmbench.schema.run import Launch, Run
from llmbench.schema.units import ns_from_ms
from llmbench.store import reader
from llmbench.workloads.text import Inputs

Build = Callable[..., Measurement]
BuildLaunch = Callable[..., Launch]
BuildRun = Callable[..., Run]
Command = Callable[..., Any]
PROMPT = Prompt(set="s", index=0, text="one two three four")


def test_the_throughput_of_a_batch_counts_each_token_once(request_of: Build) -> None:
    """Four sequences get 2 tokens each in the 20 ms after the first: 8 / 0.02 = 400 a second, not 4 x 400."""
    assert pytest.approx(400) == text.decode_rate(request_of(*[[100, 110, 120]] * 4))


def test_averages_of_the_json_leave_the_warm_up_out(
    request_of: Build, launch_of: BuildLaunch, run_of: BuildRun
) -> None:
    """First tokens of 900 (warm-up), 100 and 300 ms: their average is 200, not 433."""
    firsts = ((900, True), (100, False), (300, False))
    made = [
        request_of([first, first + 10], iteration=number, is_warmup=is_warmup, input_tokens=4)
        for number, (first, is_warmup) in enumerate(firsts)
    ]
    cells = (RunConfig(model="m", prompts=(PROMPT,), output_tokens=2, iterations=2),)
    reported = json.loads(llm_bench_json(evaluate(run_of([launch_of(made)], cells=cells))))["perfdata"]

    assert 200.0 == reported["results_averaged"]["first_latency"]
    assert [900.0, 100.0, 300.0] == [found["first_latency"] for found in reported["results"]]


def test_tokens_that_are_missing_from_the_clock_are_told(request_of: Build) -> None:
    """Five tokens in 150 ms: 50 / 4 = 12.5 ms each; a clock that ends with the fourth at 130 says 10, and is doubted.

    llm_bench's hooks in another library's loop miss steps, and report up to 24 % too little.
    """
    assert pytest.approx(0.0125) == text.time_per_output_token(request_of([100, 110, 120, 130, 150]))
    missed = Sequence(
        input_tokens=4,
        at_ns=tuple(ns_from_ms(1000 + at) for at in (100, 110, 120, 130)),
        token_ids=(1, 2, 3, 4),
    )
    generation = Generation(
        start_ns=ns_from_ms(1000),
        end_ns=ns_from_ms(1150),
        sequences=(missed,),
        counters=Counters(tokens=5),
    )

    assert (
        "the last token came after 130 ms, the call took 150 ms",
        "the engine counted 5 tokens, 4 came out",
    ) == suspicions(generation)


def test_no_two_requests_begin_alike() -> None:
    """Six iterations of two sequences of one prompt: twelve first tokens, so that no cache of prefixes answers any."""
    text = " ".join(f"word{number}" for number in range(20))
    for prompt in (Prompt(set="s", index=0, text=text), Prompt(set="s", index=0, tokens=20)):
        config = RunConfig(model="first=1ms", engine="scripted", prompts=(prompt,), batch_size=2)
        inputs = Inputs(config, ScriptedSession(read_script(config.model), config))
        first = [ids[0] for iteration in range(6) for ids in inputs.of(0, iteration)]

        assert 12 == len(set(first))


def test_the_first_forward_pass_is_never_that_of_a_last_chunk(request_of: Build) -> None:
    """300 tokens in steps of 256: the engine tells the pass over the last 44 as its first, so none is taken from it."""
    assert prefills_in_chunks({"max_num_batched_tokens": 256}, 300)
    assert not prefills_in_chunks({"max_num_batched_tokens": 256}, 256)
    assert METRICS["first_infer"].of(request_of([100, 110], infer_ms=())) is None


def test_subsequent_prompts_and_chats_end_in_a_csv(llmbench: Command, tmp_path: Path) -> None:
    """A chat of two turns and a prompt, a warm-up and two iterations: 3 x 3 rows, then 3 x 3 of averages."""
    (tmp_path / "p.jsonl").write_text('{"prompt": ["one", "two"]}\n{"prompt": "three"}\n')
    run = ("run", "-m", "first=5ms,next=1ms", "--engine", "scripted", "-pf", "p.jsonl", "-n", "2", "-ic", "4")
    done = llmbench(*run, "--subsequent", "-r", "out.csv", "--name", "x")
    assert done.returncode == 0, done.stderr
    with (tmp_path / "out.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["model"]]
    measured = [(row["iteration"], row["prompt_idx"], row["chat_idx"]) for row in rows[:9]]

    chat = [(str(iteration), "0", str(turn)) for iteration in range(3) for turn in range(2)]
    assert chat == [(iteration, prompt, turn or "0") for iteration, prompt, turn in measured[:6]]
    assert ["0", "1", "2"] == [iteration for iteration, prompt, _ in measured[6:] if prompt == "1"]
    assert ["avg", "mini", "median"] * 3 == [row["iteration"] for row in rows[9:]]


def test_a_long_json_is_no_file_name() -> None:
    """A name of a file has at most 255 bytes; a JSON of 1,000 is read as what it is."""
    given = json.dumps({"DEVICE_PROPERTIES": "x" * 1000, "NUM_STREAMS": 1})

    (found,) = properties.read_properties(given, option="-lc")
    assert {"DEVICE_PROPERTIES": "x" * 1000, "NUM_STREAMS": 1} == found


def test_memory_columns_are_filled(llmbench: Command, tmp_path: Path) -> None:
    """Before loading and while compiling on the first row, while generating on every row: numbers above zero."""
    run = ("run", "-m", "first=5ms,next=1ms", "--engine", "scripted", "-n", "2", "-ic", "4", "-r", "out.csv")
    done = llmbench(*run)
    assert done.returncode == 0, done.stderr
    with (tmp_path / "out.csv").open() as file:
        rows = list(csv.DictReader(file))
    early = (
        "initial_sys_mem(MiB)",
        "initial_rss_mem(MiB)",
        "compile_max_rss_mem(MiB)",
        "compile_max_sys_mem(MiB)",
    )

    assert all(float(rows[0][name]) > 0 for name in early)
    assert all(float(row["max_rss_mem(MiB)"]) > 0 for row in rows[:3])


def test_the_second_token_is_a_number_of_its_own(request_of: Build) -> None:
    """Tokens at 100, 150, 160, 170 ms: the second took 50, the later ones 10; their mean is 70 / 3, and only a mean."""
    m = request_of([100, 150, 160, 170])

    assert pytest.approx(0.1) == METRICS["first_token"].of(m)
    assert pytest.approx(0.05) == METRICS["second_token"].of(m)
    assert pytest.approx(0.01) == METRICS["next_token"].of(m)
    assert pytest.approx(0.07 / 3) == METRICS["tpot"].of(m)


def test_reports_say_on_what_and_with_what_they_were_made(llmbench: Command, tmp_path: Path) -> None:
    """Versions, host and properties stand in every row of the tidy CSV, and in the head of the run file."""
    run = ("run", "-m", "first=5ms", "--engine", "scripted", "-n", "1", "-ic", "2", "--threads", "1")
    assert llmbench(*run, "--name", "x").returncode == 0
    done = llmbench("report", "csv", "reports/x.jsonl")
    assert done.returncode == 0, done.stderr
    (*_, row) = csv.DictReader(done.stdout.splitlines())
    environment = reader.read_run(tmp_path / "reports" / "x.jsonl").environment

    assert all(
        row[name] for name in ("llmbench", "cpu", "kernel", "openvino", "openvino_genai", "properties")
    )
    assert "1" == row["threads"]
    assert {"python", "openvino", "openvino-genai"} <= environment.versions.keys()


def test_a_crash_loses_no_finished_request(llmbench_workers: Command, tmp_path: Path) -> None:
    """It dies in its fourth request, a warm-up and two iterations are on the disk; exit 5, and not 0."""
    done = llmbench_workers(
        *("run", "-m", "first=5ms,crash=SIGSEGV@4", "--engine", "scripted", "-n", "5", "-ic", "4"),
        *("--name", "x"),
    )
    (launch,) = reader.read_run(tmp_path / "reports" / "x.jsonl").launches

    assert 5 == done.returncode
    assert [0, 1, 2] == [m.iteration for m in launch.measurements]


def test_two_reports_are_compared_with_an_interval_and_a_verdict(story_of: BuildRun) -> None:
    """A fifth slower at five launches a side: the ratio is 1.2, its interval excludes 1, and the verdict says so."""
    noise = (1.0, 1.01, 0.99)
    base, candidate = (
        summarize_run(story_of(factor, launches=5, noise=noise), COMPARED) for factor in (1.0, 1.2)
    )
    found = compare(base, candidate)
    (first,) = [change for change in found.primary if change.metric == "first_token"]

    assert math.isclose(1.2, first.ratio.ratio, rel_tol=1e-6)
    assert 1 < first.ratio.low < 1.2 < first.ratio.high
    assert Verdict.REGRESSED is first.verdict is found.verdict
    assert found.alarms
