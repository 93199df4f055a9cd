"""Reports and comparisons of what cannot be, or cannot be compared."""

import csv
import dataclasses
import io
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from llmbench.schema.measurement import Finish, Measurement
from llmbench.schema.run import Run as WholeRun

from .conftest import SCRIPTED, write_run

Run = Callable[..., subprocess.CompletedProcess[str]]
Story = Callable[..., WholeRun]

row_23 = pytest.mark.fault(23, "output counts differ between base and candidate")
row_24 = pytest.mark.fault(24, "NaN, infinite, negative or zero latency in a file")
row_35 = pytest.mark.fault(35, "CPU or source model differ in a comparison; no common prompt")
row_36 = pytest.mark.fault(36, "one launch, unequal launches, identical values")
row_37 = pytest.mark.fault(37, "baseline missing in CI")

COMPARE = ("report", "compare", "base.jsonl", "cand.jsonl")


def _words(text: str) -> str:
    """A text whose lines are not broken."""
    return " ".join(text.split())


def _ending_early(m: Measurement) -> Measurement:
    """A request of the second prompt that the model ended a token before the last."""
    if m.prompt == 0:
        return m
    sequences = tuple(dataclasses.replace(s, at_ns=s.at_ns[:-1], finish=Finish.STOP) for s in m.sequences)
    return dataclasses.replace(m, sequences=sequences, infer_ns=())


def _changed(run: WholeRun, change: Callable[[Measurement], Measurement], **config: object) -> WholeRun:
    """A run with each of its requests changed."""
    launches = tuple(
        dataclasses.replace(launch, measurements=tuple(map(change, launch.measurements)))
        for launch in run.launches
    )
    cells = tuple(dataclasses.replace(cell, **config) for cell in run.cells)  # type: ignore[arg-type]
    return dataclasses.replace(run, launches=launches, cells=cells)


@row_23
def test_row_23_rows_of_other_output_counts_are_not_compared(
    llmbench: Run, story_of: Story, tmp_path: Path
) -> None:
    """One of two rows: exit 0, reported with both counts; 3 with --strict."""
    base = _changed(story_of(launches=3), lambda m: m, stop_at_eos=True)
    write_run(base, tmp_path / "base.jsonl")
    write_run(_changed(base, _ending_early), tmp_path / "cand.jsonl")
    done = llmbench(*COMPARE)

    assert done.returncode == 0, done.stderr
    assert "output tokens: 4 against 3" in _words(done.stdout)
    assert llmbench(*COMPARE, "--strict").returncode == 3


@row_24
@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "-1.0", "0", "1e999", "fast"])
@pytest.mark.parametrize("layout", ["tidy", "llm-bench"])
def test_row_24_a_latency_that_cannot_be_names_its_row(
    llmbench: Run, story_of: Story, tmp_path: Path, *, layout: str, value: str
) -> None:
    """Exit 2, with file, line and column."""
    write_run(story_of(), tmp_path / "x.jsonl")
    assert llmbench("report", "csv", "x.jsonl", "--layout", layout, "-o", "x.csv").returncode == 0
    column = "first_token_ms" if layout == "tidy" else "1st_latency(ms)"
    rows = list(csv.DictReader(io.StringIO((tmp_path / "x.csv").read_text())))
    rows[2][column] = value
    with (tmp_path / "x.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    done = llmbench("report", "show", "x.csv")

    assert done.returncode == 2, done.stdout
    assert f"x.csv:4: {column} is '{value}'" in done.stderr


@row_24
@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "-5", "1e999"])
def test_row_24_an_instant_that_cannot_be_names_its_line(
    llmbench: Run, story_of: Story, tmp_path: Path, value: str
) -> None:
    """A run file's instants are whole numbers of nanoseconds that run forwards; anything else is damage, exit 2."""
    write_run(story_of(), tmp_path / "x.jsonl")
    lines = (tmp_path / "x.jsonl").read_text().splitlines()
    lines[3] = lines[3].replace('"at_ns":[', f'"at_ns":[{value},', 1)
    (tmp_path / "x.jsonl").write_text("\n".join(lines) + "\n")
    done = llmbench("report", "show", "x.jsonl")

    assert done.returncode == 2, done.stdout
    assert "x.jsonl:4: damaged line" in done.stderr


