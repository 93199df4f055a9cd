"""Which attention a compiled model executes, by its runtime graph (seen with OpenVINO 2026.4 on a CPU).

A decoder with a cache has the operation ``ScaledDotProductAttention``, which reads the states; a model without a
cache, such as a vision tower, has none of these: its attention becomes part of a ``Subgraph``, fused as well.
"""

import collections
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmbench.models.attention import language_fusion
from llmbench.schema.attention import CACHED, FUSED, PAGED, PLAIN, AttentionProof, Fusion, sdpa_kind
from llmbench.schema.run import EffectiveSettings

_SDPA = "ScaledDotProductAttention"
_PAGED = "PagedAttention"
_PRODUCTS = ("MatMul", _SDPA)
_STATE = "MemoryInput"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutedAttention:
    """Operations of a runtime graph that are fused attention, by kind; *subgraphs* are those of models without cache.

    *softmaxes* were left as operations of their own, whatever they are for.
    """

    cached: int = 0
    uncached: int = 0
    paged: int = 0
    subgraphs: int = 0
    softmaxes: int = 0

    @property
    def fused(self) -> int:
        """Attention layers that are one operation."""
        return self.cached + self.uncached + self.paged + self.subgraphs

    @property
    def counts(self) -> Mapping[str, int]:
        """The operations by what they are called in sentences, without those that there are none of.

        Softmaxes beside fused attention belong to something else, such as a router of experts.
        """
        found = {
            PAGED: self.paged,
            CACHED: self.cached,
            FUSED: self.uncached,
            "fused into a Subgraph": self.subgraphs,
            "Softmax": 0 if self.fused else self.softmaxes,
        }
        return {name: count for name, count in found.items() if count}

    @property
    def kind(self) -> str:
        """What most of the layers run with."""
        if not self.fused:
            return PLAIN
        found = ((self.paged, PAGED), (self.cached, CACHED), (self.uncached + self.subgraphs, FUSED))
        return max(found)[1]


def read_executed(compiled: Any) -> ExecutedAttention:
    """Return the attention in the runtime graph of a compiled model; a device may show none."""
    found: collections.Counter[str] = collections.Counter()
    for node in compiled.get_runtime_model().get_ops():
        kind = _info(node, "layerType")
        if kind.startswith(_SDPA):
            reads_state = any(
                _info(port.get_node(), "layerType").startswith(_STATE) for port in node.input_values()
            )
            found["cached" if reads_state else "uncached"] += 1
        elif kind.startswith(_PAGED):
            found["paged"] += 1
        elif kind == "Subgraph":
            found["subgraphs"] += _holds_attention(_info(node, "originalLayersNames"))
        elif kind == "Softmax":
            found["softmaxes"] += 1
    return ExecutedAttention(**found)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvedAttention:
    """Which *kind* of attention a loaded model uses, ``None`` where nothing shows it, and the proof."""

    kind: str | None
    proof: AttentionProof

    def in_settings(self, settings: EffectiveSettings) -> EffectiveSettings:
        """Return effective settings with this attention."""
        return dataclasses.replace(settings, attention=self.kind, attention_proof=self.proof)


def prove_attention(compiled: Any, folder: Path) -> ProvedAttention:
    """Return which attention the language model of a compiled IR executes, and how many of its layers are fused."""
    executed, expected = read_executed(compiled), language_fusion(folder)
    is_shown = bool(executed.counts) and (expected is None or expected.layers > 0)
    fusion = expected
    if is_shown and expected is not None:
        fusion = Fusion(fused=min(executed.fused, expected.layers), layers=expected.layers)
    return ProvedAttention(
        kind=executed.kind if is_shown else None,
        proof=AttentionProof(evidence="executed graph", fusion=fusion),
    )


def prove_pipeline_attention(kind: str | None, model: Path) -> ProvedAttention:
    """Return which attention a pipeline of GenAI uses, which shows no graph: *kind* is what its log reports.

    A model that is not paged runs as its IR has it; a GGUF file has no IR that could be read.
    """
    fusion = language_fusion(model) if model.is_dir() else None
    if kind != PAGED and fusion is not None and kind is not None:
        return ProvedAttention(kind=sdpa_kind(fusion), proof=AttentionProof(evidence="IR", fusion=fusion))
    return ProvedAttention(kind=kind, proof=AttentionProof(evidence="engine log", fusion=fusion))


def _holds_attention(names: str) -> bool:
    """Return whether a subgraph is attention, by its operations: a softmax, and a product before or after it."""
    return "softmax" in names.lower() and any(product in names for product in _PRODUCTS)


def _info(node: Any, key: str) -> str:
    info = node.get_rt_info()
    return str(info[key].astype(str)) if key in info else ""
