"""Ray, by its own interface: one task per node that takes all its CPUs and starts the command outside Ray's worker."""

import socket
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from llmbench.errors import InputError, MachineError, cause_of
from llmbench.files.package_data import install_command
from llmbench.fleet.executor import FleetTarget, HostJob, JobState, JobStatus

_PATIENCE_S = 10.0


def start_command(command: Sequence[str], log: str, folder: str) -> int:
    """Run a command to its end in a process of its own, its output appended to *log*; return its exit code."""
    with open(log, "ab") as file:  # noqa: PTH123  a task's arguments are text
        return subprocess.run(
            command, cwd=folder, stdout=file, stderr=subprocess.STDOUT, check=False
        ).returncode


def check_address(address: str) -> None:
    """Raise MachineError where nothing listens: Ray itself would try for minutes, and print its own log."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE_S).close()
    except (OSError, OverflowError) as error:
        raise MachineError(
            f"--on ray:{address}: nothing responds there ({cause_of(error)})",
            hint="ray status shows the cluster",
        ) from error


class RayExecutor:
    """A Ray cluster at an address; its tasks end with this process."""

    def __init__(self, target: FleetTarget) -> None:
        try:
            import ray
            from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
        except ImportError as error:
            raise MachineError(
                "--on ray needs the package ray (not installed)", hint=install_command("ray")
            ) from error
        check_address(target.address)
        self._ray = ray
        self._affinity: Any = NodeAffinitySchedulingStrategy
        try:
            ray.init(address=target.address, log_to_driver=False, logging_level="ERROR")
        except (ConnectionError, ValueError, RuntimeError) as error:
            lines = str(error).splitlines()[0]
            raise MachineError(
                f"--on ray:{target.address}: {lines}", hint="ray status shows the cluster"
            ) from error
        self._tasks: dict[str, Any] = {}
        self._logs: dict[str, HostJob] = {}

    def hosts(self) -> Sequence[str]:
        """Return the names of the nodes that live and have CPUs."""
        return sorted(self._nodes())

    def _nodes(self) -> dict[str, Mapping[str, Any]]:
        found: dict[str, Mapping[str, Any]] = {}
        for node in self._ray.nodes():
            if node["Alive"] and node["Resources"].get("CPU"):
                name = node.get("NodeName") or node["NodeManagerHostname"]
                found[name if name not in found else f"{name}-{node['NodeID'][:6]}"] = node
        if not found:
            raise InputError("the Ray cluster has no node with CPUs", hint="ray status shows the cluster")
        return found

    def submit(self, job: HostJob) -> str:
        """Queue a task that takes all CPUs of its node; return its name."""
        node = self._nodes().get(job.host)
        if node is None:
            raise MachineError(f"node {job.host} left the Ray cluster", hint="ray status shows the cluster")
        remote = self._ray.remote(start_command).options(
            num_cpus=node["Resources"]["CPU"],
            max_retries=0,
            scheduling_strategy=self._affinity(node_id=node["NodeID"], soft=False),
        )
        task = remote.remote(
            (*job.command[:3], "--with-parent", *job.command[3:]), str(job.log), str(job.folder)
        )
        self._tasks[task.hex()] = task
        return str(task.hex())

    def statuses(self, jobs: Iterable[str]) -> Mapping[str, JobStatus]:
        """Return the state of each task; one of an earlier process is gone with it."""
        return {job: self._status(job) for job in jobs}

    def _status(self, job: str) -> JobStatus:
        task = self._tasks.get(job)
        if task is None:
            return JobStatus(state=JobState.GONE)
        if not self._ray.wait([task], timeout=0)[0]:
            return JobStatus(state=JobState.RUNNING)
        try:
            self._ray.get(task)
        except self._ray.exceptions.RayError as error:
            return JobStatus(state=JobState.GONE, reason=str(error).splitlines()[0].partition(". ")[0])
        return JobStatus(state=JobState.GONE)

    def cancel(self, jobs: Iterable[str]) -> None:
        """Cancel the tasks of this process, and what they started."""
        for job in jobs:
            if job in self._tasks:
                self._ray.cancel(self._tasks[job], force=True)

    def describe(self, job: HostJob) -> str:
        """Return the task as text."""
        return f"task on node {job.host} with all its CPUs: {' '.join(job.command)}"
