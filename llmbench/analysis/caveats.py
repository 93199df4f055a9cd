"""What a reader must know before believing a run, as sentences."""

import collections
import re
from collections.abc import Iterator, Sequence

from llmbench.analysis import placement_proof, validity
from llmbench.analysis.attention import attention_alarms
from llmbench.schema.config import INTERFERENCE_LIMIT
from llmbench.schema.limits import describe_limits
from llmbench.schema.run import Run
from llmbench.schema.units import counted

ONE_LAUNCH = "one launch: ± covers one process only; use --launches 5 for run-to-run variation"


def of_invalid(invalid: Sequence[tuple[str, ...]], measured: int) -> tuple[str, ...]:
    """How many requests are invalid, and why, like reasons together."""
    if not invalid:
        return ()
    kinds: dict[str, list[str]] = collections.defaultdict(list)
    for reason in (reason for reasons in invalid for reason in reasons):
        kinds[re.sub(r"\d[\d.]*", "#", reason)].append(reason)
    shown = [
        found[0] if len(found) == len(invalid) else f"{found[0]} ({len(found)} of them)"
        for found in kinds.values()
    ]
    return (f"{len(invalid)} of {counted(measured, 'request')} invalid: {'; '.join(shown)}",)


def alarms(run: Run, measured: int, invalid: int) -> Iterator[str]:
    """What a reader must see beside the figures."""
    if measured and invalid * 2 > measured:
        yield f"INVALID: {invalid} of {counted(measured, 'request')}"
    sentences = (placement_proof.describe_no_split(run, cell) for cell in range(len(run.cells)))
    yield from (sentence for sentence in sentences if sentence is not None)
    yield from attention_alarms(run)


def of_run(run: Run) -> Iterator[str]:
    """What a reader must know before believing a run, in the order of weight."""
    for launch in run.launches:
        yield from launch.effective.notes
        yield from launch.pinned.warnings
        if launch.failure:
            how = f" by {launch.failure.signal}" if launch.failure.signal else ""
            yield f"launch {launch.index + 1} failed{how} in {launch.failure.phase}: {launch.failure.message}"
        elif not launch.is_finished:
            yield f"launch {launch.index + 1} was cut short and is left out"
    if not run.is_complete:
        yield "the run was cut short"
    if run.source:
        yield f"imported from {run.source}"
    elif not all(origin.known for origin in (run.provenance, *run.origins)):
        yield "provenance of the model unknown"
    yield from _limit_warnings(run)
    yield from _outside_warnings(run)
    yield from _lenience_warnings(run)
    if not all(config.is_verified for config in run.cells):
        yield "the model's files were not verified"
    finished = collections.Counter(launch.cell for launch in run.finished)
    if 1 in finished.values():
        yield ONE_LAUNCH


def _limit_warnings(run: Run) -> Iterator[str]:
    """Limits of the process that may have made these latencies higher than the machine's."""
    limits, cpus = run.environment.limits, len(run.environment.topology.allowed)
    if limits is None:
        return
    texts = describe_limits(limits)
    if limits.cpu_quota is not None and limits.cpu_quota < cpus:
        on = f"CPU quota of {texts['CPU quota']} on {counted(cpus, 'CPU')}"
        yield f"{on}: latencies are those of this limit, not of the machine"
    if limits.cpu_weight is not None and limits.cpu_weight < 1:
        yield f"CPU weight {texts['CPU weight']}: beside other work this container gets less CPU time"
    if limits.performance_cap is not None and limits.performance_cap < 1:
        yield f"performance cap of {texts['performance cap']} (cpu.uclamp.max): the CPUs may run below their frequency"
    if limits.has_low_priority:
        yield f"priority {texts['priority']}: other processes came first"


def _outside_warnings(run: Run) -> Iterator[str]:
    """Work on the machine's other CPUs, which share caches, memory bandwidth and power with those of a run."""
    cpus = len(run.environment.topology.cpus)
    for launch in run.launches:
        seen = [
            m.conditions for m in launch.measurements if m.conditions and m.conditions.outside_s is not None
        ]
        offered_s = sum(c.wall_s * (cpus - c.cpus) for c in seen)
        share = sum(c.outside_s or 0.0 for c in seen) / offered_s if offered_s > 0 else 0.0
        if share > INTERFERENCE_LIMIT:
            yield (
                f"launch {launch.index + 1}: the CPUs that it may not use were busy for {min(share, 1.0):.0%} of the "
                "time; they share caches and memory bandwidth with it"
            )


def _lenience_warnings(run: Run) -> Iterator[str]:
    """The CPU use of other processes, where the limit was raised and it exceeds the usual one."""
    usual = INTERFERENCE_LIMIT
    for launch in run.launches:
        limit = run.config_of(launch).foreign_cpu_limit
        share = validity.interference_share(launch.measurements) if limit > usual else None
        if share is not None and share > usual:
            yield (
                f"launch {launch.index + 1}: other processes used {share:.0%} of the CPUs; "
                f"--foreign-cpu-limit {limit:g} lets it count, so these latencies are too high"
            )
