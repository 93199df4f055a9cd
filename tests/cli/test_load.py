import itertools
import statistics
from pathlib import Path

import pytest

from llmbench.analysis.metrics.table import METRICS
from llmbench.analysis.report import summarize_run
from llmbench.schema.run import Outcome, Run
from llmbench.store.reader import read_run
from tests.command import in_process
from tests.outcome import measured_again
from tests.served import log_of, measured, scripted_server

BUSY = ("--foreign-cpu-limit", "1")


def load(folder: Path, *arguments: str) -> tuple[Run, int, str, str]:
    """The run that ``llmbench load`` wrote, its exit code, and what it printed."""
    done = in_process(
        folder, "process", "load", "--name", "run", "--overwrite", *BUSY, *arguments, COLUMNS="200"
    )
    return read_run(folder / "reports/run.jsonl"), done.returncode, done.stdout, done.stderr


def valid_load(folder: Path, *arguments: str) -> tuple[Run, str]:
    """The run of a load, and what it printed; made again where the machine was too busy for the client.

    Latencies are so long that this takes a client that is late by 20 ms on the median.
    """
    command = ("load", "--name", "run", "--overwrite", *BUSY, *arguments)
    done = measured_again(lambda: in_process(folder, "process", *command, COLUMNS="200"))
    return read_run(folder / "reports/run.jsonl"), done.stdout


@pytest.mark.slow
def test_the_reference_stream_shows_how_late_the_client_notices_tokens(tmp_path: Path) -> None:
    """The server knows when it wrote each token: what the client adds is what its own account says, not more."""
    for _ in range(3):  # measured again where other work kept the client from its CPU
        run, written = _written(tmp_path, first="120ms", count=12)
        late = [
            at - wrote
            for m, instants in zip(measured(run), written, strict=True)
            for at, wrote in zip(m.sequences[0].at_ns, instants, strict=True)
        ]
        window = run.launches[0].window
        assert [8] * 12 == [m.output_tokens for m in measured(run)]
        assert {16} == {m.input_tokens for m in measured(run)}
        assert 12 * 8 == len(late)
        assert window is not None
        if statistics.median(late) < 3 * statistics.median(window.client.event_delay_ns) + 500_000:
            return
    pytest.fail(f"late by {late} ns, by its own account {window.client.event_delay_ns} ns")


@pytest.mark.nightly
def test_every_metric_is_right_within_a_millisecond_or_one_percent(tmp_path: Path) -> None:
    """Medians from the client's instants against those from the instants at which the server wrote."""
    run, written = _written(tmp_path, first="200ms", count=60)
    requests = measured(run)
    found = {
        "first_token": [w[0] - m.start_ns for m, w in zip(requests, written, strict=True)],
        "tpot": [(w[-1] - w[0]) / 7 for w in written],
        "e2e": [w[-1] - m.start_ns for m, w in zip(requests, written, strict=True)],
        "p50.itl": [b - a for w in written for a, b in itertools.pairwise(w)],
    }
    (row,) = summarize_run(run).rows

    for name, true_ns in found.items():
        ours, true = row.figures[name].median, statistics.median(true_ns) / 1e9
        print(f"{name}: {ours * 1e3:.3f} ms, by the server {true * 1e3:.3f} ms")
        assert abs(ours - true) < max(0.001, 0.01 * true), name


def _written(folder: Path, *, first: str, count: int) -> tuple[Run, list[list[int]]]:
    """A load of three at once, and the instants at which the server wrote each token of the measured requests.

    Of the responses whose tokens were all written before a request's arrived it is the last that is not another's.
    """
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
    left = [entry["written_ns"] for entry in log if entry.get("written_ns")]
    found = []
    for at_ns in (m.sequences[0].at_ns for m in measured(run)):
        same = [w for w in left if len(w) == len(at_ns)]
        earlier = [w for w in same if all(wrote <= at for wrote, at in zip(w, at_ns, strict=True))]
        found.append(max(earlier))
        left.remove(found[-1])
    return run, found


