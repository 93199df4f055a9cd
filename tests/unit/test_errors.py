"""Errors in words."""

from pathlib import Path

import pytest

from llmbench.errors import InputError, cause_of
from llmbench.runner.quality import read_texts


def test_an_error_of_the_system_has_no_number_and_names_no_path_again() -> None:
    """The message that holds it has the path already; any other error is its own words."""
    with pytest.raises(FileNotFoundError) as missing:
        Path("/none/such").read_bytes()

    assert "No such file or directory" == cause_of(missing.value)
    assert "line 3" == cause_of(ValueError("line 3"))
    with pytest.raises(InputError, match=r"text /none/such cannot be read: No such file or directory$"):
        read_texts(("/none/such",), 8)
