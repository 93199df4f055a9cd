from pathlib import Path

import pytest

from llmbench.errors import OutputError
from llmbench.files.atomic import write_atomically


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    """The new text stands in place of the old, and nothing else is left in the folder."""
    path = tmp_path / "out.csv"
    path.write_text("old")

    write_atomically(path, "new\n")

    assert "new\n" == path.read_text()
    assert [path] == list(tmp_path.iterdir())


def test_a_file_that_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    """Exit 6, and no part of a file is left."""
    path = tmp_path / "missing" / "out.csv"

    with pytest.raises(OutputError, match="cannot be written: No such file or directory"):
        write_atomically(path, "new\n")

    assert [] == list(tmp_path.iterdir())


def test_a_full_device_is_an_output_error_and_stays_a_device() -> None:
    """A device is written to, never replaced by a file."""
    path = Path("/dev/full")

    with pytest.raises(OutputError, match="No space left on device"):
        write_atomically(path, "new\n")

    assert path.is_char_device()
