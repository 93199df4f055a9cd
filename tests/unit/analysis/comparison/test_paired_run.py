import dataclasses
import random
from collections.abc import Callable

import pytest

from llmbench.analysis import stats
from llmbench.analysis.comparison.paired_run import (
    compare_sides,
    finished_blocks,
    flagged_prompts,
    flags,
    is_narrow,
    settle,
    split_sides,
)
from llmbench.analysis.comparison.rule import Rule, Verdict
from llmbench.errors import InputError
from llmbench.schema.config import RunConfig
from llmbench.schema.run import Launch, Outcome, Provenance, Run

BuildRun = Callable[..., Run]
DRIFT = (1.0, 1.5, 2.0, 1.2, 0.8)


@pytest.fixture
def trial_of(story_of: BuildRun) -> BuildRun:
    """Builds a run of two sides whose machine drifts wildly from block to block; B takes *factor* times as long."""

    def side(cell: int, factor: float, blocks: int) -> list[Launch]:
        run = story_of(factor, launches=blocks, noise=DRIFT)
        return [
            dataclasses.replace(
                launch,
                index=2 * launch.index + cell,
                cell=cell,
                block=launch.index,
                measurements=tuple(
                    dataclasses.replace(m, launch=2 * m.launch + cell) for m in launch.measurements
                ),
            )
            for launch in run.launches
        ]

    def build(factor: float = 1.0, *, blocks: int = 5, asked: int | None = None, **changes: object) -> Run:
        one = dataclasses.replace(story_of(launches=1).cells[0], launches=asked or blocks)
        other = dataclasses.replace(one, **changes)  # type: ignore[arg-type]
        launches = sorted(side(0, 1.0, blocks) + side(1, factor, blocks), key=lambda launch: launch.index)
        return dataclasses.replace(story_of(launches=1), cells=(one, other), launches=tuple(launches))

    return build


def test_a_side_is_a_run_of_one_configuration(trial_of: BuildRun) -> None:
    """Each has its configuration, its launches, its model's origin, and the versions of its workers."""
    run = trial_of(threads=2)
    origins = tuple(dataclasses.replace(run.provenance, weight_format=name) for name in ("int8", "int4"))
    launches = tuple(
        dataclasses.replace(
            each,
            environment=dataclasses.replace(
                run.environment, versions={"openvino": ("2026.3", "2026.4")[each.cell]}
            ),
        )
        for each in run.launches
    )

    base, candidate = split_sides(dataclasses.replace(run, origins=origins, launches=launches))

    assert [f"{run.id}:A", f"{run.id}:B"] == [base.id, candidate.id]
    assert [None, 2] == [side.cells[0].threads for side in (base, candidate)]
    assert [0, 2, 4, 6, 8] == [launch.index for launch in base.launches]
    assert {0} == {launch.cell for launch in candidate.launches}
    assert ["int8", "int4"] == [side.provenance.weight_format for side in (base, candidate)]
    assert ["2026.3", "2026.4"] == [side.environment.versions["openvino"] for side in (base, candidate)]


def test_what_is_not_two_sides_is_refused(story_of: BuildRun, trial_of: BuildRun) -> None:
    """One configuration has nothing to be compared with; launches without a block cannot be paired."""
    with pytest.raises(InputError, match="has 1 configuration; a comparison takes two"):
        split_sides(story_of())
    run = trial_of()
    loose = tuple(dataclasses.replace(launch, block=None) for launch in run.launches)
    with pytest.raises(InputError, match="does not record which of its launches form a block"):
        split_sides(dataclasses.replace(run, launches=loose))


def test_pairs_cancel_what_both_sides_suffer(trial_of: BuildRun) -> None:
    """Blocks that differ by a factor of two and a half; B is always 20 % slower to the first token."""
    got = compare_sides(trial_of(1.2))

    assert got.is_paired
    assert Verdict.REGRESSED is got.verdict
    assert pytest.approx(1.2, rel=1e-6) == got.means[0].changes[0].ratio.ratio
    assert (5, 5) == got.means[0].changes[0].launches
    assert "" == got.remark


@pytest.mark.parametrize(
    "changes", [{"output_tokens": 5}, {"batch_size": 2}, {"stop_at_eos": True}, {"num_beams": 2}]
)
def test_what_the_sides_differ_in_may_differ(trial_of: BuildRun, changes: dict[str, object]) -> None:
    """It was asked for; nothing else is lifted."""
    run = trial_of(1.2, **changes)

    assert all(pair.changes for pair in compare_sides(run).pairs)


def test_another_model_may_be_compared(trial_of: BuildRun) -> None:
    """Two source models, whose prompts have as many tokens as their tokenizers make of them."""
    run = trial_of()
    other = dataclasses.replace(run.provenance, source_id="example/other")

    got = compare_sides(dataclasses.replace(run, origins=(run.provenance, other)))

    assert {"model", "input_tokens"} == got.rule.vary
    assert Verdict.UNCHANGED is got.verdict


def test_the_rule_that_was_asked_for_holds(trial_of: BuildRun) -> None:
    """Thresholds come from the rule."""
    rule = Rule(error=0.01)

    assert 0.01 == compare_sides(trial_of(), rule).rule.error


