"""Devices and properties in all spellings: what works here is accepted, everything else is refused by the check."""

import pytest

from llmbench.engines.openvino.device import check_device
from llmbench.errors import LlmbenchError
from llmbench.schema.config import PropertyValue

WORKING = ("CPU", "CPU:", "CPU.", "AUTO", "AUTO:", "AUTO:CPU", "AUTO:CPU,CPU", "AUTO:-GPU", "MULTI:CPU")
WORKING += ("HETERO:CPU", "BATCH:CPU", "BATCH:CPU(4)")
ABSENT = (
    ("CPU.0", "CPU.0"),
    ("CPU.1", "CPU.1"),
    ("NVIDIA", "NVIDIA"),
    ("cpu", "cpu"),
    ("AUTO:CPU.0", "CPU.0 of AUTO:CPU.0"),
    ("AUTO:NOPE,CPU", "NOPE of AUTO:NOPE,CPU"),
    ("MULTI:CPU,NOPE", "NOPE of MULTI:CPU,NOPE"),
    ("HETERO:NOPE.0,NOPE.1", "NOPE.0 of HETERO:NOPE.0,NOPE.1"),
    ("BATCH:NOPE(4)", "NOPE of BATCH:NOPE(4)"),
)
NONSENSE = ("", " ", " CPU", "CPU,GPU", "CPU(2)", "CPU:GPU", "MULTI", "HETERO", "HETERO:", "BATCH", "::")
NONSENSE += ("BATCH:CPU(0)", "BATCH:CPU(x)", "BATCH:CPU()", "MULTI:CPU(2", "AUTO:CPU:GPU", "AUTO:--CPU")
NONSENSE += ("AUTO:,CPU", "AUTO:AUTO", "AUTO:HETERO:CPU", "MULTI:AUTO", "-lc")


@pytest.mark.parametrize("device", WORKING)
def test_a_device_that_works_is_accepted(device: str) -> None:
    """Virtual devices over the CPU compute like it; a colon without a list changes nothing."""
    check_device(device, {})


@pytest.mark.parametrize(("device", "named"), ABSENT)
def test_an_absent_device_is_an_unfit_machine(device: str, named: str) -> None:
    """The device is named, and those that are available."""
    with pytest.raises(LlmbenchError) as refused:
        check_device(device, {})

    assert 4 == refused.value.exit_code
    assert f"device {named} is not available (available: CPU" in refused.value.message


def test_leaving_out_every_device_is_an_unfit_machine() -> None:
    """AUTO may be told which devices not to use; here the CPU is the only one."""
    with pytest.raises(LlmbenchError) as refused:
        check_device("AUTO:-CPU", {})

    assert 4 == refused.value.exit_code
    assert "AUTO:-CPU leaves out every device that is available (CPU)" == refused.value.message


@pytest.mark.parametrize("device", NONSENSE)
def test_what_is_no_device_is_wrong_input(device: str) -> None:
    """The value is shown, and how a device is written."""
    with pytest.raises(LlmbenchError) as refused:
        check_device(device, {})

    assert 2 == refused.value.exit_code
    assert (device.strip() or "is empty") in refused.value.message
    assert "-d " in (refused.value.hint or "")


PROPERTIES: tuple[tuple[str, dict[str, PropertyValue], int, str], ...] = (
    ("CPU", {"AFFINITY": "NUMA"}, 2, "no property 'AFFINITY'"),
    ("CPU", {"performance_hint": "LATENCY"}, 2, "no property 'performance_hint'"),
    ("AUTO:CPU", {"NOPE": 1}, 2, "no property 'NOPE'"),
    ("CPU", {"ENABLE_CPU_PINNING": "maybe"}, 2, "ENABLE_CPU_PINNING does not take 'maybe'"),
    ("AUTO:CPU", {"ENABLE_CPU_PINNING": "maybe"}, 2, "ENABLE_CPU_PINNING does not take 'maybe'"),
    ("HETERO:CPU", {"NUM_STREAMS": "x"}, 2, "NUM_STREAMS does not take 'x'"),
    ("AUTO", {"NUM_STREAMS": "x"}, 2, "NUM_STREAMS does not take 'x'"),
    ("CPU", {"NUM_STREAMS": 10**30}, 2, "a value of this type or size"),
    ("CPU", {"NUM_STREAMS": 1.5}, 2, "NUM_STREAMS does not take 1.5: it takes an integer"),
    ("CPU", {"INFERENCE_NUM_THREADS": 1.5}, 2, "INFERENCE_NUM_THREADS does not take 1.5"),
    ("AUTO:CPU", {"INFERENCE_NUM_THREADS": 1.5}, 2, "INFERENCE_NUM_THREADS does not take 1.5"),
    ("CPU", {"KV_CACHE_PRECISION": "u99"}, 2, "KV_CACHE_PRECISION does not take 'u99'"),
    ("CPU", {"CACHE_MODE": "NOPE"}, 2, "CPU does not take CACHE_MODE=NOPE"),
    ("CPU", {"FULL_DEVICE_NAME": "mine"}, 2, "FULL_DEVICE_NAME does not take 'mine'"),
    ("CPU", {"DEVICE_ID": "1"}, 2, "DEVICE_ID does not take '1'"),
    ("CPU", {"INFERENCE_NUM_THREADS": 9999}, 4, "requested 9999 threads, got"),
)


@pytest.mark.parametrize(("device", "properties", "code", "words"), PROPERTIES)
def test_a_property_that_does_not_fit_is_named(
    device: str, properties: dict[str, PropertyValue], code: int, words: str
) -> None:
    """Names, values, and more threads than there are CPUs, for the devices below a virtual one too."""
    with pytest.raises(LlmbenchError) as refused:
        check_device(device, properties)

    assert code == refused.value.exit_code
    assert words in refused.value.message


@pytest.mark.parametrize("device", ["CPU", "AUTO", "AUTO:CPU", "HETERO:CPU", "MULTI:CPU"])
def test_properties_that_fit_are_accepted(device: str) -> None:
    """Those of the CPU below a virtual device, and those of no device."""
    check_device(
        device, {"INFERENCE_NUM_THREADS": 1, "ENABLE_CPU_PINNING": "YES", "CACHE_MODE": "OPTIMIZE_SPEED"}
    )


def test_the_new_name_of_a_property_is_suggested() -> None:
    """AFFINITY was replaced by a name that is nothing like it."""
    with pytest.raises(LlmbenchError) as refused:
        check_device("CPU", {"AFFINITY": "NUMA"})

    assert "did you mean ENABLE_CPU_PINNING?" == refused.value.hint
