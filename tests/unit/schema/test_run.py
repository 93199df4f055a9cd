"""What is known of a run as a whole."""

import pytest

from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.run import Failure, Launch, Outcome
from tests import builders

CONFIG = RunConfig(model="m", prompts=(Prompt(set="s", index=0, text="Hello"),), launches=2)
DONE = builders.launch_of()
FAILED = builders.launch_of(
    index=1, outcome=Outcome.FAILED, failure=Failure(phase="load", message="out of memory")
)
CUT = builders.launch_of(index=1, outcome=Outcome.ABORTED)


@pytest.mark.parametrize(
    ("launches", "is_complete", "is_missing"),
    [
        ((DONE, builders.launch_of(index=1)), True, False),
        ((DONE,), True, False),
        ((DONE,), False, True),
        ((DONE, FAILED), True, True),
        ((DONE, FAILED, builders.launch_of(index=2)), True, False),
        ((DONE, CUT, builders.launch_of(index=2)), True, False),
        ((), False, True),
    ],
    ids=["all", "ended early", "killed", "failed", "failed, then made", "cut short, then made", "none"],
)
def test_a_launch_is_missing_unless_a_rule_ended_the_run(
    launches: tuple[Launch, ...], *, is_complete: bool, is_missing: bool
) -> None:
    """Two were planned: fewer are enough only where none failed and the run ended; resuming makes up for failures."""
    run = builders.run_of(launches, cells=(CONFIG,), is_complete=is_complete)

    assert is_missing is run.lacks_launches
