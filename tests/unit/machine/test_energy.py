from pathlib import Path

import pytest

from llmbench.machine import energy
from llmbench.machine.energy import Meter
from tests import machines

RANGE_UJ = 262_143_328_850
"""That of many servers: 262 kJ."""


def counters(root: Path, *packages: int, **parts: int) -> Path:
    """A machine with a counter for each package, and others by name; each zone below *root*."""
    zones = {f"intel-rapl:{n}": (f"package-{n}", value) for n, value in enumerate(packages)}
    zones |= {f"intel-rapl:0:{n}": each for n, each in enumerate(parts.items())}
    files = {}
    for zone, (name, value) in zones.items():
        folder = f"sys/class/powercap/{zone}"
        files |= {
            f"{folder}/name": f"{name}\n",
            f"{folder}/energy_uj": f"{value}\n",
            f"{folder}/max_energy_range_uj": f"{RANGE_UJ}\n",
        }
    return machines.write(root, files)


def test_the_packages_are_added_up(tmp_path: Path) -> None:
    """Package 0 took 3 J and package 1 took 1.5 J: 4.5 J."""
    meter = Meter.start(counters(tmp_path, 1_000_000, 7_000_000))
    counters(tmp_path, 4_000_000, 8_500_000)

    assert pytest.approx(4.5) == meter.stop()


def test_parts_of_a_package_and_the_board_are_not_added(tmp_path: Path) -> None:
    """Cores and memory controllers are in their package, and the board (psys) holds both: 3 J, not 12."""
    meter = Meter.start(counters(tmp_path, 1_000_000, core=0, dram=0, psys=0))
    counters(tmp_path, 4_000_000, core=2_000_000, dram=3_000_000, psys=4_000_000)

    assert pytest.approx(3.0) == meter.stop()


def test_a_counter_that_began_again_is_carried_over(tmp_path: Path) -> None:
    """From 1 J below its range to 2 J: 3 J."""
    meter = Meter.start(counters(tmp_path, RANGE_UJ - 1_000_000))
    counters(tmp_path, 2_000_000)

    assert pytest.approx(3.0) == meter.stop()


@pytest.mark.parametrize(("wall_s", "joules"), [(524.0, 3.0), (525.0, None)])
def test_a_second_round_that_could_hide_makes_it_unknown(wall_s: float, joules: float | None) -> None:
    """3 J more than one range of 262,143 J are 262,146 J, which 500 W take in 524.3 s; before, they cannot hide."""
    found = energy._spent_j(0, 3_000_000, range_uj=RANGE_UJ, wall_s=wall_s)

    assert pytest.approx(joules) == found if joules else found is None


def test_a_range_that_is_not_told_forgives_no_step_back() -> None:
    """Forward it is a difference, back it is unknown."""
    assert pytest.approx(2.0) == energy._spent_j(1_000_000, 3_000_000, range_uj=None, wall_s=1.0)
    assert energy._spent_j(3_000_000, 1_000_000, range_uj=None, wall_s=1.0) is None


def test_no_counters_no_energy(tmp_path: Path) -> None:
    """A virtual machine has none: None, not 0."""
    meter = Meter.start(machines.write(tmp_path, {"proc/stat": "cpu0 0 0 0 0\n"}))

    assert meter.counters is None
    assert meter.stop() is None


@pytest.mark.parametrize("is_before", [True, False])
def test_one_package_that_cannot_be_read_makes_the_sum_unknown(tmp_path: Path, *, is_before: bool) -> None:
    """Only root may read it, or it vanished while the request ran: half of the machine's energy is no energy."""
    root = counters(tmp_path, 1_000_000, 2_000_000)
    file = root / "sys/class/powercap/intel-rapl:1/energy_uj"
    if is_before:
        file.unlink()
    meter = Meter.start(root)
    file.unlink(missing_ok=True)

    assert is_before == (meter.counters is None)
    assert meter.stop() is None


def test_what_is_no_count_is_not_counted(tmp_path: Path) -> None:
    """A file that holds words tells nothing."""
    root = counters(tmp_path, 1_000_000)
    machines.write(root, {"sys/class/powercap/intel-rapl:0/energy_uj": "No data available\n"})

    assert Meter.start(root).stop() is None


def test_a_counter_that_did_not_move_is_a_value(tmp_path: Path) -> None:
    """Nothing was taken between two readings: 0 J, not None."""
    assert 0.0 == Meter.start(counters(tmp_path, 5)).stop()
