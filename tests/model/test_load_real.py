import itertools
import math
import random
import statistics
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmbench.engines.servers.base import Server, ready_path, start_server, wait_until_ready
from llmbench.schema.config import Prompt, RunConfig
from llmbench.store.reader import read_run
from tests.command import in_process
from tests.plain_client import closed_loop
from tests.served import measured

pytestmark = [pytest.mark.model, pytest.mark.nightly]

INPUT_TOKENS, OUTPUT_TOKENS, REQUESTS = 32, (4, 12), 32


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
    """Our client and one of forty lines load one server side by side: no difference beyond 10 % is beyond doubt.

    Output lengths vary, or all requests would stay in step, and which prefills are made together would be chance.
    """
    rng = random.Random(7)  # noqa: S311  lengths, no secret
    other: list[tuple[float, list[float]]] = []
    requests = (
        ([rng.randrange(100, 4000) for _ in range(INPUT_TOKENS)], rng.randint(*OUTPUT_TOKENS))
        for _ in itertools.count()
    )
    is_over = threading.Event()
    thread = threading.Thread(
        target=lambda: other.extend(closed_loop(server.url, requests, at_once=at_once, is_over=is_over))
    )
    thread.start()
    done = in_process(
        tmp_path, "process", "load", "--url", server.url, "--name", "run", "--foreign-cpu-limit", "1",
        "--concurrency", str(at_once), "-n", str(REQUESTS), "-ic", str(sum(OUTPUT_TOKENS) // 2),
        "--output-distribution", "uniform:0.5", "--input-tokens", str(INPUT_TOKENS),
    )  # fmt: skip
    is_over.set()
    thread.join()
    run = read_run(tmp_path / "reports/run.jsonl")
    window = run.launches[0].window
    assert done.returncode in {0, 5}, done.stderr
    assert window is not None
    ours = [
        [(at - m.start_ns) / 1e9 for at in m.sequences[0].at_ns] for m in measured(run) if m.error is None
    ]
    theirs = [times for began, times in other if window.begin_ns <= began * 1e9 < window.end_ns]

    assert len(ours) == REQUESTS
    for name, value in (("first token", _first), ("time per token", _per_token)):
        both = [[math.log(value(times)) for times in each] for each in (ours, theirs)]
        centers = [statistics.fmean(each) for each in both]
        doubt = 2.6 * math.sqrt(sum(statistics.variance(each) / len(each) for each in both))
        figures = " and ".join(f"{math.exp(center) * 1e3:.1f} ms" for center in centers)
        print(f"{at_once} at once, {name}: {figures}, +-{doubt:.1%}, {len(ours)} and {len(theirs)} requests")
        assert abs(centers[0] - centers[1]) <= math.log(1.1) + doubt, name


def _first(times: list[float]) -> float:
    return times[0]


def _per_token(times: list[float]) -> float:
    return (times[-1] - times[0]) / (len(times) - 1)
