import dataclasses
from collections.abc import Callable

import pytest

from llmbench.analysis.evaluation import evaluate
from llmbench.machine.interference import Interference
from llmbench.render.terminal.run_log import (
    average_lines,
    effective_lines,
    interference_warning,
    reason_kind,
    request_line,
    request_lines,
)
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.measurement import Measurement, Sequence
from llmbench.schema.run import EffectiveSettings, Run
from llmbench.schema.units import Nanoseconds

_MS = 1_000_000
_CONFIG = RunConfig(model="m", prompts=(Prompt(set="s", index=3, text="x"),), iterations=4, output_tokens=4)


def _measurement(at_ms: tuple[int, ...], *, iteration: int = 1, launch: int = 0) -> Measurement:
    return Measurement(
        launch=launch,
        iteration=iteration,
        prompt=0,
        is_warmup=iteration == 0,
        start_ns=Nanoseconds(0),
        end_ns=Nanoseconds(at_ms[-1] * _MS),
        started_at="",
        ended_at="",
        requested_tokens=4,
        sequences=(Sequence(input_tokens=32, at_ns=tuple(Nanoseconds(ms * _MS) for ms in at_ms)),),
        tokenize_ns=1 * _MS,
        detokenize_ns=2 * _MS,
    )


def test_the_two_familiar_lines() -> None:
    """Scripts that read llm_bench's log read ours: the same words, places and units."""
    first, second = request_lines(_measurement((100, 110, 120, 130)), _CONFIG)

    assert first == (
        "[ INFO ] [1][P3] Input token size: 32, Output size: 4, Infer count: 4, Tokenization Time: 1.00ms, "
        "Detokenization Time: 2.00ms, Generation Time: 0.13s, Latency: 32.5000 ms/token"
    )
    assert second == (
        "[ INFO ] [1][P3] First token latency: 100.00 ms, other tokens latency: 10.00 ms/token, "
        "len of input tokens: 32 * 1"
    )


def test_one_token_has_no_others() -> None:
    """A latency that does not exist is NA, never -1."""
    _, second = request_lines(_measurement((100,)), _CONFIG)

    assert "other tokens latency: NA," in second


def test_warm_ups_are_named_and_launches_go_on_counting() -> None:
    """The second launch of four iterations begins at five."""
    assert request_lines(_measurement((1, 2), iteration=0), _CONFIG)[0].startswith("[ INFO ] [warm-up][P3]")
    assert request_lines(_measurement((1, 2), launch=1), _CONFIG)[0].startswith("[ INFO ] [5][P3]")


def test_what_is_in_force_is_said_only_where_the_engine_said_it() -> None:
    """Streams, requests, threads, precision, cache, attention, policy, prefix caching and scheduler limits."""
    output = effective_lines(
        EffectiveSettings(
            properties={
                "NUM_STREAMS": "1",
                "OPTIMAL_NUMBER_OF_INFER_REQUESTS": "1",
                "INFERENCE_NUM_THREADS": "2",
                "INFERENCE_PRECISION_HINT": "bf16",
                "KV_CACHE_PRECISION": "u8",
                "MODEL_DISTRIBUTION_POLICY": "",
            },
            scheduler={"enable_prefix_caching": "false", "max_num_batched_tokens": "no limit"},
            attention="paged attention",
            notes=("INFERENCE_NUM_THREADS: requested 3, effective 2",),
        ),
        _CONFIG,
    )

    assert output[0] == "effective: nstream=1, nireq=1, threads=2, inference precision=bf16, KV cache=u8"
    assert "attention=paged attention, distribution policy=none, prefix caching=off" in output[1]
    assert "max batched tokens=no limit" in output[1]
    assert "NOTE: INFERENCE_NUM_THREADS: requested 3, effective 2" in output
    assert output[-1] == "exactly 4 output tokens; prompts permuted each iteration"
    assert len(effective_lines(EffectiveSettings(), _CONFIG)) == 1


