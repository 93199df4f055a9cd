"""GenAI's continuous batching in a worker, on a tiny model."""

from collections.abc import Callable
from pathlib import Path

import pytest

from llmbench.schema.measurement import Measurement
from llmbench.store import reader
from tests import gguf_model
from tests.command import Done

LlmBench = Callable[..., Done]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GGUF of one block and random weights."""
    return gguf_model.build(tmp_path_factory.mktemp("gguf") / "tiny.gguf")


def _measured(llmbench: LlmBench, folder: Path, model: Path, *options: str) -> Measurement:
    shared = ("--name", "x", "--overwrite", "--foreign-cpu-limit", "1", "-n", "1", "--warmups", "0")
    exact = ("-lc", "EXECUTION_MODE_HINT=ACCURACY", "--input-tokens", "40", "-ic", "12")
    done = llmbench("run", "-m", str(model), *shared, *exact, *options)
    assert done.returncode in {0, 5}, done.stderr
    (m,) = reader.read_run(folder / "reports/x.jsonl").launches[0].measurements
    return m


@pytest.mark.slow
def test_each_sequence_of_a_batch_is_a_request_of_its_own(
    llmbench_workers: LlmBench, tiny: Path, tmp_path: Path
) -> None:
    """The tokens are those of the pipeline without a batch; each has the instant at which its step ended."""
    alone = _measured(llmbench_workers, tmp_path, tiny, "--engine", "genai")
    both = _measured(llmbench_workers, tmp_path, tiny, "--engine", "genai-batching", "-bs", "2")

    assert [(40, 12)] * 2 == [(s.input_tokens, s.output_tokens) for s in both.sequences]
    assert alone.sequences[0].token_ids == both.sequences[0].token_ids
    for sequence in both.sequences:
        assert both.start_ns < sequence.at_ns[0] < sequence.at_ns[-1] <= both.end_ns


@pytest.mark.slow
def test_a_request_that_the_cache_cannot_hold_is_no_measurement(
    llmbench_workers: LlmBench, tiny: Path, tmp_path: Path
) -> None:
    """Exit 5 with what to raise, not an endless wait."""
    options = ("--engine", "genai-batching", "--input-tokens", "100", "-n", "1", "--warmups", "0")
    done = llmbench_workers(
        "run", "-m", str(tiny), *options, "-ic", "4", "--cb-config", "num_kv_blocks=1", "--timeout", "60"
    )

    assert 5 == done.returncode, done.stdout
    assert "the KV cache has no room for the request" in done.stderr
