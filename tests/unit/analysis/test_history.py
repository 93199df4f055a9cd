import dataclasses
from collections.abc import Callable, Sequence

import pytest

from llmbench.analysis import history
from llmbench.analysis.comparison.rule import Verdict
from llmbench.analysis.report import Report, summarize_run
from llmbench.render import views
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.measurement import Measurement
from llmbench.schema.run import Launch, Provenance, Run

Build = Callable[..., Measurement]
BuildLaunch = Callable[..., Launch]
BuildRun = Callable[..., Run]
MakeReport = Callable[..., Report]
PROMPTS = tuple(Prompt(set="s", index=i, tokens=n) for i, n in enumerate((32, 128)))
CONFIG = RunConfig(model="models/tiny", prompts=PROMPTS, output_tokens=3)


@pytest.fixture
def report_of(request_of: Build, launch_of: BuildLaunch, run_of: BuildRun) -> MakeReport:
    """Builds the report of a day's run from the first-token times of its prompts, by launch."""

    def build(day: int, launches: Sequence[Sequence[float]], **fields: object) -> Report:
        made = [
            launch_of(
                [
                    request_of(
                        [ms, ms + 12, ms + 22], launch=index, prompt=prompt, input_tokens=(32, 128)[prompt]
                    )
                    for prompt, ms in enumerate(firsts)
                ],
                index=index,
            )
            for index, firsts in enumerate(launches)
        ]
        values: dict[str, object] = {
            "id": f"day{day}",
            "started_at": f"2026-01-{day:02d}T03:04:00+00:00",
            "cells": (CONFIG,),
        }
        return summarize_run(run_of(made, **(values | fields)))

    return build


def test_a_line_is_one_setup_oldest_first(report_of: MakeReport) -> None:
    """Runs given in any order stand in the order of their dates."""
    (line,) = history.history_lines(report_of(day, [[100, 200]]) for day in (3, 1, 2))

    assert ["day1", "day2", "day3"] == [entry.report.run.id for entry in line.entries]
    assert "Example CPU 9000" == line.setup.named["CPU"]


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        ({"model": "elsewhere/tiny"}, 1),
        ({"launches": 5, "iterations": 3, "warmups": 2}, 1),
        ({"interpreter": "/elsewhere/bin/python"}, 1),
        ({"threads": 1}, 2),
        ({"properties": {"NUM_STREAMS": 2}}, 2),
        ({"prompts": PROMPTS[:1]}, 2),
    ],
)
def test_what_is_measured_sets_lines_apart(
    report_of: MakeReport, changes: dict[str, object], lines: int
) -> None:
    """Where the files lie and how often they were measured does not; settings and prompts do."""
    other = dataclasses.replace(CONFIG, **changes)  # type: ignore[arg-type]

    found = history.history_lines([report_of(1, [[100]]), report_of(2, [[100]], cells=(other,))])

    assert lines == len(found)


def test_versions_and_files_are_what_changes_along_a_line(report_of: MakeReport) -> None:
    """Another engine and another conversion of the same model stay in the line; another model does not."""
    before = report_of(1, [[100, 200]])
    environment = dataclasses.replace(before.run.environment, versions={"openvino": "2027.0"}, kernel="7.0")
    again = Provenance(path="x", known=True, source_id="example/tiny", content_sha256="cd" * 32)
    other = Provenance(path="x", known=True, source_id="example/other")

    after = report_of(2, [[100, 200]], environment=environment, provenance=again)
    apart = report_of(3, [[100, 200]], provenance=other)

    assert [1, 2] == [len(line.entries) for line in history.history_lines([before, after, apart])]


def test_another_machine_is_another_line(report_of: MakeReport) -> None:
    """The CPU model and the number of CPUs that may be used both count."""
    before = report_of(1, [[100, 200]])
    environment = before.run.environment
    other = dataclasses.replace(environment, cpu_model="Example CPU 9001")
    fewer = dataclasses.replace(environment, topology=dataclasses.replace(environment.topology, allowed=(0,)))

    found = history.history_lines(
        [before, report_of(2, [[100]], environment=other), report_of(3, [[100]], environment=fewer)]
    )

    assert ["day3", "day2", "day1"] == [line.entries[0].report.run.id for line in found]


