"""A real Slurm and a real Ray of two hosts each on this machine, without installing or being root for it.

Slurm comes from Debian's packages, unpacked in the cache folder: a controller and two daemons, each a host of its own
name; both hosts are this machine. Ray starts two nodes of one CPU each.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.waiting import wait_until

HOSTS = ("n1", "n2")
_PACKAGES = (
    "slurmctld",
    "slurmd",
    "slurm-client",
    "slurm-wlm-basic-plugins",
    "libmunge2",
    "libhwloc15",
    "libjwt0",
)
_LIBRARIES = "usr/lib/x86_64-linux-gnu"
_CONFIG = """\
ClusterName=f
SlurmctldHost={name}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
CredType=cred/none
PluginDir={root}/{libraries}/slurm-wlm
SlurmctldPort={ports[0]}
SlurmctldPidFile={folder}/controller.pid
SlurmdPidFile={folder}/%n.pid
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldLogFile={folder}/controller.log
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1,bf_interval=1
ReturnToService=2
SlurmdTimeout=10
KillWait=5
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SlurmdParameters=config_overrides
NodeName=n1 NodeHostname={name} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=1
NodeName=n2 NodeHostname={name} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=1
PartitionName=bench Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
"""


@dataclass(frozen=True, slots=True)
class Slurm:
    """A running cluster: the *variables* under which Slurm's commands find it, and each daemon by its host."""

    variables: Mapping[str, str]
    daemons: Mapping[str, subprocess.Popen[bytes]]

    def call(self, *command: str) -> str:
        """Call one of Slurm's commands and return what it prints."""
        done = subprocess.run(
            command, env={**os.environ, **self.variables}, capture_output=True, text=True, check=True
        )
        return done.stdout


def slurm_packages(cache: Path) -> Path:
    """Unpack Slurm's packages below *cache*, once, and return their root."""
    root = cache / "root"
    if not (root / "usr/sbin/slurmctld-wlm").exists():
        partial = cache / f"part{os.getpid()}"
        partial.mkdir(parents=True)
        subprocess.run(
            ["apt-get", "download", "-q", *_PACKAGES], cwd=partial, check=True, capture_output=True
        )
        for package in partial.glob("*.deb"):
            subprocess.run(["dpkg", "-x", package, partial / "root"], check=True)
        with contextlib.suppress(OSError):
            (partial / "root").rename(root)
        shutil.rmtree(partial)
    return root


@contextlib.contextmanager
def slurm(cache: Path, folder: Path) -> Iterator[Slurm]:
    """Start a controller and two hosts in *folder*; they end with the context."""
    root = slurm_packages(cache)
    for name in ("state", *(f"spool.{host}" for host in HOSTS)):
        (folder / name).mkdir(parents=True)
    config = folder / "slurm.conf"
    config.write_text(
        _CONFIG.format(
            name=socket.gethostname().partition(".")[0],
            user="root" if os.getuid() == 0 else os.environ.get("USER", "nobody"),
            root=root,
            libraries=_LIBRARIES,
            folder=folder,
            ports=_free_ports(3),
        )
    )
    variables = {
        "SLURM_CONF": str(config),
        "LD_LIBRARY_PATH": f"{root}/{_LIBRARIES}:{root}/{_LIBRARIES}/slurm-wlm",
        "PATH": f"{root}/usr/bin:{root}/usr/sbin:{os.environ['PATH']}",
    }
    started = [_start(variables, folder, "slurmctld-wlm", "-D", "-i")]
    daemons = {
        host: _start(
            variables, folder, "slurmd-wlm", "-D", "-N", host, "-d", f"{root}/usr/sbin/slurmstepd-wlm"
        )
        for host in HOSTS
    }
    made = Slurm(variables, daemons)
    try:
        wait_until(lambda: _is_idle(made), "the hosts of Slurm to come up")
        yield made
    finally:
        for process in (*daemons.values(), *started):
            process.kill()
            process.wait()


def _start(variables: Mapping[str, str], folder: Path, *command: str) -> subprocess.Popen[bytes]:
    with (folder / "output").open("ab") as output:
        return subprocess.Popen(command, env={**os.environ, **variables}, stdout=output, stderr=output)


def _is_idle(made: Slurm) -> bool:
    try:
        return made.call("sinfo", "-h", "-N", "-o", "%t").split() == ["idle"] * len(HOSTS)
    except subprocess.CalledProcessError:
        return False


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


_RAY = """\
import sys
from ray.cluster_utils import Cluster
cluster = Cluster()
nodes = {name: cluster.add_node(num_cpus=1, node_name=name) for name in sys.argv[1:]}
print(cluster.address, flush=True)
for line in sys.stdin:
    word, name = line.split()
    if word == "lose":
        cluster.remove_node(nodes.pop(name), allow_graceful=False)
    else:
        nodes[name] = cluster.add_node(num_cpus=1, node_name=name)
    print(word, name, flush=True)
cluster.shutdown()
"""


@dataclass(frozen=True, slots=True)
class Ray:
    """A running cluster: its *address*, and the process that has its nodes."""

    address: str
    process: subprocess.Popen[str]

    def lose(self, name: str) -> None:
        """Kill a node outright."""
        self._tell(f"lose {name}")

    def add(self, name: str) -> None:
        """Start a node."""
        self._tell(f"add {name}")

    def _tell(self, line: str) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(line, file=self.process.stdin, flush=True)
        assert line == self.process.stdout.readline().strip()


@contextlib.contextmanager
def ray_cluster() -> Iterator[Ray]:
    """Start a Ray of two nodes in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", _RAY, *HOSTS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield Ray(process.stdout.readline().strip(), process)
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait(timeout=60)
