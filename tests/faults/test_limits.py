"""Limits of a container, a priority or a want of memory that slow a process while its figures look fine."""

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmbench.analysis import caveats, validity
from llmbench.analysis.comparison import differences
from llmbench.errors import InputError
from llmbench.machine import checks
from llmbench.machine.checks import Survey
from llmbench.machine.interference import Probe
from llmbench.machine.limits import read_resource_limits
from llmbench.runner import limits, resume
from llmbench.schema.config import INTERFERENCE_LIMIT, Prompt, RunConfig
from llmbench.schema.limits import ResourceLimits
from llmbench.schema.measurement import Conditions
from llmbench.schema.run import Cpu
from llmbench.schema.run import Run as WholeRun
from llmbench.store import reader
from tests import builders, machines
from tests.outcome import assert_measured
from tests.waiting import wait_until

from .conftest import SCRIPTED, remove_group

Run = Callable[..., subprocess.CompletedProcess[str]]

row_41 = pytest.mark.fault(
    41, "a CPU quota or other bandwidth control throttles the run (container, Kubernetes limit)"
)

CONFIG = RunConfig(model="m", prompts=(Prompt(set="s", index=0, text="x"),), output_tokens=2)
QUIET = Conditions(wall_s=1.0, cpus=2, worker_s=1.0, interference_s=0.0)
GROUPS = Path("/sys/fs/cgroup")


def _reasons(conditions: Conditions) -> tuple[str, ...]:
    return validity.reasons(builders.request_of([1, 2], conditions=conditions), CONFIG, ())


@row_41
def test_row_41_a_throttled_run_is_invalid_and_names_the_quota(llmbench: Run, tmp_path: Path) -> None:
    """A quota of 0.7 CPUs that stops each request for 30 % of its time: INVALID, exit 5, and why; in the CSV too."""
    throttled = ("run", "-m", "first=1s,next=1ms,throttled=30%", *SCRIPTED, "-n", "2", "-ic", "4")
    done = llmbench(*throttled, "--name", "x")

    assert done.returncode == 5
    assert "INVALID" in done.stdout
    reported = "the container's CPU limit stopped this process for 30% of the time (quota 0.7 CPUs)"
    assert reported in " ".join(done.stdout.split())
    assert reported in llmbench("report", "csv", "reports/x.jsonl").stdout


@row_41
@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"throttled_s": 0.01, "cpu_quota": 0.6}, None),  # 1 % of the time: the limit itself
        ({"throttled_s": 0.6, "cpu_quota": 0.6, "worker_s": 0.4}, "for 60% of the time (quota 0.6 CPUs)"),
        ({"throttled_s": 1.4, "cpu_quota": 0.6, "worker_s": 0.6}, "for 70% of the time (quota 0.6 CPUs)"),
        ({"throttled_s": 0.02, "cpu_quota": None}, "stopped this process for 2% of the time; limit 1%"),
        ({"memory_stall_s": 0.01}, None),
        ({"memory_stall_s": 0.2}, "processes waited for memory for 20% of the time; limit 1%"),
        ({"memory_stall_s": 0.2, "memory_limit_hits": 7}, "(memory limit met 7 times)"),
        ({"memory_limit_hits": 7}, None),
        ({"major_faults": 12}, None),  # 2, and 10 per second of one second
        ({"major_faults": 13}, "memory was read from disk or swap 13 times; limit 10 per second, and 2"),
        ({"stops": 2}, "the process was stopped by a signal 2 times"),
        ({"stops": 0}, None),
        ({"frozen_s": 0.7}, "the control group was frozen for 0.7 s, as by docker pause"),
        ({"frozen_s": 0.0}, None),
        ({"outside_s": 9.0}, None),
        ({"throttled_s": None, "memory_stall_s": None, "major_faults": None}, None),
    ],
)
def test_row_41_limits_judge_by_covariates_fixed_in_advance(
    *, fields: dict[str, float | None], reason: str | None
) -> None:
    """Beyond the limit one reason, at the limit none; what the kernel does not report is no reason."""
    found = _reasons(dataclasses.replace(QUIET, **fields))

    assert (0 if reason is None else 1) == len(found)
    assert reason is None or reason in found[0]


