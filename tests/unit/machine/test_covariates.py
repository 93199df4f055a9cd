"""Settings of machine and process: each row is read, compared, and seen when it changes in mid-run."""

from pathlib import Path

import pytest

from llmbench.machine import covariates
from llmbench.machine.affinity import Binding
from llmbench.machine.environment import variables
from llmbench.machine.interference import Probe
from llmbench.runner.protocol import Open
from llmbench.runner.worker import shared_settings
from llmbench.schema.config import Prompt, RunConfig
from tests import machines

CPU = "sys/devices/system/cpu"
ROWS = {
    "frequency governor": (f"{CPU}/cpu1/cpufreq/scaling_governor", "performance", "powersave"),
    "highest frequency (kHz)": (f"{CPU}/cpu0/cpufreq/scaling_max_freq", "3600000", "2000000"),
    "energy preference": (
        f"{CPU}/cpu0/cpufreq/energy_performance_preference",
        "performance",
        "balance_power",
    ),
    "highest performance (%)": (f"{CPU}/intel_pstate/max_perf_pct", "100", "60"),
    "power limits (uW)": (
        "sys/class/powercap/intel-rapl:0/constraint_0_power_limit_uw",
        "250000000",
        "95000000",
    ),
    "platform profile": ("sys/firmware/acpi/platform_profile", "performance", "low-power"),
    "online CPUs": (f"{CPU}/online", "0-3", "0,2-3"),
    "SMT control": (f"{CPU}/smt/control", "on", "off"),
    "microcode": (f"{CPU}/cpu0/microcode/version", "0x2b0005c0", "0x2b000620"),
    "clock source": ("sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc", "hpet"),
    "transparent huge pages": (
        "sys/kernel/mm/transparent_hugepage/enabled",
        "[always] madvise never",
        "always",
    ),
    "compaction for huge pages": ("sys/kernel/mm/transparent_hugepage/defrag", "defer+madvise", "never"),
    "page merging (KSM)": ("sys/kernel/mm/ksm/run", "0", "1"),
    "NUMA balancing": ("proc/sys/kernel/numa_balancing", "0", "1"),
    "swappiness": ("proc/sys/vm/swappiness", "60", "200"),
    "swap areas": ("proc/swaps", "Filename Type Size\n/dev/zram0 partition 9 0 1", "Filename Type Size"),
    "turbo": (f"{CPU}/intel_pstate/no_turbo", "0", "1"),
}
SHOWN = {
    "transparent huge pages": ("always", "always"),
    "swap areas": ("/dev/zram0", "none"),
    "turbo": ("on", "off"),
}


def test_every_row_is_tested() -> None:
    """A row without files here would be one that nobody has tried."""
    assert {*covariates._FILES, covariates.TURBO} == set(ROWS)


@pytest.mark.parametrize("name", ROWS)
def test_a_setting_that_changes_between_two_readings_is_seen(tmp_path: Path, name: str) -> None:
    """What the kernel does not report has no row; one that changed makes the request invalid, by its name."""
    file, early, late = ROWS[name]
    before, after = SHOWN.get(name, (early, late))
    root = machines.write(tmp_path, {"proc/stat": "", file: f"{early}\n"})
    assert {name: before} == covariates.read_machine_settings(root)
    probe = Probe.start([0], root)
    (root / file).write_text(f"{late}\n")

    expected = () if before == after else (f"the {name} changed from {before} to {after}",)
    assert expected == probe.stop().changes


def test_distinct_values_of_many_cpus_are_one_setting(tmp_path: Path) -> None:
    """Four CPUs of two policies: each value once, in order."""
    governors = {f"{CPU}/cpu{n}/cpufreq/scaling_governor": text for n, text in enumerate("baab")}

    assert {covariates.GOVERNOR: "a+b"} == covariates.read_machine_settings(
        machines.write(tmp_path, governors)
    )


def test_a_launch_expects_what_held_when_the_run_began() -> None:
    """The CPUs too, unless it is bound to some of its own; not the threads, which are those of its parent."""
    config = RunConfig(model="m", prompts=(Prompt(set="s", index=0, text="x"),), output_tokens=2)
    settings = covariates.read_settings()
    free = Open(config=config, launch=0, settings=settings)
    bound = Open(config=config, launch=0, settings=settings, binding=Binding(cpus=(0,)))

    assert settings.keys() - shared_settings(free).keys() == {covariates.THREADS}
    assert settings.keys() - shared_settings(bound).keys() == {covariates.THREADS, covariates.CPUS_ALLOWED}


@pytest.mark.parametrize(
    "name",
    [
        "DNNL_MAX_CPU_ISA",
        "ONEDNN_MAX_CPU_ISA",
        "LD_PRELOAD",
        "GLIBC_TUNABLES",
        "MALLOC_ARENA_MAX",
        "MALLOC_CONF",
        "TBB_ENABLE_SANITIZERS",
        "OMP_NUM_THREADS",
        "KMP_AFFINITY",
        "GOMP_CPU_AFFINITY",
        "MKL_NUM_THREADS",
        "OV_CPU_DEBUG_LOG",
        "PYTHONMALLOC",
        "PYTHONTRACEMALLOC",
        "ATEN_CPU_CAPABILITY",
    ],
)
def test_variables_that_slow_a_process_are_recorded(name: str) -> None:
    """They act on threads, kernels, allocators or the loader; so a comparison names them."""
    assert {name: "1"} == variables({name: "1", "HOME": "/root", f"{name}_TOKEN": "secret"})
