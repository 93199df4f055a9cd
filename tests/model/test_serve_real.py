"""Our server on a real model: its text is that of ``run``, and so are its times, one request at a time."""

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from llmbench.analysis.metrics.table import METRICS
from llmbench.schema.measurement import Measurement
from llmbench.store import reader
from tests import command, outcome

pytestmark = pytest.mark.model
pytest.importorskip("uvicorn")
pytest.importorskip("httpx")
Ask = Callable[[str, dict[str, object]], str]

CLOSE = 0.10
"""How far the fastest request of a load of one may be from the fastest of a run, as a share."""

ROUNDS = 4


@pytest.fixture(scope="module")
def ask(demo_ir: Path) -> Iterator[Ask]:
    """Asks a server with the demo's model; returns the body of its response."""
    with subprocess.Popen(
        [sys.executable, "-m", "llmbench", "serve", "-m", str(demo_ir), "--port", "0"],
        stdout=subprocess.PIPE,
        env={**os.environ, "LLMBENCH_API_KEY": ""},
        text=True,
    ) as process:
        assert process.stdout is not None
        loading, line = next(process.stdout), next(process.stdout)
        assert ("loading", "serving") == (loading.split()[0], line.split()[0]), "the engine's log is printed"
        url = line.partition(" at ")[2].partition(";")[0]

        def call(path: str, body: dict[str, object]) -> str:
            request = urllib.request.Request(url + path, json.dumps(body).encode())  # noqa: S310  our own server
            with urllib.request.urlopen(request, timeout=120) as found:  # noqa: S310
                return str(found.read().decode())

        yield call
        process.terminate()
        assert process.wait(timeout=30) == 0


def _pieces(stream: str, chat: bool) -> list[str]:  # noqa: FBT001
    chunks = [json.loads(line[6:]) for line in stream.splitlines() if line.startswith("data: {")]
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    return [(choice["delta"].get("content", "") if chat else choice["text"]) for choice in choices]


def test_a_text_is_that_of_the_pipeline_whole_and_in_pieces(ask: Ask, demo_ir: Path, tmp_path: Path) -> None:
    """Greedy tokens of the same scheduler: what ``run`` records for the engine without a server."""
    prompt = "The capital of France is"
    options = ("--engine", "genai-batching", "-p", prompt, "-ic", "12", "-n", "1", "--warmups", "0")
    done = command.in_process(tmp_path, "process", "run", "-m", str(demo_ir), *options, "--name", "x")
    (m,) = outcome.measured_run(done, tmp_path / "reports/x.jsonl").launches[0].measurements
    body = {"prompt": prompt, "max_tokens": 12, "ignore_eos": True}

    assert m.sequences[0].text == json.loads(ask("/v1/completions", body))["choices"][0]["text"]
    assert m.sequences[0].text == "".join(
        _pieces(ask("/v1/completions", {**body, "stream": True}), chat=False)
    )


def test_a_chat_ends_at_its_end_of_text(ask: Ask) -> None:
    """The model's own template and end of text; the same words whole and in pieces."""
    body: dict[str, object] = {
        "messages": [{"role": "user", "content": "What is the capital of France?"}],
        "max_tokens": 60,
    }
    whole = json.loads(ask("/v1/chat/completions", body))
    text = whole["choices"][0]["message"]["content"]

    assert "Paris" in text
    assert "stop" == whole["choices"][0]["finish_reason"]
    assert text == "".join(_pieces(ask("/v1/chat/completions", {**body, "stream": True}), chat=True))


def test_stop_texts_and_seeds_are_kept(ask: Ask) -> None:
    """A stop text ends the output; a seed repeats it."""
    body: dict[str, object] = {"prompt": "One, two, three, four, five, six,", "max_tokens": 24}
    stopped = json.loads(ask("/v1/completions", {**body, "stop": ","}))
    sampled = [
        json.loads(ask("/v1/completions", {**body, "temperature": 1.5, "seed": seed}))["choices"][0]["text"]
        for seed in (1, 1, 2)
    ]

    assert "stop" == stopped["choices"][0]["finish_reason"]
    assert stopped["usage"]["completion_tokens"] < 24
    assert sampled[0] == sampled[1] != sampled[2]


def test_a_load_without_a_server_has_its_metrics_and_no_network(demo_ir: Path, tmp_path: Path) -> None:
    """Several requests at once on the engine itself, each of the length asked for, and in the same stages."""
    done = command.in_process(
        tmp_path, "process", "load", "-m", str(demo_ir), "--engine", "genai-batching", "--concurrency", "2",
        "-n", "4", "--warmups", "2", "-ic", "5", "--input-tokens", "16", "--name", "x", "--foreign-cpu-limit", "1",
    )  # fmt: skip
    run = reader.read_run(tmp_path / "reports/x.jsonl")
    found = [m for m in run.launches[0].measurements if not m.is_warmup]
    window = run.launches[0].window

    assert done.returncode in {0, 5}, done.stderr
    assert [(16, 5)] * 4 == [(m.input_tokens, m.output_tokens) for m in found]
    assert {("send_delay", "queue", "prefill", "network")} == {tuple(s.name for s in m.stages) for m in found}
    assert max(m.stages[-1].duration_ns for m in found) < 1000
    assert window is not None
    assert window.server is not None
    assert (window.server.cpu_s or 0) > 0
    assert () == window.client.event_delay_ns


def _fastest(folder: Path, metric: str) -> float:
    run = reader.read_run(folder / "reports/x.jsonl")
    measured: list[Measurement] = [
        m for launch in run.launches for m in launch.measurements if not m.is_warmup
    ]
    return min(value for m in measured if (value := METRICS[metric].of(m)) is not None)


@pytest.mark.nightly
@pytest.mark.parametrize("server", ["genai", "llama.cpp"])
def test_a_load_of_one_agrees_with_run(server: str, demo_ir: Path, demo_gguf: Path, tmp_path: Path) -> None:
    """In turns, the fastest requests of each: first token and time per token within 10 %, with server and network."""
    if server == "llama.cpp":
        pytest.importorskip("xllamacpp")
    model = str(demo_ir if server == "genai" else demo_gguf)
    shared = ("--input-tokens", "128", "-ic", "32", "-n", "6", "--threads", "1", "--name", "x", "--overwrite")
    ways = {
        "run": ("run", "-m", model, "--engine", server, "--foreign-cpu-limit", "1", *shared),
        "load": ("load", "-m", model, "--server", server, "--concurrency", "1", *shared),
    }
    found: dict[tuple[str, str], float] = {}
    for _ in range(ROUNDS):
        for way, arguments in ways.items():
            done = command.in_process(tmp_path, "process", *arguments)
            assert done.returncode in {0, 5}, done.stderr
            for metric in ("first_token", "tpot"):
                value = _fastest(tmp_path, metric)
                found[way, metric] = min(value, found.get((way, metric), value))

    for metric in ("first_token", "tpot"):
        assert found["load", metric] == pytest.approx(found["run", metric], rel=CLOSE), found