@row_41
@given(wall_s=st.floats(0.01, 100), cpus=st.integers(1, 64), share=st.floats(0, 1), busy=st.floats(0, 1))
def test_row_41_any_throttling_beyond_the_limit_is_seen(
    wall_s: float, cpus: int, share: float, busy: float
) -> None:
    """Whatever the length, the number of CPUs and the load: invalid above 1 % of the time, and a share up to 100 %."""
    stopped_s = share * wall_s * cpus
    c = dataclasses.replace(
        QUIET, wall_s=wall_s, cpus=cpus, worker_s=busy * (wall_s * cpus - stopped_s), throttled_s=stopped_s
    )
    found = [reason for reason in _reasons(c) if "CPU limit" in reason]

    assert (stopped_s > 0.01 * wall_s) == bool(found)
    assert 0 <= validity.stopped_share(c) <= 1 + 1e-9


@row_41
@pytest.mark.parametrize(
    ("found", "threads", "cpus", "parts"),
    [
        (ResourceLimits(cpu_quota=0.6), None, 2, ("0.6 CPUs", "one thread per CPU (2)", "--cpuset-cpus=0")),
        (ResourceLimits(cpu_quota=2.5), None, 8, ("2.5 CPUs", "one thread per CPU (8)", "add --threads 2")),
        (ResourceLimits(cpu_quota=2.5), 2, 8, ()),
        (ResourceLimits(cpu_quota=8.0), None, 8, ()),
        (ResourceLimits(), None, 8, ()),
        (ResourceLimits(nice=10), None, 8, ("nice 10", "other processes come first")),
        (ResourceLimits(policy="SCHED_IDLE"), 1, 8, ("SCHED_IDLE",)),
        (ResourceLimits(io_class="idle"), 1, 8, ("disk class idle",)),
        (ResourceLimits(tracer="strace"), 1, 8, ("strace traces this process", "start it without")),
        (ResourceLimits(nice=-5), None, 8, ()),
    ],
)
def test_row_41_limits_are_warned_of_before_loading(
    found: ResourceLimits, threads: int | None, cpus: int, *, parts: tuple[str, ...]
) -> None:
    """One line with the limit and what to type; none where the limit is not reached."""
    warnings = list(limits.limit_warnings(dataclasses.replace(CONFIG, threads=threads), found, cpus))

    assert bool(parts) == len(warnings)
    assert all(part in warnings[0] for part in parts)


def _limited(run: WholeRun, found: ResourceLimits | None) -> WholeRun:
    return dataclasses.replace(run, environment=dataclasses.replace(run.environment, limits=found))


@row_41
@pytest.mark.parametrize(
    ("base", "candidate", "expected"),
    [
        (ResourceLimits(), ResourceLimits(cpu_quota=0.6), [("CPU quota", "none", "0.6 CPUs")]),
        (ResourceLimits(cpu_quota=0.6), ResourceLimits(cpu_quota=0.6), []),
        (ResourceLimits(nice=5), ResourceLimits(), [("priority", "nice 5", "none")]),
        (ResourceLimits(), ResourceLimits(io_class="idle"), [("priority", "none", "disk class idle")]),
        (ResourceLimits(tracer="gdb"), ResourceLimits(), [("tracer", "gdb", "none")]),
        (ResourceLimits(memory_bytes=1 << 30), ResourceLimits(), [("memory limit", "1.0 GiB", "none")]),
        (None, ResourceLimits(cpu_quota=0.6), [("CPU quota", "not recorded", "0.6 CPUs")]),
        (None, ResourceLimits(), []),
        (None, None, []),
    ],
)
def test_row_41_a_comparison_names_limits_that_differ(
    story_of: Callable[..., WholeRun],
    *,
    base: ResourceLimits | None,
    candidate: ResourceLimits | None,
    expected: list[tuple[str, str, str]],
) -> None:
    """Also against a run of a version that recorded no limits, where the other side has one."""
    run = story_of()
    found = differences.changes(_limited(run, base), _limited(run, candidate))

    assert expected == [(each.name, each.base, each.candidate) for each in found]


