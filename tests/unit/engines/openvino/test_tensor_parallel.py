import json
import subprocess
import sys

import pytest

from llmbench.engines.openvino import tensor_parallel
from llmbench.engines.openvino.device import check_device
from llmbench.errors import InputError
from llmbench.machine import topology
from llmbench.schema.run import Split
from tests import two_sockets

PROGRAM = """
import dataclasses, json, sys
from llmbench.engines.openvino import tensor_parallel
print(json.dumps(dataclasses.asdict(tensor_parallel.probe_split(json.loads(sys.argv[1])))))
"""


def _split_on_two_sockets(properties: dict[str, str | int]) -> Split:
    """What the policy does on the emulated pair."""
    reason = two_sockets.unavailable()
    if reason:
        pytest.skip(reason)
    command = two_sockets.command(sys.executable, "-c", PROGRAM, json.dumps(properties))
    return Split(**json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))


def test_the_policy_splits_over_two_sockets() -> None:
    """One part a socket; twice the threads, because each of these sockets has fewer than 32."""
    seen = _split_on_two_sockets({})

    assert seen.is_effective
    assert 2 == seen.parts
    assert 2 * seen.without == seen.with_policy


@pytest.mark.parametrize("properties", [{"NUM_STREAMS": 2}, {"PERFORMANCE_HINT": "THROUGHPUT"}])
def test_several_streams_are_not_split(properties: dict[str, str | int]) -> None:
    """The engine splits the work of one stream; with more of them the policy does nothing."""
    assert not _split_on_two_sockets(properties).is_effective


def test_threads_that_were_asked_for_do_not_hide_a_split() -> None:
    """With a number of threads given, both counts are the same or stranger; the parts still tell."""
    assert 2 == _split_on_two_sockets({"INFERENCE_NUM_THREADS": 2}).parts


def test_one_socket_splits_nothing() -> None:
    """Here, whatever the number of cores, the policy changes nothing."""
    if len(topology.read_topology().sockets) > 1:
        pytest.skip("this machine has more than one socket")
    seen = tensor_parallel.probe_split()

    assert not seen.is_effective
    assert seen.without == seen.with_policy


def test_properties_of_the_core_are_no_devices() -> None:
    """Reading weights into memory instead of mapping them is taken; a value it cannot have is still refused."""
    check_device("CPU", {"ENABLE_MMAP": "NO", "PERF_COUNT": True})

    with pytest.raises(InputError, match="ENABLE_MMAP does not take 'maybe'"):
        check_device("CPU", {"ENABLE_MMAP": "maybe"})


def test_large_sockets_split_though_they_use_fewer_threads() -> None:
    """Two sockets of 96 cores: 96 threads on one without the policy, 32 on each with it."""
    assert Split(without=96, with_policy=64, parts=2).is_effective
