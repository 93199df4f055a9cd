"""Which versions a span means, and the interpreter that a command prints."""

import sys
from pathlib import Path

import pytest

from llmbench.errors import InputError, MachineError
from llmbench.runner.environments import read_span, run_maker, select_versions, size_bytes

KNOWN = ("2026.4.1.0", "2026.4.0.0", "2026.1.0.0", "2025.10.0.0", "2025.3.0.0", "2025.2.0.0", "2026.5.0.dev1")


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        ("2025.3", "2026.4", ("2025.3.0.0", "2025.10.0.0", "2026.1.0.0", "2026.4.0.0", "2026.4.1.0")),
        ("2025.3.0.0", "2026.4.0.0", ("2025.3.0.0", "2025.10.0.0", "2026.1.0.0", "2026.4.0.0")),
        ("2027.0", "2028.0", ()),
    ],
)
def test_a_span_is_ordered_by_number_without_early_releases(
    first: str, last: str, expected: tuple[str, ...]
) -> None:
    """2025.10 comes after 2025.3; a short end includes its patch releases."""
    assert expected == select_versions(KNOWN, first, last)


def test_a_span_names_a_package_and_may_name_versions() -> None:
    """What is neither is refused with an example."""
    assert ("openvino-genai", "2025.3", "2026.4") == read_span("openvino-genai==2025.3..2026.4")
    assert ("build", None, None) == read_span("build")
    with pytest.raises(InputError, match="names no versions"):
        read_span("openvino-genai==2025.3")


def test_a_command_prints_the_interpreter_last(tmp_path: Path) -> None:
    """The version is put in its place; a command that fails or prints nothing is refused."""
    maker = tmp_path / "make.py"
    maker.write_text("import sys\nprint('building')\nprint(f'/env/{sys.argv[1]}/bin/python')\n")

    assert Path("/env/v2/bin/python") == run_maker(f"{sys.executable} {maker} {{version}}", "v2")
    for command in ("false", "true", str(tmp_path / "missing")):
        with pytest.raises(MachineError, match=r"failed|ended with exit code"):
            run_maker(command, "v2")


def test_the_size_of_an_environment_is_that_of_its_files(tmp_path: Path) -> None:
    """Folders and what links lead to count nothing."""
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/a").write_bytes(b"12345")

    assert 5 == size_bytes(tmp_path)