def test_the_cells_of_a_sweep_are_lines_of_their_own(report_of: MakeReport) -> None:
    """A sweep of two thread counts, then a run of one of them: that one has a line of two."""
    cells = tuple(dataclasses.replace(CONFIG, threads=threads) for threads in (1, 2))
    sweep = report_of(1, [[100, 200]], cells=cells)
    single = report_of(2, [[100, 200]], cells=cells[:1])

    found = {
        line.setup.named["threads"]: len(line.entries) for line in history.history_lines([sweep, single])
    }

    assert {"1": 2, "2": 1} == found


def test_a_track_is_one_prompts_metric(report_of: MakeReport) -> None:
    """Two prompts, two runs: first tokens of 100, 110 ms and 200, 190 ms."""
    (line,) = history.history_lines([report_of(1, [[100, 200]]), report_of(2, [[110, 190]])])

    first, second = history.tracks(line, ["first_token"])

    assert (32, 128) == (first.input_tokens, second.input_tokens)
    assert pytest.approx([0.100, 0.110]) == [point.median for point in first.points if point]
    assert pytest.approx([0.200, 0.190]) == [point.median for point in second.points if point]


def test_a_run_without_a_prompt_leaves_a_hole(report_of: MakeReport) -> None:
    """The second run failed before its second prompt: that track has a hole, and the run no mean."""
    (line,) = history.history_lines([report_of(1, [[100, 200]]), report_of(2, [[110]])])

    _, second = history.tracks(line, ["first_token"])

    assert second.points[0] is not None
    assert second.points[1] is None
    assert not line.entries[1].is_green


def test_a_metric_that_no_run_has_is_no_track(report_of: MakeReport) -> None:
    """Nobody timed the tokenizer."""
    (line,) = history.history_lines([report_of(1, [[100, 200]])])

    assert () == history.tracks(line, ["tokenize"])


def test_the_mean_is_geometric_over_prompts_and_launches(report_of: MakeReport) -> None:
    """Prompts of 100 and 400 ms make 200; a second launch of 121 and 484 makes 242; both make 220."""
    (line,) = history.history_lines([report_of(1, [[100, 400], [121, 484]])])

    found = history.mean(line.entries[0], "first_token")

    assert found is not None
    assert pytest.approx(0.220) == found.median
    assert 2 == found.n


def test_a_step_is_judged_against_the_last_green_run(report_of: MakeReport) -> None:
    """100 ms, then a run cut short at 300 ms, then 110 ms: both are held against the first."""
    quiet = [[100, 100], [100.1, 100.1], [99.9, 99.9]]
    slower = [[ms * 1.1 for ms in firsts] for firsts in quiet]
    cut = [[ms * 3 for ms in firsts] for firsts in quiet]

    (line,) = history.history_lines(
        [report_of(1, quiet), report_of(2, cut, is_complete=False), report_of(3, slower)]
    )
    none, second, third = history.steps(line, "first_token")

    assert none is None
    assert second is not None
    assert third is not None
    assert pytest.approx([3.0, 1.1]) == [second.ratio.ratio, third.ratio.ratio]
    assert Verdict.REGRESSED is third.verdict


def test_a_rate_has_no_verdict(report_of: MakeReport) -> None:
    """Where more is better nothing is judged."""
    (line,) = history.history_lines([report_of(day, [[100, 100]]) for day in (1, 2)])

    assert (None, None) == history.steps(line, "decode_rate")


def test_the_baseline_is_the_last_green_run_of_the_same(report_of: MakeReport) -> None:
    """Not the candidate, not a later run, not one cut short, not one of other settings: day 2."""
    other = dataclasses.replace(CONFIG, threads=1)
    stored = [
        report_of(1, [[100, 200]]),
        report_of(2, [[100, 200]]),
        report_of(3, [[100, 200]], is_complete=False),
        report_of(4, [[100, 200]], cells=(other,)),
        report_of(5, [[100, 200]]),
        report_of(6, [[100, 200]]),
    ]

    found = history.baseline(stored[4], stored)

    assert found is not None
    assert "day2" == found.run.id


