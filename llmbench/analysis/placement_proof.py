"""Which sockets worked, and whether tensor parallelism split anything: what was requested against what was seen."""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from llmbench.schema.config import RunConfig
from llmbench.schema.measurement import Measurement, Placement, total_placement
from llmbench.schema.run import Run, Topology
from llmbench.schema.units import counted, format_list

LEAST_S = 0.3
"""Below this much time in all, the kernel's ticks say too little about who worked."""


class Effect(enum.Enum):
    """What came of the tensor-parallel policy; unknown where no launch recorded it."""

    EFFECTIVE = "effective"
    INEFFECTIVE = "ineffective"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """Where the launches of one configuration ran, all their requests together.

    *requested* are the sockets that should work, empty where any may. *loaded* has the bytes on each node before
    the first request, of the launch whose bytes after the last one *placement* has. *machine* is where they ran.
    """

    placement: Placement
    requested: tuple[int, ...]
    loaded: Mapping[int, int]
    machine: Topology

    @property
    def is_reported(self) -> bool:
        """Whether it ran for long enough to decide."""
        return self.placement.wall_s >= LEAST_S

    @property
    def idle(self) -> tuple[int, ...]:
        """The sockets that should have worked and surely did not."""
        return tuple(
            socket for socket in self.requested if self.is_reported and socket in self.placement.idle
        )

    @property
    def is_proved(self) -> bool:
        """Whether every socket that should have worked is seen to have worked."""
        return self.is_reported and set(self.requested) <= set(self.placement.worked)


def effect(run: Run, cell: int) -> Effect | None:
    """What came of the policy in a configuration's launches; ``None`` where it was not requested."""
    if not run.cells[cell].is_tensor_parallel:
        return None
    splits = [launch.effective.split for launch in run.launches if launch.cell == cell]
    reported = [split for split in splits if split is not None]
    if not reported:
        return Effect.UNKNOWN
    return Effect.EFFECTIVE if all(split.is_effective for split in reported) else Effect.INEFFECTIVE


def requested_sockets(config: RunConfig, placement: Placement) -> tuple[int, ...]:
    """The sockets that should work, where those are several; empty where one is enough.

    With tensor parallelism these are all that the worker may use.
    """
    seen = tuple(work.socket for work in placement.sockets)
    requested = seen if config.is_tensor_parallel else config.sockets
    return requested if len(requested) > 1 and len(seen) > 1 else ()


def shares(placement: Placement) -> tuple[float, ...]:
    """Each socket's share of the worker's CPU time: the middle of the least and the most it can have been."""
    middles = [(placement.least_s(work) + placement.most_s(work)) / 2 for work in placement.sockets]
    total = sum(middles)
    return tuple(middle / total if total else 0.0 for middle in middles)


def idle_reason(measurements: Sequence[Measurement], config: RunConfig) -> tuple[str, ...]:
    """Why the requests of a launch do not count: a socket that should have worked did not. Empty where all did."""
    placement = total_placement(m.placement for m in measurements if m.placement is not None)
    if placement is None or placement.wall_s < LEAST_S:
        return ()
    requested = requested_sockets(config, placement)
    idle = [socket for socket in requested if socket in placement.idle]
    if not idle:
        return ()
    what = "one socket did all the work" if len(idle) == len(requested) - 1 else "not every socket worked"
    return (f"{what}: {' / '.join(f'{share:.0%}' for share in shares(placement))} of the CPU time",)


def prove(run: Run, cell: int) -> Proof | None:
    """The proof of one configuration over its finished launches; ``None`` where none was recorded."""
    launches = [x for x in run.launches if x.cell == cell and x.is_finished]
    seen = [m.placement for launch in launches for m in launch.measurements if m.placement is not None]
    placement = total_placement(seen)
    if placement is None:
        return None
    return Proof(
        placement=placement,
        requested=requested_sockets(run.cells[cell], placement),
        loaded=launches[-1].pinned.pages,
        machine=run.environment.topology,
    )


def describe_no_split(run: Run, cell: int) -> str | None:
    """The sentence that must be beside every figure made under a policy that split nothing; else ``None``."""
    if effect(run, cell) is not Effect.INEFFECTIVE:
        return None
    found = [x for x in run.launches if x.cell == cell and x.effective.split is not None]
    pinned, split = found[0].pinned, found[0].effective.split
    parts = ["INEFFECTIVE: tensor parallelism split nothing"]
    if pinned.sockets:
        noun = "socket" if len(pinned.sockets) == 1 else "sockets"
        where = f"{format_list(pinned.sockets)}, CPUs {format_list(pinned.cpus)}"
        parts.append(f"{len(pinned.sockets)} {noun} seen ({where})")
    if split is not None and split.without is not None:
        parts.append(f"{counted(split.without, 'thread')} without the policy and {split.with_policy} with it")
    return f"{'; '.join(parts)}. Every row is marked tensor_parallel=ineffective"


def mark(found: Effect | None) -> tuple[str, ...]:
    """The mark that every row of a configuration carries where the policy is not seen to have split anything."""
    return () if found in (None, Effect.EFFECTIVE) else (f"tensor_parallel={found.value}",)
