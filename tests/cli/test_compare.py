import dataclasses
import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from llmbench.analysis.comparison.rule import COMPARED
from llmbench.analysis.evaluation import evaluate
from llmbench.cli.main import invoke
from llmbench.errors import ExitCode
from llmbench.render.csv import llm_bench_csv, tidy_csv
from llmbench.schema.run import Run
from tests import run_files
from tests.command import in_process

BuildRun = Callable[..., Run]
Files = Callable[..., str]
QUIET = (1.0, 1.001, 0.999)


@pytest.fixture
def stored(tmp_path: Path, story_of: BuildRun) -> Files:
    """Writes a story as a tidy CSV, which keeps its launches; says where."""

    def write(name: str, factor: float = 1.0, *, launches: int = 3, noise: tuple[float, ...] = QUIET) -> str:
        path = tmp_path / f"{name}.csv"
        factor *= 1 + 1e-4 * (ord(name[0]) - ord("a"))  # no two runs are the same to the nanosecond
        path.write_text(tidy_csv(evaluate(story_of(factor, launches=launches, noise=noise))))
        return str(path)

    return write


def compare(*arguments: str) -> int:
    """The exit code of a comparison."""
    return invoke(["report", "compare", *arguments])


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int, str], str]:
    """Measures a script; launches differ by 1.5 %, iterations by 1 %."""
    folder = tmp_path_factory.mktemp("measured")

    def run(seed: int, first: str) -> str:
        script = f"first={first},next=10ms,launch-noise=1.5%,noise=1%"
        options = ("-n", "2", "-ic", "8", "--launches", "3", "-p", "one two three", "--quiet")
        location = ("--output-dir", str(folder), "--name", f"{first}-{seed}", "-s", str(seed))
        done = in_process(folder, "inline", "run", "--engine", "scripted", "-m", script, *options, *location)
        assert ExitCode.OK == done.returncode, done.stderr
        return str(folder / f"{first}-{seed}.jsonl")

    return run


