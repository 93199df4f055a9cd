import dataclasses
from collections.abc import Callable

import pytest

from llmbench.analysis import report
from llmbench.analysis.comparison.compare import Comparison, compare
from llmbench.analysis.comparison.rule import Verdict
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.measurement import Conditions, Measurement
from llmbench.schema.run import Launch, Run

Build = Callable[..., Measurement]
BuildLaunch = Callable[..., Launch]
BuildRun = Callable[..., Run]
QUIET = (1.0, 1.001, 0.999)


def compared(base: Run, candidate: Run, **options: object) -> Comparison:
    """Two runs, summarised and compared."""
    return compare(report.summarize_run(base), report.summarize_run(candidate), **options)  # type: ignore[arg-type]


def verdicts(comparison: Comparison, metric: str) -> list[str]:
    """The verdicts of a metric, prompt by prompt."""
    return [c.verdict.value for pair in comparison.pairs for c in pair.changes if c.metric == metric]


def test_pairs_are_made_by_block(story_of: BuildRun) -> None:
    """Launches 0, 2, 4 of one side and 1, 3, 5 of the other, made in turns: blocks 0, 1, 2 belong together."""
    drift = (1.0, 1.5, 2.0)

    def side(factor: float, offset: int) -> Run:
        run = story_of(factor, launches=3, noise=drift)
        launches = tuple(
            dataclasses.replace(
                launch,
                index=2 * launch.index + offset,
                block=launch.index,
                measurements=tuple(
                    dataclasses.replace(m, launch=2 * m.launch + offset) for m in launch.measurements
                ),
            )
            for launch in run.launches
        )
        return dataclasses.replace(run, launches=launches)

    got = compared(side(1.0, 0), side(1.1, 1), is_paired=True)

    assert (3, 3) == got.means[0].changes[0].launches
    assert Verdict.REGRESSED is got.verdict
    assert Verdict.INCONCLUSIVE is compared(side(1.0, 0), side(1.1, 1)).verdict


def test_the_same_run_twice_is_unchanged(story_of: BuildRun) -> None:
    """Nothing moved: every row within its threshold, no alarm, nothing changed."""
    got = compared(story_of(launches=3, noise=QUIET), story_of(launches=3, noise=QUIET))

    assert Verdict.UNCHANGED is got.verdict
    assert ((), ()) == (got.alarms, got.changes)
    assert ["unchanged"] * 2 == verdicts(got, "first_token")


def test_a_slower_candidate_regresses(story_of: BuildRun) -> None:
    """First tokens 20 % slower: their rows and their mean regress; the gaps between tokens did not move."""
    got = compared(story_of(launches=3, noise=QUIET), story_of(1.2, launches=3, noise=QUIET))

    assert Verdict.REGRESSED is got.verdict
    assert ["regressed"] * 2 == verdicts(got, "first_token")
    assert ["unchanged"] * 2 == verdicts(got, "tpot")
    (mean,) = got.means
    assert 2 == mean.prompts
    assert pytest.approx(1.2, rel=1e-9) == mean.changes[0].ratio.ratio
    assert {"first_token", "e2e"} == {alarm.metric for alarm in got.alarms}


def test_a_faster_candidate_improves(story_of: BuildRun) -> None:
    """20 % faster is improved, and no alarm."""
    got = compared(story_of(launches=3, noise=QUIET), story_of(0.8, launches=3, noise=QUIET))

    assert (Verdict.IMPROVED, ()) == (got.verdict, got.alarms)


def test_the_mean_is_geometric(request_of: Build, launch_of: BuildLaunch, run_of: BuildRun) -> None:
    """One prompt takes 1.5 times, the other 1 / 1.5: their mean did not change."""
    prompts = tuple(Prompt(set="s", index=i, text=f"Hello {i}") for i in range(2))
    cells = (RunConfig(model="m", prompts=prompts, output_tokens=2),)

    def run(*firsts: float) -> Run:
        return run_of(
            [
                launch_of(
                    [request_of([ms, ms + 10], prompt=i, launch=n) for i, ms in enumerate(firsts)], index=n
                )
                for n in range(3)
            ],
            cells=cells,
        )

    got = compared(run(100, 1000), run(150, 1000 / 1.5))

    assert pytest.approx(1.0, abs=1e-6) == got.means[0].changes[0].ratio.ratio
    assert Verdict.REGRESSED is got.verdict  # a single row says so, beyond any doubt


