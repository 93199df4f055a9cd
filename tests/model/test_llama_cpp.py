"""llama.cpp and OpenVINO GenAI on one real GGUF file."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from llmbench.analysis.validity import interference_share
from llmbench.schema.measurement import Measurement
from llmbench.schema.run import Run as Measured
from llmbench.store import reader
from tests import command

pytestmark = [pytest.mark.model, pytest.mark.alone]
pytest.importorskip("xllamacpp")
Run = Callable[..., subprocess.CompletedProcess[str]]
SMALL = ("-n", "2", "-ic", "12", "--foreign-cpu-limit", "1", "--name", "x", "--quiet", "--overwrite")


@pytest.fixture(scope="module")
def compared(demo_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Measured]:
    """What ``ab`` of both engines prints, and its run."""
    folder = tmp_path_factory.mktemp("ab")
    engines = ("--engine", "genai", "--engine", "llama.cpp")
    texts = ("-p", "The capital of France is", "-p", "One two three four five six seven")
    done = command.in_process(
        folder,
        "process",
        "ab",
        "-m",
        str(demo_gguf),
        *engines,
        *texts,
        "--threads",
        "1",
        "--blocks",
        "2",
        *SMALL,
    )
    assert done.returncode in {0, 1}, done.stderr
    return done.stdout, reader.read_run(folder / "reports/x.jsonl")


def _measured(run: Measured, engine: str) -> list[Measurement]:
    return [
        m for launch in run.launches if run.config_of(launch).engine == engine for m in launch.measurements
    ]


def test_both_engines_get_the_same_tokens_and_give_as_many(compared: tuple[str, Measured]) -> None:
    """Lengths in and out are equal, prompt by prompt; every token of llama.cpp's has an instant."""
    _, run = compared
    ours, theirs = (_measured(run, engine) for engine in ("genai", "llama.cpp"))

    assert 12 == len(theirs) == len(ours)
    assert sorted(m.input_tokens for m in ours) == sorted(m.input_tokens for m in theirs)
    for m in theirs:
        assert (12, 12) == (m.output_tokens, len(m.sequences[0].token_ids))
        assert m.start_ns < m.sequences[0].at_ns[0]


def test_the_text_continues_alike(compared: tuple[str, Measured]) -> None:
    """The same weights and the same prompt: the first word is the same, whatever rounding does later."""
    _, run = compared

    def first_words(engine: str) -> set[str]:
        chosen = [m for m in _measured(run, engine) if (m.prompt, m.iteration) == (0, 0)]
        return {(m.sequences[0].text or "").split()[0] for m in chosen}

    assert first_words("genai") == first_words("llama.cpp")


def test_the_comparison_names_both_and_their_bandwidth(compared: tuple[str, Measured]) -> None:
    """What is to be known before one engine is called faster: engines, caches, and how much each step reads."""
    output, _ = compared

    assert "changed: engine: genai -> llama.cpp" in output
    assert "KEY_CACHE_PRECISION: u8 -> f16" in output
    assert all(
        any(line.startswith(f"{side}: ") and "GB/s" in line for line in output.splitlines()) for side in "AB"
    )


def test_its_own_times_agree_with_our_clock(compared: tuple[str, Measured]) -> None:
    """The engine's account of each request is checked; on busy CPUs a thread of ours may have to wait its turn."""
    _, run = compared
    found = [m.suspicions for m in _measured(run, "llama.cpp") if m.suspicions]
    if found and max(interference_share(launch.measurements) or 0.0 for launch in run.launches) > 0.2:
        pytest.skip("other processes used the CPUs")

    assert [] == found


def test_where_the_time_of_openvino_goes_is_explained(compared: tuple[str, Measured]) -> None:
    """The side that can be profiled is: its heaviest operations, for the first token and for the next ones."""
    output, _ = compared
    lines = [
        line for line in output.splitlines() if line.startswith("A, where the time goes (core engine): ")
    ]

    assert ["first token", "next tokens"] == [line.split(": ")[1] for line in lines]
    assert all("FullyConnected" in line for line in lines)


TOKENIZE = """
import os, sys
from llmbench.engines.catalog import find_engine
from llmbench.schema.config import Prompt, RunConfig
from llmbench.workloads.text import corpus

def ids(codec):
    return codec.encode(corpus(), chat=False), codec.encode("What is 2+2? \\U0001f600", chat=True)

def config(engine):
    attention = "pa" if engine == "genai" else "sdpa"
    prompts = (Prompt(set="s", index=0, tokens=8),)
    return RunConfig(model=sys.argv[1], engine=engine, attention=attention, prompts=prompts)

ours = ids(find_engine("genai").open_tokenizer(config("genai")))
theirs = ids(find_engine("llama.cpp").open(config("llama.cpp")))
print([len(each) for each in ours], ours == theirs, flush=True)
os._exit(0)
"""


def test_the_vocabulary_is_read_alike(demo_gguf: Path) -> None:
    """Every token of the corpus, and of a chat's first turn, is the same in both tokenizers."""
    done = subprocess.run(
        [sys.executable, "-c", TOKENIZE, str(demo_gguf)],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert done.stdout.endswith("True\n"), done.stdout
