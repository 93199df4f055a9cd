import json
from pathlib import Path

import pytest

from llmbench.models.attention import attention_layers_of_config, language_fusion, read_fusions
from llmbench.models.ir_xml import read_ir_xml
from llmbench.schema.attention import Fusion
from tests.unit.models.test_ir_xml import IDS, Layer, const, ir, state

WEIGHT = const("w", 0, 8)
QUERIES: Layer = ("q", "MatMul", "", ("ids", "w"))
KEYS: Layer = ("k", "Add", "", ("ids", "w"))
BASE = (IDS, WEIGHT, QUERIES, KEYS)


def fused(name: str) -> Layer:
    """Attention as one operation."""
    return name, "ScaledDotProductAttention", "", ("q", "k", "k")


def plain(prefix: str) -> tuple[Layer, ...]:
    """Attention as several operations: scaled, masked, capped, with sinks, and converted before the values."""
    return (
        (f"{prefix}scores", "MatMul", "", ("q", "k")),
        (f"{prefix}scaled", "Multiply", "", (f"{prefix}scores", "w")),
        (f"{prefix}masked", "Add", "", ("w", f"{prefix}scaled")),
        (f"{prefix}capped", "Tanh", "", (f"{prefix}masked",)),
        (f"{prefix}sinks", "Concat", "", (f"{prefix}capped", "w")),
        (f"{prefix}softmax", "SoftMax", "", (f"{prefix}sinks",)),
        (f"{prefix}cut", "Slice", "", (f"{prefix}softmax", "w", "w")),
        (f"{prefix}half", "Convert", "", (f"{prefix}cut",)),
        (f"{prefix}out", "MatMul", "", (f"{prefix}half", "k")),
    )


ROUTER: tuple[Layer, ...] = (
    ("gate", "MatMul", "", ("ids", "w")),
    ("chance", "SoftMax", "", ("gate",)),
    ("mixed", "MatMul", "", ("chance", "k")),
)
SAMPLING: tuple[Layer, ...] = (("scores", "MatMul", "", ("q", "k")), ("likely", "SoftMax", "", ("scores",)))


@pytest.mark.parametrize(
    ("layers", "counts"),
    [
        ((fused("a"), fused("b")), (2, 0)),
        ((fused("a"), *plain("b"), *plain("c")), (1, 2)),
        (ROUTER, (0, 0)),
        (SAMPLING, (0, 0)),
        ((), (0, 0)),
    ],
    ids=["fused", "both", "a router is none", "a softmax at the end is none", "neither"],
)
def test_attention_is_told_from_other_softmaxes(
    tmp_path: Path, layers: tuple[Layer, ...], counts: tuple[int, int]
) -> None:
    """Two computed values multiplied, a softmax, and a product with a third are attention."""
    found = read_ir_xml(ir(tmp_path, (*BASE, *layers)))

    assert counts == (found.fused_attention, found.plain_attention)


def test_a_body_s_operations_are_not_mixed_with_those_around_it(tmp_path: Path) -> None:
    """Ids begin anew in the body of a loop; attention in both is counted, and inputs are those of the network."""
    body = (
        '<layer id="l" type="Loop"><body><layers><layer id="ids" type="Parameter"><output><port names="inner"/>'
        '</output></layer><layer id="a" type="ScaledDotProductAttention"/></layers>'
        '<edges><edge from-layer="ids" from-port="0" to-layer="a" to-port="0"/></edges></body></layer>'
    )
    found = read_ir_xml(ir(tmp_path, (*BASE, fused("a")), body))

    assert (2, 0) == (found.fused_attention, found.plain_attention)
    assert "inner" not in found.inputs


@pytest.mark.parametrize(
    ("kinds", "layers"),
    [
        (["full_attention", "sliding_attention", "linear_attention"], 2),
        (["conv", "conv", "full_attention"], 1),
        (["mamba", "attention"], 1),
        (None, None),
    ],
)
def test_layer_types_say_how_many_layers_have_attention(
    tmp_path: Path, kinds: list[str] | None, layers: int | None
) -> None:
    """Linear attention and recurrent layers are not counted; a nested text model decides."""
    (tmp_path / "config.json").write_text(
        json.dumps({"text_config": {"layer_types": kinds}, "layer_types": kinds})
    )

    assert layers == attention_layers_of_config(tmp_path / "config.json")


@pytest.mark.parametrize(
    ("layers", "kinds", "expected"),
    [
        (
            (fused("a"), state("s", "?,8,4")),
            ["linear_attention", "full_attention"],
            Fusion(fused=1, layers=1),
        ),
        ((fused("a"),), ["full_attention", "full_attention"], Fusion(fused=1, layers=2)),
        (
            (fused("a"), *(state(f"{i}", "?,3,?,64") for i in range(4))),
            None,
            Fusion(fused=1, layers=2),
        ),
        (plain("a"), None, Fusion(fused=0, layers=1)),
        ((state("s", "?,8,4"),), None, Fusion(fused=0, layers=0)),
    ],
    ids=["linear", "types", "caches", "plain", "recurrent"],
)
def test_layers_are_those_that_should_have_attention(
    tmp_path: Path, layers: tuple[Layer, ...], kinds: list[str] | None, expected: Fusion
) -> None:
    """By the configuration's layer types, else those with a cache of keys and values; never fewer than are seen."""
    ir(tmp_path, (*BASE, *layers))
    if kinds:
        (tmp_path / "config.json").write_text(json.dumps({"layer_types": kinds}))

    found = language_fusion(tmp_path)

    assert expected == found
    assert expected.is_whole == (expected.fused >= expected.layers)


def test_parts_are_told_apart_and_the_language_model_comes_first(tmp_path: Path) -> None:
    """A vision tower counts for itself; the tokenizers and parts without attention are left out."""
    for name, layers in (
        ("vision_embeddings_model", (fused("a"), *plain("b"))),
        ("text_embeddings_model", ()),
        ("language_model", (fused("a"), fused("b"))),
        ("tokenizer", (fused("a"),)),
    ):
        ir(tmp_path, (*BASE, *layers)).rename(tmp_path / f"openvino_{name}.xml")

    found = read_fusions(tmp_path)

    assert ["language model", "vision tower"] == list(found)
    assert (Fusion(fused=2, layers=2), Fusion(fused=1, layers=2)) == tuple(found.values())


def test_an_ir_that_cannot_be_read_tells_nothing(tmp_path: Path) -> None:
    """Whether it is whole is for others to say."""
    (tmp_path / "openvino_model.xml").write_text("<net")

    assert language_fusion(tmp_path) is None
    assert {} == read_fusions(tmp_path)
