import pytest

from llmbench.machine import checks as machine_checks

RUNTIME = {"openvino": "2026.4.1", "openvino-genai": "2026.4.1.0", "openvino-tokenizers": "2026.4.0.0"}


@pytest.mark.parametrize(
    ("versions", "checks"),
    [
        (RUNTIME, []),
        (RUNTIME | {"torch": "2.13.0+cpu"}, []),
        (RUNTIME | {"torch": "2.13.0+cpu", "torchvision": "0.28.0"}, ["torchvision"]),
        (RUNTIME | {"torch": "2.13.0+cpu", "torchvision": "0.28.0+cpu"}, []),
        (RUNTIME | {"torch": "2.13.0", "torchvision": "0.28.0"}, []),
        (RUNTIME | {"openvino-genai": "2026.3.0.0"}, ["engine-releases"]),
        ({"openvino": "2026.4.1"}, ["engine"]),
    ],
)
def test_pairs_that_break(versions: dict[str, str], checks: list[str]) -> None:
    """A CUDA torchvision beside a CPU torch, runtimes of two releases (patches may differ), and none at all."""
    assert checks == [finding.check for finding in machine_checks.unfit_packages(versions)]


def test_a_missing_package_is_named_with_its_command() -> None:
    """What to type is the names that are missing."""
    (finding,) = machine_checks.unfit_packages({"openvino": "2026.4.1"})

    assert "pip install openvino-genai openvino-tokenizers" == finding.remedy


def test_what_is_installed_here_goes_together() -> None:
    """The environment the tests run in is a good one."""
    assert [] == list(machine_checks.unfit_packages(machine_checks.installed()))
