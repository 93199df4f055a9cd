"""llama.cpp on a tiny model of single-byte tokens, most of which end inside of a character."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from llmbench.engines.llama_cpp import engine
from llmbench.engines.llama_cpp.server import check_properties
from llmbench.errors import InputError
from llmbench.schema.measurement import Finish, Measurement
from llmbench.schema.run import Run
from llmbench.store import reader
from tests import gguf_model, waiting
from tests.command import Done

LlmBench = Callable[..., Done]


def _chunk(text: str, tokens: list[int], predicted: int, **more: object) -> bytes:
    chunk = {"index": 0, "content": text, "tokens": tokens, "tokens_predicted": predicted, **more}
    return b"data: " + json.dumps(chunk).encode() + b"\n"


def test_a_token_that_was_held_back_counts_where_its_character_ended() -> None:
    """Three chunks and a last one, five tokens: the second chunk has two, and the last one more without a text."""
    lines = [
        (5, b"data: null\n"),
        (10, _chunk("a", [1], 1)),
        (20, _chunk("\u00fc", [3], 3)),
        (30, _chunk("b", [4], 4)),
        (40, _chunk("", [], 5, stop=True, stop_type="limit")),
    ]

    (found,) = engine._read(lines, sequences=1)

    assert [10, 20, 30, 40] == found.at_ns
    assert [1, 2, 1, 1] == found.counts
    assert [1, 3, 4] == found.token_ids
    assert "a\u00fcb" == found.text


def test_the_sequences_of_a_batch_are_told_apart() -> None:
    """By the index of their chunks, each with instants of its own."""
    lines = [(1, _chunk("a", [1], 1)), (2, _chunk("b", [2], 1).replace(b'"index": 0', b'"index": 1'))]

    found = engine._read(lines, sequences=2)

    assert [[1], [2]] == [stream.at_ns for stream in found]


@pytest.mark.parametrize("line", [b'{"error": {"message": "too long"}}', b'error: {"message": "too long"}\n'])
def test_an_error_in_place_of_a_stream_or_within_it_is_raised(line: bytes) -> None:
    """With the server's own words."""
    with pytest.raises(RuntimeError, match="too long"):
        engine._read([(1, _chunk("a", [1], 1)), (2, line)], sequences=1)


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        ({"NUM_STREAMS": 1}, "llama.cpp has no property 'NUM_STREAMS'"),
        ({"n_ubatch": 0}, "llama.cpp's n_ubatch does not take 0; it takes a positive integer"),
        ({"cache_type_k": "u8"}, "llama.cpp's cache_type_k does not take 'u8'; it takes one of f32, f16"),
    ],
)
def test_a_property_that_llama_cpp_does_not_have_is_refused(properties: dict[str, int], message: str) -> None:
    """Before anything is loaded, with what there is."""
    with pytest.raises(InputError, match=message.replace("(", r"\(")):
        check_properties(properties)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GGUF of one block and random weights."""
    pytest.importorskip("xllamacpp")
    return gguf_model.build(tmp_path_factory.mktemp("gguf") / "tiny.gguf", kind="Q8_0")


def _measured(folder: Path) -> tuple[Run, list[Measurement]]:
    run = reader.read_run(folder / "reports/x.jsonl")
    return run, [m for launch in run.launches for m in launch.measurements]


def _run(llmbench: LlmBench, model: Path, *options: str) -> Done:
    shared = ("--engine", "llama.cpp", "--name", "x", "--overwrite", "--foreign-cpu-limit", "1")
    return llmbench("run", "-m", str(model), *shared, "-n", "1", "--warmups", "0", *options)


def test_every_token_has_an_instant_within_its_request(
    llmbench_workers: LlmBench, tiny: Path, tmp_path: Path
) -> None:
    """Of a batch as of one prompt, exactly as many tokens as requested; the settings are those requested."""
    options = ("--input-tokens", "12", "-ic", "24", "-bs", "2", "--threads", "1", "-lc", "cache_type_k=q8_0")
    done = _run(llmbench_workers, tiny, *options)
    assert done.returncode in {0, 5}, done.stderr
    run, (m,) = _measured(tmp_path)
    effective = run.launches[0].effective.properties

    assert [(12, 24)] * 2 == [(s.input_tokens, s.output_tokens) for s in m.sequences]
    for sequence in m.sequences:
        assert m.start_ns < sequence.at_ns[0] <= sequence.at_ns[-1] <= m.end_ns
        assert sequence.text
    assert ("1", "q8_0", "f16") == tuple(
        effective[name] for name in ("INFERENCE_NUM_THREADS", "KEY_CACHE_PRECISION", "VALUE_CACHE_PRECISION")
    )


@pytest.mark.slow
def test_a_text_and_its_continuation_are_tokenized_by_the_model(
    llmbench_workers: LlmBench, tiny: Path, tmp_path: Path
) -> None:
    """A byte is a token here; the end of a text may come, and then says so."""
    done = _run(llmbench_workers, tiny, "-p", "abcd efg", "-ic", "8", "--end-token-stopping")
    assert done.returncode in {0, 5}, done.stderr
    _, (m,) = _measured(tmp_path)

    assert 7 == m.sequences[0].input_tokens  # "ab" is one token
    assert (8, Finish.LENGTH) == (m.sequences[0].output_tokens, m.sequences[0].finish)


def test_what_it_cannot_do_is_refused_with_a_remedy(
    llmbench_workers: LlmBench, tiny: Path, tmp_path: Path
) -> None:
    """Another device, another kind of model, and what it has no option for: exit 2, one line each."""
    for options, message in (
        (("-d", "GPU"), "llama.cpp is measured on the CPU; -d GPU was given"),
        (("--num-beams", "2"), "llama.cpp has no beam search (--num-beams)"),
        (("--weight-format", "int8"), "a GGUF file keeps its weights"),
        (("-lc", "NUM_STREAMS=1"), "llama.cpp has no property 'NUM_STREAMS'"),
    ):
        done = _run(llmbench_workers, tiny, *options, "--dry-run")

        assert (2, True) == (done.returncode, message in done.stderr), done.stderr


@pytest.mark.slow
def test_a_gguf_that_only_llama_cpp_reads_is_measured(
    llmbench_workers: LlmBench, tiny: Path, tmp_path: Path
) -> None:
    """OpenVINO GenAI does not read Q5_0; the refusal of one engine is none of the other."""
    model = gguf_model.build(tmp_path / "q5.gguf", kind="Q5_0")

    assert 2 == llmbench_workers("run", "-m", str(model), "-n", "1", "--dry-run").returncode
    done = _run(llmbench_workers, model, "--input-tokens", "4", "-ic", "4")
    assert done.returncode in {0, 5}, done.stderr
    assert 4 == _measured(tmp_path)[1][0].output_tokens


def test_a_file_that_it_cannot_load_is_named_with_its_own_words(
    llmbench_workers: LlmBench, tiny: Path, tmp_path: Path
) -> None:
    """An architecture that it does not know is wrong input, not a crash."""
    model = gguf_model.build(tmp_path / "odd.gguf", architecture="nosuch")
    done = _run(llmbench_workers, model, "--input-tokens", "4", "-ic", "4")

    assert 2 == done.returncode, done.stderr
    assert "nosuch" in done.stderr


@pytest.mark.slow
def test_sigterm_ends_a_launch_at_once(tiny: Path, tmp_path: Path) -> None:
    """The library leaves signals alone, so that a native call ends at once; no folder of a socket is left either."""
    command = ["run", "-m", str(tiny), "--engine", "llama.cpp", "--input-tokens", "8", "-ic", "400"]
    process = subprocess.Popen(
        [sys.executable, "-m", "llmbench", *command, "-n", "500", "--name", "x"],
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    file = tmp_path / "reports/x.jsonl"
    waiting.wait_until(lambda: file.is_file() and len(file.read_bytes().splitlines()) > 3, "measurements")
    (worker,) = (
        child
        for child in psutil.Process(process.pid).children(recursive=True)
        if "llmbench.runner.worker" in child.cmdline()
    )
    status = Path(f"/proc/{worker.pid}/status").read_text()
    caught = int(next(line for line in status.splitlines() if line.startswith("SigCgt")).split()[1], 16)
    process.send_signal(signal.SIGTERM)

    assert not caught >> (signal.SIGTERM - 1) & 1  # its default action ends a native call at once
    assert 143 == process.wait(timeout=waiting.PATIENCE_S)
    assert [] == list(tmp_path.glob("llmbench-*"))


def test_a_folder_or_a_name_of_the_hub_is_refused_before_it_is_converted(
    llmbench: LlmBench, tmp_path: Path
) -> None:
    """An IR would be made for minutes, and not be taken."""
    (tmp_path / "hf").mkdir()
    (tmp_path / "hf/config.json").write_text("{}")

    for model in ("hf", "someone/some-model", "."):
        done = llmbench("run", "-m", model, "--engine", "llama.cpp")
        assert (2, True) == (done.returncode, "llama.cpp needs a GGUF file" in done.stderr), done.stderr
