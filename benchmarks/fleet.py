"""What the report of a large fleet costs: ``python benchmarks/fleet.py [HOSTS]``.

Writes a run file of 5 launches and a probe for each of so many hosts, and prints wall time and peak memory of
``llmbench report fleet``. Aims for 1,000 hosts: below 10 s and 1 GB.
"""

import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from big_files import write

from llmbench._version import __version__
from llmbench.fleet.folder import FleetFolder
from llmbench.schema.fleet import FleetPlan, HostProbe, JobEnding

REQUESTS = 100
"""5 launches, 10 prompts, 2 iterations."""


def main() -> None:
    """Write a fleet and print what its report costs."""
    hosts = tuple(f"n{index}" for index in range(int(sys.argv[1]) if len(sys.argv) > 1 else 1000))
    source = random.Random(1)  # noqa: S311  a simulation, not a secret
    with tempfile.TemporaryDirectory() as name:
        folder = FleetFolder(Path(name))
        started = "2026-01-02T03:04:00+00:00"
        folder.write_plan(
            FleetPlan(
                id="f",
                version=__version__,
                started_at=started,
                target="slurm",
                mode="each-host",
                arguments=("run",),
                hosts=hosts,
            )
        )
        for index, host in enumerate(hosts):
            write(folder.run_file(host), index, REQUESTS)
            kind = {"CPU": "one", "microcode": source.choice(("0x1", "0x1", "0x2"))}
            folder.write_probe(HostProbe(host=host, version=__version__, packages={}, fingerprint=kind))
            folder.write_ending(host, JobEnding(code=0, ended_at=started))
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "llmbench", "report", "fleet", name], stdout=subprocess.DEVNULL
        )
        _, _, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        size = sum(path.stat().st_size for path in Path(name).iterdir())
        print(
            f"{len(hosts)} hosts, {len(hosts) * REQUESTS} requests, {size / 1e6:.0f} MB: "
            f"{wall:.1f} s wall, {used.ru_utime + used.ru_stime:.1f} s CPU, {used.ru_maxrss / 1024:.0f} MiB"
        )


if __name__ == "__main__":
    main()
