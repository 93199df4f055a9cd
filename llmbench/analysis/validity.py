"""Which measurements count, and why not: covariates fixed in advance decide, never the latency itself."""

import collections
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence

from llmbench.analysis import placement_proof
from llmbench.schema import measurement
from llmbench.schema.config import RunConfig
from llmbench.schema.limits import format_cpus
from llmbench.schema.measurement import Conditions, Finish, Measurement
from llmbench.schema.units import counted

TICKS_ALLOWED_S = 0.02
"""Two ticks of 10 ms on each CPU: CPU time is counted in ticks, and as much may be an error of counting."""

STOPPED_LIMIT = 0.01
"""The share of a request's time for which a CPU quota may stop one of its CPUs, or a want of memory a process."""

MAJOR_FAULTS_ALLOWED, MAJOR_FAULTS_PER_S = 2, 10
"""Times that a request may wait for the disk or swap: at 1 ms each, with read-ahead, a hundredth of its time."""

_MOST_NAMED, _WORTH_NAMING = 3, 0.005
"""Programs that are named at most, and the share of the CPUs from which on a hypervisor is."""

SHORT_S = 0.3
"""Below this length ticks say too little about one iteration, so it is judged over its launch."""

REPEATED_TOKENS, LEAST_REPEATED = 16, 4
"""A launch of at least this many tokens that are all the same one, in outputs of at least this many each, says nothing.

That is what broken weights give where no logits are seen; a single output so long is marked by its engine.
"""


def reasons(m: Measurement, config: RunConfig, launch_measurements: Sequence[Measurement]) -> tuple[str, ...]:
    """Why a measurement does not count; empty if it does. *launch_measurements* are those of its launch."""
    launch_share = interference_share(launch_measurements) if _is_short(m) else None
    return (*_judge(m, config, launch_share), *_launch_reasons(launch_measurements, config))


def judge_launch(
    launch_measurements: Sequence[Measurement], config: RunConfig
) -> tuple[tuple[str, ...], ...]:
    """The reasons of each measurement of a launch, in their order."""
    share = interference_share(launch_measurements) if any(map(_is_short, launch_measurements)) else None
    shared = _launch_reasons(launch_measurements, config)
    return tuple((*_judge(m, config, share), *shared) for m in launch_measurements)


def is_disturbed(m: Measurement, config: RunConfig) -> bool:
    """Return whether other processes took more of the CPU time of a request than its configuration allows."""
    c = m.conditions
    limit = config.foreign_cpu_limit
    return c is not None and limit < 1 and c.interference_s > limit * c.wall_s * c.cpus


def most_frequent_reason(reasons_of_requests: Iterable[Sequence[str]]) -> str:
    """Return the reason that most requests have, as the first of them has it; empty where there is none."""
    kinds: dict[str, list[str]] = collections.defaultdict(list)
    for reason in itertools.chain.from_iterable(reasons_of_requests):
        kinds[re.sub(r"\(.*?\)|\d[\d.]*", "#", reason)].append(reason)
    return max(kinds.values(), key=len, default=[""])[0]


def _launch_reasons(launch_measurements: Sequence[Measurement], config: RunConfig) -> tuple[str, ...]:
    idle = placement_proof.idle_reason(launch_measurements, config)
    return (*idle, *_degenerate(launch_measurements))


def _degenerate(launch_measurements: Sequence[Measurement]) -> tuple[str, ...]:
    """That several requests all gave one token over and over, each too short to be judged alone."""
    rows = [row.token_ids for m in launch_measurements for row in m.sequences]
    if len(launch_measurements) < 2 or not rows or not rows[0]:
        return ()
    only = rows[0][0]
    if any(len(ids) < LEAST_REPEATED or ids.count(only) < len(ids) for ids in rows):
        return ()
    total = sum(map(len, rows))
    if total < REPEATED_TOKENS or max(map(len, rows)) >= REPEATED_TOKENS:
        return ()
    return (f"degenerate output: token {only} and nothing else, in all {len(rows)} outputs of the launch",)


def _is_short(m: Measurement) -> bool:
    return m.conditions is not None and m.conditions.wall_s < SHORT_S


def interference_share(measurements: Iterable[Measurement]) -> float | None:
    """The CPU share of other processes in a launch, beyond the ticks allowed; ``None`` if not recorded."""
    seen = [m.conditions for m in measurements if m.conditions is not None]
    offered = sum(c.wall_s * c.cpus for c in seen)
    if not offered:
        return None
    allowed = TICKS_ALLOWED_S * max(c.cpus for c in seen)
    return max(0.0, sum(c.interference_s for c in seen) - allowed) / offered


def _judge(m: Measurement, config: RunConfig, launch_share: float | None) -> tuple[str, ...]:
    found = list(m.suspicions)
    if m.error is not None:
        return (f"{m.error}: {'; '.join(found)}",)
    for sequence in m.sequences:
        if (m.requested_tokens or sequence.at_ns) and not _is_whole(m, sequence):
            found += [why for why in _output_reasons(m, sequence, config) if why not in found]
    if m.conditions is not None:
        found += condition_reasons(m.conditions, config, launch_share)
    return tuple(found)


