import socket
from pathlib import Path

import pytest

from llmbench.cli.fleet import without_options
from llmbench.errors import InputError, MachineError
from llmbench.fleet.executor import FleetTarget, read_target
from llmbench.fleet.ray import check_address


def test_a_target_of_slurm_has_options() -> None:
    """A list of hosts keeps its commas: only a name with an equals sign begins the next option."""
    found = read_target("slurm:partition=bench,nodelist=n[1-3,7],nodes=2")

    assert (
        FleetTarget(kind="slurm", options={"partition": "bench", "nodelist": "n[1-3,7]", "nodes": "2"})
        == found
    )


def test_a_target_of_ray_is_an_address() -> None:
    """Without one Ray finds the cluster of this machine."""
    assert "10.0.0.1:6379" == read_target("ray:10.0.0.1:6379").address
    assert "auto" == read_target("ray").address


@pytest.mark.parametrize(
    "text", ["pbs:x", "slurm:nodes=0", "slurm:nodes=two", "slurm:colour=red", "slurm:nodes"]
)
def test_what_is_not_known_is_refused(text: str) -> None:
    """The wrong part is named before anything is asked of a scheduler."""
    with pytest.raises(InputError, match=text.rpartition(":")[2].partition("=")[0]):
        read_target(text)


def test_a_ray_that_does_not_respond_is_one_line_at_once() -> None:
    """Ray itself would try for minutes; a port where nobody listens refuses."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(MachineError, match=f"--on ray:{address}: nothing responds there"):
            check_address(address)
    check_address("auto")


def test_options_are_taken_out_however_they_are_spelled() -> None:
    """With a value behind them, an equals sign, underscores; what looks like one but is a value stays."""
    given = ["-m", "x", "--on", "slurm", "--output_dir=o", "--name", "n", "--overwrite", "-p", "--on"]

    assert ["-m", "x", "-p"] == without_options(
        given, {"--on": 1, "--output-dir": 1, "--name": 1, "--overwrite": 0}
    )


def test_paths_are_not_touched() -> None:
    """Arguments that are no options stay in their order."""
    assert [str(Path("a")), "b"] == without_options(["a", "b"], {"--on": 1})
