import os

import pytest

from llmbench.errors import MachineError
from llmbench.machine.affinity import Binding
from llmbench.runner import pinning
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.run import Cpu, Pinning, Topology

POLICY = {"MODEL_DISTRIBUTION_POLICY": "TENSOR_PARALLEL"}
TWO = Topology(cpus=tuple(Cpu(number=n, socket=n // 4, core=n) for n in range(8)), allowed=tuple(range(8)))


def _config(**fields: object) -> RunConfig:
    values: dict[str, object] = {"model": "m", "prompts": (Prompt(set="s", index=0, tokens=8),)}
    return RunConfig(**(values | fields))  # type: ignore[arg-type]


@pytest.mark.parametrize("device", ["GPU", "GPU.1", "AUTO:GPU,CPU", "NPU"])
def test_the_policy_needs_sockets(device: str) -> None:
    """Only the CPU has any; elsewhere it is one line and exit 4, before anything is loaded."""
    with pytest.raises(MachineError, match=f"splits over CPU sockets; it was requested with -d {device}"):
        pinning.find_placement(_config(device=device, properties=POLICY))


def test_here_every_cpu_is_the_place_unless_asked() -> None:
    """Nothing asked, nothing held."""
    found = pinning.find_placement(_config())

    assert () == found.binding.prefix
    assert tuple(sorted(os.sched_getaffinity(0))) == found.cpus


def test_a_socket_too_many_is_refused() -> None:
    """More sockets than there are: exit 4, with what there is."""
    with pytest.raises(MachineError, match="socket 64 was requested; this machine has"):
        pinning.find_placement(_config(sockets=(64,)))


@pytest.mark.parametrize(
    ("asked", "got", "output"),
    [
        (Binding(cpus=(0, 1)), Pinning(cpus=(0,)), "requested CPUs 0-1, got 0"),
        (Binding(cpus=(0, 1)), Pinning(cpus=(0, 1, 2)), "requested CPUs 0-1, got 0-2"),
        (Binding(memory="bind:1"), Pinning(memory="default"), "requested memory bind:1, got default"),
        (Binding(memory="bind:1"), Pinning(memory="bind:1-2"), "requested memory bind:1, got bind:1-2"),
    ],
)
def test_asked_and_got_are_compared(asked: Binding, got: Pinning, output: str) -> None:
    """A worker that was not put where it was asked to be refuses to measure."""
    with pytest.raises(MachineError, match=output):
        pinning.check_pinning(asked, got)


def test_a_worker_in_its_place_is_fine() -> None:
    """The same CPUs and memory; or a kernel that does not tell its policy."""
    pinning.check_pinning(Binding(cpus=(1,), memory="bind:0"), Pinning(cpus=(1,), memory="bind:0"))
    pinning.check_pinning(Binding(memory="bind:0"), Pinning(memory=None))
    pinning.check_pinning(Binding(memory="bind:0"), Pinning(memory="bind=static:0"))
    pinning.check_pinning(Binding(), Pinning(cpus=(3,)))


def test_threads_of_one_socket_where_two_were_asked_for_are_refused() -> None:
    """Four cores a socket: 4 threads fit on one, and the hint says what to add; 5 do not."""
    asked = _config(sockets=(0, 1))

    with pytest.raises(
        MachineError, match=r"sockets 0-1 were requested, but the engine uses the threads of one \(4\)"
    ) as got:
        pinning.check_threads(asked, TWO, 4)
    assert "--threads 8" in (got.value.hint or "")
    pinning.check_threads(asked, TWO, 5)
    pinning.check_threads(asked, TWO, None)
    pinning.check_threads(_config(sockets=(0,)), TWO, 4)
    pinning.check_threads(_config(sockets=(0, 1), properties=POLICY), TWO, 4)


def test_the_warning_names_the_sockets_seen() -> None:
    """One socket and the policy: nothing is split, and the sentence says on which CPUs."""
    one = pinning.PinnedPlacement(binding=Binding(), cpus=(0, 1), sockets=(0,))

    assert "1 socket seen (socket 0, CPUs 0-1)" in (
        pinning.warn_of_no_split(_config(properties=POLICY), one) or ""
    )
    assert pinning.warn_of_no_split(_config(), one) is None
    both = pinning.PinnedPlacement(binding=Binding(), cpus=(0, 1), sockets=(0, 1))
    assert pinning.warn_of_no_split(_config(properties=POLICY), both) is None