@row_41
@pytest.mark.parametrize(
    ("base", "candidate", "expected"),
    [
        ({"turbo": "on"}, {"turbo": "off"}, [("turbo", "on", "off")]),
        ({"swappiness": "60", "turbo": "on"}, {"swappiness": "60"}, []),  # one side does not report it
        ({}, {"turbo": "on"}, []),  # a file of a version without settings
    ],
)
def test_row_41_a_comparison_names_settings_of_the_machine_that_differ(
    story_of: Callable[..., WholeRun],
    *,
    base: dict[str, str],
    candidate: dict[str, str],
    expected: list[tuple[str, str, str]],
) -> None:
    """Those that both sides recorded; a run is not resumed under others."""
    run = story_of()
    sides = [
        dataclasses.replace(run, environment=dataclasses.replace(run.environment, settings=settings))
        for settings in (base, candidate)
    ]

    assert expected == [(each.name, each.base, each.candidate) for each in differences.changes(*sides)]


@row_41
def test_row_41_a_comparison_names_other_cpus_though_as_many(story_of: Callable[..., WholeRun]) -> None:
    """CPU 0 against CPU 1: one of two each, yet another core, or socket, or kind of core."""
    run = story_of()
    sides = [
        dataclasses.replace(
            run,
            environment=dataclasses.replace(
                run.environment, topology=dataclasses.replace(run.environment.topology, allowed=(cpu,))
            ),
        )
        for cpu in (0, 1)
    ]
    of = len(run.environment.topology.cpus)

    assert [("CPUs", f"0 of {of}", f"1 of {of}")] == [
        (each.name, each.base, each.candidate) for each in differences.changes(*sides)
    ]


@row_41
def test_row_41_work_on_other_cpus_is_named(story_of: Callable[..., WholeRun]) -> None:
    """Two of 16 CPUs for 1 s, the 14 others 7 s: half of their time; they share the memory bandwidth."""
    run = story_of()
    cpus = tuple(Cpu(number=n, socket=0, core=n) for n in range(16))
    busy = builders.request_of([1, 2], conditions=dataclasses.replace(QUIET, outside_s=7.0))
    launches = (dataclasses.replace(run.launches[0], measurements=(busy,)),)
    topology = dataclasses.replace(run.environment.topology, cpus=cpus)
    found = dataclasses.replace(
        run, launches=launches, environment=dataclasses.replace(run.environment, topology=topology)
    )

    assert "launch 1: the CPUs that it may not use were busy for 50% of the time" in " ".join(
        caveats.of_run(found)
    )
    assert "may not use" not in " ".join(caveats.of_run(run))


@row_41
def test_row_41_work_on_the_same_cores_is_interference(tmp_path: Path) -> None:
    """CPU 2 is the second thread of CPU 0's core: 3 s there slow it; CPU 1's 4 s are outside."""
    siblings = {f"sys/devices/system/cpu/cpu{n}/topology/thread_siblings_list": "0,2\n" for n in (0, 2)}
    zero = "".join(f"cpu{n} 0 0 0 0\n" for n in range(3))
    probe = Probe.start([0], machines.write(tmp_path, {**siblings, "proc/stat": zero}))
    hertz = os.sysconf("SC_CLK_TCK")
    machines.write(tmp_path, {"proc/stat": f"cpu0 0 0 0 0\ncpu1 {4 * hertz} 0 0 0\ncpu2 {3 * hertz} 0 0 0\n"})
    found = probe.stop()

    assert pytest.approx(3.0) == found.interference_s + found.worker_s
    assert pytest.approx(4.0) == found.outside_s
    assert 1 == found.cpus


@row_41
def test_row_41_a_report_names_limits(story_of: Callable[..., WholeRun]) -> None:
    """A note each: a quota below the CPUs, a low weight, a cap, a low priority; nothing without limits."""
    tight = ResourceLimits(cpu_quota=0.6, cpu_weight=0.1, performance_cap=0.4, nice=10)
    reported = set(caveats.of_run(_limited(story_of(), tight))) - set(caveats.of_run(story_of()))

    assert {
        "CPU quota of 0.6 CPUs",
        "CPU weight 0.1 of the default",
        "performance cap of 40%",
        "priority nice 10",
    } == {note.partition(":")[0].partition(" on ")[0].partition(" (")[0] for note in reported}
    assert set(caveats.of_run(story_of())) == set(caveats.of_run(_limited(story_of(), ResourceLimits())))


