"""Which attention a model has and which one an engine uses: values that a run, a manifest and a profile record."""

from dataclasses import dataclass

from llmbench.schema.units import Index

PAGED = "paged attention"
"""The cache is kept in blocks, and one operation reads them."""

CACHED = "SDPA with KV cache"
"""One operation has scaled dot-product attention (SDPA) and the cache."""

FUSED = "SDPA"
"""One operation has scaled dot-product attention; a cache is apart from it, or is not known."""

PLAIN = "plain attention"
"""Matrix multiplications and a softmax, each an operation of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fusion:
    """How many of a model's attention layers are one operation.

    Layers of linear attention and recurrent ones are not counted: they have none.
    """

    fused: Index
    layers: Index

    @property
    def is_whole(self) -> bool:
        """Whether every attention layer is fused; true of a model that has none."""
        return self.fused >= self.layers

    @property
    def sentence(self) -> str:
        """``30 of 30 layers use fused attention (SDPA)``."""
        if not self.layers:
            return "no layer has softmax attention"
        return f"{self.fused} of {self.layers} layers use fused attention (SDPA)"


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionProof:
    """How the effective attention was requested, and how it is known.

    *request* is ``default`` or the option, *evidence* where it was read: ``executed graph``, ``engine log`` or ``IR``.
    *fusion* is ``None`` where that does not show layers. *fallback* is why it is not the paged attention that is the
    default; ``None`` where nothing was replaced.
    """

    evidence: str
    request: str = "default"
    fusion: Fusion | None = None
    fallback: str | None = None


def sdpa_kind(fusion: Fusion) -> str:
    """Return what a stateful model runs with where it is not paged, by the layers that are fused."""
    if fusion.layers and not fusion.fused:
        return PLAIN
    return CACHED
