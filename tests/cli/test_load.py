import statistics
from pathlib import Path

import pytest

from llmbench.analysis.report import summarize_run
from llmbench.schema.measurement import Measurement
from llmbench.schema.run import Outcome, Run
from llmbench.store.reader import read_run
from tests.command import in_process
from tests.served import log_of, measured, scripted_server

BUSY = ("--foreign-cpu-limit", "1")


def load(folder: Path, *arguments: str) -> tuple[Run, int, str, str]:
    """The run that ``llmbench load`` wrote, its exit code, and what it printed."""
    done = in_process(
        folder, "process", "load", "--name", "run", "--overwrite", *BUSY, *arguments, COLUMNS="200"
    )
    return read_run(folder / "reports/run.jsonl"), done.returncode, done.stdout, done.stderr


def test_every_instant_is_that_of_the_server(tmp_path: Path) -> None:
    """What the client saw of each token is within 1 ms of the instant at which the server wrote it, or 1 %."""
    with scripted_server("first=120ms,next=20ms") as server:
        run, code, output, _ = load(
            tmp_path,
            "--url",
            server.url,
            "--concurrency",
            "3",
            "-n",
            "12",
            "-ic",
            "8",
            "--input-tokens",
            "16",
        )
        log = log_of(server)

    assert code == 0
    assert "requests/s" in output
    found = measured(run)
    by_first = {entry["written_ns"][0]: entry for entry in log if entry.get("written_ns")}
    assert [8] * 12 == [m.output_tokens for m in found]
    assert {16} == {m.input_tokens for m in found}
    late = [delay for m in found for delay in _delays(m, by_first)]
    assert 12 * 8 == len(late)
    assert 0 <= min(late)
    assert statistics.median(late) < 1_200_000


def _delays(m: Measurement, by_first: dict[int, dict[str, list[int]]]) -> list[int]:
    """How late each token of a request was noticed, in ns: the server's entry is the one written just before."""
    first_ns = max(written for written in by_first if written <= m.sequences[0].at_ns[0])
    return [at - w for at, w in zip(m.sequences[0].at_ns, by_first[first_ns]["written_ns"], strict=True)]


def test_metrics_are_those_that_were_scripted(tmp_path: Path) -> None:
    """Rates and latencies of a closed loop follow from the script: 4 at once of 200 ms + 9 * 20 ms each."""
    run, code, _, _ = load(
        tmp_path, "--server", "scripted", "-m", "first=200ms,next=20ms", "--concurrency", "4", "-n", "20",
        "-ic", "10", "--goodput", "ttft:300,tpot:25",
    )  # fmt: skip
    (row,) = summarize_run(run).rows
    found = {name: summary.median for name, summary in row.summaries.items()}

    assert code == 0
    assert found["first_token"] == pytest.approx(0.2, rel=0.05)
    assert found["tpot"] == pytest.approx(0.02, rel=0.02)
    assert found["e2e"] == pytest.approx(0.38, rel=0.04)
    assert found["request_rate"] == pytest.approx(4 / 0.38, rel=0.15)
    assert found["output_throughput"] == pytest.approx(40 / 0.38, rel=0.15)
    assert found["goodput"] == found["request_rate"]
    assert 1.0 == found["good_share"]
    assert ("goodput", "first_token") == run.workload.primary_metrics
    assert run.launches[0].window is not None
    assert run.launches[0].window.client.event_delay_ns


def test_each_launch_starts_the_server_afresh_and_a_sweep_has_a_knee(tmp_path: Path) -> None:
    """Three numbers of requests at once, two launches each: six servers, two rounds, and the knee of the curve."""
    run, code, output, _ = load(
        tmp_path, "--server", "scripted", "-m", "first=20ms,next=1ms,slots=2", "--concurrency", "1,2,6", "-n", "12",
        "-ic", "3", "--launches", "2", "--html", "load.html",
    )  # fmt: skip
    page = (tmp_path / "load.html").read_text()

    assert code == 0
    assert [0, 0, 0, 1, 1, 1] == [launch.block for launch in run.launches]
    assert {Outcome.FINISHED} == {launch.outcome for launch in run.launches}
    assert all(launch.load_s for launch in run.launches)
    assert [2, 2, 2] == [row.summaries["request_rate"].n for row in summarize_run(run).rows]
    assert "knee: 2 at once" in output
    assert "K = knee" in output
    assert "the knee: 2 at once" in page
    assert "goodput" not in page
