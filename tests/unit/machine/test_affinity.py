import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from llmbench.errors import InputError, MachineError
from llmbench.machine import topology
from llmbench.machine.affinity import AffinityRequest, Binding, MemoryNodes, bind
from llmbench.schema.run import Topology
from tests import machines

Seen = tuple[Topology, MemoryNodes]
See = Callable[..., Seen]


@pytest.fixture
def see(tmp_path: Path) -> See:
    """A machine by its name, all of it allowed and with numactl, unless told otherwise."""

    def look(
        name: str, *, cpus: str | None = None, mems: str | None = None, numactl: str | None = "numactl"
    ) -> Seen:
        root = machines.lay_out(name, tmp_path)
        allowed = topology.parse_list(cpus) if cpus is not None else range(1024)
        seen = topology.read_topology(root / "sys", allowed)
        nodes = topology.read_nodes(root / "sys")
        usable = topology.parse_list(mems) if mems is not None else tuple(node.number for node in nodes)
        return seen, MemoryNodes(nodes=nodes, allowed=usable, numactl=numactl)

    return look


def test_one_socket_takes_its_cpus_and_its_memory(see: See) -> None:
    """Socket 1 of two is CPUs 52-103 and their second threads; its memory is node 1."""
    found = bind(AffinityRequest(sockets=(1,)), *see("two_sockets"))

    assert ("numactl", "--physcpubind=52-103,156-207", "--membind=1", "--") == found.prefix
    assert (1,) == found.nodes
    assert 104 == len(found.cpus)
    assert () == found.warnings


def test_both_sockets_keep_off_memory_that_no_socket_is_near(see: See) -> None:
    """CXL memory is a node without CPUs: a run on both sockets is held to the sockets' own."""
    found = bind(AffinityRequest(sockets=(0, 1)), *see("memory_only"))

    assert ("numactl", "--physcpubind=0-207", "--membind=0-1", "--") == found.prefix


def test_a_clustered_socket_has_several_nodes(see: See) -> None:
    """With sub-NUMA clustering in two, socket 1 is nodes 2 and 3."""
    assert (2, 3) == bind(AffinityRequest(sockets=(1,)), *see("snc2")).nodes


def test_one_node_of_a_clustered_socket(see: See) -> None:
    """A node is narrower than its socket: node 5 is CPUs 70-83 and their second threads."""
    found = bind(AffinityRequest(nodes=(5,)), *see("snc4"))

    assert ("numactl", "--physcpubind=70-83,182-195", "--membind=5", "--") == found.prefix


def test_cpus_bind_memory_to_the_nodes_they_are_on(see: See) -> None:
    """CPUs 0 to 3 sit on node 0."""
    found = bind(AffinityRequest(cpus=(3, 0, 1, 2)), *see("epyc_nps4"))

    assert ((0, 1, 2, 3), (0,)) == (found.cpus, found.nodes)


def test_nothing_asked_is_nothing_done(see: See) -> None:
    """A run that asks for no place has no prefix and no warning."""
    assert Binding() == bind(AffinityRequest(), *see("two_sockets"))


def test_one_node_needs_no_binding(see: See) -> None:
    """On a machine of one node memory has one place to be; there is nothing to warn of."""
    found = bind(AffinityRequest(sockets=(0,)), *see("one_socket"))

    assert ("numactl", "--physcpubind=0-7", "--") == found.prefix
    assert () == found.warnings


def test_without_numactl_affinity_holds_the_threads_and_the_memory_is_warned_of(see: See) -> None:
    """Half of the placement is done, and the other half is said."""
    found = bind(AffinityRequest(sockets=(0,)), *see("two_sockets", numactl=None))

    assert sys.executable == found.prefix[0]
    assert () == found.nodes
    assert "memory is not bound to node 0: numactl is not installed" in found.warnings[0]


def test_memory_that_the_cpuset_forbids_is_warned_of(see: See) -> None:
    """A process that may take memory from node 0 only cannot have node 1's."""
    found = bind(AffinityRequest(sockets=(1,)), *see("two_sockets", mems="0"))

    assert ("numactl", "--physcpubind=52-103,156-207", "--") == found.prefix
    assert ("memory is not bound to node 1: this process may take memory from node 0 only",) == found.warnings


def test_a_node_without_memory_is_warned_of(see: See) -> None:
    """A socket without a module in its slots has a node of 0 bytes; its threads still run there."""
    seen, memory = see("two_sockets")
    nodes = (memory.nodes[0], replace(memory.nodes[1], memory_bytes=0))
    found = bind(AffinityRequest(sockets=(1,)), seen, replace(memory, nodes=nodes))

    assert ("memory is not bound to node 1: node 1 has no memory",) == found.warnings


