import os
from pathlib import Path

import pytest

from llmbench.engines.openvino.model_cache import Compiled
from llmbench.schema.run import ModelCache

NOTHING: dict[str, str] = {}


def blob(folder: Path, name: str = "1.blob", *, at_ns: int = 1_000_000_000) -> Path:
    """A compiled model that was written at an instant."""
    folder.mkdir(exist_ok=True)
    file = folder / name
    file.write_bytes(b"compiled")
    os.utime(file, ns=(at_ns, at_ns))
    return file


@pytest.mark.parametrize("properties", [{}, {"CACHE_DIR": ""}, {"NUM_STREAMS": 1}])
def test_no_folder_is_off(properties: dict[str, str | int]) -> None:
    """Where no folder is asked for, nothing is kept."""
    assert ModelCache.OFF is Compiled.look(properties).state(NOTHING)


def test_a_model_that_was_written_had_been_cold(tmp_path: Path) -> None:
    """Another model's file was there before, this one's was not; nor was the folder, the first time."""
    folder = tmp_path / "cache"
    first = Compiled.look({"CACHE_DIR": str(folder)})
    blob(folder)

    assert ModelCache.COLD is first.state(NOTHING)

    second = Compiled.look({"CACHE_DIR": str(folder)})
    blob(folder, "2.blob")

    assert ModelCache.COLD is second.state(NOTHING)


def test_a_model_that_was_written_again_had_been_refused(tmp_path: Path) -> None:
    """The same file at a later time: it was there, and it was compiled."""
    blob(tmp_path)
    before = Compiled.look({"CACHE_DIR": str(tmp_path)})
    blob(tmp_path, at_ns=2_000_000_000)

    assert ModelCache.REFUSED is before.state(NOTHING)


def test_a_model_in_memory_is_warm(tmp_path: Path) -> None:
    """Nothing was written, and the file is mapped."""
    file = blob(tmp_path / "cache")
    maps = tmp_path / "maps"
    maps.write_text(f"7f00-7f10 r--p 00000000 fe:00 42                  {file.resolve()}\n")

    assert ModelCache.WARM is Compiled.look({"CACHE_DIR": str(file.parent)}).state(NOTHING, maps)


def test_a_model_that_says_so_is_warm(tmp_path: Path) -> None:
    """A compiled model whose properties can be read tells whether it was imported."""
    blob(tmp_path)
    before = Compiled.look({"CACHE_DIR": str(tmp_path)})

    assert ModelCache.WARM is before.state({"LOADED_FROM_CACHE": "YES"})
    assert before.state({"LOADED_FROM_CACHE": "NO"}) is None


def test_a_folder_that_nobody_touched_tells_nothing(tmp_path: Path) -> None:
    """The file of another model is no proof of anything, nor is an empty folder."""
    assert Compiled.look({"CACHE_DIR": str(tmp_path)}).state(NOTHING) is None
    blob(tmp_path)

    assert Compiled.look({"CACHE_DIR": str(tmp_path)}).state(NOTHING) is None
