"""Fused attention gained and lost on a real model: the same weights, the same text, other operations."""

import re
import statistics
from pathlib import Path

import pytest

from llmbench.convert.pipeline import Converted
from llmbench.engines.openvino.attention_trial import check_attention
from llmbench.errors import InputError
from llmbench.models.attention import language_fusion
from llmbench.schema.attention import CACHED, PAGED, PLAIN, AttentionProof, Fusion
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.run import Launch
from llmbench.store import reader
from tests import hf_model, outcome
from tests.command import RunCommand
from tests.tiny_ir import unfuse

pytestmark = [pytest.mark.model, pytest.mark.convert]
_FEW = ("-p", "Why is the sky blue?", "-ic", "8", "-n", "1", "--warmups", "0", "--foreign-cpu-limit", "1")
LAYERS = 30


@pytest.fixture(scope="module")
def fused(conversions: dict[str, Converted]) -> Path:
    """A real model as it is exported."""
    return conversions["int8"].folder


@pytest.fixture(scope="module")
def unfused(tmp_path_factory: pytest.TempPathFactory, fused: Path) -> Path:
    """The same model with each attention layer as products and a softmax."""
    folder = tmp_path_factory.mktemp("model") / "unfused"
    assert LAYERS == unfuse(fused, folder)
    return folder


def _launch(llmbench: RunCommand, tmp_path: Path, model: Path, name: str, *options: str) -> Launch:
    done = llmbench("run", "-m", str(model), *_FEW, "--output-dir", ".", "--name", name, *options)
    (launch,) = outcome.measured_run(done, tmp_path / f"{name}.jsonl").launches
    return launch


def test_layers_are_counted_and_the_closing_line_says_so(
    llmbench_workers: RunCommand, conversions: dict[str, Converted], real_folder: Path
) -> None:
    """All 30, in each weight format; ``--require-sdpa`` accepts them."""
    for converted in conversions.values():
        assert {"language model": Fusion(fused=LAYERS, layers=LAYERS)} == converted.attention
    out = conversions["int8"].folder.parents[2]
    fixed = ("--model-id", str(real_folder), "--output-dir", str(out), "--weight-format", "int8")
    done = llmbench_workers("convert", *fixed, "--require-sdpa")

    assert 0 == done.returncode, done.stderr
    assert "attention: 30 of 30 layers use fused attention (SDPA)" == done.stdout.splitlines()[-1]


def test_lost_attention_gives_the_same_text_and_is_said(
    llmbench_workers: RunCommand, fused: Path, unfused: Path, tmp_path: Path
) -> None:
    """Text and exit code do not show it; the record, the warning and the comparison do."""
    assert Fusion(fused=0, layers=LAYERS) == language_fusion(unfused)
    exact = ("-lc", "EXECUTION_MODE_HINT=ACCURACY")
    base = _launch(llmbench_workers, tmp_path, fused, "base", *exact)
    lost = _launch(llmbench_workers, tmp_path, unfused, "lost", *exact)

    assert base.measurements[0].sequences[0].text == lost.measurements[0].sequences[0].text
    assert (PAGED, PLAIN) == (base.effective.attention, lost.effective.attention)
    assert AttentionProof(evidence="engine log", fusion=Fusion(fused=LAYERS, layers=LAYERS)) == (
        base.effective.attention_proof
    )
    compared = llmbench_workers("report", "compare", "base.jsonl", "lost.jsonl", "--vary", "model")
    assert 0 == compared.returncode, compared.stderr
    changed = [line for line in compared.stdout.splitlines() if line.startswith("changed: ")]
    text = " ".join(compared.stdout.split())
    assert changed[0].startswith("changed: effective: attention: paged attention (default) ->")
    assert "plain attention, 0 of 30 layers fused (instead of paged attention)" in text


