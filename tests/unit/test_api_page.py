"""The examples of docs/api.md and docs/python.md, run as written with a script in place of a model."""

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
    assert "first_token_ms" in printed
    assert "Verdict.UNCHANGED" in printed
    assert 2 == len(list(Path("reports").glob("*.jsonl")))


@pytest.mark.slow
def test_the_examples_of_the_guide_run_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A table, a frame, a grouping and a verdict; the base that is loaded is a run of before."""
    guide = (Path(__file__).parents[2] / "docs/python.md").read_text()
    examples = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    script = '"first=20ms,next=1ms", engine="scripted", foreign_cpu_limit=1.0'
    code = "\n".join(examples).replace('"models/pytorch/dldt/INT8"', script)
    monkeypatch.setenv("LLMBENCH_LAUNCHER", "inline")
    monkeypatch.chdir(tmp_path)
    before = f"import llmbench\nllmbench.measure({script}, input_tokens=[32, 512], launches=5, name='base')\n"
    exec(before + code, {})  # noqa: S102  our own page

    assert 4 == len(examples)
    printed = capsys.readouterr().out
    assert "decode_rate_tokens_per_s" in printed
    assert "Verdict.UNCHANGED" in printed
