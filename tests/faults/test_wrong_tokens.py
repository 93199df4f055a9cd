"""Models whose effective path gives other tokens than their source: reported at convert, and at every run."""

import json
from pathlib import Path

import pytest

from tests import conversions
from tests.conftest import RunCommand
from tests.outcome import assert_measured

row_42 = pytest.mark.fault(42, "the effective path gives other tokens than the source")


@row_42
@pytest.mark.model
@pytest.mark.convert
def test_row_42_a_model_that_paged_attention_gets_wrong_is_reported_at_every_step(
    llmbench_workers: RunCommand, tmp_path: Path
) -> None:
    """ALiBi: convert warns and records it, run warns and records it, --strict refuses, SDPA is right."""
    converted = conversions.converted(conversions.alibi_model(), "fp16")["fp16"]
    expected = converted.manifest.expected
    assert expected is not None
    assert expected.agreement["pa"] < 0.9 <= expected.agreement["sdpa"]
    assert any("run it with --attention sdpa" in warning for warning in converted.manifest.warnings)

    short = ("-n", "1", "--input-tokens", "16", "-ic", "2", "--foreign-cpu-limit", "1", "--output-dir", ".")
    base = ("run", "-m", str(converted.folder), *short)
    warned = llmbench_workers(*base, "--name", "pa")
    refused = llmbench_workers(*base, "--name", "strict", "--strict")
    right = llmbench_workers(*base, "--name", "sdpa", "--attention", "sdpa")

    assert_measured(warned)
    assert "WRONG TOKENS: paged attention" in warned.stdout
    assert "warning: WRONG TOKENS: paged attention" in warned.stderr
    recorded = [json.loads(line) for line in (tmp_path / "pa.jsonl").read_text().splitlines()]
    assert "WRONG TOKENS" in json.dumps(recorded)
    assert 3 == refused.returncode, refused.stderr
    assert "use --attention sdpa" in refused.stderr
    assert_measured(right)
    assert "WRONG TOKENS" not in right.stdout
