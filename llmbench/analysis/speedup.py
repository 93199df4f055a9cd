"""What a second socket brings: one socket, the other, both, and both with tensor parallelism, measured in turns."""

import dataclasses
import enum
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from llmbench.analysis import stats
from llmbench.analysis.comparison.paired_run import finished_blocks
from llmbench.analysis.metrics.table import HEADLINES, PHASES
from llmbench.analysis.placement_proof import Proof
from llmbench.analysis.report import Report, Row
from llmbench.analysis.stats import Ratio, Summary
from llmbench.errors import InputError, MachineError
from llmbench.schema.config import RunConfig
from llmbench.schema.run import Run, Topology
from llmbench.schema.settings.any_workload import POLICY, TENSOR_PARALLEL
from llmbench.schema.units import counted, format_list

SPEEDUP_METRICS = (*PHASES, "memory")
_THREADS = "INFERENCE_NUM_THREADS"


class Kind(enum.Enum):
    """How a configuration uses the sockets."""

    ONE = "one socket"
    BOTH = "both, no policy"
    SPLIT = "both, tensor parallel"


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketSetup:
    """One way to use the sockets: the cell of a run that measures it, and where its launches ran."""

    cell: int
    kind: Kind
    sockets: tuple[int, ...]
    threads: int | None
    proof: Proof | None

    @property
    def name(self) -> str:
        """What a table calls it."""
        return setup_name(self.kind, self.sockets)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedupEntry:
    """A metric of one setup and prompt in seconds or bytes, over launches.

    *gain* is how many times better than the faster socket alone, paired block by block: above 1 it is faster; of
    memory it is how many times more. It is ``None`` for that socket itself.
    """

    summary: Summary
    gain: Ratio | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedupLine:
    """One setup and prompt; *invalid* counts the requests that do not count, of *measured*."""

    setup: SocketSetup
    input_tokens: int
    entries: Mapping[str, SpeedupEntry]
    measured: int
    invalid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Speedup:
    """The table of a run of setups. *base* is the socket that was faster alone, with which all are compared.

    *over_both* is, by metric and input length, how many times faster tensor parallelism is than all sockets without
    it. *blocks* counts those with a launch of every setup.
    """

    setups: tuple[SocketSetup, ...]
    base: SocketSetup
    lines: tuple[SpeedupLine, ...]
    over_both: Mapping[str, Mapping[int, Ratio]]
    blocks: int

    @property
    def split(self) -> SocketSetup:
        """The setup with tensor parallelism."""
        return next(setup for setup in self.setups if setup.kind is Kind.SPLIT)

    @property
    def lengths(self) -> tuple[int, ...]:
        """The input lengths, ascending."""
        return tuple(sorted({line.input_tokens for line in self.lines}))

    def gains(self, metric: str) -> dict[int, Ratio]:
        """How many times faster tensor parallelism is than the faster socket alone, by input length."""
        found = {
            line.input_tokens: line.entries[metric].gain
            for line in self.lines
            if line.setup == self.split and metric in line.entries
        }
        return {length: gain for length, gain in sorted(found.items()) if gain is not None}

    def efficiency(self, ratio: Ratio) -> float:
        """The part of a perfect speed-up: 1 is a socket's whole work for each socket."""
        return ratio.ratio / len(self.split.sockets)

    def pays_from(self, metric: str) -> int | None:
        """The shortest input from which on, at every longer one too, it is proved to be faster; ``None`` if none is."""
        best = None
        for length, gain in sorted(self.gains(metric).items(), reverse=True):
            if not gain.has_interval or gain.low <= 1:
                break
            best = length
        return best


def socket_configurations(
    base: RunConfig, machine: Topology, sockets: tuple[int, ...] = ()
) -> tuple[RunConfig, ...]:
    """The cells to measure: each of *sockets* alone, all of them, and all of them with tensor parallelism.

    By default they are all that this process may use. All without the policy get a thread per core, because by
    itself the engine then takes those of one socket.

    Raises:
        InputError: the base sets threads or the policy itself.
        MachineError: there are fewer than two sockets.
    """
    if base.is_tensor_parallel or base.threads is not None or _THREADS in base.properties:
        raise InputError(
            "sockets sets threads and policy itself",
            hint="leave out --threads, --tensor-parallel and their -lc",
        )
    cpus = [cpu for cpu in machine.cpus if cpu.number in set(machine.allowed)]
    usable = tuple(sorted({cpu.socket for cpu in cpus}))
    sockets = sockets or usable
    if len(sockets) < 2:
        raise MachineError(
            f"two sockets are needed; this machine has {len(machine.sockets)}, and this process may use "
            f"{len(usable)} (socket {format_list(usable)})",
            hint=_where_to(machine),
        )
    cores = len({cpu.core for cpu in cpus if cpu.socket in sockets})
    policy = {**base.properties, POLICY: TENSOR_PARALLEL}
    return (
        *(dataclasses.replace(base, sockets=(socket,)) for socket in sockets),
        dataclasses.replace(base, sockets=sockets, threads=cores),
        dataclasses.replace(base, sockets=sockets, properties=policy),
    )


def _where_to(machine: Topology) -> str:
    """What to do where there is one socket to use."""
    if len(machine.sockets) > 1:
        return "widen the cpuset of the container or job, or name sockets it may use with --sockets"
    return "run it on a machine with two sockets; here llmbench profile shows what a second one could bring"


