"""A real model's weights, KV cache and model cache, and the energy of a request on a machine that has counters."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from llmbench.analysis.metrics.table import METRICS
from llmbench.analysis.report import summarize_run
from llmbench.models import ir_xml
from llmbench.runner.protocol import Measure, Open
from llmbench.runner.worker import OpenLaunch
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.run import ModelCache
from llmbench.schema.run import Run as Recorded
from llmbench.store import reader
from tests import machines
from tests.outcome import measured_again

pytestmark = pytest.mark.model
Run = Callable[..., subprocess.CompletedProcess[str]]

SHORT = (
    "--input-tokens",
    "32",
    "-ic",
    "8",
    "-n",
    "1",
    "--foreign-cpu-limit",
    "1",
    "--name",
    "x",
    "--overwrite",
)
KV_VALUES = 30 * 2 * 3 * 64
"""Layers, keys and values, heads of them, and the size of a head of SmolLM2-135M."""


def _measured(llmbench_workers: Run, folder: Path, model: Path, *options: str) -> tuple[Recorded, str]:
    """A run of the command itself, and what it printed."""
    done = measured_again(lambda: llmbench_workers("run", "-m", str(model), *SHORT, "-v", *options))
    return reader.read_run(folder / "reports/x.jsonl"), " ".join(done.stdout.split())


def test_embeddings_that_are_tied_are_read_with_the_weights(demo_ir: Path) -> None:
    """This model's embeddings are its output matrix: a step reads the whole file, and 11,520 numbers a token."""
    found = ir_xml.read_ir_xml(demo_ir / "openvino_model.xml")
    size = (demo_ir / "openvino_model.bin").stat().st_size

    assert found.weight_bytes is not None
    assert 0.99 * size <= found.weight_bytes <= size
    assert KV_VALUES == found.kv_values


@pytest.mark.alone
@pytest.mark.parametrize(
    "options", [("--engine", "core"), ("--attention", "pa"), ("--attention", "sdpa", "-bs", "2")]
)
def test_every_engine_tells_its_bandwidth(
    llmbench_workers: Run, demo_ir: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    """Tokens 3 to 8 stand behind 36.5 tokens on average; the KV cache is u8; a batch of two reads two of them.

    No model cache was asked for: nothing is said of one.
    """
    run, output = _measured(llmbench_workers, tmp_path, demo_ir, *options)
    row = summarize_run(run).rows[0]
    weights = run.provenance.weight_bytes
    assert weights is not None
    read = weights + row.config.batch_size * 36.5 * KV_VALUES

    assert "u8" == run.launches[0].effective.properties["KV_CACHE_PRECISION"]
    assert pytest.approx(read / row.summaries["next_token"].median) == row.summaries["bandwidth"].median
    assert re.search(r"next tokens: \d+\.\d+ GB/s of weights and KV cache", output)
    assert ModelCache.OFF is run.launches[0].model_cache
    assert "model cache" not in output


@pytest.mark.alone
def test_a_gguf_has_the_bandwidth_of_its_file(llmbench_workers: Run, demo_gguf: Path, tmp_path: Path) -> None:
    """What a step reads is what the file stores of the weights, and little of a cache so short."""
    run, _ = _measured(llmbench_workers, tmp_path, demo_gguf)
    found = summarize_run(run).rows[0].summaries

    assert run.provenance.weight_bytes is not None
    expected = run.provenance.weight_bytes / found["next_token"].median
    assert found["bandwidth"].median == pytest.approx(expected, rel=0.1)


@pytest.mark.alone
@pytest.mark.parametrize(
    "way",
    [
        ("--engine", "core"),
        pytest.param(("--attention", "sdpa"), marks=pytest.mark.nightly),
        ("--attention", "pa"),
    ],
)
def test_the_first_launch_is_cold_and_the_second_is_not(
    llmbench_workers: Run, demo_ir: Path, tmp_path: Path, way: tuple[str, ...]
) -> None:
    """The second finds the model; paged attention may refuse it and compile again, which is told apart and noted."""
    run, output = _measured(
        llmbench_workers, tmp_path, demo_ir, *way, "--launches", "2", "--model-cache", "reports/cache"
    )
    first, second = (launch.model_cache for launch in run.launches)
    (loads,) = summarize_run(run).load

    assert ModelCache.COLD is first
    assert second in ({ModelCache.WARM, ModelCache.REFUSED} if "pa" in way else {ModelCache.WARM})
    assert [first, second] == list(loads)
    assert re.search(
        rf"load: \d+\.\d\d s \(model cache cold\), \d+\.\d\d s \(model cache {second.value}\)", output
    )
    assert (second is ModelCache.REFUSED) == ("compiled it again" in output)


def test_a_worker_reads_the_counters_around_a_request(demo_ir: Path, tmp_path: Path) -> None:
    """The counter of a machine laid out in files goes on by 2.5 J while tokens are made; without one there is none."""
    zone = "sys/class/powercap/intel-rapl:0"
    counter = {f"{zone}/energy_uj": "1000000\n"}
    root = machines.write(
        tmp_path, {f"{zone}/name": "package-0\n", f"{zone}/max_energy_range_uj": "262143328850\n", **counter}
    )
    config = RunConfig(
        model=str(demo_ir),
        engine="core",
        attention="sdpa",
        prompts=(Prompt(set="s", index=0, tokens=8),),
        output_tokens=4,
        warmups=0,
    )
    command = Measure(prompt=0, iteration=0, is_warmup=False)

    def beat(_tokens: int, _at_ns: int) -> None:
        machines.write(root, {f"{zone}/energy_uj": "3500000\n"})

    launch = OpenLaunch(Open(config=config, launch=0), beat, root)
    m = launch.measure(command)
    (root / zone / "energy_uj").unlink()
    unknown = launch.measure(command)

    assert pytest.approx(2.5) == METRICS["energy"].of(m)
    assert pytest.approx(0.625) == METRICS["energy_per_token"].of(m)
    assert unknown.energy_j is None