def test_blocks_are_those_that_both_sides_finished(trial_of: BuildRun) -> None:
    """A block with a failed launch is none; the comparison says that fewer were made than asked for."""
    run = trial_of(asked=8)
    launches = tuple(
        dataclasses.replace(each, outcome=Outcome.FAILED) if each.index == 3 else each
        for each in run.launches
    )
    run = dataclasses.replace(run, launches=launches)

    assert 4 == finished_blocks(run)
    assert "Stopped early, after 4 of 8 blocks" == compare_sides(run).remark
    assert (4, 4) == compare_sides(run).means[0].changes[0].launches


def test_narrow_is_said_of_all_means(trial_of: BuildRun) -> None:
    """Pairs that never differ have no width; one block has no interval, so it is not narrow."""
    assert is_narrow(compare_sides(trial_of(1.2)), 0.001)
    assert not is_narrow(compare_sides(trial_of(1.2, blocks=1)), 0.5)


def test_narrow_is_a_reach_to_either_side(trial_of: BuildRun) -> None:
    """An interval from 0.99 to 1.01 times the ratio reaches 1.01 %, for 1 / 0.99 is 1.0101."""
    found = compare_sides(trial_of())
    reach = tuple(
        dataclasses.replace(
            mean,
            changes=tuple(
                dataclasses.replace(c, ratio=dataclasses.replace(c.ratio, ratio=1.0, low=0.99, high=1.01))
                for c in mean.changes
            ),
        )
        for mean in found.means
    )

    assert is_narrow(dataclasses.replace(found, means=reach), 0.0102)
    assert not is_narrow(dataclasses.replace(found, means=reach), 0.01)


def test_prompts_to_measure_again_are_those_of_alarms(trial_of: BuildRun) -> None:
    """An alarm of the mean flags all prompts, one of a row its own, none flags none."""
    found = compare_sides(trial_of(1.2))
    every = {pair.base.prompt.sha256 for pair in found.pairs}
    calm = tuple(
        dataclasses.replace(mean, changes=tuple(dataclasses.replace(c, is_alarm=False) for c in mean.changes))
        for mean in found.means
    )
    quiet = dataclasses.replace(found.pairs[1], changes=())

    assert every == flagged_prompts(found)
    one = dataclasses.replace(found, means=calm, pairs=(found.pairs[0], quiet))
    assert {found.pairs[0].base.prompt.sha256} == flagged_prompts(one)
    assert frozenset() == flagged_prompts(compare_sides(trial_of()))


def test_an_alarm_that_is_seen_again_stands(trial_of: BuildRun) -> None:
    """The same rows and metrics, in both comparisons."""
    first, again = settle(compare_sides(trial_of(1.2)), compare_sides(trial_of(1.2)))

    assert [flag for flag, c in flags(first) if c.is_alarm] == [
        flag for flag, c in flags(again) if c.is_alarm
    ]
    assert (Verdict.REGRESSED, Verdict.REGRESSED) == (first.verdict, again.verdict)
    assert "Confirmed on 5 fresh blocks" == again.remark


def test_an_alarm_that_is_not_seen_again_falls(trial_of: BuildRun) -> None:
    """Nothing is alarming any more, in either comparison."""
    first, again = settle(compare_sides(trial_of(1.2)), compare_sides(trial_of(asked=6)))

    assert ((), ()) == (first.alarms, again.alarms)
    assert "Not confirmed on 5 fresh blocks. Stopped early, after 5 of 6 blocks" == again.remark


def test_what_was_no_alarm_does_not_become_one(trial_of: BuildRun) -> None:
    """The second go confirms; it accuses of nothing new."""
    _, again = settle(compare_sides(trial_of()), compare_sides(trial_of(1.2)))

    assert () == again.alarms


def test_a_configuration_is_not_changed_by_its_name(trial_of: BuildRun) -> None:
    """Two paths of the same model are the same model."""
    run = trial_of(model="elsewhere/tiny")

    assert isinstance(run.cells[1], RunConfig)
    assert Provenance(path="a") != run.origin_of(1)
    assert run.provenance == run.origin_of(1)
    assert frozenset() == compare_sides(run).rule.vary


def test_stopping_at_a_width_costs_little() -> None:
    """A/A trials that may stop from five blocks on: few intervals miss 1, and fewer still are alarms."""
    draw = random.Random(3)  # noqa: S311  a seeded stream, not a secret
    missed = alarms = 0
    for _ in range(1000):
        logs = [draw.gauss(0, 0.025) for _ in range(20)]
        ratios = (stats.paired_ratio([0.0] * n, logs[:n]) for n in range(5, 21))
        ratio = next((r for r in ratios if max(r.high / r.ratio, r.ratio / r.low) <= 1.02), None)
        if ratio is not None:
            missed += ratio.low > 1 or ratio.high < 1
            alarms += ratio.ratio > 1.03 and (ratio.p or 1.0) <= Rule().mean_error(1)

    assert missed < 90
    assert alarms <= 5
