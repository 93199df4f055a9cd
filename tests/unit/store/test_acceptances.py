"""Accepted changes are read as they were written, and a file that people spoilt is refused."""

from pathlib import Path

import pytest

from llmbench.errors import InputError
from llmbench.store.acceptances import FILE, read_acceptances, write_acceptances


def test_notes_come_back_whatever_they_contain(tmp_path: Path) -> None:
    """Quotes, backslashes and other scripts included; without a file there are none."""
    assert {} == read_acceptances(tmp_path)
    notes = {"run-1": 'a "safer" kernel \\ path', "run-2": "größer, 更安全"}

    file = write_acceptances(tmp_path, notes)

    assert (tmp_path / FILE, notes) == (file, read_acceptances(tmp_path))


@pytest.mark.parametrize("text", ["[[accepted]]\nrun = 1\n", "accepted = ", "[[accepted]]\nruns = 'a'\n"])
def test_a_spoilt_file_is_refused(tmp_path: Path, text: str) -> None:
    """The message names the file, the hint what it should hold."""
    (tmp_path / FILE).write_text(text)

    with pytest.raises(InputError, match=FILE):
        read_acceptances(tmp_path)
