import dataclasses

from llmbench.render.terminal.run_log import effective_lines, request_lines
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.measurement import Measurement, Sequence
from llmbench.schema.run import EffectiveSettings
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
    said = effective_lines(
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
            notes=("INFERENCE_NUM_THREADS: asked 3, in force 2",),
        ),
        _CONFIG,
    )

    assert said[0] == "in force: nstream=1, nireq=1, threads=2, inference precision=bf16, KV cache=u8"
    assert "attention=paged attention, distribution policy=none, prefix caching=off" in said[1]
    assert "tokens a step=no limit" in said[1]
    assert "NOTE: INFERENCE_NUM_THREADS: asked 3, in force 2" in said
    assert said[-1] == "exactly 4 output tokens; prompts permuted each iteration"
    assert len(effective_lines(EffectiveSettings(), _CONFIG)) == 1


def test_how_pytorch_runs_and_in_which_order_prompts_come_is_said() -> None:
    """A compiled forward pass, the type of its weights; and where prompts are not interleaved."""
    compiled = EffectiveSettings(properties={"DTYPE": "bfloat16", "TORCH_COMPILE": "inductor"})
    said = effective_lines(compiled, dataclasses.replace(_CONFIG, is_subsequent=True))

    assert said[0] == "in force: weights as=bfloat16, torch.compile=inductor"
    assert said[-1].endswith("permuted each iteration; all iterations of one prompt, then the next one")
