import contextlib
import dataclasses
import functools
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from llmbench._version import __version__
from llmbench.cli.fleet import read_fleet
from llmbench.errors import ExitCode, MachineError
from llmbench.fleet.dispatch import EACH_HOST, SPREAD, Dispatch, FleetPolicy, HostProgress
from llmbench.fleet.executor import HostJob, JobState, JobStatus
from llmbench.fleet.folder import FleetFolder
from llmbench.schema.fleet import FleetPlan, HostProbe
from tests.waiting import PATIENCE_S

ARGUMENTS = (
    "run",
    "--engine",
    "scripted",
    "-m",
    "first=20ms,next=2ms,noise=1%",
    "-p",
    "x",
    "-ic",
    "4",
    "-n",
    "2",
)


class Processes:
    """A scheduler of this machine: each host is a process; those of *absent* hosts wait for ever."""

    def __init__(self, *names: str, absent: Sequence[str] = ()) -> None:
        self.names = names
        self.absent = absent
        self.started: dict[str, subprocess.Popen[bytes]] = {}
        self.submitted: list[str] = []

    def hosts(self) -> Sequence[str]:
        """The names given."""
        return self.names

    def submit(self, job: HostJob) -> str:
        """Start the command at once."""
        self.submitted.append(job.host)
        name = f"{job.host}/{len(self.submitted)}"
        if job.host not in self.absent:
            with job.log.open("ab") as log:
                self.started[name] = subprocess.Popen(job.command, stdout=log, stderr=log, cwd=job.folder)
        return name

    def statuses(self, jobs: Iterable[str]) -> Mapping[str, JobStatus]:
        """Waiting, running, or gone with the process."""
        return {job: JobStatus(state=self._state(job)) for job in jobs}

    def _state(self, job: str) -> JobState:
        if job.partition("/")[0] in self.absent:
            return JobState.WAITING
        is_alive = job in self.started and self.started[job].poll() is None
        return JobState.RUNNING if is_alive else JobState.GONE

    def cancel(self, jobs: Iterable[str]) -> None:
        """SIGTERM."""
        for job in jobs:
            if job in self.started and self.started[job].poll() is None:
                self.started[job].send_signal(signal.SIGTERM)

    def describe(self, job: HostJob) -> str:
        """Not needed here."""
        return " ".join(job.command)

    def close(self) -> None:
        """Wait for every process."""
        for process in self.started.values():
            process.wait(timeout=PATIENCE_S)


@pytest.fixture
def schedulers() -> Iterator[Callable[..., Processes]]:
    """Makes schedulers whose processes have ended when the test has."""
    with contextlib.ExitStack() as stack:

        def make(*names: str, **options: Sequence[str]) -> Processes:
            made = Processes(*names, **options)
            stack.callback(made.close)
            return made

        yield make


def _plan(*hosts: str, **changes: object) -> FleetPlan:
    plan = FleetPlan(
        id="f",
        version=__version__,
        started_at="2026-01-02T03:04:05+00:00",
        target="test",
        mode=EACH_HOST,
        arguments=ARGUMENTS,
        hosts=hosts,
    )
    return dataclasses.replace(plan, **changes)


def _dispatch(folder: Path, plan: FleetPlan, executor: Processes, **policy: object) -> Dispatch:
    heard: list[Sequence[HostProgress]] = []
    return Dispatch(
        plan=plan,
        folder=FleetFolder(folder),
        executor=executor,
        policy=FleetPolicy(poll_s=0.05, **policy),
        on_progress=heard.append,
    )


@pytest.mark.slow
def test_a_sweep_is_shared_out(schedulers: Callable[..., Processes], tmp_path: Path) -> None:
    """Three configurations on two hosts: one measures two of them, the other the third."""
    plan = _plan("a", "b", mode=SPREAD, arguments=(*ARGUMENTS[:-4], "-ic", "4,5,6", "-n", "2"))
    codes = _dispatch(tmp_path, plan, schedulers("a", "b")).run(can_rehearse=False)

    assert {"a": 0, "b": 0} == codes
    rows = {each.host: each.report.rows for each in read_fleet(FleetFolder(tmp_path)).hosts if each.report}
    assert {"a": [4, 6], "b": [5]} == {
        host: [row.output_tokens for row in found] for host, found in rows.items()
    }


