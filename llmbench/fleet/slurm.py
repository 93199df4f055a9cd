"""Slurm, by its own commands: one exclusive job per host, observed with squeue.

No accounting database is needed, which Debian's Slurm does not have: how a command ended is in the file that it leaves,
and squeue shows only whether a job still runs.
"""

import shlex
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence

from llmbench.errors import InputError, MachineError
from llmbench.fleet.executor import FleetTarget, HostJob, JobState, JobStatus

GRACE_S = 60
"""Seconds before the time limit at which a job gets SIGTERM, to end its run in order."""

_USABLE = ("idle", "mixed", "allocated", "completing", "reserved", "planned")
_STATES = {
    "PENDING": JobState.WAITING,
    "CONFIGURING": JobState.WAITING,
    "RUNNING": JobState.RUNNING,
    "COMPLETING": JobState.RUNNING,
    "SUSPENDED": JobState.RUNNING,
}


class SlurmExecutor:
    """A Slurm cluster, as the commands on this machine reach it."""

    def __init__(self, target: FleetTarget) -> None:
        missing = [name for name in ("sinfo", "sbatch", "squeue", "scancel") if not shutil.which(name)]
        if missing:
            raise MachineError(
                f"--on slurm: {', '.join(missing)} not found",
                hint="call it on a login host of the Slurm cluster",
            )
        self._options = dict(target.options)
        self._nodes = int(self._options.pop("nodes", 0))

    def hosts(self) -> Sequence[str]:
        """Return the hosts that are up, idle ones first; raise InputError where there are fewer than requested."""
        wanted = [f"--nodes={self._options['nodelist']}"] if "nodelist" in self._options else []
        wanted += [f"--partition={self._options['partition']}"] if "partition" in self._options else []
        listed = [
            line.split("|") for line in _output("sinfo", "-h", "-N", "-o", "%N|%T", *wanted).splitlines()
        ]
        states = {host: state for host, state in listed if state.rstrip("~#!%$@^-") in _USABLE}
        usable = sorted(states, key=lambda host: (not states[host].startswith("idle"), host))
        if len(usable) < max(1, self._nodes):
            found = ", ".join(f"{host} {state}" for host, state in dict(listed).items()) or "none"
            raise InputError(
                f"--on slurm: {self._nodes or 1} hosts were requested, {len(usable)} can be used",
                hint=f"sinfo shows: {found}",
            )
        return sorted(usable[: self._nodes or None])

    def submit(self, job: HostJob) -> str:
        """Queue a job with sbatch and return its number."""
        return _output(*self._sbatch(job), script=_script(job)).strip().partition(";")[0]

    def statuses(self, jobs: Iterable[str]) -> Mapping[str, JobStatus]:
        """Return the state of each job; Slurm forgets those that ended minutes ago."""
        known = {}
        for line in _output("squeue", "-h", "-t", "all", "-o", "%i|%T|%r").splitlines():
            number, state, reason = line.split("|", 2)
            why = state.lower() if reason == "None" else f"{state.lower()}, {reason}"
            known[number] = JobStatus(state=_STATES.get(state, JobState.GONE), reason=why)
        return {job: known.get(job, JobStatus(state=JobState.GONE)) for job in jobs}

    def cancel(self, jobs: Iterable[str]) -> None:
        """Cancel jobs: Slurm sends SIGTERM, and SIGKILL after its own delay."""
        if numbers := list(jobs):
            _output("scancel", *numbers)

    def describe(self, job: HostJob) -> str:
        """Return the command line and the script."""
        return f"{shlex.join(self._sbatch(job))} <<'END'\n{_script(job)}END"

    def _sbatch(self, job: HostJob) -> list[str]:
        options = {name: value for name, value in self._options.items() if name != "nodelist"}
        return [
            "sbatch",
            "--parsable",
            f"--job-name=llmbench-{job.host}",
            f"--nodelist={job.host}",
            "--nodes=1",
            "--exclusive",
            "--no-requeue",
            f"--signal=B:TERM@{GRACE_S}",
            f"--chdir={job.folder}",
            f"--output={job.log}",
            "--open-mode=append",
            *(f"--{name}={value}" for name, value in options.items()),
        ]


def _script(job: HostJob) -> str:
    return f"#!/bin/sh\nexec {shlex.join(job.command)}\n"


def _output(*command: str, script: str | None = None) -> str:
    done = subprocess.run(command, input=script, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise MachineError(
            f"{command[0]} failed: {lines[-1] if lines else f'exit code {done.returncode}'}",
            hint="scontrol ping and sinfo show the state of the cluster",
        )
    return done.stdout
