"""Where the time of a model's passes goes, by operation, and the most that tensor parallelism could gain."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from llmbench.schema.attention import Fusion

SPLIT_KIND = "FullyConnected"
"""The operation that tensor parallelism splits; the plug-in names its variants with this beginning."""

SUM_TOLERANCE = 0.1
"""Operations that add up to this much less or more than the wall time do not tell all of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PassProfile:
    """One forward pass of the first token, or of a next one: seconds by kind of operation, and by the code that ran.

    *wall_s* is what the whole pass took on the clock.
    """

    wall_s: float
    kinds: Mapping[str, float]
    primitives: Mapping[str, float] = field(default_factory=dict)

    @property
    def sum_s(self) -> float:
        """Seconds of all operations together."""
        return sum(self.kinds.values())

    @property
    def is_whole(self) -> bool:
        """Whether the operations add up to the wall time, within a tenth."""
        return abs(self.sum_s - self.wall_s) <= SUM_TOLERANCE * self.wall_s

    @property
    def split_share(self) -> float:
        """The share of the operations' time that tensor parallelism can split."""
        return self._split_s / self.sum_s if self.sum_s else 0.0

    @property
    def _split_s(self) -> float:
        """Seconds of the operations that are split."""
        return sum(seconds for kind, seconds in self.kinds.items() if kind.startswith(SPLIT_KIND))

    def bound(self, sockets: int = 2) -> float:
        """The most that this many sockets can speed it up where only those operations are split (Amdahl, AFIPS 1967).

        What the wall time has beyond the operations is not split either.
        """
        whole_s = max(self.wall_s, self.sum_s)
        return whole_s / (whole_s - self._split_s * (1 - 1 / sockets)) if whole_s else 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PartAttention:
    """The attention layers of one part of a model: as its IR has them, and the operations that are executed.

    *executed* counts operations by what they are called in sentences, *fused* those of them that are a layer each.
    """

    fusion: Fusion
    executed: Mapping[str, int]
    fused: int

    @property
    def is_whole(self) -> bool:
        """Whether every layer is executed as one operation."""
        return self.fused >= self.fusion.layers


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelProfile:
    """A model profiled: both phases, what was made of its attention, and the precisions and threads effective.

    *counts* has how many operations of each kind were executed, *attention* what became of that of each part of the
    model, by its title.
    """

    first: PassProfile
    next: PassProfile
    counts: Mapping[str, int]
    attention: Mapping[str, PartAttention]
    constant_bytes: Mapping[str, int]
    properties: Mapping[str, str]
    input_tokens: int
    output_tokens: int