def test_cpus_without_a_node_are_warned_of(see: See) -> None:
    """Where the kernel shows other nodes but not that of these CPUs, memory cannot be bound to it."""
    seen, memory = see("two_sockets")
    homeless = replace(seen, cpus=tuple(replace(cpu, node=None) for cpu in seen.cpus))

    assert "does not report which node" in bind(AffinityRequest(sockets=(1,)), homeless, memory).warnings[0]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (AffinityRequest(sockets=(0, 1)), "socket 1 was requested; this machine has 1 (0)"),
        (AffinityRequest(nodes=(3,)), "NUMA node with CPUs 3 was requested; this machine has 1 (0)"),
        (AffinityRequest(cpus=(7, 8)), "cores 7-8 were requested; this machine does not have online 8"),
        (AffinityRequest(membind=(1,)), "NUMA node 1 was requested; this machine has 1 (0)"),
    ],
)
def test_more_than_there_is_is_refused(see: See, asked: AffinityRequest, message: str) -> None:
    """Less than was asked is never measured in its place: exit 4 with both numbers."""
    with pytest.raises(MachineError) as caught:
        bind(asked, *see("one_socket"))

    assert message == caught.value.message


def test_a_cpuset_that_cuts_a_socket_in_half_is_refused(see: See) -> None:
    """A job of 32 cores on a socket of 64 is not the socket."""
    with pytest.raises(MachineError, match="socket 0 has 64 cores, and this process may use 32") as caught:
        bind(AffinityRequest(sockets=(0,)), *see("container", cpus="0-31"))

    assert "0-31" in str(caught.value.hint)


def test_one_thread_of_every_core_is_the_whole_socket(see: See) -> None:
    """A cpuset without second threads has every core, and that is what was asked."""
    found = bind(AffinityRequest(sockets=(0,)), *see("two_sockets", cpus="0-103"))

    assert tuple(range(52)) == found.cpus


def test_a_cpu_beyond_the_cpuset_is_refused(see: See) -> None:
    """A CPU that exists but is not ours is told apart from one that does not exist."""
    with pytest.raises(MachineError, match="this process may not use 32"):
        bind(AffinityRequest(cpus=(31, 32)), *see("container", cpus="0-31"))


@pytest.mark.parametrize(
    ("asked", "options", "message"),
    [
        (
            AffinityRequest(membind=(1,)),
            {"mems": "0"},
            "memory on node 1 was requested; this process may use node 0",
        ),
        (AffinityRequest(interleave=(0, 1)), {"mems": "0"}, "memory on node 1 was requested"),
        (AffinityRequest(membind=(0,)), {"numactl": None}, "cannot be bound without numactl"),
    ],
)
def test_memory_that_was_asked_for_is_never_left_unbound_in_silence(
    see: See, asked: AffinityRequest, options: dict[str, str | None], message: str
) -> None:
    """An explicit binding is done or refused: exit 4."""
    with pytest.raises(MachineError, match=message):
        bind(asked, *see("two_sockets", **options))


def test_memory_on_a_node_without_any_is_refused(see: See) -> None:
    """A node of 0 bytes holds nothing."""
    seen, memory = see("two_sockets")
    nodes = (memory.nodes[0], replace(memory.nodes[1], memory_bytes=0))

    with pytest.raises(MachineError, match="node 1 was requested; it has none"):
        bind(AffinityRequest(membind=(1,)), seen, replace(memory, nodes=nodes))


def test_memory_alone_can_be_interleaved(see: See) -> None:
    """Interleaving without a socket leaves the threads where they are."""
    found = bind(AffinityRequest(interleave=(0, 1)), *see("two_sockets"))

    assert ("numactl", "--interleave=0-1", "--") == found.prefix
    assert () == found.cpus


@pytest.mark.parametrize(
    "fields",
    [
        {"sockets": (0,), "cpus": (1,)},
        {"sockets": (0,), "nodes": (0,)},
        {"membind": (0,), "interleave": (0,)},
    ],
)
def test_what_contradicts_itself_is_a_usage_error(fields: dict[str, tuple[int, ...]]) -> None:
    """Two ways to say where at once: exit 2, not a guess."""
    with pytest.raises(InputError):
        AffinityRequest(**fields)


@pytest.mark.parametrize("numactl", [None, "as installed"])
def test_the_prefix_really_holds_a_process(numactl: str | None) -> None:
    """The command behind the prefix sees one CPU, by numactl where there is one, and by affinity."""
    memory = MemoryNodes.read()
    if numactl is None:
        memory = replace(memory, numactl=None)
    elif memory.numactl is None:
        pytest.skip("numactl is not installed")
    seen = topology.read_topology()
    found = bind(AffinityRequest(cpus=(seen.allowed[-1],)), seen, memory)
    report = [sys.executable, "-c", "import os; print(os.getpid(), *os.sched_getaffinity(0))"]
    with subprocess.Popen([*found.prefix, *report], stdout=subprocess.PIPE, text=True) as process:
        reported = process.communicate()[0].split()

    assert [str(process.pid), str(seen.allowed[-1])] == reported
    assert set(seen.allowed) == os.sched_getaffinity(0)


def test_this_process_may_take_memory_from_some_node() -> None:
    """Every Linux process has at least one allowed node."""
    assert MemoryNodes.read().allowed


def test_allowed_memory_is_read_from_the_status_file(tmp_path: Path) -> None:
    """The container's job may use nodes 0 and 1 of eight."""
    found = MemoryNodes.read(machines.lay_out("container", tmp_path))

    assert (0, 1) == found.allowed
    assert 8 == len(found.nodes)
