import dataclasses
from pathlib import Path

import pytest

import llmbench
from llmbench.analysis.comparison.rule import Verdict
from llmbench.errors import InputError
from llmbench.runner.session import SessionEvent
from llmbench.schema.measurement import Measurement

_CONFIG = llmbench.RunConfig(
    model="first=200ms,second=30ms,next=10ms,launch-noise=1%",
    engine="scripted",
    prompts=(llmbench.Prompt(set="mine", index=0, text="How are you?"),),
    output_tokens=8,
    iterations=2,
    launches=3,
)


def test_measure_returns_the_run_that_load_reads(tmp_path: Path) -> None:
    """A run is measured in fresh processes, kept, and the same when it is loaded."""
    seen: list[SessionEvent] = []
    run = llmbench.measure(_CONFIG, output_dir=tmp_path, name="mine", on_event=seen.append)

    assert run == llmbench.load(tmp_path / "mine.jsonl")
    assert run.is_complete
    assert len([event for event in seen if isinstance(event, Measurement)]) == 3 * 3


def test_a_slower_candidate_is_regressed(tmp_path: Path) -> None:
    """20 % on the first token, three launches a side with 1 % between launches."""
    slower = dataclasses.replace(_CONFIG, model=_CONFIG.model.replace("200ms", "240ms"))
    base = llmbench.measure(_CONFIG, output_dir=tmp_path)
    candidate = llmbench.measure(slower, output_dir=tmp_path)

    assert Verdict.REGRESSED is llmbench.compare(base, candidate).verdict


def test_a_frame_has_a_row_a_request(tmp_path: Path) -> None:
    """Every request is a row, and it says which of them were warm-ups."""
    frame = llmbench.measure(_CONFIG, output_dir=tmp_path).to_pandas()

    assert len(frame) == 9
    assert 3 == frame["is_warmup"].sum()
    assert [200.0, 200.0] == pytest.approx(frame["first_token_ms"][1:3].tolist(), rel=0.1)


def test_what_cannot_be_read_is_an_input_error(tmp_path: Path) -> None:
    """The same errors as on the command line."""
    with pytest.raises(InputError):
        llmbench.load(tmp_path / "none.jsonl")
    with pytest.raises(AttributeError, match="no attribute 'run_everything'"):
        _ = llmbench.run_everything
