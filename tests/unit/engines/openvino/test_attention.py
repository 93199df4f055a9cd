"""Runtime graphs of models of a few operations, compiled here."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llmbench.engines.openvino.attention import (
    ExecutedAttention,
    prove_attention,
    prove_pipeline_attention,
    read_executed,
)
from llmbench.engines.openvino.device import import_openvino
from llmbench.schema.attention import CACHED, FUSED, PAGED, PLAIN, Fusion
from tests.tiny_ir import save_decoder


def _compiled(build: Any) -> ExecutedAttention:
    import_openvino()
    from openvino import Model, compile_model
    from openvino import opset13 as op

    inputs = [op.parameter([1, 4, 64, 16], np.float32) for _ in range(2)]
    return read_executed(compile_model(Model([build(op, *inputs)], inputs), "CPU"))


def test_attention_without_a_cache_becomes_a_subgraph() -> None:
    """As in a vision tower: no operation of that name is left, and it is fused all the same."""
    found = _compiled(lambda op, q, k: op.scaled_dot_product_attention(q, k, k, causal=False))

    assert ExecutedAttention(subgraphs=1) == found
    assert (1, FUSED, {"fused into a Subgraph": 1}) == (found.fused, found.kind, found.counts)


def test_a_softmax_by_itself_is_no_attention() -> None:
    """A router's scores are scaled and softened, and multiplied with nothing."""
    found = _compiled(lambda op, q, k: op.softmax(op.multiply(q, op.tanh(k)), -1))

    assert 0 == found.fused


def test_a_router_s_softmax_beside_fused_attention_is_not_listed() -> None:
    """A model of experts has both, and has lost nothing."""
    assert {"SDPA with KV cache": 3} == ExecutedAttention(cached=3, softmaxes=3).counts
    assert {"Softmax": 3} == ExecutedAttention(softmaxes=3).counts


@pytest.mark.parametrize(("is_fused", "kind"), [(True, CACHED), (False, PLAIN)])
def test_a_decoder_s_attention_is_proved_by_its_graph(tmp_path: Path, kind: str, *, is_fused: bool) -> None:
    """With its cache in one operation, or left as products and a softmax."""
    xml = save_decoder(tmp_path / "openvino_model.xml", is_fused=is_fused)
    compiled = import_openvino().compile_model(xml, "CPU")

    found = prove_attention(compiled, tmp_path)

    assert kind == found.kind
    assert "executed graph" == found.proof.evidence
    assert Fusion(fused=int(is_fused), layers=1) == found.proof.fusion


@pytest.mark.parametrize(
    ("is_fused", "logged", "kind", "evidence"),
    [
        (True, PAGED, PAGED, "engine log"),
        (True, FUSED, CACHED, "IR"),
        (False, FUSED, PLAIN, "IR"),
        (True, None, None, "engine log"),
    ],
)
def test_a_pipeline_is_paged_by_its_log_or_runs_as_its_ir_has_it(
    tmp_path: Path, logged: str | None, kind: str | None, evidence: str, *, is_fused: bool
) -> None:
    """A pipeline shows no graph; nothing is claimed where its log has nothing."""
    save_decoder(tmp_path / "openvino_model.xml", is_fused=is_fused)

    found = prove_pipeline_attention(logged, tmp_path)

    assert (kind, evidence) == (found.kind, found.proof.evidence)


def test_a_gguf_has_no_ir_to_read(tmp_path: Path) -> None:
    """What the log reports stands, without layers."""
    found = prove_pipeline_attention(FUSED, tmp_path / "model.gguf")

    assert (FUSED, None) == (found.kind, found.proof.fusion)
