"""A fleet run: probe every host, refuse what does not fit, run the command on the others, and wait for all.

Nothing depends on this process once jobs are queued: how each ended is in the fleet's folder, and a new process goes on
where this one was.
"""

import contextlib
import dataclasses
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from llmbench.errors import ExitCode, MachineError
from llmbench.fleet.executor import Executor, HostJob, JobState, JobStatus
from llmbench.fleet.folder import FleetFolder
from llmbench.schema.fleet import FleetPlan, HostProbe

EACH_HOST, SPREAD = "each-host", "spread"
_GONE_S = 6.0
"""How long a job may be gone before its ending must be in the shared folder."""

_MOST_ATTEMPTS = 5
_PROBE = "probe"
_DOING = {JobState.WAITING: "waiting", JobState.RUNNING: "", JobState.GONE: "ended"}
_MAY_DIFFER = ("memory", "firmware", "kernel")
"""Parts of a fingerprint that hosts of one kind may differ in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostProgress:
    """Where a host is: what it does, how many requests it has measured, and why it stopped."""

    host: str
    doing: str
    measured: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetPolicy:
    """What to do with hosts that do not fit, and how long to wait for one that does not begin; ``None`` for ever.

    *poll_s* is the time between two calls of the scheduler.
    """

    skips_unfit: bool = False
    patience_s: float | None = None
    poll_s: float = 1.0


OnProgress = Callable[[Sequence[HostProgress]], None]


@dataclass(kw_only=True)
class Dispatch:
    """One fleet run, its folder and its scheduler; *on_progress* receives every change."""

    plan: FleetPlan
    folder: FleetFolder
    executor: Executor
    policy: FleetPolicy
    on_progress: OnProgress

    def run(self, *, can_rehearse: bool) -> Mapping[str, int | None]:
        """Probe, then measure; return the exit code of each host, ``None`` of one that was lost or never began.

        A host that does not fit and is left out on request has none.
        """
        self.folder.write_plan(self.plan)
        jobs = self.plan.jobs
        pending = [host for host in self.plan.hosts if self.folder.read_probe(host) is None]
        with self._cancelled_on_interrupt():
            self._wait(pending, {}, _PROBE, self._probe_job(can_rehearse=can_rehearse))
            running = {host: job for host, job in jobs.items() if host not in pending}
            self.plan = dataclasses.replace(
                self.plan, jobs=running
            )  # a probe's job may linger, and is none of a run
            lost = dict.fromkeys(self.plan.skipped)
            self._leave_out_unfit()
            return {**lost, **self._measure()}

    def _probe_job(self, *, can_rehearse: bool) -> Callable[[str], HostJob]:
        rehearse = ("--rehearse",) if can_rehearse else ()
        return lambda host: self._job(host, ("--probe", *rehearse), self.plan.arguments)

    def _measure(self) -> Mapping[str, int | None]:
        hosts = [host for host in self.plan.hosts if host not in self.plan.skipped]
        left = [host for host in hosts if self._is_open(host)]
        alive = self._alive(left)
        for _ in range(_MOST_ATTEMPTS):
            before = {host: self.folder.measured(host) for host in left}
            self._wait(left, alive, "run", self._run_job)
            alive = {}
            left = [host for host in left if self._is_worth_another(host, before[host])]
            if not left:
                break
        endings = {host: self.folder.read_ending(host) for host in hosts}
        return {host: None if end is None else end.code for host, end in endings.items()}

    def _is_open(self, host: str) -> bool:
        """Whether a host's command has not ended, or was ended by a time limit, or crashed."""
        ending = self.folder.read_ending(host)
        return ending is None or ending.code in {ExitCode.TERMINATED, ExitCode.INTERRUPTED}

    def _is_worth_another(self, host: str, before: int) -> bool:
        """Whether a time limit cut the host's run, which has got further than it was."""
        ending = self.folder.read_ending(host)
        return (
            ending is not None and ending.code == ExitCode.TERMINATED and self.folder.measured(host) > before
        )

    def _alive(self, hosts: Sequence[str]) -> dict[str, str]:
        """The jobs of an earlier process of ours that still live, by host."""
        jobs = {host: self.plan.jobs[host] for host in hosts if host in self.plan.jobs}
        statuses = self.executor.statuses(jobs.values()) if jobs else {}
        return {host: job for host, job in jobs.items() if statuses[job].state is not JobState.GONE}

    def _run_job(self, host: str) -> HostJob:
        """The command of a host, or what goes on with its run file where there is one."""
        self.folder.forget_ending(host)
        copies = (
            [part for model in self.plan.models for part in ("--copy", model)]
            if self.plan.copies_models
            else []
        )
        return self._job(host, copies, self._arguments(host))

    def _arguments(self, host: str) -> tuple[str, ...]:
        where = ("--output-dir", str(self.folder.path), "--name", host)
        file = self.folder.run_file(host)
        if not file.exists():
            share = self._share(host) if self.plan.mode == SPREAD else ()
            return (*self.plan.arguments, *where, *share)
        if self.plan.arguments[0] == "run":
            return ("run", "--resume", str(file), "--output-dir", str(self.folder.path))
        number = sum(1 for _ in self.folder.path.glob(f"{host}.cut*.run"))
        file.rename(file.with_name(f"{host}.cut{number + 1}.run"))  # what was measured is kept
        return (*self.plan.arguments, *where)

    def _share(self, host: str) -> tuple[str, ...]:
        hosts = [name for name in self.plan.hosts if name not in self.plan.skipped]
        return ("--share", f"{hosts.index(host) + 1}/{len(hosts)}")

    def _job(self, host: str, options: Sequence[str], arguments: Sequence[str]) -> HostJob:
        node = (sys.executable, "-m", "llmbench.fleet.node", "--fleet", str(self.folder.path), "--host", host)
        return HostJob(
            host=host,
            command=(*node, *options, "--", *arguments),
            log=self.folder.log(host),
            folder=Path.cwd(),
        )

    def _wait(
        self, hosts: Sequence[str], alive: Mapping[str, str], what: str, make: Callable[[str], HostJob]
    ) -> None:
        """Submit what does not live yet, and wait until each has left its file, is gone, or never began."""
        jobs = {host: alive.get(host) or self.executor.submit(make(host)) for host in hosts}
        self.plan = dataclasses.replace(self.plan, jobs={**self.plan.jobs, **jobs})
        self.folder.write_plan(self.plan)
        started = time.monotonic()
        gone_since: dict[str, float] = {}
        while jobs:
            statuses = self.executor.statuses(jobs.values())
            self._report(hosts, jobs, statuses, what)
            for host, job in list(jobs.items()):
                left = self.folder.read_probe(host) if what == _PROBE else self.folder.read_ending(host)
                since = (
                    gone_since.setdefault(host, time.monotonic())
                    if statuses[job].state is JobState.GONE
                    else None
                )
                if left is not None or self._is_given_up(host, statuses[job], started, since):
                    del jobs[host]
            if jobs:
                time.sleep(self.policy.poll_s)
        self._report(hosts, jobs, {}, what)

    def _is_given_up(self, host: str, status: JobStatus, started: float, gone_since: float | None) -> bool:
        """Whether a host is lost, or has not begun in time; the plan says why."""
        now, patience = time.monotonic(), self.policy.patience_s
        if gone_since is not None and now - gone_since > _GONE_S:
            self._skip(host, f"lost: {status.reason or 'the scheduler no longer knows its job'}")
            return True
        if status.state is JobState.WAITING and patience is not None and now - started > patience:
            self.executor.cancel([self.plan.jobs[host]])
            self._skip(host, f"did not begin within {patience:.0f} s ({status.reason})")
            return True
        return False

    def _skip(self, host: str, reason: str) -> None:
        self.plan = dataclasses.replace(self.plan, skipped={**self.plan.skipped, host: reason})
        self.folder.write_plan(self.plan)

    def _leave_out_unfit(self) -> None:
        """Refuse hosts that cannot measure the same; with skips_unfit leave them and unhealthy ones out."""
        probes = {host: p for host in self.plan.hosts if (p := self.folder.read_probe(host)) is not None}
        unfit = dict(_unfit(self.plan, list(probes.values())))
        if self.policy.skips_unfit:
            unhealthy = {host: "; ".join(probe.problems) for host, probe in probes.items() if probe.problems}
            unfit = unhealthy | unfit
        if unfit and not self.policy.skips_unfit:
            host, reason = next(iter(unfit.items()))
            more = f", and {len(unfit) - 1} more hosts do not fit" if len(unfit) > 1 else ""
            raise MachineError(
                f"host {host}: {reason}{more}", hint="fix it, or leave such hosts out: --skip-unfit"
            )
        for host, reason in unfit.items():
            self._skip(host, reason)
        if len(self.plan.skipped) == len(self.plan.hosts):
            reasons = "; ".join(f"{host}: {reason}" for host, reason in self.plan.skipped.items())
            raise MachineError(f"no host is left: {reasons}", hint=f"logs are in {self.folder.path}")

    def _report(
        self, hosts: Sequence[str], jobs: Mapping[str, str], statuses: Mapping[str, JobStatus], what: str
    ) -> None:
        self.on_progress([self._progress(host, statuses.get(jobs.get(host, "")), what) for host in hosts])

    def _progress(self, host: str, status: JobStatus | None, what: str) -> HostProgress:
        """Where a host is; *status* is ``None`` where nothing of it is waited for any more."""
        ending = self.folder.read_ending(host)
        reason = "" if ending is None or not ending.code else f"exit code {ending.code}"
        doing = "probed" if what == _PROBE else "done"
        if host in self.plan.skipped:
            doing, reason = "left out", self.plan.skipped[host]
        elif status is not None:
            doing = _DOING[status.state] or ("probing" if what == _PROBE else "measuring")
            reason = status.reason if status.state is JobState.WAITING else ""
        return HostProgress(host=host, doing=doing, measured=self.folder.measured(host), reason=reason)

    @contextlib.contextmanager
    def _cancelled_on_interrupt(self) -> Iterator[None]:
        """End the jobs where a person interrupts; a process that is killed leaves them running."""
        try:
            yield
        except BaseException as error:
            if not isinstance(error, Exception):
                self.executor.cancel(self.plan.jobs.values())
            raise