@pytest.mark.slow
def test_a_host_that_never_begins_is_given_up(schedulers: Callable[..., Processes], tmp_path: Path) -> None:
    """With patience the other's figures come, and the report says why one has none."""
    executor = schedulers("a", "b", absent=("b",))
    codes = _dispatch(tmp_path, _plan("a", "b"), executor, patience_s=0.1).run(can_rehearse=True)

    assert {"a": 0, "b": None} == codes
    (alarm,) = read_fleet(FleetFolder(tmp_path)).alarms
    assert "b: nothing was measured (did not begin within 0 s" in alarm


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"version": "9.9"}, "has llmbench 9.9"),
        ({"packages": {"openvino": "1"}}, "has other packages than a: openvino 1, not 2"),
        ({"refusal": "there is no model at m"}, "there is no model at m"),
        ({"fingerprint": {"CPU": "another"}}, "is not of the kind of a: CPU another, not one"),
    ],
)
def test_a_host_that_does_not_fit_is_refused_before_anything_is_measured(
    schedulers: Callable[..., Processes], tmp_path: Path, change: dict[str, object], why: str
) -> None:
    """Version, packages, a rehearsal that fails, and for a shared sweep another machine; nothing is submitted."""
    folder = FleetFolder(tmp_path)
    probe = HostProbe(host="a", version=__version__, packages={"openvino": "2"}, fingerprint={"CPU": "one"})
    folder.write_probe(probe)
    folder.write_probe(dataclasses.replace(probe, host="b", **change))
    executor = schedulers("a", "b")
    plan = _plan("a", "b", mode=SPREAD)

    with pytest.raises(MachineError, match=why):
        _dispatch(tmp_path, plan, executor).run(can_rehearse=False)
    assert not executor.submitted


@pytest.mark.slow
def test_unfit_hosts_are_left_out_on_request(schedulers: Callable[..., Processes], tmp_path: Path) -> None:
    """The doctor's problems count as well then; the others measure."""
    folder = FleetFolder(tmp_path)
    probe = HostProbe(host="a", version=__version__, packages={}, fingerprint={})
    folder.write_probe(probe)
    folder.write_probe(dataclasses.replace(probe, host="b", problems=("frequency governor powersave",)))
    executor = schedulers("a", "b")
    codes = _dispatch(tmp_path, _plan("a", "b"), executor, skips_unfit=True).run(can_rehearse=False)

    assert {"a": 0} == codes
    assert ["a"] == executor.submitted
    assert ("frequency governor powersave",) == read_fleet(folder).hosts[1].problems


@pytest.mark.slow
def test_a_copied_model_is_kept_by_its_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two copies of the same files are one; other files are another."""
    from llmbench.fleet import node

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name, content in (("one", "x"), ("two", "x"), ("three", "y")):
        (tmp_path / name / "ir").mkdir(parents=True)
        (tmp_path / name / "ir" / "openvino_model.xml").write_text(content)
    copies = [node.copy_model(tmp_path / name / "ir") for name in ("one", "two", "three")]

    assert copies[0] == copies[1] != copies[2]
    assert "x" == (copies[0] / "openvino_model.xml").read_text()


def test_a_command_has_nothing_of_the_scheduler_around_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray sets thread variables in its workers, which would change what is measured."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("RAY_ADDRESS", "x")
    names = "import os; print([name for name in os.environ if name[:4] in ('RAY_', 'OMP_')])"
    code = (
        "import sys; from llmbench.fleet import node; "
        "node._run([sys.executable, '-c', sys.argv[1]], with_parent=False)"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, names],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )

    assert "[]" == out.stdout.strip()


def test_the_exit_code_of_a_child_that_a_signal_ended_is_a_shell_s(tmp_path: Path) -> None:
    """128 and the signal's number, as everywhere."""
    run = functools.partial(subprocess.run, capture_output=True, check=False, cwd=tmp_path)
    code = (
        "import sys; from llmbench.fleet import node; "
        "sys.exit(node._run(['sh', '-c', 'kill -TERM $$'], with_parent=False))"
    )

    assert ExitCode.TERMINATED == run([sys.executable, "-c", code]).returncode