def test_there_may_be_no_baseline(report_of: MakeReport) -> None:
    """The first run has nothing before it."""
    only = report_of(1, [[100, 200]])

    assert history.baseline(only, [only]) is None


def test_a_script_is_what_a_build_does(report_of: MakeReport) -> None:
    """Two scripts of the scripted engine are one line, as two builds of an engine would be."""
    cells = [
        (RunConfig(model=f"first={ms}ms", engine="scripted", prompts=PROMPTS, output_tokens=3),)
        for ms in (50, 60)
    ]

    found = history.history_lines(
        report_of(
            day,
            [[100, 200]],
            cells=cell,
            provenance=Provenance(path="x", known=True, source_id=cell[0].model),
        )
        for day, cell in enumerate(cells, start=1)
    )

    assert [2] == [len(line.entries) for line in found]


def _levels(report_of: MakeReport, firsts: Sequence[float]) -> history.HistoryLine:
    reports = [report_of(day, [[ms, 200]]) for day, ms in enumerate(firsts, 1)]
    (line,) = history.history_lines(reports)
    return line


def test_a_change_of_level_has_both_runs_and_what_it_rests_on(report_of: MakeReport) -> None:
    """Six runs at 100 ms, six at 121: the mean over two prompts rises by the root of 1.21."""
    line = _levels(report_of, [100.0] * 6 + [121.0] * 6)

    (found,) = history.level_changes(line, "first_token")

    assert ("day6", "day7") == (found.before.report.run.id, found.after.report.run.id)
    assert ((6, 6), True, None) == (found.runs, found.is_regression, found.note)
    assert 1.1 == pytest.approx(found.ratio.ratio)


def test_an_accepted_change_alarms_no_more_and_begins_a_new_baseline(report_of: MakeReport) -> None:
    """It is shown with its note; a later change is measured from it, and alarms."""
    line = _levels(report_of, [100.0] * 4 + [121.0] * 8 + [150.0] * 6)

    accepted, later = history.level_changes(line, "first_token", {"day5": "a safer kernel"})

    assert ("a safer kernel", False) == (accepted.note, accepted.is_regression)
    assert ("day13", (8, 6), True) == (later.after.report.run.id, later.runs, later.is_regression)


def test_runs_that_are_not_green_are_no_part_of_a_level(report_of: MakeReport) -> None:
    """A run that was cut short is left out, whatever it measured."""
    reports = [report_of(day, [[100.0, 200]], is_complete=day % 2 == 0) for day in range(1, 21)]
    (line,) = history.history_lines(reports)

    assert () == history.level_changes(line, "first_token")


def test_a_run_that_is_not_valid_is_shown_with_a_mark_and_counts_for_nothing(report_of: MakeReport) -> None:
    """Prompts of 100 and 400 ms, nothing of which counts: 200, which is compared with nothing."""
    good = report_of(1, [[100, 400]])
    launches = tuple(
        dataclasses.replace(
            launch,
            measurements=tuple(dataclasses.replace(m, suspicions=("odd",)) for m in launch.measurements),
        )
        for launch in good.run.launches
    )
    (line,) = history.history_lines([summarize_run(dataclasses.replace(good.run, launches=launches))])
    (entry,) = line.entries
    table = views.history_table(line, ["first_token"])
    cells = {column.name: cell.text for column, cell in zip(table.columns, table.rows[0], strict=True)}

    assert history.mean(entry, "first_token") is None
    assert "200.0!" == cells["first_token"]


def test_both_sides_that_were_measured_in_turns_have_names_of_their_own(report_of: MakeReport) -> None:
    """The same build and settings under two interpreters are one line; its entries are A and B."""
    cells = tuple(dataclasses.replace(CONFIG, interpreter=python) for python in ("old", "new"))
    run = report_of(1, [[100, 200]], cells=cells).run
    launches = tuple(
        dataclasses.replace(run.launches[0], index=side, cell=side, block=0) for side in range(2)
    )
    (line,) = history.history_lines([summarize_run(dataclasses.replace(run, launches=launches))])

    assert ["day1:A", "day1:B"] == [entry.name for entry in line.entries]
