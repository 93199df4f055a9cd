"""Which sockets worked, and whether tensor parallelism split anything: what was asked for against what was seen."""

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from llmbench.config import RunConfig
from llmbench.measurement import Measurement, Placement, total_placement
from llmbench.run import Launch, Outcome, Run, Split

LEAST_S = 0.3
"""Below this much time in all, the kernel's ticks say too little about who worked."""


class Effect(enum.Enum):
    """What came of the tensor-parallel policy; unknown where no launch told."""

    EFFECTIVE = "effective"
    INEFFECTIVE = "ineffective"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """Where the launches of one configuration ran, all their requests together.

    *asked* are the sockets that were asked to work, empty where any may; *nodes* those of the machine. *loaded* has
    the bytes on each node before the first request, of the launch that *placement* has the later ones of.
    """

    placement: Placement
    asked: tuple[int, ...]
    nodes: tuple[int, ...]
    loaded: Mapping[int, int]
    split: Split | None

    @property
    def is_told(self) -> bool:
        """Whether it ran for long enough to tell."""
        return self.placement.wall_s >= LEAST_S

    @property
    def idle(self) -> tuple[int, ...]:
        """The sockets that were asked to work and surely did not."""
        return tuple(socket for socket in self.asked if self.is_told and socket in self.placement.idle)

    @property
    def is_proved(self) -> bool:
        """Whether every socket that was asked to work is seen to have worked."""
        return self.is_told and set(self.asked) <= set(self.placement.worked)


def effect(config: RunConfig, launches: Iterable[Launch]) -> Effect | None:
    """What came of the policy in a configuration's launches; ``None`` where it was not asked for."""
    if not config.is_tensor_parallel:
        return None
    splits = [launch.in_force.split for launch in launches]
    told = [split for split in splits if split is not None]
    if not told:
        return Effect.UNKNOWN
    return Effect.EFFECTIVE if all(split.is_effective for split in told) else Effect.INEFFECTIVE


def asked_sockets(config: RunConfig, placement: Placement) -> tuple[int, ...]:
    """The sockets that were asked to work, where those are several; empty where one is enough.

    Tensor parallelism asks all that the worker may use.
    """
    seen = tuple(work.socket for work in placement.sockets)
    asked = seen if config.is_tensor_parallel else config.sockets
    return asked if len(asked) > 1 and len(seen) > 1 else ()


def shares(placement: Placement) -> tuple[float, ...]:
    """Each socket's share of the worker's CPU time: the middle of the least and the most it can have been."""
    middles = [(placement.least_s(work) + placement.most_s(work)) / 2 for work in placement.sockets]
    total = sum(middles)
    return tuple(middle / total if total else 0.0 for middle in middles)


def idle_reason(measurements: Sequence[Measurement], config: RunConfig) -> str | None:
    """Why the requests of a launch do not count: a socket that was asked to work did not. ``None`` where all did."""
    placement = total_placement(m.placement for m in measurements if m.placement is not None)
    if placement is None or placement.wall_s < LEAST_S:
        return None
    asked = asked_sockets(config, placement)
    idle = [socket for socket in asked if socket in placement.idle]
    if not idle:
        return None
    what = "one socket did all the work" if len(idle) == len(asked) - 1 else "not every socket worked"
    return f"{what}: {' / '.join(f'{share:.0%}' for share in shares(placement))} of the CPU time"


def prove(run: Run, cell: int) -> Proof | None:
    """The proof of one configuration over its finished launches; ``None`` where nobody looked."""
    launches = [x for x in run.launches if x.cell == cell and x.outcome is Outcome.FINISHED]
    seen = [m.placement for launch in launches for m in launch.measurements if m.placement is not None]
    placement = total_placement(seen)
    if placement is None:
        return None
    return Proof(
        placement=placement,
        asked=asked_sockets(run.cells[cell], placement),
        nodes=run.environment.topology.nodes,
        loaded=launches[-1].held.pages,
        split=launches[-1].in_force.split,
    )


def proofs(run: Run) -> tuple[Proof | None, ...]:
    """The proof of each configuration of a run."""
    return tuple(prove(run, cell) for cell in range(len(run.cells)))
