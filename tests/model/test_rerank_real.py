"""A cross-encoder through ``convert``, alone and as the reranker of a retrieval: tiny and of random weights."""

import shutil
from pathlib import Path

import pytest

from llmbench.analysis.report import summarize_run
from llmbench.convert.library import library_folder
from llmbench.models.demo import demo_embedder
from llmbench.models.locate import locate
from tests import hf_model, outcome, postgres
from tests.command import RunCommand

pytestmark = [pytest.mark.model, pytest.mark.convert, pytest.mark.rag, pytest.mark.nightly]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A Hugging Face folder with the tokenizer of MiniLM."""
    return hf_model.build_cross_encoder(tmp_path / "cross", demo_embedder())


def test_a_cross_encoder_is_converted_and_scores_as_its_source(
    llmbench_workers: RunCommand, tmp_path: Path, source: Path
) -> None:
    """Its scores of texts vary as the source's do, and the command that is printed measures it."""
    done = llmbench_workers(
        "convert", "--model-id", str(source), "--output-dir", "made", "--weight-format", "int8"
    )
    ir = tmp_path / "made/pytorch/dldt/INT8"
    manifest = locate(ir).manifest

    assert 0 == done.returncode, done.stderr
    assert "mean correlation of 3 questions' scores" in done.stdout
    assert "llmbench run -t text_rerank -m made/pytorch/dldt/INT8" in done.stdout
    assert manifest is not None
    assert "text_rerank" == manifest.task
    assert (manifest.agreement or 0) > 0.98

    few = ("-bs", "4", "--input-tokens", "32", "-n", "2", "--foreign-cpu-limit", "1", "--name", "x")
    run = outcome.measured_run(
        llmbench_workers("run", "-t", "text_rerank", "-m", str(ir), *few), tmp_path / "reports/x.jsonl"
    )
    assert 4 == run.launches[0].measurements[0].outputs[0].count


def test_a_hugging_face_model_reranks_in_a_retrieval(
    llmbench_workers: RunCommand, tmp_path: Path, source: Path
) -> None:
    """It is converted once, and is a stage between retrieval and prompt."""
    with postgres.database() as name:
        few = ("-n", "2", "-ic", "2", "--foreign-cpu-limit", "1", "--name", "x", "--database", name)
        done = llmbench_workers(
            "run", "-t", "rag", *few, "--reranker", str(source), "--top-k", "6", "--rerank-top-n", "2"
        )
        run = outcome.measured_run(done, tmp_path / "reports/x.jsonl")
    shutil.rmtree(library_folder(str(source)))

    (row,) = summarize_run(run).rows
    assert "converted once" in done.stderr
    assert row.summaries["stage.rerank"].median > 0
    assert 6 == run.cells[0].parameters["retrieve_top_k"]
