from collections.abc import Callable
from pathlib import Path

import pytest

from llmbench.errors import InputError, MachineError
from llmbench.machine import topology
from llmbench.schema.run import Cpu
from llmbench.schema.units import format_list
from tests import machines

Machine = Callable[[str], Path]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Lay out a machine by its name, and give its root folder."""
    return lambda name: machines.lay_out(name, tmp_path)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("0", (0,)),
        ("0,2-3", (0, 2, 3)),
        ("0-3\n", (0, 1, 2, 3)),
        ("0-1,104-105", (0, 1, 104, 105)),
        (" 5 , 1 ", (1, 5)),
        ("3,3,2-3", (2, 3)),
        ("", ()),
        ("\n", ()),
    ],
)
def test_a_list_is_read_in_every_form_the_kernel_writes(text: str, numbers: tuple[int, ...]) -> None:
    """Single numbers, ranges, repeated ones, and the empty list of a node without CPUs."""
    assert numbers == topology.parse_list(text)


@pytest.mark.parametrize("text", ["a", "0-", "-1", "3-1", "0;2", "0x3", "1.5", "0-99999999999", "²"])
def test_what_is_no_list_is_refused(text: str) -> None:
    """A bad list is the user's to correct: exit 2, with the form that is expected."""
    with pytest.raises(InputError) as caught:
        topology.parse_list(text)

    assert "like 0-27" in str(caught.value.hint) or "like 0,2-3" in str(caught.value.hint)


@pytest.mark.parametrize("text", ["", "0", "0-1", "0,2-3", "0-51,104-155"])
def test_a_list_is_written_as_the_kernel_writes_it(text: str) -> None:
    """What is read and written again is the same text."""
    assert text == format_list(topology.parse_list(text))


@pytest.mark.parametrize(
    ("name", "cpus_and_cores", "sockets", "nodes"),
    [
        ("one_socket", (8, 4), 1, 1),
        ("offline", (7, 4), 1, 1),
        ("two_sockets", (208, 104), 2, 2),
        ("memory_only", (208, 104), 2, 2),
        ("snc2", (240, 120), 2, 4),
        ("snc4", (224, 112), 2, 8),
        ("four_sockets", (224, 112), 4, 4),
        ("epyc_nps1", (384, 192), 2, 2),
        ("epyc_nps4", (256, 128), 2, 8),
        ("hybrid", (22, 16), 1, 1),
        ("container", (128, 128), 2, 8),
        ("interleaved", (64, 32), 4, 1),
        ("lxc", (12, 12), 2, 2),
        ("bare", (4, 4), 1, 0),
    ],
)
def test_each_machine_has_the_counts_of_its_listing(  # noqa: PLR0917  one argument a column
    machine: Machine, name: str, cpus_and_cores: tuple[int, int], sockets: int, nodes: int
) -> None:
    """CPUs, cores, sockets and nodes with CPUs, as lscpu or the processor's name says."""
    found = topology.read_topology(machine(name) / "sys", allowed=())

    assert cpus_and_cores == (len(found.cpus), found.cores)
    assert tuple(range(sockets)) == found.sockets
    assert nodes == len(found.nodes)


def test_second_thread_shares_core_socket_and_node(machine: Machine) -> None:
    """CPU 104 is the second thread of CPU 0, and CPU 156 that of CPU 52 on the other socket."""
    found = topology.read_topology(machine("two_sockets") / "sys", allowed=(0,))
    by_number = {cpu.number: cpu for cpu in found.cpus}

    assert Cpu(number=104, socket=0, core=0, node=0) == by_number[104]
    assert Cpu(number=156, socket=1, core=52, node=1) == by_number[156]
    assert (0,) == found.allowed


def test_sub_numa_clusters_stay_inside_their_socket(machine: Machine) -> None:
    """With clustering in four, socket 1 has the nodes 4 to 7."""
    found = topology.read_topology(machine("snc4") / "sys", allowed=())

    assert {4, 5, 6, 7} == {cpu.node for cpu in found.cpus if cpu.socket == 1}


def test_threads_of_one_core_need_not_be_neighbours(machine: Machine) -> None:
    """On the hybrid machine CPUs 0 and 5 are one core, 12 to 21 are cores of one thread."""
    found = topology.read_topology(machine("hybrid") / "sys", allowed=())
    cores: dict[int, list[int]] = {}
    for cpu in found.cpus:
        cores.setdefault(cpu.core, []).append(cpu.number)

    assert [0, 5] == cores[0]
    assert [1, 2] == cores[1]
    assert [21] == cores[21]