def setup_kind(config: RunConfig) -> Kind:
    """How a configuration uses the sockets."""
    if config.is_tensor_parallel:
        return Kind.SPLIT
    return Kind.ONE if len(config.sockets) == 1 else Kind.BOTH


def setup_name(kind: Kind, sockets: Sequence[int]) -> str:
    """What a table calls a setup: ``socket 0 alone``, ``both sockets``, ``both sockets, tensor parallel``."""
    if kind is Kind.ONE:
        return f"socket {sockets[0]} alone"
    every = "both sockets" if len(sockets) == 2 else f"all {counted(len(sockets), 'socket')}"
    return f"{every}, tensor parallel" if kind is Kind.SPLIT else every


def is_sockets_run(run: Run) -> bool:
    """Whether a run has the configurations of `socket_configurations`."""
    kinds = {setup_kind(config) for config in run.cells}
    return kinds == set(Kind) and all(config.sockets for config in run.cells)


def setup_names(run: Run) -> tuple[str, ...]:
    """What each configuration of a run of setups is called; empty for any other run."""
    if not is_sockets_run(run):
        return ()
    return tuple(setup_name(setup_kind(config), config.sockets) for config in run.cells)


def tabulate(report: Report) -> Speedup:
    """The table of a report whose cells are those of `socket_configurations`; InputError where they are not."""
    run = report.run
    if not is_sockets_run(run):
        raise InputError(
            f"{run.id} does not have one socket, both, and both with tensor parallelism",
            hint="name a run of llmbench sockets",
        )
    setups = tuple(_setup(report, cell) for cell in range(len(run.cells)))
    rows = _Rows(rows={(row.cell, row.prompt.index): row for row in report.rows}, blocks=run.blocks)
    ordered = sorted(report.rows, key=lambda row: (row.input_tokens, row.prompt.index, row.cell))
    base = _faster(rows, [setup for setup in setups if setup.kind is Kind.ONE])
    both = next(setup for setup in setups if setup.kind is Kind.BOTH)
    split = next(setup for setup in setups if setup.kind is Kind.SPLIT)
    return Speedup(
        setups=setups,
        base=base,
        lines=tuple(_line(rows, row, setups[row.cell], base) for row in ordered),
        over_both={name: rows.over(name, both, split) for name in PHASES},
        blocks=finished_blocks(run),
    )


def _setup(report: Report, cell: int) -> SocketSetup:
    run = report.run
    reported = [
        launch.effective.properties.get(_THREADS, "") for launch in run.launches if launch.cell == cell
    ]
    threads = next((int(text) for text in reported if text.isdecimal()), None)
    config = run.cells[cell]
    return SocketSetup(
        cell=cell, kind=setup_kind(config), sockets=config.sockets, threads=threads, proof=report.proofs[cell]
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    """The rows of a report by cell and prompt, and the block of each launch."""

    rows: Mapping[tuple[int, int], Row]
    blocks: Mapping[int, int]

    def logs(self, metric: str, cell: int, prompt: int) -> dict[int, float]:
        """The logarithms of launch medians by block."""
        row = self.rows.get((cell, prompt))
        medians = row.medians.get(metric, {}) if row else {}
        return {
            self.blocks[launch]: math.log(value)
            for launch, value in medians.items()
            if launch in self.blocks and value > 0
        }

    def ratio(self, metric: str, prompt: int, above: int, below: int) -> Ratio | None:
        """A metric of cell *above* over that of cell *below*, paired by block; ``None`` where no block has both."""
        upper, lower = self.logs(metric, above, prompt), self.logs(metric, below, prompt)
        shared = sorted(upper.keys() & lower.keys())
        if not shared:
            return None
        return stats.paired_ratio([lower[block] for block in shared], [upper[block] for block in shared])

    def over(self, metric: str, slower: SocketSetup, faster: SocketSetup) -> dict[int, Ratio]:
        """How many times faster one setup is than another, by input length."""
        found = {
            row.input_tokens: self.ratio(metric, prompt, slower.cell, faster.cell)
            for (cell, prompt), row in sorted(self.rows.items())
            if cell == faster.cell
        }
        return {length: ratio for length, ratio in found.items() if ratio is not None}


def _line(rows: _Rows, row: Row, setup: SocketSetup, base: SocketSetup) -> SpeedupLine:
    entries = {}
    for name in SPEEDUP_METRICS:
        if name in row.summaries:
            above, below = (base, setup) if name in PHASES else (setup, base)
            is_base = setup == base
            gain = None if is_base else rows.ratio(name, row.prompt.index, above.cell, below.cell)
            entries[name] = SpeedupEntry(summary=row.summaries[name], gain=gain)
    return SpeedupLine(
        setup=setup,
        input_tokens=row.input_tokens,
        entries=entries,
        measured=row.measured,
        invalid=row.invalid,
    )


def _faster(rows: _Rows, alone: Sequence[SocketSetup]) -> SocketSetup:
    """The socket with the lower latencies alone: the geometric mean over prompts of first and next tokens."""

    def mean(setup: SocketSetup) -> float:
        """Return the mean logarithm of a setup's latencies."""
        found = [
            statistics.fmean(logs.values())
            for cell, prompt in rows.rows
            for name in HEADLINES
            if cell == setup.cell and (logs := rows.logs(name, cell, prompt))
        ]
        return statistics.fmean(found) if found else math.inf

    return min(alone, key=mean)