def _is_whole(m: Measurement, sequence: measurement.Sequence) -> bool:
    """Whether a sequence has just the tokens requested, all of them after the request began."""
    at = sequence.at_ns
    return bool(at) and sequence.output_tokens == m.requested_tokens and at[0] > m.start_ns


def condition_reasons(c: Conditions, config: RunConfig, launch_share: float | None = None) -> list[str]:
    """Return what else happened on the machine that spoils a measurement; *launch_share* judges a short one."""
    found = []
    limit = config.foreign_cpu_limit
    if limit >= 1:
        pass  # whatever other processes use was accepted; counted in ticks it may exceed the whole
    elif c.wall_s < SHORT_S:
        if launch_share is not None and launch_share > limit:
            found.append(
                f"other processes used {launch_share:.0%} of the CPUs during the launch (limit {limit:.0%})"
            )
    elif c.interference_s > limit * c.wall_s * c.cpus + TICKS_ALLOWED_S * c.cpus:
        found.append(f"{describe_interference([c])} (limit {limit:.0%})")
    if c.suspended_s > 0:
        found.append(f"the machine was suspended for {c.suspended_s:.1f} s")
    if c.clock_step_s:
        found.append(f"the clock stepped by {c.clock_step_s:+.1f} s")
    found += c.changes
    if c.throttle_events > 0:
        found.append(f"the CPU throttled ({c.throttle_events} events)")
    if c.throttled_s or c.memory_stall_s or c.stops or c.frozen_s or c.major_faults:
        found += _limit_reasons(c)
    return found


def describe_interference(conditions: Sequence[Conditions]) -> str:
    """Return what other processes used of the CPUs, which they were, and what a hypervisor took of it."""
    offered_s = sum(c.wall_s * c.cpus for c in conditions)
    steal_s = sum(c.steal_s or 0.0 for c in conditions)
    others_s = max(0.0, sum(c.interference_s for c in conditions) - steal_s)
    programs: dict[str, float] = collections.defaultdict(float)
    for name, seconds in itertools.chain.from_iterable(c.programs.items() for c in conditions):
        programs[name] += seconds
    scale = min(1.0, others_s / sum(programs.values())) if sum(programs.values()) else 1.0
    order = sorted(programs, key=lambda name: programs[name], reverse=True)[:_MOST_NAMED]
    named = ", ".join(f"{name} {scale * programs[name] / offered_s:.0%}" for name in order)
    stolen = f" and the hypervisor {steal_s / offered_s:.0%}" if steal_s >= _WORTH_NAMING * offered_s else ""
    return (
        f"other processes used {others_s / offered_s:.0%} of the CPUs{f' ({named})' if named else ''}{stolen}"
    )


def _limit_reasons(c: Conditions) -> Iterator[str]:
    if (c.throttled_s or 0) > STOPPED_LIMIT * c.wall_s:
        quota = f" (quota {format_cpus(c.cpu_quota)})" if c.cpu_quota else ""
        yield (
            f"the container's CPU limit stopped this process for {stopped_share(c):.0%} of the time{quota}; "
            f"limit {STOPPED_LIMIT:.0%}"
        )
    if (c.memory_stall_s or 0) > STOPPED_LIMIT * c.wall_s:
        hits = f" (memory limit met {counted(c.memory_limit_hits, 'time')})" if c.memory_limit_hits else ""
        yield (
            f"processes waited for memory for {(c.memory_stall_s or 0) / c.wall_s:.0%} of the time{hits}; "
            f"limit {STOPPED_LIMIT:.0%}"
        )
    if c.frozen_s:
        yield f"the control group was frozen for {c.frozen_s:.1f} s, as by docker pause"
    if c.stops:
        yield f"the process was stopped by a signal {counted(c.stops, 'time')}"
    if (c.major_faults or 0) > MAJOR_FAULTS_ALLOWED + MAJOR_FAULTS_PER_S * c.wall_s:
        yield (
            f"memory was read from disk or swap {counted(c.major_faults or 0, 'time')}; "
            f"limit {MAJOR_FAULTS_PER_S} per second, and {MAJOR_FAULTS_ALLOWED}"
        )


def stopped_share(c: Conditions) -> float:
    """Return for which share of its time a request was stopped by a CPU quota, over the CPUs on which it had work."""
    stopped_s = c.throttled_s or 0.0
    return stopped_s / max(c.wall_s, c.worker_s + stopped_s)


def _output_reasons(m: Measurement, sequence: measurement.Sequence, config: RunConfig) -> list[str]:
    """What is wrong with the output of one sequence; an end that was requested is fine at any length."""
    count = sequence.output_tokens
    if not count:
        return ["no token came out"]
    found = []
    if sequence.at_ns[0] <= m.start_ns:
        found.append("the first token came before the request began")
    if count == m.requested_tokens:
        return found
    if sequence.finish is Finish.STOP and count < m.requested_tokens:
        if not config.stop_at_eos:
            found.append(
                f"the end of the text cut the output to {count} of {counted(m.requested_tokens, 'token')}"
            )
    else:
        verb = "was" if count == 1 else "were"
        found.append(f"{counted(count, 'token')} {verb} generated, {m.requested_tokens} were requested")
    return found
