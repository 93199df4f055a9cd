import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.model
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.alone
def test_the_products_take_most_of_the_time(llmbench_workers: Run, demo_ir: Path) -> None:
    """Of a model of 135M parameters about three quarters, in the first token and in the next ones.

    The first pass over 128 tokens takes longer than a pass of one, attention is found and fused, and the weights
    are of 4 bits. Where operations do not add up to the wall time, the text says it.
    """
    done = llmbench_workers("profile", "-m", str(demo_ir), "--input-tokens", "128", "-ic", "12", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)

    for name in ("first", "next"):
        kinds = found[name]["kinds"]
        share = sum(seconds for kind, seconds in kinds.items() if kind.startswith("FullyConnected"))
        assert 0.5 < share / sum(kinds.values()) < 0.93
        assert 0.6 * found[name]["wall_s"] < sum(kinds.values()) < 1.1 * found[name]["wall_s"]
    assert found["first"]["wall_s"] > found["next"]["wall_s"]
    attention = found["attention"]["language model"]
    assert ({"fused": 30, "layers": 30}, {"SDPA with KV cache": 30}) == (
        attention["fusion"],
        attention["executed"],
    )
    assert found["constant_bytes"]["u4"] > 50_000_000
    assert found["counts"]["FullyConnectedCompressed"] == 211


def test_a_gguf_is_profiled_as_the_ir_that_is_made_of_it(llmbench_workers: Run, demo_gguf: Path) -> None:
    """It is converted once and kept; the operators are those of an IR."""
    done = llmbench_workers("profile", "-m", str(demo_gguf), "--input-tokens", "16", "-ic", "4")

    assert done.returncode == 0, done.stderr
    assert "FullyConnected" in done.stdout
