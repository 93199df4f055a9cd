import dataclasses
from pathlib import Path

import pytest

from llmbench.machine import bandwidth, environment
from llmbench.machine.bandwidth import Bandwidth
from llmbench.machine.topology import Cache
from llmbench.schema.run import Cpu, Environment, MemoryRate, Topology
from tests import machines

TWO = Topology(
    cpus=tuple(Cpu(number=n, socket=n // 2, core=n, node=0) for n in range(4)), allowed=(0, 1, 2, 3)
)
HERE = Environment(
    cpu_model="Example CPU 9000",
    topology=TWO,
    memory_bytes=24 << 30,
    kernel="6.1.0",
    versions={},
    variables={},
)


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def measured(**rates: float) -> dict[str, Bandwidth]:
    """What the doctor measured; ``s0`` is socket 0."""
    return {
        name.removeprefix("s"): Bandwidth(bytes_per_s=rate, cpus=(0,), array_bytes=1, is_beyond_caches=True)
        for name, rate in rates.items()
    }


def kept() -> MemoryRate | None:
    """What is kept of this machine."""
    return bandwidth.load_bandwidth(
        bandwidth.bandwidth_file(HERE.cpu_model, HERE.topology, HERE.memory_bytes)
    )


def test_what_was_measured_is_kept_with_its_day() -> None:
    """The whole machine and each socket come back from the file."""
    bandwidth.keep_bandwidth(
        HERE, measured(all=200e9, s0=120e9, s1=110e9), measured_at="2026-01-02", is_quiet=True
    )

    assert kept() == MemoryRate(measured_at="2026-01-02", bytes_per_s=200e9, sockets={0: 120e9, 1: 110e9})


@pytest.mark.parametrize(
    ("rate", "is_quiet", "left"),
    [(100e9, False, 200e9), (210e9, False, 210e9), (100e9, True, 100e9)],
)
def test_a_busy_machine_replaces_only_a_lower_rate(rate: float, left: float, *, is_quiet: bool) -> None:
    """Beside neighbours 100 GB/s say nothing against 200; on a quiet machine they are the newer truth."""
    bandwidth.keep_bandwidth(HERE, measured(all=200e9), measured_at="2026-01-02", is_quiet=True)
    bandwidth.keep_bandwidth(HERE, measured(all=rate), measured_at="2026-02-03", is_quiet=is_quiet)
    found = kept()

    assert found is not None
    assert left == found.bytes_per_s


def test_another_machine_knows_nothing_of_it() -> None:
    """Another CPU, fewer of them, more memory: another file; a few megabytes that a kernel takes: the same."""
    here = bandwidth.bandwidth_file(HERE.cpu_model, TWO, 24 << 30)
    others = {
        bandwidth.bandwidth_file("Other CPU", TWO, 24 << 30),
        bandwidth.bandwidth_file(HERE.cpu_model, dataclasses.replace(TWO, allowed=(0, 1)), 24 << 30),
        bandwidth.bandwidth_file(HERE.cpu_model, TWO, 48 << 30),
    }

    assert here not in others
    assert len(others) == 3
    assert here == bandwidth.bandwidth_file(HERE.cpu_model, TWO, (24 << 30) - (5 << 20))


@pytest.mark.parametrize(
    "text", ["", "[]", '{"measured_at": "x", "bytes_per_s": 0}', '{"measured_at": "x", "bytes_per_s": -1.0}']
)
def test_a_file_that_cannot_be_is_nothing(tmp_path: Path, text: str) -> None:
    """A torn or an edited file is as good as none."""
    (tmp_path / "x.json").write_text(text)

    assert bandwidth.load_bandwidth(tmp_path / "x.json") is None


def test_a_folder_that_cannot_be_written_keeps_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The doctor goes on: a file stands where the folder should be."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))

    assert bandwidth.keep_bandwidth(HERE, measured(all=1e9), measured_at="2026-01-02", is_quiet=True) is None


def test_each_socket_has_its_last_caches() -> None:
    """Two L3 of 32 on socket 0, one of 16 on socket 1; neither L2 nor what only a CPU out of reach has."""
    topology = dataclasses.replace(TWO, allowed=(0, 1, 2))
    caches = (
        Cache(level=2, kind="Unified", size_bytes=7, cpus=(0,)),
        Cache(level=3, kind="Unified", size_bytes=32, cpus=(0,)),
        Cache(level=3, kind="Unified", size_bytes=32, cpus=(1,)),
        Cache(level=3, kind="Unified", size_bytes=16, cpus=(2,)),
        Cache(level=3, kind="Unified", size_bytes=64, cpus=(3,)),
    )

    assert {0: 64, 1: 16} == bandwidth.last_caches(topology, caches)
    assert {} == bandwidth.last_caches(topology, ())


def test_a_run_reads_what_is_kept_of_its_machine(tmp_path: Path) -> None:
    """The environment of a captured machine has the rate that was kept of it, and none of any other."""
    root = machines.lay_out("two_sockets", tmp_path)
    here = environment.capture(root)
    bandwidth.keep_bandwidth(here, measured(all=300e9), measured_at="2026-01-02", is_quiet=True)
    found = environment.capture(root).memory_rate

    assert here.memory_rate is None
    assert found is not None
    assert 300e9 == found.bytes_per_s
    assert environment.capture().memory_rate is None
