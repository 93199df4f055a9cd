import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from tests.outcome import measured_run

pytestmark = pytest.mark.model
Run = Callable[..., subprocess.CompletedProcess[str]]
_COMMON = {"the", "and", "of", "is", "to", "a", "in"}


def test_the_demo_shows_numbers_and_plain_english(
    llmbench_workers: Run, demo_ir: Path, tmp_path: Path
) -> None:
    """The table, the model's words, and a run file, a CSV and a JSON in reports/."""
    done = llmbench_workers("demo", "-n", "2")
    (path,) = (tmp_path / "reports").glob("*.jsonl")
    run = measured_run(done, path)

    lengths = [m.input_tokens for m in run.launches[0].measurements[:3]]
    assert lengths == sorted(set(lengths))
    for measurement in run.launches[0].measurements[:3]:
        text = measurement.sequences[0].text or ""
        words = re.findall(r"[A-Za-z']+", text.lower())
        assert len(_COMMON & set(words)) >= 3, text
        assert not re.search(r"[ĠĊ�]", text)
        assert " ".join(text.split()[:5]) in done.stdout
    frame = pd.read_csv(path.with_suffix(".csv"))
    assert len(frame) == 3 * 3 + 3 * 3
    assert len(json.loads(path.with_suffix(".json").read_text())["perfdata"]["results"]) == 9
    assert demo_ir.is_dir()


def test_offline_and_not_cached_is_exit_4(llmbench_workers: Run, tmp_path: Path) -> None:
    """One line says what could not be fetched and where it was looked for."""
    done = llmbench_workers(
        "demo", PIP_NO_INDEX="1", PIP_FIND_LINKS=str(tmp_path), XDG_CACHE_HOME=str(tmp_path / "cache")
    )

    assert done.returncode == 4
    assert "could not be fetched" in done.stderr
    assert str(tmp_path / "cache") in done.stderr
    assert "Traceback" not in done.stderr
    assert list((tmp_path / "cache").rglob("*.gguf")) == []


def test_a_damaged_file_in_the_cache_is_fetched_again(
    llmbench_workers: Run, demo_gguf: Path, tmp_path: Path
) -> None:
    """The SHA-256 is checked before the cached file is believed."""
    folder = tmp_path / "cache/llmbench/demo"
    folder.mkdir(parents=True)
    content = bytearray(demo_gguf.read_bytes())
    content[len(content) // 2] ^= 1
    (folder / demo_gguf.name).write_bytes(content)
    done = llmbench_workers(
        "demo", PIP_NO_INDEX="1", PIP_FIND_LINKS=str(tmp_path), XDG_CACHE_HOME=str(tmp_path / "cache")
    )

    assert done.returncode == 4
    assert "could not be fetched" in done.stderr
