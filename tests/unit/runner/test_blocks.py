from pathlib import Path

import pytest

from llmbench.analysis.comparison.paired_run import finished_blocks
from llmbench.runner import plan, session
from llmbench.runner.blocks import LEAST_BLOCKS, Stop, launches_until
from llmbench.runner.launchers.inline import InlineLauncher
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.run import Run


def _config(script: str) -> RunConfig:
    prompts = (Prompt(set="s", index=0, text="one two three"),)
    return RunConfig(
        model=script, engine="scripted", prompts=prompts, iterations=2, output_tokens=4, launches=8
    )


def _unread() -> Run:
    raise AssertionError("nothing has to be read for a budget")


def test_a_budget_is_due_when_the_next_block_would_not_fit() -> None:
    """Six of ten seconds are gone: a block of four fits, one of five does not; no budget is never due."""
    assert not Stop(budget_s=10).is_due(_unread, 6, 4)
    assert Stop(budget_s=10).is_due(_unread, 6, 5)
    assert not Stop().is_due(_unread, 6, 5)


def test_a_block_is_always_made_and_never_cut() -> None:
    """Without any time left the first block is whole, and the second does not begin."""
    planned = plan.plan_launches((_config("first=1ms"), _config("first=2ms")), seed=1)
    made = list(launches_until(Stop(budget_s=0), planned, _unread))

    assert list(planned[:2]) == made
    assert list(planned) == list(launches_until(Stop(), planned, _unread))


def test_a_first_block_may_be_cut_after_the_least(monkeypatch: pytest.MonkeyPatch) -> None:
    """Launches of 4 s: two are made whatever the budget is, a third where 4 s more fit, and no second block."""
    clock = 0.0
    monkeypatch.setattr("llmbench.runner.blocks.time.monotonic", lambda: clock)
    planned = plan.with_cell_first(plan.plan_launches((_config("first=1ms"),) * 4, seed=3), 2)

    def made(budget_s: float) -> list[int]:
        nonlocal clock
        cells = []
        for launch in launches_until(Stop(budget_s=budget_s, least=2), planned, _unread):
            cells.append(launch.cell)
            clock += 4
        return cells

    assert [2, 2, 3] == [len(made(budget_s)) for budget_s in (0, 11, 12)]
    assert 2 == made(0)[0]
    assert sorted(made(16)) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("noise", "blocks"), [("0%", LEAST_BLOCKS), pytest.param("30%", 8, marks=pytest.mark.slow)]
)
def test_narrow_intervals_stop_a_run_but_not_before_five_blocks(
    tmp_path: Path, noise: str, blocks: int
) -> None:
    """Launches without noise are narrow at once; with 30 % between them eight blocks do not reach 2 %."""
    config = _config(f"first=20ms,next=10ms,launch-noise={noise}")
    run = session.measure(
        [config, config],
        outputs=session.Outputs(folder=tmp_path),
        launcher=InlineLauncher(),
        stop=Stop(until=0.02),
    )

    assert blocks == finished_blocks(run)
    assert run.is_complete