@contextlib.contextmanager
def _group(controller: str, *settings: tuple[str, str, str]) -> Iterator[Path]:
    """A control group of this machine; each setting has the file and value of version 1, and of version 2."""
    is_old = (GROUPS / controller).is_dir()
    folder = (GROUPS / controller if is_old else GROUPS) / f"llmbench-{uuid.uuid4()}"
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    try:
        for old, new in settings:
            name, _, value = (old if is_old else new).partition("=")
            (folder / name).write_text(value)
        yield folder
    except OSError as error:
        pytest.skip(f"the control group cannot be limited: {error}")
    finally:
        remove_group(folder)


def _inside(group: Path, *command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A command in a control group."""
    enter = 'echo $$ > "$0/cgroup.procs" && exec "$@"'
    return subprocess.run(
        ["sh", "-c", enter, str(group), *command],
        check=False,
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "200"},
        timeout=300,
    )


FIRST = ("cpu.shares=262144", "cpu.weight=10000")
"""Gets its CPU time whoever else wants some: on a busy machine a group could not use up its quota."""
QUOTA = ("cpu.cfs_quota_us=30000", "cpu.max=30000 100000")
SMALL_QUOTA = ("cpu.cfs_quota_us=10000", "cpu.max=10000 100000")
"""0.3 and 0.1 CPUs: less than a busy machine leaves to anyone."""

_BUSY = """
import hashlib, json, msgspec, os, sys, threading, time
from llmbench.machine.interference import Probe
from llmbench.machine.limits import read_resource_limits
open(sys.argv[1] + "/cgroup.procs", "w").write(str(os.getpid()))  # imports are quick outside
def burn():
    while time.process_time() < end: hashlib.sha256(bytes(1 << 20)).digest()
end = time.process_time() + 0.2
probe = Probe.start()
threads = [threading.Thread(target=burn) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(json.dumps([read_resource_limits().cpu_quota, msgspec.to_builtins(probe.stop())]))
"""


@row_41
@pytest.mark.parametrize("is_nested", [False, True])
def test_row_41_a_real_quota_is_counted(tmp_path: Path, *, is_nested: bool) -> None:
    """Four busy threads under 0.1 CPUs are stopped in most periods, also where the quota is that of a group around."""
    with _group("cpu", SMALL_QUOTA, FIRST) as group, contextlib.ExitStack() as undo:
        inner = group / "inner" if is_nested else group
        if is_nested:
            inner.mkdir()
            undo.callback(remove_group, inner)
        done = subprocess.run(
            [sys.executable, "-c", _BUSY, str(inner)],
            check=True,
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
    quota, conditions = json.loads(done.stdout)
    c = Conditions(**{**conditions, "changes": ()})

    assert pytest.approx(0.1) == quota == c.cpu_quota
    assert c.throttled_periods is not None
    assert c.throttled_periods >= 1
    assert any("(quota 0.1 CPUs)" in reason for reason in _reasons(c))


@row_41
def test_row_41_a_run_is_not_resumed_under_another_quota(story_of: Callable[..., WholeRun]) -> None:
    """Its launches could not be pooled; where no limits were recorded, or only memory differs, it goes on."""
    run = story_of()
    now = read_resource_limits()
    with pytest.raises(InputError, match=r"the CPU quota \(0\.05 CPUs then, .* now\)"):
        resume.check_same(_limited(run, dataclasses.replace(now, cpu_quota=0.05)), (run.provenance,))
    for same in (None, dataclasses.replace(now, memory_bytes=1 << 20)):
        with pytest.raises(InputError) as error:  # it was made on another machine
            resume.check_same(_limited(run, same), (run.provenance,))
        assert "quota" not in str(error.value)
        assert "memory limit" not in str(error.value)


@row_41
@pytest.mark.slow
def test_row_41_threads_and_warnings_under_a_real_quota(tmp_path: Path) -> None:
    """``--threads 1`` is refused with 4 under 0.3 CPUs; without it one line before loading, and a header."""
    run = (sys.executable, "-m", "llmbench", "run", "-m", "first=20ms,next=10ms", *SCRIPTED, "-n", "1")
    with _group("cpu", QUOTA, FIRST) as group:
        refused = _inside(group, *run, "--threads", "1", cwd=tmp_path)
        warned = _inside(group, *run, cwd=tmp_path)

    assert refused.returncode == 4
    assert "1 thread was requested, and the CPU quota of this container is 0.3 CPUs" in refused.stderr
    assert warned.returncode == 0, warned.stderr
    assert "warning: the CPU quota of this container is 0.3 CPUs" in warned.stderr
    assert "CPU quota 0.3 CPUs" in warned.stdout


@row_41
@pytest.mark.model
def test_row_41_a_real_model_under_a_real_quota(llmbench_workers: Run, demo_ir: Path, tmp_path: Path) -> None:
    """Two threads under 0.3 CPUs: INVALID with the quota; ``compare`` names it as what changed."""
    run = ("run", "-m", str(demo_ir), "-n", "2", "-ic", "16", "--foreign-cpu-limit", "1", "--name")
    assert_measured(llmbench_workers(*run, "free"))
    with _group("cpu", QUOTA, FIRST) as group:
        done = _inside(group, sys.executable, "-m", "llmbench", *run, "quota", cwd=tmp_path)
    measured = reader.read_run(tmp_path / "reports/quota.jsonl")

    assert done.returncode == 5, done.stderr
    assert "the container's CPU limit stopped this process for" in " ".join(done.stdout.split())
    assert measured.environment.limits is not None
    assert pytest.approx(0.3) == measured.environment.limits.cpu_quota
    compared = llmbench_workers("report", "compare", "reports/free.jsonl", "reports/quota.jsonl")
    assert "changed: CPU quota: none -> 0.3 CPUs" in compared.stdout


_FAULTS = """
import json, mmap, sys
from llmbench.machine.interference import Probe
import msgspec
with open(sys.argv[1], "rb") as file:
    pages = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    probe = Probe.start()
    for _ in range(2): sum(pages[at] for at in range(0, len(pages), 4096))
    print(json.dumps(msgspec.to_builtins(probe.stop())))
"""


@row_41
@pytest.mark.slow
def test_row_41_weights_that_do_not_fit_a_real_memory_limit(tmp_path: Path) -> None:
    """192 MiB of a mapped file in a group of 96 MiB are read from the disk again and again: no request counts."""
    weights = tmp_path / "weights.bin"
    weights.write_bytes(os.urandom(1 << 20) * 192)
    with _group("memory", ("memory.limit_in_bytes=100663296", "memory.max=100663296")) as group:
        with weights.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        done = _inside(group, sys.executable, "-c", _FAULTS, str(weights), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    c = Conditions(**{**json.loads(done.stdout), "changes": ()})

    assert c.memory_limit_hits
    assert {"processes waited for memory", "memory was read from disk"} & {
        " ".join(reason.split()[:n]) for reason in _reasons(c) for n in (4, 5)
    }


_OTHER_THREAD = """
import threading
other = threading.Thread(target=threading.Event().wait, daemon=True)
other.start()
"""
_CHANGES = """
import os, sys
from llmbench.machine.interference import Probe
expected = Probe.start().settings
exec(sys.argv[1])
probe = Probe.start()
print(*probe.stop(expected).changes, sep="\\n")
"""


@row_41
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("os.setpriority(os.PRIO_PROCESS, 0, 5)", "the priority changed from none to nice 5"),
        (
            "os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))",
            "the priority changed from none to SCHED_IDLE",
        ),
        (
            _OTHER_THREAD + "os.setpriority(os.PRIO_PROCESS, other.native_id, 7)",
            "the priority of its threads changed from none to nice 7, none",
        ),
        (
            "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})",
            "the list of CPUs that this process may use changed from",
        ),
        ("pass", ""),
    ],
)
def test_row_41_settings_that_change_between_requests_are_seen(change: str, reason: str) -> None:
    """A narrower cpuset, a lower priority: the requests after it do not count."""
    if "affinity" in change and len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one CPU cannot be narrowed")
    done = subprocess.run(
        [sys.executable, "-c", _CHANGES, change], check=True, capture_output=True, text=True
    )

    assert reason in done.stdout
    assert bool(reason) == bool(done.stdout.strip())


@row_41
def test_row_41_a_launch_expects_the_settings_of_its_beginning() -> None:
    """A change between two requests makes the later ones invalid, though nothing changed during any of them."""
    probe = Probe.start()
    before = {**probe.settings, "control group": "/elsewhere"}
    found = probe.stop(before)

    assert (
        f"the control group changed from /elsewhere to {probe.settings['control group']}",
    ) == found.changes
    assert found.changes == _reasons(dataclasses.replace(QUIET, changes=found.changes))


@row_41
def test_row_41_a_change_that_is_undone_during_a_request_is_seen() -> None:
    """OpenVINO sets the CPUs of its threads back after inference, whoever had changed them before it."""
    expected = Probe.start().settings
    found = dataclasses.replace(Probe.start(), settings={**expected, "CPU quota": "1.5 CPUs"}).stop(expected)

    assert ("the CPU quota changed from none to 1.5 CPUs",) == found.changes


@row_41
def test_row_41_a_traced_process_does_not_count(tmp_path: Path) -> None:
    """A debugger stops it at will, from the beginning of a launch too, where nothing changes later."""
    files = {"proc/stat": "", "proc/self/status": "TracerPid:\t7\n", "proc/7/comm": "gdb\n"}
    probe = Probe.start([0], machines.write(tmp_path, files))

    assert (
        ("gdb traced this process (ptrace)",)
        == probe.stop().changes
        == probe.stop({"tracer": "none"}).changes
    )


_STOPPED = """
import time
from llmbench.machine.interference import Probe, count_stops
count_stops()
probe = Probe.start()
for wanted in range(3):
    while (stops := probe.stop().stops) < wanted: time.sleep(0.001)
    print(stops, flush=True)
"""


@row_41
def test_row_41_a_process_stopped_by_a_signal_is_seen() -> None:
    """SIGSTOP and SIGCONT, as ``cpulimit`` sends them: no counter of the kernel has them, a handler of ours does."""
    with subprocess.Popen([sys.executable, "-c", _STOPPED], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "0\n"
        for stops in (1, 2):
            process.send_signal(signal.SIGSTOP)
            wait_until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED, "a stop")
            process.send_signal(signal.SIGCONT)
            assert process.stdout.readline() == f"{stops}\n"


@row_41
@pytest.mark.parametrize(
    ("found", "pressure", "check"),
    [
        (ResourceLimits(cpu_quota=0.6), {}, "quota"),
        (ResourceLimits(nice=1), {}, "priority"),
        (ResourceLimits(autogroup_nice=1), {}, "priority"),
        (ResourceLimits(policy="SCHED_BATCH"), {}, "priority"),
        (ResourceLimits(cpu_weight=0.5), {}, "cpu-weight"),
        (ResourceLimits(cpu_weight=0.0), {}, "cpu-weight"),
        (ResourceLimits(performance_cap=0.4), {}, "performance-cap"),
        (ResourceLimits(memory_bytes=1 << 20), {}, "memory-limit"),
        (ResourceLimits(), {"memory": 0.02}, "memory-pressure"),
        (ResourceLimits(), {"io": 0.02}, "io-pressure"),
        (ResourceLimits(), {"memory": 0.01, "io": 0.01, "cpu": 1.0}, ""),
        (ResourceLimits(cpu_weight=1.0, performance_cap=1.0, nice=-5), {}, ""),
    ],
)
def test_row_41_doctor_names_each_limit_with_a_remedy(
    tmp_path: Path, *, found: ResourceLimits, pressure: dict[str, float], check: str
) -> None:
    """One limit, one finding more, with something to type."""
    seen = Survey.take(machines.lay_out("one_socket", tmp_path))

    def findings(limits: ResourceLimits, waits: dict[str, float]) -> dict[str, str | None]:
        environment = dataclasses.replace(seen.environment, limits=limits, pressure=waits)
        survey = dataclasses.replace(seen, environment=environment)
        return {finding.check: finding.remedy for finding in checks.find_problems(survey)}

    named = findings(found, pressure)
    assert named.keys() - findings(ResourceLimits(), {}).keys() == ({check} if check else set())
    assert not check or named[check]


@row_41
def test_row_41_the_page_of_limits_has_those_of_the_code() -> None:
    """``docs/validity.md`` would otherwise promise what is not done."""
    page = (Path(__file__).parents[2] / "docs/validity.md").read_text(encoding="utf-8")
    faults = f"{validity.MAJOR_FAULTS_PER_S} per second, and {validity.MAJOR_FAULTS_ALLOWED}"

    assert page.count(f"| {validity.STOPPED_LIMIT * 100:.0f} % of the time") == 2
    assert f"| {faults} |" in page
    assert f"| {INTERFERENCE_LIMIT * 100:.0f} % of the CPUs" in page