def test_offline_cpu_is_not_there(machine: Machine) -> None:
    """An offline CPU keeps its folder but is no CPU, and its sibling's core stays."""
    found = topology.read_topology(machine("offline") / "sys", allowed=range(8))

    assert (0, 1, 2, 3, 5, 6, 7) == found.allowed
    assert [0] == [cpu.number for cpu in found.cpus if cpu.core == 0]


def test_cpu_numbers_that_go_round_the_sockets(machine: Machine) -> None:
    """Socket 1 of the interleaved machine has 1, 5, 9 …; its node is offline, so they have none."""
    found = topology.read_topology(machine("interleaved") / "sys", allowed=())
    second = [cpu for cpu in found.cpus if cpu.socket == 1]

    assert [1, 5, 9] == [cpu.number for cpu in second][:3]
    assert {None} == {cpu.node for cpu in second}


def test_sockets_are_numbered_without_gaps(tmp_path: Path) -> None:
    """Hardware numbers 0 and 36 (seen on Arm servers) are sockets 0 and 1; -1 (unknown) is one socket."""
    for cpu, package in enumerate((36, 0)):
        folder = tmp_path / f"devices/system/cpu/cpu{cpu}/topology"
        folder.mkdir(parents=True)
        (folder / "physical_package_id").write_text(f"{package}\n")
    (tmp_path / "devices/system/cpu/online").write_text("0-1\n")

    assert [1, 0] == [cpu.socket for cpu in topology.read_topology(tmp_path).cpus]


def test_unknown_socket_is_socket_0(tmp_path: Path) -> None:
    """Some virtual machines write -1 for the package of every CPU."""
    for cpu in range(2):
        folder = tmp_path / f"devices/system/cpu/cpu{cpu}/topology"
        folder.mkdir(parents=True)
        (folder / "physical_package_id").write_text("-1\n")

    assert (0,) == topology.read_topology(tmp_path).sockets


def test_a_core_goes_by_a_cpu_that_is_shown(tmp_path: Path) -> None:
    """A container that shows CPU 4 of the pair 0,4 has core 4, not one named after a CPU it does not have."""
    machines.write(
        tmp_path,
        {
            "devices/system/cpu/online": "4\n",
            "devices/system/cpu/cpu4/topology/core_cpus_list": "0,4\n",
        },
    )

    assert [4] == [cpu.core for cpu in topology.read_topology(tmp_path).cpus]


def test_no_cpu_at_all_is_an_error(tmp_path: Path) -> None:
    """Without /sys there is nothing to say, and the hint says where to look."""
    with pytest.raises(MachineError) as caught:
        topology.read_topology(tmp_path)

    assert "is /sys mounted" in str(caught.value.hint)


def test_memory_only_nodes_are_nodes_without_cpus(machine: Machine) -> None:
    """Two CXL expanders are nodes 2 and 3: memory and distances, no CPU."""
    nodes = topology.read_nodes(machine("memory_only") / "sys")

    assert [104, 104, 0, 0] == [len(node.cpus) for node in nodes]
    assert 131072 << 20 == nodes[3].memory_bytes
    assert (24, 14, 26, 10) == nodes[3].distances


def test_l3_domains_of_many_chiplets(machine: Machine) -> None:
    """Two EPYC 9654 have 24 L3 caches of 32 MiB, each of eight cores and their second threads."""
    caches = topology.read_caches(machine("epyc_nps1") / "sys")

    assert 24 == len(caches)
    assert (0, 1, 2, 3, 4, 5, 6, 7, 192, 193, 194, 195, 196, 197, 198, 199) == caches[0].cpus
    assert (3, "Unified", 32 << 20) == (caches[0].level, caches[0].kind, caches[0].size_bytes)


def test_caches_are_told_apart_by_level_and_sharers(machine: Machine) -> None:
    """The hybrid machine has nine L2 caches and one L3, which two low-power cores do not reach."""
    caches = topology.read_caches(machine("hybrid") / "sys")

    assert [2] * 9 + [3] == [cache.level for cache in caches]
    assert tuple(range(20)) == caches[-1].cpus


def test_no_caches_and_nodes_where_the_kernel_tells_none(machine: Machine) -> None:
    """A sandboxed kernel shows neither; that is no error."""
    root = machine("bare") / "sys"

    assert () == topology.read_caches(root)
    assert () == topology.read_nodes(root)


def test_this_machine_allows_what_its_scheduler_allows() -> None:
    """By default the allowed CPUs are this process's affinity."""
    found = topology.read_topology()

    assert found.allowed
    assert set(found.allowed) <= {cpu.number for cpu in found.cpus}
