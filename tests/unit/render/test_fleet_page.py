"""The page of a fleet: a verdict, hosts, and figures whose configurations are those of all hosts together."""

import dataclasses

from llmbench.analysis.fleet import HostResult, summarize_fleet
from llmbench.analysis.report import summarize_run
from llmbench.render.html.document import Figures
from llmbench.render.html.fleet import fleet_page, fleet_value
from llmbench.render.terminal.fleet import figure_table
from tests.builders import comparison_of, story_of


def _shared_out(*sizes: int) -> list[HostResult]:
    """A host per batch size, as a sweep that was shared out leaves them."""
    run = story_of()
    return [
        HostResult(
            host=f"n{number}",
            report=summarize_run(
                dataclasses.replace(run, cells=(dataclasses.replace(run.cells[0], batch_size=size),))
            ),
            fingerprint={"CPU": "one"},
        )
        for number, size in enumerate(sizes, start=1)
    ]


def test_hosts_that_measured_different_configurations_are_not_one_line() -> None:
    """Each is the first of its own host, and none of the other's."""
    report = summarize_fleet(_shared_out(1, 2, 1), ("first_token",))

    found = {(line.settings["batch_size"], *line.values) for line in report.lines}
    assert {("1", "n1", "n3"), ("2", "n2")} == found
    rows = {(row[1].text, row[3].text) for row in figure_table(report).rows}
    assert {("batch_size=1", "n1"), ("batch_size=1", "n3"), ("batch_size=2", "n2")} == rows


def test_the_rows_of_two_sides_say_which_they_are() -> None:
    """A and B of each host, whatever sets them apart and however long that is."""
    run = story_of()
    cells = tuple(dataclasses.replace(run.cells[0], threads=threads) for threads in (1, 2))
    comparison = comparison_of("regressed")
    hosts = [
        HostResult(
            host=name, report=summarize_run(dataclasses.replace(run, cells=cells)), comparison=comparison
        )
        for name in ("n1", "n2")
    ]

    assert "side=A" == figure_table(summarize_fleet(hosts, ("first_token",))).rows[0][1].text


def test_a_copy_of_the_model_is_the_same_model() -> None:
    """Wherever a host keeps it: the hash of its content and its name are the same."""
    homes, (host, _) = ("/root", "/home/a"), _shared_out(1, 1)
    assert host.report is not None
    run = host.report.run
    cells = [
        dataclasses.replace(run.cells[0], model=f"{home}/.cache/llmbench/fleet/12ab/INT8") for home in homes
    ]
    copies = [
        dataclasses.replace(host, host=home, report=summarize_run(dataclasses.replace(run, cells=(cell,))))
        for home, cell in zip(homes, cells, strict=True)
    ]

    assert {homes} == {tuple(line.values) for line in summarize_fleet(copies, ("first_token",)).lines}


def test_the_page_has_the_verdict_first_and_a_plot_per_metric() -> None:
    """A point per host and the mean of all; without a comparison there is no verdict."""
    hosts = _shared_out(1, 1, 1)
    plain = fleet_value(summarize_fleet(hosts), "rack")
    judged = [dataclasses.replace(each, comparison=comparison_of("regressed")) for each in hosts]
    value = fleet_value(summarize_fleet(judged), "rack")

    assert ("rack: 3 hosts", ()) == (plain.title, plain.sections[0].blocks)
    assert ("regressed", "bad") in value.badges
    (figures,) = (block for block in value.sections[0].blocks if isinstance(block, Figures))
    assert {4} == {sum(len(marks.points) for marks in figure.marks) for figure in figures.figures}
    assert "3 of 3 hosts slower" in fleet_page(summarize_fleet(judged), "rack")