@row_24
@pytest.mark.parametrize("layout", ["report", "llm-bench"])
def test_row_24_json_never_has_a_nan(llmbench: Run, layout: str) -> None:
    """Requests without a second token, and rows without an interval, are null: any JSON reader takes it."""
    llmbench("run", "-m", "first=20ms", *SCRIPTED, "-n", "2", "-ic", "1", "--name", "x")
    done = llmbench("report", "json", "reports/x.jsonl", "--layout", layout)

    def refuse(name: str) -> None:
        pytest.fail(f"{name} in JSON")

    assert json.loads(done.stdout, parse_constant=refuse)


@row_35
@pytest.mark.parametrize(("what", "can_vary"), [("cpu", False), ("model", True)])
def test_row_35_another_cpu_or_model_is_a_table_of_differences(
    llmbench: Run, story_of: Story, tmp_path: Path, *, what: str, can_vary: bool
) -> None:
    """Exit 2; --vary lifts a model, and never the CPU."""
    base = story_of(launches=3)
    cand = dataclasses.replace(
        base,
        environment=dataclasses.replace(base.environment, cpu_model="Another CPU")
        if what == "cpu"
        else base.environment,
        provenance=dataclasses.replace(base.provenance, source_id="another/model")
        if what == "model"
        else base.provenance,
    )
    write_run(base, tmp_path / "base.jsonl")
    write_run(cand, tmp_path / "cand.jsonl")
    done = llmbench(*COMPARE)

    assert done.returncode == 2
    both = ("Example CPU 9000", "Another CPU") if what == "cpu" else ("example/tiny", "another/model")
    assert all(part in done.stdout + done.stderr for part in both)
    assert (0 if can_vary else 2) == llmbench(*COMPARE, "--vary", what).returncode


@row_35
def test_row_35_without_a_common_prompt_nothing_is_compared(llmbench: Run) -> None:
    """Exit 2, and the prompts of either side are listed."""
    for name, text in (("base", "one"), ("cand", "two")):
        run = ("run", "-m", "first=20ms", *SCRIPTED, "-n", "2", "-ic", "4", "-p", text, "--output-dir", ".")
        assert llmbench(*run, "--name", name).returncode == 0
    done = llmbench(*COMPARE)

    assert done.returncode == 2
    assert "is in the base only" in _words(done.stdout + done.stderr)
    assert "is in the candidate only" in _words(done.stdout + done.stderr)


@row_36
@pytest.mark.parametrize(("base", "cand"), [(1, 1), (1, 5)])
def test_row_36_one_launch_is_inconclusive_and_shows_what_is_needed(
    llmbench: Run, story_of: Story, tmp_path: Path, *, base: int, cand: int
) -> None:
    """Exit 0 though it is twice as slow, for nothing is known of launches; 3 with --strict."""
    write_run(story_of(launches=base), tmp_path / "base.jsonl")
    write_run(story_of(2.0, launches=cand), tmp_path / "cand.jsonl")
    done = llmbench(*COMPARE, "--fail-on-regression")

    assert done.returncode == 0, done.stderr
    assert "Undecided: first token" in done.stdout
    assert "measure both sides with 5 launches" in _words(done.stdout)
    assert llmbench(*COMPARE, "--strict").returncode == 3


@row_36
@pytest.mark.parametrize(("factor", "code"), [(1.0, 0), (1.2, 1)])
def test_row_36_identical_values_and_unequal_launches_are_defined(
    llmbench: Run, story_of: Story, tmp_path: Path, *, factor: float, code: int
) -> None:
    """Three launches against six without any spread: the same is unchanged, a fifth more is a regression."""
    write_run(story_of(launches=3, noise=(1.0,)), tmp_path / "base.jsonl")
    write_run(story_of(factor, launches=6, noise=(1.0,)), tmp_path / "cand.jsonl")
    done = llmbench(*COMPARE, "--fail-on-regression")

    assert code == done.returncode, done.stdout + done.stderr
    assert "nan" not in done.stdout.lower()
    assert "Traceback" not in done.stderr


@row_37
@pytest.mark.parametrize(
    "options",
    [
        ("--baseline", "latest", "cand.jsonl"),
        ("--baseline", "no-such-run", "cand.jsonl"),
        ("base.jsonl", "cand.jsonl"),
    ],
)
def test_row_37_a_missing_baseline_is_never_green(
    llmbench: Run, story_of: Story, tmp_path: Path, options: tuple[str, ...]
) -> None:
    """Exit 2, whatever else was requested."""
    write_run(story_of(launches=3), tmp_path / "cand.jsonl")
    (tmp_path / "reports").mkdir()
    done = llmbench("report", "compare", *options, "--fail-on-regression")

    assert done.returncode == 2, done.stdout
    assert "error: " in done.stderr