def test_how_pytorch_runs_and_in_which_order_prompts_come_is_said() -> None:
    """A compiled forward pass, the type of its weights; and where prompts are not interleaved."""
    compiled = EffectiveSettings(properties={"DTYPE": "bfloat16", "TORCH_COMPILE": "inductor"})
    output = effective_lines(compiled, dataclasses.replace(_CONFIG, is_subsequent=True))

    assert output[0] == "effective: weights as=bfloat16, torch.compile=inductor"
    assert output[-1].endswith("permuted each iteration; all iterations of one prompt, then the next one")


def test_a_request_has_one_line_of_80_columns() -> None:
    """Launch, prompt, iteration of how many, latencies and tokens/s; why it is invalid behind them."""
    line = request_line(_measurement((100, 115, 125, 135)), _CONFIG, launch="2/5", reasons=())
    noisy = request_line(_measurement((100, 115, 125, 135)), _CONFIG, launch="2/5", reasons=("why",))
    warmup = request_line(_measurement((100,), iteration=0), _CONFIG, launch="2/5", reasons=())

    assert "launch 2/5  P3 iteration 1/4   first 100.0 ms, next 10.00 ms, 85.71 tokens/s" == line
    assert len(line) <= 80
    assert f"{line}  INVALID (!): why" == noisy
    assert "launch 2/5  P3 warm-up         first 100.0 ms" == warmup


def test_a_reason_that_was_shown_is_only_marked() -> None:
    """Whatever its figures and names; another kind of reason is shown."""
    shown = reason_kind("other processes used 87% of the CPUs (python 51%) (limit 5%)")

    def line(reason: str) -> str:
        measured = _measurement((100, 115, 125, 135))
        return request_line(measured, _CONFIG, launch="2/5", reasons=(reason,), known={shown})

    assert line("other processes used 9.5% of the CPUs (mypy 9%) (limit 5%)").endswith("85.71 tokens/s !")
    assert line("the process was stopped (SIGSTOP)").endswith(
        "  INVALID (!): the process was stopped (SIGSTOP)"
    )


@pytest.mark.parametrize(("batch", "unit", "throughput"), [(1, "token", "100.00"), (4, "4tokens", "400.00")])
def test_the_average_line_of_llm_bench(
    story_of: Callable[..., Run], batch: int, unit: str, throughput: str
) -> None:
    """Means over measured iterations; a step of 4 sequences gives 4 tokens, so 10 ms are 400 tokens/s."""
    run = story_of(launches=1, noise=(1.0,))
    config = dataclasses.replace(run.cells[0], batch_size=batch)
    even = [
        dataclasses.replace(
            each,
            sequences=batch
            * (
                Sequence(
                    input_tokens=32,
                    at_ns=tuple(Nanoseconds(each.start_ns + ms * _MS) for ms in (100, 110, 120)),
                ),
            ),
            requested_tokens=3,
        )
        for each in run.launches[0].measurements
        if each.prompt == 0
    ]
    launch = dataclasses.replace(run.launches[0], measurements=tuple(even))

    expected = (
        f"[ INFO ] [Average] P[0] Input token size: 32, 1st token latency: 100.00 ms/{unit}, "
        f"2nd token latency: 10.00 ms/{unit}, 2nd tokens throughput: {throughput} tokens/s"
    )
    changed = dataclasses.replace(run, cells=(config,), launches=(launch,))
    assert [expected] == list(average_lines(evaluate(changed)))


def test_interference_is_named_before_it_spoils_anything() -> None:
    """What uses how much, the limit and what to do; silence where it is within the limit."""
    busy = Interference(total=0.31, steal=0.0, busiest=("pip", "cc1"), shares=(0.24, 0.05))

    assert (
        "other processes use 31% of the CPU time: pip 24%, cc1 5%; results will be marked invalid (limit 5%). "
        "Stop them, or accept such results with --foreign-cpu-limit 1"
    ) == interference_warning(busy, 0.05)
    assert interference_warning(busy, 0.31) is None
