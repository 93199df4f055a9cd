"""Vision-language models as OpenVINO runs them: a LLaVA of two layers in the gate, SmolLM2's at night."""

import json
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from llmbench import api
from llmbench.analysis.metrics.table import METRICS
from llmbench.analysis.stages import request_metric, whole_s
from llmbench.schema.attention import PAGED
from llmbench.schema.measurement import Measurement
from llmbench.schema.run import Run
from tests import conversions, pictures
from tests.command import RunCommand

STAGES = ("tokenization", "vision_encoder", "text_embedding", "prefill")
ANYHOW = ("--foreign-cpu-limit", "1")
"""Whatever else the machine does; what is compared is a ratio within one run."""


@pytest.fixture(scope="session")
def tiny_ir() -> Path:
    """A LLaVA of two layers and random weights, 16 tokens an image."""
    return conversions.vision_ir(conversions.vision_source(None))


def measured(run: Run) -> list[Measurement]:
    return [m for launch in run.launches for m in launch.measurements if not m.is_warmup]


def ask(llmbench: RunCommand, folder: Path, name: str, *options: str) -> Run:
    """The run that a command measures; beside busy neighbours some of its requests may not be valid."""
    done = llmbench("run", *options, "--name", name, *ANYHOW)
    assert done.returncode in {0, 5}, done.stdout + done.stderr
    return api.load(folder / f"reports/{name}.jsonl")


def _by_prompt(llmbench: RunCommand, folder: Path, model: Path) -> tuple[Run, list[Measurement]]:
    """A run of five prompts, and the first request of each that counts: two pictures, both, and a chat of two turns."""
    for name, side in (("small.png", 56), ("large.png", 200)):
        pictures.picture(folder / name, side, side)
    entries: list[Mapping[str, object]] = [
        {"prompt": "small", "images": "small.png"},
        {"prompt": "large", "images": "large.png"},
        {"prompt": "both of", "images": ["small.png", "large.png"]},
        {"prompt": ["first", "again"], "images": "small.png"},
    ]
    (folder / "p.jsonl").write_text("".join(f"{json.dumps(entry)}\n" for entry in entries))
    run = ask(llmbench, folder, "a", "-m", str(model), "-pf", "p.jsonl", "-ic", "6", "-n", "2")
    return run, [next(m for m in reversed(measured(run)) if m.prompt == prompt) for prompt in range(5)]


@pytest.mark.nightly
def test_slices_become_tokens(llmbench: RunCommand, tmp_path: Path) -> None:
    """LLaVA-NeXT takes a small picture as two parts, a large one as five; the engine's own count stays 1."""
    model = conversions.vision_ir(conversions.vision_source(None, has_slices=True))

    _, (small, large, both, *_) = _by_prompt(llmbench, tmp_path, model)

    assert [2, 5, 7] == [m.longest.image_slices for m in (small, large, both)]
    tokens = [m.longest.image_tokens or 0 for m in (small, large, both)]
    assert sum(tokens[:2]) == tokens[2]


@pytest.mark.model
@pytest.mark.convert
def test_pictures_and_chats_have_stages_and_memory(
    llmbench: RunCommand, tmp_path: Path, tiny_ir: Path
) -> None:
    """Two pictures are as many tokens as both; a chat goes on, and ends with its last turn."""
    run, (small, large, both, first, again) = _by_prompt(llmbench, tmp_path, tiny_ir)

    assert [1, 1, 2] == [m.longest.image_slices for m in (small, large, both)]
    tokens = [m.longest.image_tokens or 0 for m in (small, large, both)]
    assert sum(tokens[:2]) == tokens[2]
    assert first.longest.image_tokens == tokens[0]
    assert again.longest.image_tokens is None
    assert again.input_tokens > first.input_tokens
    for m in (small, large, both, first):
        assert list(STAGES) == [stage.name for stage in m.stages]
        assert m.image_decoding_ns
    assert "vision_encoder" not in [stage.name for stage in again.stages]
    assert all(len(m.longest.token_ids) == 6 for m in measured(run))
    (launch,) = run.launches
    assert PAGED == launch.effective.attention
    peaks = [m.memory.stages for m in launch.measurements if m.memory and m.memory.stages]
    assert 5 == len(peaks)
    assert {*STAGES, "decode"} == set(peaks[0])
    assert launch.load_memory is not None
    assert min(peaks[0].values()) > launch.load_memory.initial_bytes


@pytest.mark.model
@pytest.mark.convert
def test_optimum_gives_the_same_tokens_as_genai(llmbench: RunCommand, tmp_path: Path, tiny_ir: Path) -> None:
    """The same pixels, question and weights, in full precision; each engine's stages have sources of their own."""
    pictures.picture(tmp_path / "a.png", 90, 90)
    shared = ("-m", str(tiny_ir), "--images", "a.png", "-p", "What?", "-ic", "6", "-n", "1")
    precise = ("-lc", "EXECUTION_MODE_HINT=ACCURACY")
    runs = [
        ask(llmbench, tmp_path, engine, *shared, *precise, "--engine", engine)
        for engine in ("genai", "optimum")
    ]

    genai, optimum = (measured(run)[0] for run in runs)
    assert genai.longest.token_ids == optimum.longest.token_ids
    assert (genai.input_tokens, genai.longest.image_tokens) == (
        optimum.input_tokens,
        optimum.longest.image_tokens,
    )
    assert {"engine"} == {stage.source.value for stage in genai.stages}
    assert {"clock"} == {stage.source.value for stage in optimum.stages}
    assert {*STAGES, "image_preprocessing"} == {stage.name for stage in optimum.stages}