def _unfit(plan: FleetPlan, probes: Sequence[HostProbe]) -> Iterator[tuple[str, str]]:
    """Each host that cannot measure the same, with its first reason."""
    first = probes[0] if probes else None
    for probe in probes:
        if probe.version != plan.version:
            yield probe.host, f"has llmbench {probe.version}, this is {plan.version}"
        elif first is not None and probe.packages != first.packages:
            yield (
                probe.host,
                f"has other packages than {first.host}: {_differences(first.packages, probe.packages)}",
            )
        elif probe.refusal is not None:
            yield probe.host, probe.refusal
        elif plan.mode == SPREAD and first is not None and (differences := _other_kind(first, probe)):
            yield probe.host, f"is not of the kind of {first.host}: {differences}"


def _other_kind(one: HostProbe, other: HostProbe) -> str:
    kinds = [
        {name: value for name, value in probe.fingerprint.items() if name not in _MAY_DIFFER}
        for probe in (one, other)
    ]
    return _differences(*kinds)


def _differences(one: Mapping[str, str], other: Mapping[str, str]) -> str:
    names = [name for name in {**one, **other} if one.get(name) != other.get(name)]
    return ", ".join(f"{name} {other.get(name, 'n/a')}, not {one.get(name, 'n/a')}" for name in names)
