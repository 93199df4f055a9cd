from pathlib import Path

from llmbench.machine.checks import Survey
from llmbench.machine.fingerprint import fingerprint
from tests import machines


def test_a_fingerprint_has_what_the_kernel_reports(tmp_path: Path) -> None:
    """Memory as the doctor shows it, modules of memory channels counted once; what is not reported is left out."""
    root = machines.lay_out("one_socket", tmp_path)
    (root / "proc").mkdir(exist_ok=True)
    (root / "proc/meminfo").write_text("MemTotal:       24641536 kB\n")  # 23.5 GiB
    (root / "proc/cpuinfo").write_text("processor : 0\nmicrocode\t: 0x1000065\n")
    for number, location in enumerate(("channel 0 slot 0", "channel 0 slot 1", "channel 1 slot 0")):
        folder = root / f"sys/devices/system/edac/mc/mc0/dimm{number}"
        folder.mkdir(parents=True)
        (folder / "dimm_location").write_text(location)
    found = fingerprint(Survey.take(root))

    assert "23.5 GiB" == found["memory"]
    assert "0x1000065" == found["microcode"]
    assert "2" == found["memory channels"]
    assert "firmware" not in found
