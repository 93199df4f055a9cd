import dataclasses

import pytest

from llmbench.analysis.profile import ModelProfile, PartAttention, PassProfile
from llmbench.engines.openvino.perf_counters import Operation
from llmbench.render.terminal.profile import profile_lines
from llmbench.runner import profile
from llmbench.schema.attention import Fusion

FIRST = PassProfile(
    wall_s=1.0,
    kinds={
        "FullyConnectedCompressed": 0.7,
        "ScaledDotProductAttentionWithKVCache": 0.2,
        "Add": 0.06,
        "Sin": 0.001,
    },
    primitives={"brgemm_avx512_amx_bf16": 0.7, "undef_bf16": 0.2, "jit_avx512_bf16": 0.061},
)
NEXT = PassProfile(
    wall_s=0.1, kinds={"FullyConnectedCompressed": 0.06, "Add": 0.02}, primitives={"brgemm_avx2": 0.08}
)
PROFILE = ModelProfile(
    first=FIRST,
    next=NEXT,
    counts={"FullyConnectedCompressed": 211, "ScaledDotProductAttentionWithKVCache": 30, "Add": 64, "Sin": 1},
    attention={
        "language model": PartAttention(
            fusion=Fusion(fused=30, layers=30), executed={"SDPA with KV cache": 30}, fused=30
        )
    },
    constant_bytes={"u4": 52 << 20, "u8": 28 << 20, "i64": 16},
    properties={"INFERENCE_NUM_THREADS": "2", "KV_CACHE_PRECISION": "u8", "INFERENCE_PRECISION_HINT": "bf16"},
    input_tokens=256,
    output_tokens=32,
)


def _operation(name: str, kind: str, seconds: float) -> Operation:
    return Operation(name=name, kind=kind, primitive="jit", seconds=seconds)


def test_counters_are_averages_so_differences_are_taken_of_their_totals() -> None:
    """2 inferences of 3 ms, then 3 more: an average of 5 ms over 5 is 25 ms in all, so 19 ms for those 3."""
    before = {"fc": (_operation("fc", "FullyConnected", 0.003), 0.006)}
    after = {
        "fc": (_operation("fc", "FullyConnected", 0.005), 0.025),
        "new": (_operation("new", "Add", 0.0006), 0.003),
    }
    found = profile.pass_profile([(before, after)], wall_ns=24_000_000, passes=3)

    assert pytest.approx(0.008) == found.wall_s
    assert {"FullyConnected": pytest.approx(0.019 / 3), "Add": pytest.approx(0.001)} == dict(found.kinds)
    assert list(found.kinds) == ["FullyConnected", "Add"]


def test_several_spans_add_up_and_what_took_no_time_is_left_out() -> None:
    """Two requests of two later tokens each: their differences together, over four passes."""
    spans = [
        (
            {"a": (_operation("a", "Add", 0.0), start), "b": (_operation("b", "Sub", 0.0), 1.0)},
            {"a": (_operation("a", "Add", 0.0), start + 0.4), "b": (_operation("b", "Sub", 0.0), 1.0)},
        )
        for start in (1.0, 2.0)
    ]

    assert {"Add": pytest.approx(0.2)} == dict(profile.pass_profile(spans, wall_ns=0, passes=4).kinds)


def test_the_share_that_is_split_and_the_bound() -> None:
    """0.7 of 0.961 s is split; of the second on the clock 0.35 s can be saved, so at most 1 / 0.65."""
    assert pytest.approx(0.7 / 0.961) == FIRST.split_share
    assert pytest.approx(1 / 0.65) == FIRST.bound()
    assert pytest.approx(1 / (1 - 0.7 * 3 / 4)) == FIRST.bound(sockets=4)


def test_operations_that_do_not_add_up_are_said_so() -> None:
    """0.961 of 1 s is within a tenth; 0.08 of 0.1 s is not, and the text says it beside the figure."""
    assert (True, False) == (FIRST.is_whole, NEXT.is_whole)
    text = list(profile_lines(PROFILE))

    assert "first token: operations take 961.0 of 1000 ms of wall time (96%)" in text
    assert any("(80%); 20% is outside operators" in line for line in text)


def test_the_table_has_both_phases_side_by_side_and_small_kinds_together() -> None:
    """Time and share of each; what is below half a percent in both is one row."""
    text = "\n".join(profile_lines(PROFILE))

    assert "FullyConnectedCompressed (211)                 700.0  72.8%       60.00  75.0%" in text
    assert "1 other kinds" in text
    assert "splits FullyConnected: 73% of the first token and 75% of the next ones" in text
    assert "1.54x first token, 1.43x next tokens" in text


@pytest.mark.parametrize(
    ("fused", "executed", "output"),
    [
        (
            2,
            {"SDPA with KV cache": 2},
            "2 of 2 layers use fused attention (SDPA); executed: 2 SDPA with KV cache",
        ),
        (2, {"fused into a Subgraph": 2}, "executed: 2 fused into a Subgraph"),
        (
            0,
            {"Softmax": 2},
            "0 of 2 layers use fused attention (SDPA); executed: 2 Softmax; NOT FUSED: 2 layers",
        ),
        (0, {}, "executed: nothing that is known; NOT FUSED: 2 layers"),
    ],
)
def test_what_became_of_the_attention_of_each_part(fused: int, executed: dict[str, int], output: str) -> None:
    """As the IR has it, and what is executed; a vision tower's is fused into a Subgraph, and not lost."""
    part = PartAttention(fusion=Fusion(fused=fused, layers=2), executed=executed, fused=fused)
    found = dataclasses.replace(PROFILE, attention={**PROFILE.attention, "vision tower": part})
    lines = [line for line in profile_lines(found) if line.startswith("attention: ")]

    assert lines[0].startswith("attention: language model: 30 of 30 layers use fused attention (SDPA)")
    assert lines[1].startswith("attention: vision tower: ")
    assert lines[1].endswith(output)


def test_precisions_and_code_are_told() -> None:
    """Element types that hold a hundredth of the constants, the cache, what computes, and the code by time."""
    text = "\n".join(profile_lines(PROFILE))

    assert "weights: u4 52 MiB, u8 28 MiB; KV cache: u8; computed in: bf16" in text
    assert "first token brgemm_avx512_amx_bf16 73%, jit_avx512_bf16 6%; next tokens brgemm_avx2 100%" in text
