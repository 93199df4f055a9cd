import shutil
import statistics
import subprocess
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from llmbench.analysis.metrics.table import METRICS
from tests import outcome

pytestmark = pytest.mark.model
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.alone
def test_a_longer_input_takes_longer_to_the_first_token(
    llmbench_workers: Run, demo_ir: Path, tmp_path: Path
) -> None:
    """Real latencies are in the order that physics has them, and every token is there."""
    arguments = (
        "--input-tokens",
        "32,512",
        "-ic",
        "16",
        "-n",
        "3",
        "--foreign-cpu-limit",
        "1",
        "--name",
        "x",
    )
    done = llmbench_workers("run", "-m", str(demo_ir), *arguments, "-r", "out.csv")
    run = outcome.measured_run(done, tmp_path / "reports/x.jsonl")
    measured = [m for m in run.launches[0].measurements if not m.is_warmup]

    assert {32, 512} == {m.input_tokens for m in measured}
    assert {16} == {m.output_tokens for m in measured}
    first = METRICS["first_token"].of
    short, long = ([first(m) or 0.0 for m in measured if m.input_tokens == n] for n in (32, 512))
    assert statistics.median(short) < statistics.median(long)
    for m in measured:
        next_token = METRICS["next_token"].of(m)
        assert next_token is not None
        assert 0 < next_token < statistics.median(long)
    frame = pd.read_csv(tmp_path / "out.csv")
    assert len(frame.columns) == 34
    assert {"avg", "mini", "median"} < set(frame["iteration"].astype(str))


def test_the_gguf_runs_without_a_conversion(llmbench_workers: Run, demo_gguf: Path, tmp_path: Path) -> None:
    """A GGUF file is a model, too; nothing is written beside it."""
    (tmp_path / "models").mkdir()
    model = Path(shutil.copy(demo_gguf, tmp_path / "models"))
    done = llmbench_workers("run", "-m", str(model), "-n", "1", "-ic", "4", "--foreign-cpu-limit", "1")

    outcome.assert_measured(done)
    assert [model] == list((tmp_path / "models").iterdir())


@pytest.mark.parametrize(
    ("options", "code", "output"),
    [
        (("--input-tokens", "8190"), 2, "context is 8192"),
        (("--engine", "core", "--attention", "pa"), 2, "paged attention"),
    ],
)
def test_what_the_machine_or_model_cannot_do_is_refused(
    llmbench_workers: Run, demo_ir: Path, tmp_path: Path, *, options: tuple[str, ...], code: int, output: str
) -> None:
    """One line, the exit code, and no run file; properties, devices and threads are in tests/faults."""
    done = llmbench_workers("run", "-m", str(demo_ir), *options)

    assert code == done.returncode, done.stderr
    assert output in done.stderr
    assert list(tmp_path.rglob("*.jsonl")) == []