@pytest.mark.slow
def test_what_was_measured_twice_is_not_called_slower(
    measured: Callable[[int, str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Seven runs of the same script, twenty comparisons: at most one alarm; 30 % more is found."""
    runs = [measured(seed, "100ms") for seed in range(1, 8)]
    couples = list(itertools.combinations(runs, 2))[:20]

    codes = [compare("--fail-on-regression", *couple) for couple in couples]

    assert {ExitCode.OK, ExitCode.REGRESSION} >= set(codes)
    assert codes.count(ExitCode.REGRESSION) <= 1
    assert ExitCode.REGRESSION == compare("--fail-on-regression", runs[0], measured(9, "130ms"))
    capsys.readouterr()


def test_without_being_asked_nothing_fails(stored: Files, capsys: pytest.CaptureFixture[str]) -> None:
    """A regression is shown, and the exit code is 0."""
    assert ExitCode.OK == compare(stored("a"), stored("b", 1.2))
    assert "The candidate is slower: first token +20 %" in re.sub(r"\s+", " ", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("factor", "code"), [(1.2, ExitCode.REGRESSION), (1.0, ExitCode.OK), (0.8, ExitCode.OK)]
)
def test_a_regression_fails_when_asked(
    stored: Files, capsys: pytest.CaptureFixture[str], factor: float, code: ExitCode
) -> None:
    """Slower is 1, the same and faster are 0."""
    assert code == compare("--fail-on-regression", stored("a"), stored("b", factor))
    capsys.readouterr()


def test_a_threshold_lifts_a_regression(stored: Files, capsys: pytest.CaptureFixture[str]) -> None:
    """Up to 30 % was allowed, or 100 ms."""
    sides = stored("a"), stored("b", 1.2)

    assert ExitCode.OK == compare("--fail-on-regression", "--threshold", "all=30%", *sides)
    assert ExitCode.OK == compare("--fail-on-regression", "--threshold", "all=1%,100ms", *sides)
    assert ExitCode.USAGE == compare("--threshold", "speed=1%", *sides)
    capsys.readouterr()


def test_strict_fails_on_doubt(stored: Files, capsys: pytest.CaptureFixture[str]) -> None:
    """One launch a side is undecided: 3 when strict, and 1 is not claimed."""
    sides = stored("a", launches=1), stored("b", 1.5, launches=1)

    assert ExitCode.OK == compare("--fail-on-regression", *sides)
    assert ExitCode.STRICT == compare("--fail-on-regression", "--strict", *sides)
    assert "--launches 5" in capsys.readouterr().out


def test_one_bad_candidate_of_several_is_enough(stored: Files, capsys: pytest.CaptureFixture[str]) -> None:
    """Each candidate has its own table; the worst code wins."""
    base = stored("a")

    assert ExitCode.REGRESSION == compare("--fail-on-regression", base, stored("b"), stored("c", 1.2))
    assert 2 == capsys.readouterr().out.count("base: 2026")


def test_nothing_in_common_is_exit_2(
    stored: Files, story_of: BuildRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another CPU: what differs is shown, and no job is green."""
    other = tmp_path / "other.csv"
    other.write_text(tidy_csv(evaluate(story_of(launches=3))).replace("Example CPU 9000", "Other CPU"))

    assert ExitCode.USAGE == compare(stored("a"), str(other))
    assert "the cpu differs (Example CPU 9000 against Other CPU)" in capsys.readouterr().out


def test_a_missing_baseline_is_exit_2(
    stored: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Never green."""
    assert ExitCode.USAGE == compare(str(tmp_path / "baseline.jsonl"), stored("b"))
    assert "baseline.jsonl cannot be read" in capsys.readouterr().err


def test_the_cpu_is_never_varied(stored: Files, capsys: pytest.CaptureFixture[str]) -> None:
    """--vary takes what may vary, dashed or not."""
    assert ExitCode.USAGE == compare("--vary", "cpu", stored("a"), stored("b"))
    assert "the CPU never varies" in capsys.readouterr().err
    assert ExitCode.OK == compare("--vary", "batch-size", "--vary", "input_tokens", stored("a"), stored("b"))
    capsys.readouterr()


def test_every_form_goes_to_its_file(
    stored: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A pipe cannot eat the exit code of a file."""
    files = {form: tmp_path / f"out.{form}" for form in ("md", "html", "junit", "json", "csv")}
    options = [part for form, path in files.items() for part in (f"--{form}", str(path))]

    assert ExitCode.REGRESSION == compare("--fail-on-regression", *options, stored("a"), stored("b", 1.2))

    capsys.readouterr()
    assert files["md"].read_text().startswith("### llmbench: regressed")
    assert "testsuites" == ET.fromstring(files["junit"].read_text()).tag  # noqa: S314  ours
    assert "regressed" == json.loads(files["json"].read_text())["comparisons"][0]["verdict"]
    assert 3 + 2 * len(COMPARED) == len(files["csv"].read_text().splitlines())


def test_an_output_in_no_folder_is_refused_first(
    stored: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Found before anything is read."""
    assert ExitCode.USAGE == compare("--md", str(tmp_path / "none" / "out.md"), stored("a"), stored("b"))
    assert "is not a folder" in capsys.readouterr().err


def test_llm_benchs_report_is_compared_and_never_convicts(
    stored: Files, story_of: BuildRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its launches are one: the ratio is shown, the verdict is undecided."""
    old = tmp_path / "llm_bench.csv"
    old.write_text(llm_bench_csv(evaluate(story_of(launches=3))))

    assert ExitCode.OK == compare("--fail-on-regression", str(old), stored("b", 2.0))

    shown = capsys.readouterr().out
    assert "Undecided" in shown
    assert "the CPU of the base is unknown" in shown


def test_a_run_is_not_compared_with_itself(
    stored: Files, story_of: BuildRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Under its own name, as a copy under another, and as a report made of it: exit 2, and what to do."""
    a, b = stored("a"), stored("b", 1.2)
    copy = tmp_path / "copy.csv"
    copy.write_text(Path(a).read_text())
    run_file = str(run_files.write(story_of(launches=3, noise=QUIET), tmp_path / "a.jsonl"))

    for pair in ((a, a), (a, str(copy)), (a, b, b), (run_file, a)):
        assert ExitCode.USAGE == compare(*pair)
        assert "is the same run as" in capsys.readouterr().err
    assert ExitCode.OK == compare(a, b)


@pytest.mark.parametrize(
    ("options", "code"),
    [((), 0), (("--strict",), 3), (("--strict=undecided",), 3), (("--strict=invalid",), 3)],
)
def test_strict_has_two_modes(stored: Files, options: tuple[str, ...], code: int) -> None:
    """A story has an invalid request, so that both fail; a bare --strict takes no path for its value."""
    assert code == compare(*options, stored("a"), stored("b"))


def test_what_vary_lifts_is_named(
    story_of: BuildRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Both models, under what changed and beside each side."""
    base = story_of(launches=3, noise=QUIET)
    other = dataclasses.replace(
        base, provenance=dataclasses.replace(base.provenance, source_id="other/model")
    )
    paths = [
        str(run_files.write(run, tmp_path / f"{name}.jsonl")) for name, run in (("a", base), ("b", other))
    ]
    md = tmp_path / "x.md"

    assert ExitCode.OK == compare(*paths, "--vary", "model", "--md", str(md))
    shown = " ".join(capsys.readouterr().out.split())
    assert "changed: model: example/tiny -> other/model" in shown
    assert "candidate: model int8, genai, OpenVINO 2026.4.1, Example CPU 9000 launches: 3 + 3" in shown
    assert "- model: example/tiny → other/model" in md.read_text()
