import itertools
import statistics
from pathlib import Path

import pytest

from llmbench.analysis.metrics import METRICS
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


def test_the_reference_stream_shows_how_late_the_client_notices_tokens(tmp_path: Path) -> None:
    """The server knows when it wrote each token: what the client adds is what its own account says, not more."""
    run, late = _late(tmp_path, first="120ms", count=12)
    window = run.launches[0].window

    assert [8] * 12 == [m.output_tokens for m in measured(run)]
    assert {16} == {m.input_tokens for m in measured(run)}
    assert 12 * 8 == len(late)
    assert 0 <= min(late)
    assert window is not None
    assert statistics.median(late) < 3 * statistics.median(window.client.event_delay_ns) + 500_000


@pytest.mark.nightly
def test_every_metric_is_right_within_a_millisecond_or_one_percent(tmp_path: Path) -> None:
    """On a quiet machine, against the instants of the server itself and against the script."""
    run, late = _late(tmp_path, first="200ms", count=60)
    (row,) = summarize_run(run).rows
    found = {name: summary.median for name, summary in row.summaries.items()}

    print({name: round(value * 1e3, 3) for name, value in found.items()}, statistics.median(late))
    assert statistics.median(late) < 1_000_000
    for name, expected in (("first_token", 0.2), ("tpot", 0.02), ("e2e", 0.34), ("p50.itl", 0.02)):
        assert abs(found[name] - expected) < max(0.001, 0.01 * expected), name
    assert found["request_rate"] == pytest.approx(3 / 0.34, rel=0.02)
    assert found["output_throughput"] == pytest.approx(24 / 0.34, rel=0.02)


def _late(folder: Path, *, first: str, count: int) -> tuple[Run, list[int]]:
    """A load of three at once, and how late the client noticed each token, in ns, by the server's own account."""
    with scripted_server(f"first={first},next=20ms") as server:
        run, _, output, _ = load(
            folder,
            "--url",
            server.url,
            "--concurrency",
            "3",
            "-n",
            str(count),
            "-ic",
            "8",
            "--input-tokens",
            "16",
        )
        log = log_of(server)
    assert "requests/s" in output
    by_first = {entry["written_ns"][0]: entry for entry in log if entry.get("written_ns")}
    return run, [delay for m in measured(run) for delay in _delays(m, by_first)]


def _delays(m: Measurement, by_first: dict[int, dict[str, list[int]]]) -> list[int]:
    """How late each token of a request was noticed, in ns: the server's entry is the one written just before."""
    first_ns = max(written for written in by_first if written <= m.sequences[0].at_ns[0])
    return [at - w for at, w in zip(m.sequences[0].at_ns, by_first[first_ns]["written_ns"], strict=True)]


def test_metrics_are_those_that_were_scripted(tmp_path: Path) -> None:
    """Rates and latencies of a closed loop follow from the script: 4 at once of 400 ms + 9 * 40 ms each."""
    run, code, _, _ = load(
        tmp_path, "--server", "scripted", "-m", "first=400ms,next=40ms", "--concurrency", "4", "-n", "12",
        "-ic", "10", "--goodput", "ttft:600,tpot:60",
    )  # fmt: skip
    (row,) = summarize_run(run).rows
    found = {name: summary.median for name, summary in row.summaries.items()}

    assert code == 0
    assert found["first_token"] == pytest.approx(0.4, rel=0.05)
    assert found["tpot"] == pytest.approx(0.04, rel=0.02)
    assert found["e2e"] == pytest.approx(0.76, rel=0.04)
    assert found["request_rate"] == pytest.approx(4 / 0.76, rel=0.15)
    assert found["output_throughput"] == pytest.approx(40 / 0.76, rel=0.15)
    assert found["goodput"] == found["request_rate"]
    assert 1.0 == found["good_share"]
    assert ("goodput", "first_token") == run.workload.primary_metrics
    assert run.launches[0].window is not None
    assert run.launches[0].window.client.event_delay_ns


