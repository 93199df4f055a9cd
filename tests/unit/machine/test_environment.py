import platform
from pathlib import Path

import pytest

from llmbench._version import __version__
from llmbench.machine import environment
from tests import machines


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A machine of two CPUs."""
    return machines.write(
        tmp_path,
        {
            "proc/cpuinfo": "processor\t: 0\nmodel name\t: Intel(R)  Xeon(R) CPU   @ 2.60GHz\nflags\t: sse\n",
            "proc/meminfo": "MemTotal:       24684084 kB\nMemFree:         9607552 kB\n",
            "proc/loadavg": "0.52 0.21 0.10 2/81 4441\n",
            "proc/sys/kernel/osrelease": "6.1.0-test\n",
            "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never\n",
            "sys/devices/system/cpu/online": "0-1\n",
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave\n",
            "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor": "powersave\n",
        },
    )


def test_environment_is_what_the_files_say(root: Path) -> None:
    """Every field comes from the kernel's files, in base units."""
    found = environment.capture(root)

    assert "Intel(R) Xeon(R) CPU @ 2.60GHz" == found.cpu_model
    assert 24684084 * 1024 == found.memory_bytes
    assert "6.1.0-test" == found.kernel
    assert ("powersave", "madvise", 0.52) == (found.governor, found.transparent_hugepages, found.load_average)
    assert 2 == len(found.topology.cpus)


def test_what_the_kernel_does_not_tell_is_none(tmp_path: Path) -> None:
    """A kernel without governors, huge pages and load average: None, and the architecture for a name."""
    found = environment.capture(machines.write(tmp_path, {"sys/devices/system/cpu/online": "0\n"}))

    assert found.governor is None
    assert found.transparent_hugepages is None
    assert found.load_average is None
    assert platform.machine() == found.cpu_model
    assert platform.release() == found.kernel
    assert found.memory_bytes > 0


def test_governors_that_differ_are_all_named(root: Path) -> None:
    """One CPU on another governor is seen."""
    machines.write(root, {"sys/devices/system/cpu/cpu1/cpufreq/scaling_governor": "performance\n"})

    assert "performance+powersave" == environment.governor(root)


def test_versions_leave_out_what_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python and this tool always; a package that is missing is no empty string."""
    monkeypatch.setattr(environment, "ENGINE_PACKAGES", ("pytest", "no-such-package-anywhere"))
    found = environment.versions()

    assert {"python", "llmbench", "pytest"} == set(found)
    assert __version__ == found["llmbench"]
    assert pytest.__version__ == found["pytest"]


def test_variables_are_taken_by_allow_list_and_never_a_secret() -> None:
    """Only names that steer the engine, and of those none that may hold a secret."""
    found = environment.variables(
        {
            "OMP_NUM_THREADS": "4",
            "OPENVINO_LOG_LEVEL": "2",
            "ONEDNN_VERBOSE": "1",
            "KMP_AFFINITY": "compact",
            "OPENVINO_TOKEN": "canary",
            "OMP_api_key": "canary",
            "KMP_PASSPHRASE": "canary",
            "ONEDNN_Auth": "canary",
            "OPENVINO_SECRET_1": "canary",
            "HF_TOKEN": "canary",
            "HOME": "canary",
            "MY_OMP_X": "canary",
        }
    )

    assert ["KMP_AFFINITY", "OMP_NUM_THREADS", "ONEDNN_VERBOSE", "OPENVINO_LOG_LEVEL"] == list(found)
    assert "canary" not in found.values()