def test_metrics_are_those_that_were_scripted(tmp_path: Path) -> None:
    """Rates of a closed loop follow from its latencies, and those are no shorter than the script: 400 ms + 9 * 20 ms.

    How much longer they are is the machine's; by night each is held against the server's own account.
    """
    run, _ = valid_load(
        tmp_path, "--server", "scripted", "-m", "first=400ms,next=20ms", "--concurrency", "4", "-n", "8",
        "-ic", "10", "--goodput", "ttft:60000,tpot:60000",
    )  # fmt: skip
    assert [10] * 8 == [m.output_tokens for m in measured(run)]
    (row,) = summarize_run(run).rows
    found = {name: summary.median for name, summary in row.summaries.items()}
    mean_s = statistics.mean(METRICS["e2e"].of(m) or 0.0 for m in measured(run))

    assert 0.4 < found["first_token"] < found["e2e"] - 9 * 0.019
    assert found["tpot"] > 0.019
    assert 0.5 < found["request_rate"] * mean_s / 4 < 1.1  # Little's law; the last ones are alone
    assert found["output_throughput"] == pytest.approx(10 * found["request_rate"], rel=0.3)
    assert found["goodput"] == found["request_rate"]
    history = in_process(tmp_path, "process", "report", "history", "reports/run.jsonl", COLUMNS="200")
    assert 1.0 == found["good_share"]
    assert "goodput" in history.stdout
    assert ("goodput", "first_token") == run.workload.primary_metrics
    assert run.launches[0].window is not None
    assert run.launches[0].window.client.event_delay_ns


@pytest.mark.slow
def test_each_launch_starts_the_server_afresh_and_a_sweep_has_a_knee(tmp_path: Path) -> None:
    """Three servers, one round, and the knee where it must be: two slots are full with two, and six wait three times.

    Throughput / response time is 1 / 0.42^2 with one at once, twice that with two, and 2/3 of it with six.
    """
    run, output = valid_load(
        tmp_path, "--server", "scripted", "-m", "first=400ms,next=10ms,slots=2", "--concurrency", "1,2,6", "-n", "6",
        "-ic", "3", "--html", "load.html",
    )  # fmt: skip
    page = (tmp_path / "load.html").read_text()

    assert [0, 0, 0] == [launch.block for launch in run.launches]
    assert {Outcome.FINISHED} == {launch.outcome for launch in run.launches}
    assert all(launch.load_s for launch in run.launches)
    assert "goodput" not in page
    assert [1, 1, 1] == [row.summaries["request_rate"].n for row in summarize_run(run).rows]
    assert "knee: 2 at once" in output
    assert "K = knee" in output
    assert "the knee: 2 at once" in page


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_two_sides_under_load_are_compared_in_blocks(tmp_path: Path) -> None:
    """Blocks in random order, a verdict on goodput first, exit code 1, and the command that does it again."""
    for _ in range(3):  # measured again where the client was too late for a block to count
        done = in_process(
            tmp_path, "process", "ab", "--name", "run", "--overwrite", *BUSY, "--server", "scripted",
            "-m", "first=400ms,next=5ms", "-m", "first=1200ms,next=5ms", "--concurrency", "2", "-n", "4",
            "--warmups", "2", "-ic", "3", "--goodput", "ttft:800", "--blocks", "3", COLUMNS="200",
        )  # fmt: skip
        if "nothing that counts" not in done.stderr:
            break
    run = read_run(tmp_path / "reports/run.jsonl")
    blocks = [sorted(launch.cell for launch in run.launches if launch.block == block) for block in range(3)]
    words = next(line for line in done.stdout.splitlines() if "goodput" in line).split()

    assert [[0, 1]] * 3 == blocks
    assert [4] * 6 == [sum(not m.is_warmup for m in launch.measurements) for launch in run.launches]
    assert ("goodput", "first_token") == run.workload.primary_metrics
    assert done.returncode == 1, done.stderr
    assert "regressed" in words
    assert "B is slower: goodput" in done.stdout


def test_a_dry_run_under_load_starts_nothing(tmp_path: Path) -> None:
    """What would be refused is refused; the sides are described."""
    arguments = ("ab", "--server", "scripted", "-m", "first=60ms", "--concurrency", "1", "--concurrency", "2")
    done = in_process(tmp_path, "process", *arguments, "--blocks", "3", "--dry-run")

    assert done.returncode == 0, done.stderr
    assert "B: first=60ms, concurrency=2" in done.stdout
    assert "launches: 6; nothing was run" in done.stdout
    assert not list(tmp_path.glob("reports/*"))
