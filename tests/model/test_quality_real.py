"""Figures of a real model agree with a computation of their own, and order the precisions of the cache."""

import csv
from pathlib import Path

import numpy as np
import openvino
import openvino_genai
import pytest
from scipy.special import log_softmax

from llmbench.convert.pipeline import Converted
from llmbench.engines.openvino.likelihood import LikelihoodSession
from llmbench.schema.config import Prompt, RunConfig
from llmbench.workloads.text import corpus
from tests.command import RunCommand

pytestmark = pytest.mark.model

BLOCK, CHUNK, BLOCKS = 48, 16, 2
EXACT = {"EXECUTION_MODE_HINT": "ACCURACY", "INFERENCE_PRECISION_HINT": "f32", "KV_CACHE_PRECISION": "f32"}


def _ids(model: Path) -> np.ndarray:
    found = openvino_genai.Tokenizer(str(model)).encode(corpus()).input_ids.data[0]
    return np.array(found[: BLOCK * BLOCKS]).reshape(BLOCKS, BLOCK)


def _log_probabilities(model: Path, properties: dict[str, str], chunk: int) -> np.ndarray:
    """Of the stateful IR, one block after the other; shape [blocks, scored tokens, vocabulary]."""
    compiled = openvino.Core().compile_model(str(model / "openvino_model.xml"), "CPU", properties)
    request, found = compiled.create_infer_request(), []
    for ids in _ids(model):
        request.reset_state()
        parts = []
        for start in range(0, BLOCK, chunk):
            part = ids[start : start + chunk]
            end = start + len(part)
            inputs = {
                "input_ids": part[None],
                "attention_mask": np.ones((1, end), np.int64),
                "position_ids": np.arange(start, end)[None],
                "beam_idx": np.zeros(1, np.int32),
            }
            parts.append(request.infer(inputs)["logits"][0].astype(np.float64))
        found.append(log_softmax(np.concatenate(parts)[BLOCK // 2 : -1], axis=-1))
    return np.array(found)


def _paged_log_likelihood(model: Path, precision: str) -> float:
    """The mean of the scored tokens, as GenAI's own pipeline with paged attention reports it of a prompt."""
    scheduler = openvino_genai.SchedulerConfig()
    scheduler.enable_prefix_caching, scheduler.max_num_batched_tokens = False, CHUNK
    pipeline = openvino_genai.ContinuousBatchingPipeline(
        str(model), scheduler, "CPU", {"KV_CACHE_PRECISION": precision}
    )
    config = openvino_genai.GenerationConfig(max_new_tokens=1, echo=True, logprobs=1, ignore_eos=True)
    found = []
    for number, ids in enumerate(_ids(model)):
        handle = pipeline.add_request(number, openvino.Tensor(ids[None]), config)
        while pipeline.has_non_finished_requests():
            pipeline.step()
        found.append(handle.read_all()[0].generated_log_probs[BLOCK // 2 + 1 : BLOCK])
    return float(np.mean(found))


def test_quality_of_cache_precisions_agrees_with_another_computation(
    llmbench: RunCommand, demo_ir: Path, tmp_path: Path
) -> None:
    """SDPA to 1e-3 of a loop over the IR; paged attention in the likelihood that GenAI itself reports.

    What a cache of 4 bits loses belongs to the attention, too: it is less with paged attention.
    """
    done = llmbench(
        *("quality", str(demo_ir), "--kv-cache-precision", "u4", "--attention", "sdpa,pa"),
        *("--blocks", str(BLOCKS), "--block-tokens", str(BLOCK), "--no-latency", "--csv", "q.csv"),
    )
    assert not done.returncode, done.stderr
    sdpa, paged = csv.DictReader((tmp_path / "q.csv").read_text().splitlines())

    base, found = (
        _log_probabilities(demo_ir, properties, chunk)
        for properties, chunk in ((EXACT, BLOCK), ({"KV_CACHE_PRECISION": "u4"}, CHUNK))
    )
    targets = _ids(demo_ir)[:, BLOCK // 2 + 1 :, None]
    likelihood, lower = (np.take_along_axis(each, targets, -1).mean() for each in (base, found))
    kld = (np.exp(base) * (base - found)).sum(-1)
    assert (kld.mean(), (base.argmax(-1) == found.argmax(-1)).mean(), likelihood - lower) == pytest.approx(
        [float(sdpa[name]) for name in ("kld", "same_top", "log_ratio")], abs=1e-3
    )
    assert kld.max() == pytest.approx(float(sdpa["kld_max"]), rel=0.02)
    lost = likelihood - _paged_log_likelihood(demo_ir, "u4")
    assert lost == pytest.approx(float(paged["log_ratio"]), abs=2e-3)
    assert 1e-3 < float(paged["kld"]) < float(sdpa["kld"])


@pytest.mark.nightly
@pytest.mark.convert
def test_formats_and_caches_agree_with_another_computation_and_are_in_order(
    llmbench: RunCommand, conversions: dict[str, Converted], tmp_path: Path
) -> None:
    """fp16, int8 and int4 with caches of u8 and f16: each to 1e-3, and fewer bits lose more."""
    models = {name: made.folder for name, made in conversions.items()}
    folder = models["fp16"].parent
    done = llmbench(
        *("quality", str(folder), "--weight-format", "fp16,int8,int4", "--kv-cache-precision", "u8,f16"),
        *("--base", "fp16", "--attention", "sdpa", "--blocks", str(BLOCKS), "--block-tokens", str(BLOCK)),
        *("--no-latency", "--csv", "q.csv"),
    )
    assert not done.returncode, done.stderr

    base = _log_probabilities(models["fp16"], EXACT, BLOCK)
    losses = {}
    for row in csv.DictReader((tmp_path / "q.csv").read_text().splitlines()):
        precision, name = row["KV_CACHE_PRECISION"], row["weight_format"]
        found = _log_probabilities(models[name], {"KV_CACHE_PRECISION": precision}, CHUNK)
        kld = (np.exp(base) * (base - found)).sum(-1).mean()
        assert kld == pytest.approx(float(row["kld"]), abs=1e-3)
        losses[name, precision] = float(row["kld"])
    assert 6 == len(losses)
    for precision in ("u8", "f16"):
        assert losses["fp16", precision] < losses["int8", precision] < losses["int4", precision]


@pytest.mark.nightly
def test_a_limit_makes_the_rows_of_a_run_invalid(llmbench: RunCommand, demo_ir: Path) -> None:
    """The run measures a faster cache that loses too much, and says why it does not count."""
    done = llmbench(
        *("run", "-m", str(demo_ir), "--kv-cache-precision", "u4", "--attention", "sdpa", "-ic", "4"),
        *("-n", "1", "--max-kld", "0.001", "--foreign-cpu-limit", "1", "--name", "gated"),
    )

    assert 5 == done.returncode
    assert "is above --max-kld 0.001" in " ".join(done.stdout.split())


def _adapter(path: Path) -> Path:
    """A LoRA adapter of rank 4 for all query projections of the demo model, its numbers drawn by a seed."""
    from safetensors.numpy import save_file

    draw = np.random.default_rng(0)
    tensors = {
        f"base_model.model.model.layers.{layer}.self_attn.q_proj.lora_{side}.weight": draw.normal(
            scale=0.1, size=shape
        ).astype(np.float32)
        for layer in range(30)
        for side, shape in (("A", (4, 576)), ("B", (576, 4)))
    }
    save_file(tensors, path)
    return path


@pytest.mark.convert
def test_adapters_are_applied_as_genai_applies_them(
    conversions: dict[str, Converted], tmp_path: Path
) -> None:
    """Eight greedy tokens under an adapter: the same ones, and their log-likelihood to 1e-3 per token."""
    folder, file = conversions["int8"].folder, _adapter(tmp_path / "a.safetensors")
    session = LikelihoodSession(
        RunConfig(
            model=str(folder),
            prompts=(Prompt(set="s", index=0, text="x"),),
            engine="likelihood",
            attention="sdpa",
            lora=(str(file),),
            lora_alphas=(4.0,),
            properties=EXACT,
        )
    )
    ids, likelihood = _ids(folder)[0, :24].tolist(), 0.0
    for _ in range(8):
        parts = [part.copy() for part in session.logits(ids, CHUNK)]
        found = log_softmax(parts[-1][-1].astype(np.float64))
        ids.append(int(found.argmax()))
        likelihood += found.max()

    adapters = openvino_genai.AdapterConfig()
    adapters.add(openvino_genai.Adapter(str(file)), 4.0)
    pipeline = openvino_genai.LLMPipeline(
        str(folder), "CPU", adapters=adapters, ATTENTION_BACKEND="PA", **EXACT
    )
    config = openvino_genai.GenerationConfig(max_new_tokens=8, logprobs=1, ignore_eos=True, adapters=adapters)
    result = pipeline.generate(openvino.Tensor(np.array(ids[:24])[None]), config)
    assert ids[24:] == list(result.tokens[0])
    assert likelihood / 8 == pytest.approx(result.scores[0] / 8, abs=1e-3)


@pytest.mark.nightly
def test_prompt_lookup_is_compared_with_greedy_search_without_it(
    llmbench: RunCommand, demo_ir: Path, tmp_path: Path
) -> None:
    """The plain row is added; both have one loss, for both have one distribution; tokens are compared."""
    done = llmbench(
        *("quality", str(demo_ir), "--max-ngram-size", "3", "--num-assistant-tokens", "4"),
        *("--blocks", "1", "--block-tokens", "32", "-n", "1", "-ic", "12", "--launches", "1"),
        *("--foreign-cpu-limit", "1", "--csv", "q.csv"),
    )

    plain, lookup = csv.DictReader((tmp_path / "q.csv").read_text().splitlines())
    assert not done.returncode, done.stderr
    assert ("", "3") == (plain["max_ngram_size"], lookup["max_ngram_size"])
    assert plain["kld"] == lookup["kld"]
    assert not plain["tokens"]
    assert "same" == lookup["tokens"] or "differ" in lookup["tokens"]
