import json
import subprocess
import sys

import pytest

from tests import two_sockets

THREADS_IN_FORCE = """
import json, sys
sys.modules["openvino_telemetry"] = None
import numpy, openvino
from openvino import opset13

rows = opset13.parameter([-1, 64], numpy.float32)
product = opset13.matmul(rows, opset13.constant(numpy.ones((64, 64), numpy.float32)), False, False)
model, core = openvino.Model([product], [rows]), openvino.Core()


def threads(**policy):
    properties = {"PERFORMANCE_HINT": "LATENCY", **policy}
    return core.compile_model(model, "CPU", properties).get_property("INFERENCE_NUM_THREADS")


print(json.dumps([threads(), threads(MODEL_DISTRIBUTION_POLICY="TENSOR_PARALLEL")]))
"""
TOPOLOGY = """
import json
from llmbench.machine import topology

seen = topology.read_topology()
nodes = topology.read_nodes()
print(json.dumps([[c.socket for c in seen.cpus], [c.node for c in seen.cpus], [n.distances for n in nodes]]))
"""


def _run(*command: str) -> object:
    """What a command prints as JSON."""
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def _sockets() -> None:
    """Skip, with the kernel's reason, where sockets cannot be emulated."""
    reason = two_sockets.unavailable()
    if reason:
        pytest.skip(reason)


@pytest.mark.usefixtures("_sockets")
def test_half_of_the_cores_are_each_socket() -> None:
    """Inside, the machine has two sockets of one node each, 21 apart."""
    sockets, nodes, distances = _run(*two_sockets.command(sys.executable, "-c", TOPOLOGY))  # type: ignore[misc]

    assert {0, 1} == set(sockets)
    assert sockets == nodes
    assert [[10, 21], [21, 10]] == distances


@pytest.mark.usefixtures("_sockets")
def test_the_engine_splits_on_two_sockets_only_with_the_policy() -> None:
    """A model of one product: the threads of one socket without the policy, of both with it."""
    alone, split = _run(*two_sockets.command(sys.executable, "-c", THREADS_IN_FORCE))  # type: ignore[misc]

    assert 2 * alone == split


def test_outside_the_engine_uses_the_same_threads_either_way() -> None:
    """The control: on the machine as it is (one socket) the policy is accepted and changes nothing."""
    sockets, _, _ = _run(sys.executable, "-c", TOPOLOGY)  # type: ignore[misc]
    if len(set(sockets)) > 1:
        pytest.skip("this machine has more than one socket")
    alone, split = _run(sys.executable, "-c", THREADS_IN_FORCE)  # type: ignore[misc]

    assert alone == split


@pytest.mark.usefixtures("_sockets")
def test_nothing_of_it_stays() -> None:
    """The machine outside is what it was: the namespace and its files went with the command."""
    before = _run(sys.executable, "-c", TOPOLOGY)
    subprocess.run(two_sockets.command("true"), check=True)

    assert before == _run(sys.executable, "-c", TOPOLOGY)
    assert not list(two_sockets.NODES.glob("replacement*"))


def test_why_it_cannot_be_done_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that forbids namespaces: the last line says so, without a traceback."""
    monkeypatch.setattr(two_sockets, "__file__", "/nonexistent/two_sockets.py")

    assert "No such file" in (two_sockets.unavailable() or "")
