"""A run whose configurations have models of their own: every report tells which is which."""

import csv
import dataclasses
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from llmbench.analysis import report
from llmbench.analysis.comparison.compare import compare
from llmbench.analysis.comparison.differences import changes, mismatches
from llmbench.analysis.evaluation import evaluate
from llmbench.analysis.history import history_lines
from llmbench.errors import InputError
from llmbench.render import csv as csv_render
from llmbench.render import json as json_render
from llmbench.render.html.page import page
from llmbench.render.terminal.report import render_report
from llmbench.schema.run import Run
from llmbench.store import importers

BuildRun = Callable[..., Run]
FORMATS = ("int8", "int4")


@pytest.fixture
def sweep(story_of: BuildRun) -> Run:
    """Two IRs beside each other, two launches of each: the second takes half as long."""
    return _sweep(story_of, "models/tiny/pytorch/dldt")


def _sweep(story_of: BuildRun, folder: str, hashes: tuple[str, str] = ("ab" * 32, "cd" * 32)) -> Run:
    stories = (story_of(), story_of(0.5))
    cells, origins, launches = [], [], []
    for cell, (run, name, sha256) in enumerate(zip(stories, FORMATS, hashes, strict=True)):
        model = f"{folder}/{name.upper()}"
        cells.append(dataclasses.replace(run.cells[0], model=model, weight_format=name))
        origins.append(
            dataclasses.replace(run.provenance, path=model, weight_format=name, content_sha256=sha256)
        )
        for launch in run.launches:
            index = 2 * launch.index + cell
            made = tuple(dataclasses.replace(m, launch=index) for m in launch.measurements)
            launches.append(
                dataclasses.replace(launch, index=index, cell=cell, load_s=1.0 + cell, measurements=made)
            )
    return dataclasses.replace(
        stories[0],
        cells=tuple(cells),
        provenance=origins[0],
        origins=tuple(origins),
        launches=tuple(sorted(launches, key=lambda launch: -launch.index)),
    )


def test_weight_formats_stand_for_paths_of_irs_beside_each_other(sweep: Run) -> None:
    """Elsewhere, or without a format, or with the same one, the path is told."""

    def reported(*changed: dict[str, str | None]) -> list[dict[str, str]]:
        cells = [
            dataclasses.replace(cell, **each)  # type: ignore[arg-type]
            for cell, each in zip(sweep.cells, changed, strict=True)
        ]
        return [dict(found) for found in report.distinguish(cells)]

    assert [{"weight_format": "int8"}, {"weight_format": "int4"}] == reported({}, {})
    elsewhere = reported({}, {"model": "other/INT4"})
    assert [{"model", "weight_format"}] * 2 == [set(found) for found in elsewhere]
    assert [{"model"}] * 2 == [set(f) for f in reported({"weight_format": None}, {"weight_format": None})]
    assert [{"model"}] * 2 == [set(found) for found in reported({}, {"weight_format": "int8"})]


def test_a_run_of_several_models_is_called_by_the_folder_above_them(sweep: Run) -> None:
    """One without anything in common is called by all of them."""
    apart = dataclasses.replace(sweep.cells[1], model="/other/INT4")
    related = dataclasses.replace(sweep.cells[1], model="other/INT4")

    assert "models/tiny/pytorch/dldt" == sweep.model
    assert "models/tiny/pytorch/dldt/INT8" == dataclasses.replace(sweep, cells=sweep.cells[:1]).model
    for other in (apart, related):
        several = dataclasses.replace(sweep, cells=(sweep.cells[0], other))
        assert f"models/tiny/pytorch/dldt/INT8, {other.model}" == several.model


def test_the_table_has_a_column_of_weight_formats(sweep: Run) -> None:
    """And a title without one."""
    console = Console(width=100, file=io.StringIO(), color_system=None)
    render_report(report.summarize_run(sweep), console)
    shown = console.file.getvalue()  # type: ignore[attr-defined]

    assert "tiny: genai (paged attention)\n" in shown
    assert "weight_format" in shown
    assert ["int8", "int8", "int4", "int4"] == [
        line.split()[1] for line in shown.splitlines() if line.startswith("P")
    ]


def test_llm_bench_s_csv_tells_each_model_and_its_load_time(sweep: Run) -> None:
    """Name, precision, and on the first row of each the seconds that loading took, whichever ran first."""
    rows = list(csv.DictReader(io.StringIO(csv_render.llm_bench_csv(evaluate(sweep)))))

    loads = [(row["precision"], row["pretrain_time(s)"]) for row in rows if row["pretrain_time(s)"]]
    assert [("int4", "2.0"), ("int8", "1.0")] == loads
    assert {"tiny [weight_format=int8]", "tiny [weight_format=int4]"} == {row["model"] for row in rows}
    assert all(row["precision"] in row["model"] for row in rows)