def test_each_launch_starts_the_server_afresh_and_a_sweep_has_a_knee(tmp_path: Path) -> None:
    """Three numbers of requests at once: three servers, one round, and the knee of the curve."""
    run, code, output, _ = load(
        tmp_path, "--server", "scripted", "-m", "first=100ms,next=5ms,slots=2", "--concurrency", "1,2,6", "-n", "12",
        "-ic", "3", "--html", "load.html",
    )  # fmt: skip
    page = (tmp_path / "load.html").read_text()

    assert code == 0
    assert [0, 0, 0] == [launch.block for launch in run.launches]
    assert {Outcome.FINISHED} == {launch.outcome for launch in run.launches}
    assert all(launch.load_s for launch in run.launches)
    assert [1, 1, 1] == [row.summaries["request_rate"].n for row in summarize_run(run).rows]
    assert "knee: 2 at once" in output
    assert "K = knee" in output
    assert "the knee: 2 at once" in page
    assert "goodput" not in page


def test_a_wait_for_a_connection_is_part_of_the_first_token(tmp_path: Path) -> None:
    """Due every 25 ms whatever the server does; two at once is too few, and the wait counts from when it was due."""
    run, _, _, _ = load(
        tmp_path, "--server", "scripted", "-m", "first=100ms,next=5ms", "--request-rate", "40", "--burstiness", "inf",
        "--concurrency", "2", "-n", "12", "--warmups", "2", "-ic", "3",
    )  # fmt: skip
    found = sorted(measured(run), key=lambda m: m.iteration)
    waits = [(m.sent_ns or 0) - m.start_ns for m in found]
    firsts = [[METRICS[name].of(m) or 0 for m in found] for name in ("first_token", "first_token_sent")]

    assert {25_000_000} == {b.start_ns - a.start_ns for a, b in itertools.pairwise(found)}
    assert waits[-1] - waits[0] > 5 * 25_000_000
    assert all(due >= 0.1 + wait / 1e9 for due, wait in zip(firsts[0], waits, strict=True))
    assert statistics.median(firsts[0]) > 1.5 * statistics.median(firsts[1])
    assert [m.stages[0].duration_ns for m in found] == waits


def test_a_trace_is_made_as_it_is_written(tmp_path: Path) -> None:
    """Its instants, its lengths, in its order."""
    (tmp_path / "trace.csv").write_text(
        "time,input_tokens,output_tokens\n0,5,2\n0.05,9,4\n0.3,7,3\n", encoding="utf-8"
    )
    run, _, _, _ = load(
        tmp_path,
        "--server",
        "scripted",
        "-m",
        "first=60ms,next=2ms",
        "--trace",
        "trace.csv",
        "--warmups",
        "1",
    )
    found = sorted(measured(run), key=lambda m: m.iteration)

    assert [(5, 2), (9, 4), (7, 3)] == [(m.input_tokens, m.output_tokens) for m in found]
    assert [50_000_000, 250_000_000] == [b.start_ns - a.start_ns for a, b in itertools.pairwise(found)]


def test_no_two_prompts_begin_alike_unless_a_prefix_is_shared(tmp_path: Path) -> None:
    """The server itself tells what came in."""
    with scripted_server("first=5ms,next=1ms") as server:
        for prefix in ("0", "6"):
            load(
                tmp_path,
                "--url",
                server.url,
                "-n",
                "6",
                "-ic",
                "2",
                "--input-tokens",
                "24",
                "--shared-prefix",
                prefix,
            )
        prompts = [entry["prompt"] for entry in log_of(server) if entry.get("input_tokens") == 24]

    half = len(prompts) // 2
    assert len({tuple(prompt[:4]) for prompt in prompts[:half]}) == half
    assert len({tuple(prompt[:6]) for prompt in prompts[half:]}) == 1
    assert len({tuple(prompt[6:10]) for prompt in prompts[half:]}) == len(prompts) - half