@pytest.fixture(scope="session")
def llava(demo_gguf: Path) -> Path:
    """A LLaVA with SmolLM2 as its language part and a random tower: every image is 196 tokens."""
    return conversions.vision_ir(conversions.vision_source(demo_gguf))


def _median(found: list[Measurement], of: Callable[[Measurement], float | None]) -> float:
    return statistics.median(value for m in found if (value := of(m)) is not None)


@pytest.mark.nightly
def test_stages_add_up_at_three_sizes(llmbench: RunCommand, tmp_path: Path, llava: Path) -> None:
    """Within 2 %; the vision share rises with the size, and the second token, of the same context, does not."""
    pictures.picture(tmp_path / "a.png", 4032, 4032)
    sizes = ("--image-size", "224,1344,4032")

    run = ask(llmbench, tmp_path, "a", "-m", str(llava), "--images", "a.png", *sizes, "-ic", "8", "-n", "5")

    found = [[m for m in measured(run) if m.prompt == prompt] for prompt in range(3)]
    for each in found:
        left = [1 - sum(stage.duration_ns for stage in m.stages) / 1e9 / (whole_s(m) or 0) for m in each]
        assert statistics.median(left) == pytest.approx(0, abs=0.02)
    shares = [_median(each, request_metric("share.vision_encoder").of) for each in found]
    seconds = [_median(each, METRICS["second_token"].of) for each in found]
    assert shares == sorted(shares)
    assert shares[2] > 1.5 * shares[0]
    assert max(seconds) < 1.5 * min(seconds)


@pytest.mark.nightly
def test_genai_and_optimum_agree_on_the_language_part(
    llmbench: RunCommand, tmp_path: Path, llava: Path
) -> None:
    """Prefill within 10 %, launches of both in turns: it is the same network on the same pixels."""
    pictures.picture(tmp_path / "a.png", 336, 336)
    done = llmbench(
        *("ab", "-m", str(llava), "--images", "a.png", "-p", "Describe the picture.", "-ic", "4", "-n", "3"),
        *("--engine", "genai", "--engine", "optimum", "--attention", "sdpa", "--blocks", "3", "--name", "ab"),
        *ANYHOW,
    )

    assert done.returncode in {0, 1}, done.stdout + done.stderr
    run = api.load(tmp_path / "reports/ab.jsonl")
    sides = [[m for m in measured(run) if run.launches[m.launch].cell == cell] for cell in (0, 1)]
    prefill = [_median(side, request_metric("stage.prefill").of) for side in sides]
    assert prefill[1] == pytest.approx(prefill[0], rel=0.1)


@pytest.mark.nightly
def test_a_changed_image_defeats_the_prefix_cache(llmbench: RunCommand, tmp_path: Path, llava: Path) -> None:
    """With the cache on, the same image again is several times faster; one that differs invisibly is not."""
    pictures.picture(tmp_path / "a.png", 200, 200)
    shared = ("-m", str(llava), "--images", "a.png", "-ic", "2", "-n", "3")
    cached = ("--cb-config", "enable_prefix_caching=true")
    changed = measured(ask(llmbench, tmp_path, "changed", *shared, *cached))
    same = measured(ask(llmbench, tmp_path, "same", *shared, *cached, "--disable-prompt-permutation"))

    first = METRICS["first_token"].of
    assert _median(changed, first) > 2 * _median(same, first)


def _slowed(model: Path, folder: Path) -> Path:
    """A copy of a model whose vision encoder is computed twice, and gives what it gave."""
    import openvino
    from openvino import opset13 as op

    folder.mkdir()
    for file in model.iterdir():
        if not file.name.startswith(("openvino_vision_embeddings_model", "llmbench_manifest")):
            (folder / file.name).symlink_to(file)
    core = openvino.Core()
    name = "openvino_vision_embeddings_model.xml"
    network, again = core.read_model(model / name), core.read_model(model / name)
    pixels = network.inputs[0].get_node()
    other = op.multiply(pixels, op.constant(1.0001, openvino.Type.f32))
    for target in again.inputs[0].get_target_inputs():
        target.replace_source_output(other.output(0))
    for result, second in zip(network.get_results(), again.get_results(), strict=True):
        source = result.input(0).get_source_output()
        added = op.multiply(second.input(0).get_source_output(), op.constant(1e-6, openvino.Type.f32))
        names = set(source.get_names())
        summed = op.add(source, added)
        source.set_names(set())
        summed.output(0).set_names(names)
        result.input(0).replace_source_output(summed.output(0))
    openvino.save_model(network, folder / name, compress_to_fp16=False)
    return folder


@pytest.mark.nightly
def test_a_doubled_vision_encoder_is_named_by_compare(
    llmbench: RunCommand, tmp_path: Path, llava: Path
) -> None:
    """In a copy of the real model; everything else is as it was."""
    pictures.picture(tmp_path / "a.png", 336, 336)
    slow = _slowed(llava, tmp_path / "slow")
    done = llmbench(
        *("ab", "-m", str(llava), "-m", str(slow), "--images", "a.png", "-p", "Describe it.", "-ic", "2"),
        *("-n", "2", "--blocks", "6", "--name", "ab", "--html", "page.html", *ANYHOW),
    )

    assert done.returncode in {0, 1}, done.stdout + done.stderr
    lines = [line.split() for line in done.stdout.splitlines() if "vision encoder" in line]
    assert "regressed" in lines[0]
    if "B is slower" in done.stdout:
        assert "slower stage is vision encoder" in " ".join(done.stdout.split())
    assert "stages of the first token" in (tmp_path / "page.html").read_text()