@pytest.mark.parametrize("launches", [(1, 1), (1, 3), (3, 1)])
def test_one_launch_a_side_is_always_inconclusive(story_of: BuildRun, launches: tuple[int, int]) -> None:
    """However large the change, one launch says nothing about noise; the ratio is shown."""
    got = compared(story_of(launches=launches[0]), story_of(3.0, launches=launches[1]))

    assert Verdict.INCONCLUSIVE is got.verdict
    assert {"inconclusive"} == {*verdicts(got, "first_token"), *verdicts(got, "tpot")}
    assert 2.9 < got.pairs[0].changes[0].ratio.ratio < 3.1


def test_unequal_launches_are_compared(story_of: BuildRun) -> None:
    """Three against two launches is Welch's case."""
    got = compared(story_of(launches=3, noise=QUIET), story_of(1.5, launches=2, noise=QUIET))

    assert (3, 2) == got.pairs[1].changes[0].launches
    assert Verdict.REGRESSED is got.verdict


def test_identical_values_are_defined(story_of: BuildRun) -> None:
    """Where nothing varies at all, the same is unchanged and anything beyond the threshold is not."""
    same = (1.0,)

    assert Verdict.UNCHANGED is compared(story_of(noise=same), story_of(noise=same)).verdict
    assert Verdict.REGRESSED is compared(story_of(noise=same), story_of(1.2, noise=same)).verdict


def test_a_run_that_is_not_valid_convicts_nobody(story_of: BuildRun) -> None:
    """More than half of the candidate's requests beside a neighbour: undecided, whatever they show."""
    noisy = Conditions(wall_s=1.0, cpus=2, worker_s=1.0, interference_s=0.8)
    slow = story_of(2.0, launches=3, noise=QUIET)
    launches = tuple(
        dataclasses.replace(
            launch,
            measurements=tuple(
                dataclasses.replace(m, conditions=noisy) if m.iteration == 1 or m.prompt else m
                for m in launch.measurements
            ),
        )
        for launch in slow.launches
    )

    got = compared(story_of(launches=3, noise=QUIET), dataclasses.replace(slow, launches=launches))

    assert (Verdict.INCONCLUSIVE, ()) == (got.verdict, got.alarms)
    assert not got.is_clean


def without_invalid(run: Run) -> Run:
    """A story whose every request counts."""
    launches = tuple(
        dataclasses.replace(
            launch, measurements=tuple(dataclasses.replace(m, conditions=None) for m in launch.measurements)
        )
        for launch in run.launches
    )
    return dataclasses.replace(run, launches=launches)


def test_clean_is_decided_whole_and_valid(story_of: BuildRun) -> None:
    """A single invalid request on either side, or a row undecided, is not clean."""
    dirty = story_of(launches=3, noise=QUIET)
    clean = without_invalid(dirty)

    assert compared(clean, clean).is_clean
    assert not compared(dirty, clean).is_clean
    assert not compared(clean, dirty).is_clean
    assert not compared(without_invalid(story_of(launches=1)), clean).is_clean


def test_a_mean_needs_a_quarter_of_the_error(story_of: BuildRun) -> None:
    """+6 % with p = 0.018: regressed at 5 %, but no alarm at 1.25 %; without that noise it is one."""
    noise = (1 - 0.019, 1.0, 1 + 0.019)
    doubtful = compared(story_of(launches=3, noise=noise), story_of(1.06, launches=3, noise=noise))
    sure = compared(story_of(launches=3, noise=QUIET), story_of(1.06, launches=3, noise=QUIET))

    (first, _) = doubtful.means[0].changes
    assert first.ratio.p is not None
    assert 0.0125 < first.ratio.p < 0.025
    assert Verdict.REGRESSED is first.verdict
    assert (False, Verdict.INCONCLUSIVE) == (first.is_alarm, doubtful.verdict)
    assert sure.means[0].changes[0].is_alarm
