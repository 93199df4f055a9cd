from pathlib import Path

import pytest

from llmbench.errors import MachineError
from llmbench.machine import memory

STATUS = "Name:\tpython\nVmPeak:\t  999 kB\nVmHWM:\t   2048 kB\nVmRSS:\t   1024 kB\nThreads:\t1\n"
BLOCK_BYTES = 64 << 20


def test_peak_and_resident_are_read_in_bytes(tmp_path: Path) -> None:
    """The kernel writes kB of 1024 bytes; VmPeak, which is address space, is another line."""
    status = tmp_path / "status"
    status.write_text(STATUS)

    assert 2 << 20 == memory.peak_bytes(status)
    assert 1 << 20 == memory.resident_bytes(status)


def test_a_status_without_memory_is_an_error(tmp_path: Path) -> None:
    """A kernel thread has no VmHWM; 0 would be a lie."""
    status = tmp_path / "status"
    status.write_text("Name:\tkthreadd\n")

    with pytest.raises(MachineError, match="has no VmHWM"):
        memory.peak_bytes(status)


def test_the_peak_of_a_phase_is_its_own() -> None:
    """64 MiB taken and given back count in the phase they were taken in, and not in the next."""
    first = memory.MemoryPhase.start()
    block = bytearray(b"x") * BLOCK_BYTES
    del block
    taken = first.stop()
    following = memory.MemoryPhase.start().stop()

    assert first.is_reset
    assert taken.peak_bytes - taken.initial_bytes > 0.9 * BLOCK_BYTES
    assert following.peak_bytes < taken.peak_bytes - 0.5 * BLOCK_BYTES


def test_a_reset_that_is_not_permitted_is_said(tmp_path: Path) -> None:
    """Where the file is missing or refuses, the answer is no, not an error in a measurement."""
    assert not memory.reset_peak(tmp_path / "missing" / "clear_refs")


def test_the_machine_uses_more_than_this_process() -> None:
    """Total less available holds at least what is resident here."""
    assert memory.system_used_bytes() > 0
