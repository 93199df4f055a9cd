import statistics
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmbench.analysis.report import summarize_run
from llmbench.engines.servers.base import Server, ready_path, start_server, wait_until_ready
from llmbench.schema.config import Prompt, RunConfig
from llmbench.store.reader import read_run
from tests.command import in_process
from tests.plain_client import closed_loop

pytestmark = [pytest.mark.model, pytest.mark.nightly]

INPUT_TOKENS, OUTPUT_TOKENS, REQUESTS = 32, 16, 12


@pytest.fixture(scope="module", params=["llama.cpp", "genai"])
def server(request: pytest.FixtureRequest, demo_gguf: Path) -> Iterator[Server]:
    """A server of the demo's model that is ready."""
    model = demo_gguf if request.param == "llama.cpp" else request.getfixturevalue("demo_ir")
    config = RunConfig(
        model=str(model), engine="server", server=request.param, concurrency=16, threads=1,
        prompts=(Prompt(set="synthetic", index=0, tokens=INPUT_TOKENS),),
    )  # fmt: skip
    found = start_server(config)
    try:
        wait_until_ready(found, ready_path(config), limit_s=300)
        yield found
    finally:
        found.stop()


@pytest.mark.parametrize("at_once", [1, 2, 4, 8])
def test_both_clients_see_the_same_server(server: Server, tmp_path: Path, at_once: int) -> None:
    """Our client and one of forty lines load one server side by side: their latencies are the same within 15 %."""
    prompts = [[(7 * n + 13 * k) % 4000 + 100 for k in range(INPUT_TOKENS)] for n in range(512)]
    other: list[tuple[float, list[float]]] = []
    is_over = threading.Event()
    thread = threading.Thread(
        target=lambda: other.extend(
            closed_loop(server.url, prompts, OUTPUT_TOKENS, at_once=at_once, is_over=is_over)
        )
    )
    thread.start()
    done = in_process(
        tmp_path, "process", "load", "--url", server.url, "--name", "run", "--foreign-cpu-limit", "1",
        "--concurrency", str(at_once), "-n", str(REQUESTS), "-ic", str(OUTPUT_TOKENS),
        "--input-tokens", str(INPUT_TOKENS),
    )  # fmt: skip
    is_over.set()
    thread.join()
    run = read_run(tmp_path / "reports/run.jsonl")
    (row,), window = summarize_run(run).rows, run.launches[0].window
    assert window is not None
    beside = [times for began, times in other if window.begin_ns <= began * 1e9 < window.end_ns]
    ours = row.summaries["first_token"].median, row.summaries["tpot"].median
    theirs = (
        statistics.median(times[0] for times in beside),
        statistics.median((times[-1] - times[0]) / (OUTPUT_TOKENS - 1) for times in beside),
    )

    print(f"{at_once} at once, {len(beside)} beside {row.measured}, in ms: {_shown(ours)}; {_shown(theirs)}")
    assert done.returncode == 0, done.stderr
    assert ours == pytest.approx(theirs, rel=0.15)


def _shown(seconds: tuple[float, float]) -> str:
    return " and ".join(f"{value * 1e3:.2f}" for value in seconds)
