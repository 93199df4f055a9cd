"""The example of docs/api.md, run as written with a script in place of a model."""

import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs/api.md").read_text()
MODEL = 'model="models/pytorch/dldt/INT8"'


def test_the_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It measures twice, and prints a summary and a verdict on runs that do not differ."""
    [example] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert MODEL in example
    monkeypatch.setenv("LLMBENCH_LAUNCHER", "inline")
    monkeypatch.chdir(tmp_path)
    exec(example.replace(MODEL, 'engine="scripted", model="first=20ms,next=1ms"'), {})  # noqa: S102  our own page

    printed = capsys.readouterr().out
    assert "mean" in printed
    assert "Verdict.UNCHANGED" in printed
    assert 2 == len(list(Path("reports").glob("*.jsonl")))