@pytest.mark.parametrize("engine", ["core", pytest.param("optimum", marks=pytest.mark.nightly)])
def test_the_executed_graph_is_read_where_an_engine_shows_it(
    engine: str, llmbench_workers: RunCommand, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """30 operations with their cache, or none."""
    for name, kind, count in (("fused", CACHED, LAYERS), ("unfused", PLAIN, 0)):
        model = request.getfixturevalue(name)
        launch = _launch(llmbench_workers, tmp_path, model, name, "--engine", engine)
        proof = launch.effective.attention_proof
        assert kind == launch.effective.attention
        assert proof is not None
        assert ("executed graph", Fusion(fused=count, layers=LAYERS)) == (proof.evidence, proof.fusion)


@pytest.mark.nightly
def test_an_export_that_lost_its_attention_is_refused_where_it_is_required(
    llmbench_workers: RunCommand, tmp_path: Path
) -> None:
    """An XGLM is exported unfused: kept with a warning, and with ``--require-sdpa`` exit 5 and nothing is kept."""
    source = hf_model.build_xglm(tmp_path / "xglm")
    fixed = ("convert", "--model-id", str(source), "--weight-format", "fp32", "--output-dir")
    kept = llmbench_workers(*fixed, "kept")
    refused = [llmbench_workers(*fixed, folder, "--require-sdpa") for folder in ("new", "kept")]

    assert 0 == kept.returncode, kept.stderr
    assert "attention: 0 of 2 layers use fused attention (SDPA)" == kept.stdout.splitlines()[-1]
    assert "warning: only 0 of 2 layers use fused attention" in kept.stderr
    for done in refused:
        assert 5 == done.returncode, done.stderr
        assert (
            "error: attention: 0 of 2 layers use fused attention (SDPA); --require-sdpa needs all"
            in done.stderr
        )
        assert "hint: it was made with transformers " in done.stderr
    assert not list((tmp_path / "new").rglob("*.xml"))
    launch = _launch(llmbench_workers, tmp_path, tmp_path / "kept/pytorch/dldt/FP32", "lost")
    assert PLAIN == launch.effective.attention


@pytest.mark.nightly
def test_profile_says_what_is_lost(llmbench_workers: RunCommand, unfused: Path) -> None:
    """30 softmaxes where 30 operations with a cache should be."""
    done = llmbench_workers("profile", "-m", str(unfused), "--input-tokens", "16", "-ic", "4")

    assert 0 == done.returncode, done.stderr
    assert re.search(
        r"^attention: language model: 0 of 30 .*executed: 30 Softmax; NOT FUSED: 30 layers$",
        done.stdout,
        re.MULTILINE,
    )


@pytest.mark.nightly
def test_lost_attention_costs_next_tokens(
    llmbench_workers: RunCommand, fused: Path, unfused: Path, tmp_path: Path
) -> None:
    """Of interleaved launches each lost one is slower than the fused one before it, a fifth or more at the median."""
    quick = ("--input-tokens", "256", "-ic", "24", "-n", "3", "--foreign-cpu-limit", "1")
    ratios = []
    for pair in range(4):
        times = []
        for name, model in (("base", fused), ("lost", unfused)):
            done = llmbench_workers(
                "run", "-m", str(model), *quick, "--output-dir", ".", "--name", f"{name}{pair}"
            )
            assert 0 == done.returncode, done.stderr
            found = reader.read_run(tmp_path / f"{name}{pair}.jsonl").launches[0].measurements[1:]
            rows = [each.sequences[0].at_ns for each in found]
            times.append(statistics.median((row[-1] - row[1]) / (len(row) - 2) for row in rows))
        ratios.append(times[1] / times[0])
    print("next token, plain / fused:", ", ".join(f"{ratio:.2f}" for ratio in sorted(ratios)))

    assert min(ratios) > 1
    assert statistics.median(ratios) > 1.2


@pytest.mark.parametrize("attention", ["pa", "sdpa"])
def test_the_first_layer_of_a_real_model_is_tried(fused: Path, attention: str) -> None:
    """Heads of 64 values are in groups of 32, and not of 48."""
    prompts = (Prompt(set="s", index=0, text="x"),)
    config = RunConfig(model=str(fused), prompts=prompts, attention=attention, is_attention_fixed=True)

    check_attention(config, {"VALUE_CACHE_GROUP_SIZE": 32})
    with pytest.raises(InputError, match=r"does not take VALUE_CACHE_GROUP_SIZE=48: .*64"):
        check_attention(config, {"VALUE_CACHE_GROUP_SIZE": 48})