def test_llm_bench_s_json_tells_of_which_configuration_a_result_is(sweep: Run, story_of: BuildRun) -> None:
    """What it has once is that of the first configuration: never an average over both."""
    content = json.loads(json_render.llm_bench_json(evaluate(sweep)))
    alone = json.loads(json_render.llm_bench_json(evaluate(story_of())))

    assert ("int8", 1.0) == (content["metadata"]["precision"], content["perfdata"]["compile_time"])
    assert {"int8", "int4"} == {result["precision"] for result in content["perfdata"]["results"]}
    assert all(result["precision"] in result["model"] for result in content["perfdata"]["results"])
    assert alone["perfdata"]["results_averaged"] == content["perfdata"]["results_averaged"]
    assert not any("model" in result for result in alone["perfdata"]["results"])


def test_llm_bench_s_layouts_of_a_sweep_are_not_read_as_one_configuration(sweep: Run, tmp_path: Path) -> None:
    """Their requests would be pooled."""
    (tmp_path / "a.csv").write_text(csv_render.llm_bench_csv(evaluate(sweep)))
    (tmp_path / "a.json").write_text(json_render.llm_bench_json(evaluate(sweep)))

    for path in tmp_path.iterdir():
        with pytest.raises(InputError, match="a second configuration, model 'tiny"):
            importers.read_report(path)


def test_a_tidy_round_trip_keeps_the_models_and_compares(sweep: Run, tmp_path: Path) -> None:
    """Each cell has its origin again, and pairs with its own weight format."""
    path = tmp_path / "tidy.csv"
    path.write_text(csv_render.tidy_csv(evaluate(sweep)))
    again = importers.read_report(path)
    found = compare(report.summarize_run(sweep), report.summarize_run(again))

    assert ["int8", "int4"] == [cell.weight_format for cell in again.cells]
    assert ["ab" * 32, "cd" * 32] == [again.origin_of(cell).content_sha256 for cell in range(2)]
    assert () == found.unpaired
    assert {1.0} == {change.ratio.ratio for pair in found.pairs for change in pair.changes}


def test_sweeps_pair_by_weight_format_wherever_their_irs_lie(sweep: Run, story_of: BuildRun) -> None:
    """And what changed in the second model's files is told, though the first one's are the same."""
    moved = _sweep(story_of, "/mnt/new", hashes=("ab" * 32, "ef" * 32))
    found = compare(report.summarize_run(sweep), report.summarize_run(moved))

    assert () == found.unpaired
    assert 4 == len(found.pairs)
    assert [("IR hash", "abababababab / cdcdcdcdcdcd", "abababababab / efefefefefef")] == [
        (each.name, each.base, each.candidate) for each in changes(sweep, moved)
    ]
    other = dataclasses.replace(moved.origins[1], source_id="example/other")
    strange = dataclasses.replace(moved, origins=(moved.origins[0], other))
    assert ["model"] == [each.name for each in mismatches(sweep, strange)]


def test_one_model_of_a_sweep_compares_with_a_run_of_its_own(sweep: Run) -> None:
    """The other one is listed as not compared."""
    alone = dataclasses.replace(
        sweep,
        cells=sweep.cells[:1],
        origins=(),
        launches=tuple(launch for launch in sweep.launches if launch.cell == 0),
    )
    found = compare(report.summarize_run(alone), report.summarize_run(sweep))

    assert ["int8", "int8"] == [pair.candidate.config.weight_format for pair in found.pairs]
    assert 2 == len(found.unpaired)
    assert all("weight_format=int4" in sentence for sentence in found.unpaired)


def test_each_model_has_a_line_of_history_and_a_name_on_the_page(sweep: Run) -> None:
    """Runs of one format continue the line of that format."""
    summarized = report.summarize_run(sweep)

    assert ["int4", "int8"] == sorted(
        line.setup.named["weight format"] for line in history_lines([summarized])
    )
    shown = page([summarized])
    assert "<title>tiny int8, tiny int4 on Example CPU 9000</title>" in shown.replace("&#x2F;", "/")


def test_an_unknown_origin_of_any_model_is_noted(sweep: Run) -> None:
    """Not of the first alone."""
    unknown = dataclasses.replace(sweep.origins[1], known=False)
    doubtful = dataclasses.replace(sweep, origins=(sweep.origins[0], unknown))

    assert "provenance of the model unknown" in report.summarize_run(doubtful).warnings
    assert "provenance of the model unknown" not in report.summarize_run(sweep).warnings
