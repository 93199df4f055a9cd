"""``llmbench report compare``: base against candidates, and the exit code that a job can trust."""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import click
from rich.console import Console

from llmbench.analysis.comparison.compare import Comparison
from llmbench.analysis.comparison.compare import compare as compare_reports
from llmbench.analysis.comparison.differences import is_same_run
from llmbench.analysis.comparison.paired_run import compare_sides
from llmbench.analysis.comparison.rule import Rule, compared_metrics, read_thresholds
from llmbench.analysis.history import setup_of
from llmbench.analysis.noise import calibration, estimate
from llmbench.analysis.report import summarize_run
from llmbench.cli.baseline import find_baseline
from llmbench.cli.messages import load_run, salvage_option
from llmbench.cli.options.help import added
from llmbench.cli.options.types import OUTPUT_FILE, PATH, Command, WordChoice
from llmbench.cli.outputs import check_outputs, is_standard_output, print_on_screen, write_output
from llmbench.cli.run_files import RunPath
from llmbench.errors import ExitCode, InputError, worst
from llmbench.render.csv import comparison_csv
from llmbench.render.json import comparison_json
from llmbench.render.junit import comparison_junit
from llmbench.render.markdown import comparison_markdown
from llmbench.render.terminal.comparison import render_comparison
from llmbench.schema.run import Run
from llmbench.store import reader


def comparison_page(comparisons: Sequence[Comparison]) -> str:
    """Return the page of comparisons, with every metric of each of their runs."""
    from llmbench.render.html import page as html

    sides = [report for each in comparisons for report in (each.base, each.candidate)]
    known = {id(report.run): report.evaluation for report in sides}
    return html.page([summarize_run(each.run, evaluation=each) for each in known.values()], comparisons)


FORMS: dict[str, tuple[str, Callable[[Sequence[Comparison]], str]]] = {
    "md": ("Markdown, for a pull request.", comparison_markdown),
    "html": ("A page with plots, for a release note.", comparison_page),
    "junit": ("JUnit XML, for a job's test report.", comparison_junit),
    "json": ("JSON, with the rule that was used.", comparison_json),
    "csv": ("CSV, one row per change.", comparison_csv),
}
"""The files a comparison can be written to, by the names of their options, with help and function."""

comparison_options = added(
    *(
        click.option(f"--{form}", type=OUTPUT_FILE, metavar="FILE", help=text)
        for form, (text, _) in FORMS.items()
    )
)
"""Adds the options that name files for a comparison, which `check_output_files` reads."""

threshold_option = functools.partial(
    click.option,
    "--threshold",
    multiple=True,
    metavar="METRIC=5%,2ms",
    help="What counts as a change; more than both where two are given. METRIC may be all.",
)

UNDECIDED, INVALID = "undecided", "invalid"
"""What ``--strict`` fails on: anything undecided, invalid or missing, or only the invalid and the missing."""


class StrictCommand(Command):
    """A command whose ``--strict`` may stand without a value."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments, a bare ``--strict`` with the value that it stands for."""
        return super().parse_args(
            ctx, [f"--strict={UNDECIDED}" if each == "--strict" else each for each in args]
        )


strict_option = click.option(
    "--strict",
    type=WordChoice([UNDECIDED, INVALID]),
    metavar="[=invalid]",
    help="Exit 3 if anything is undecided, invalid or not compared; with =invalid, undecided rows pass.",
)
"""Adds ``--strict`` to a `StrictCommand`."""


def check_output_files(files: Mapping[str, Path | None], inputs: Iterable[Path] = ()) -> dict[str, Path]:
    """Return the requested files by form; refuse, before anything is done, one that could not be written.

    Refused as well is one that is among the *inputs*, or that contains a run; see `check_outputs`.
    """
    wanted = check_outputs({f"--{form}": path for form, path in files.items()}, inputs)
    return {option.removeprefix("--"): path for option, path in wanted.items()}


@click.command(
    cls=StrictCommand,
    short_help="Base against candidates, with a verdict.",
    epilog="""
    llmbench report compare reports/base.jsonl reports/new.jsonl
    llmbench report compare reports/new.jsonl --baseline latest --fail-on-regression --junit perf.xml
    llmbench report compare reports/base.jsonl reports/new.jsonl --threshold all=2% --md change.md""",
)
@click.argument("paths", type=RunPath(), nargs=-1, required=True, metavar="[BASE] CAND...")
@click.option(
    "--baseline",
    metavar="latest|NAME",
    help="The base: the run of that name, or the last green one of the same machine and configuration.",
)
@click.option(
    "--reports", type=PATH, default="reports", show_default=True, help="Where --baseline looks for runs."
)
@click.option("--fail-on-regression", is_flag=True, help="Exit 1 where a candidate is slower.")
@strict_option
@threshold_option()
@click.option("--vary", multiple=True, metavar="FIELD", help="Compare although FIELD differs; never the CPU.")
@comparison_options
@salvage_option
def compare_command(
    *,
    paths: tuple[Path, ...],
    baseline: str | None,
    reports: Path,
    fail_on_regression: bool,
    strict: str | None,
    threshold: tuple[str, ...],
    vary: tuple[str, ...],
    salvage: bool,
    **files: Path | None,
) -> int:
    """Compare candidates with a base, launch against launch.

    A PATH is a run file (.jsonl), a CSV of either layout, or a CSV or JSON that llm_bench wrote. A run of two
    configurations that were measured in turns, as by llmbench ab, stands alone. Without --fail-on-regression and
    --strict the exit code is 0 whatever the verdict, and 2 where nothing can be compared.
    """
    wanted = check_output_files(files, paths)
    rule = Rule(
        thresholds=read_thresholds(threshold), vary=frozenset(name.replace("-", "_") for name in vary)
    )
    runs = [load_run(path, salvage=salvage) for path in paths]
    named = {id(run): path for run, path in zip(runs, paths, strict=True)}
    comparisons = [
        _locate(each, named, reports) for each in compare_all(runs, rule, baseline=baseline, folder=reports)
    ]
    write_comparisons(comparisons, wanted)
    has_screen = not any(map(is_standard_output, wanted.values()))
    shown = show_comparisons(comparisons) if has_screen else ExitCode.OK
    codes = [
        comparison_exit_code(each, fail_on_regression=fail_on_regression, strict=strict)
        for each in comparisons
    ]
    return worst([shown, *codes])


def compare_all(
    runs: Sequence[Run], rule: Rule, *, baseline: str | None = None, folder: Path = Path("reports")
) -> list[Comparison]:
    """Compare each candidate with its base: the baseline named, else the first run; a run alone against itself."""
    _check_distinct(runs)
    if baseline is None and len(runs) == 1:
        return [annotate(compare_sides(runs[0], rule))]
    reports = [summarize_run(run, compared_metrics(run)) for run in runs]
    if baseline is not None:
        found = [(find_baseline(baseline, each, folder), each) for each in reports]
    else:
        found = [(reports[0], each) for each in reports[1:]]
    for base, candidate in found:
        _check_distinct([base.run, candidate.run])
    return [annotate(compare_reports(base, candidate, rule)) for base, candidate in found]


def _locate(comparison: Comparison, files: Mapping[int, Path], folder: Path) -> Comparison:
    """The comparison with the run files of its sides: those named (by the identity of their runs), else a baseline."""
    alone = next(iter(files.values()))
    paths = [
        alone if comparison.is_paired else files.get(id(run)) or reader.run_file_path(folder, run.id)
        for run in (comparison.base.run, comparison.candidate.run)
    ]
    base, candidate = (str(path) if reader.is_run_file(path) else "" for path in paths)
    return dataclasses.replace(comparison, run_files=(base, candidate))


def _check_distinct(runs: Sequence[Run]) -> None:
    """Refuse a run that is compared with itself, or named twice: nothing could have changed."""
    for one, other in itertools.combinations(runs, 2):
        if is_same_run(one, other):
            raise InputError(
                f"{other.source or other.id} is the same run as {one.source or one.id}",
                hint="name two runs; of one build, measure a second: llmbench run --name NAME",
            )


def annotate(comparison: Comparison) -> Comparison:
    """Return the comparison with notes on the noise of the machine, where that was calibrated."""
    known = calibration.load_calibration(setup_of(comparison.base.run, 0))
    if known is None:
        return comparison
    notes = estimate.footnotes(known, comparison)
    return dataclasses.replace(comparison, warnings=(*notes, *comparison.warnings))


def show_comparisons(comparisons: Sequence[Comparison]) -> ExitCode:
    """Print the tables on standard output; return 6 where that takes no more."""

    def render(console: Console) -> None:
        for index, comparison in enumerate(comparisons):
            if index:
                console.print()
            render_comparison(comparison, console)

    return print_on_screen(render)


def write_comparisons(comparisons: Sequence[Comparison], files: Mapping[str, Path]) -> None:
    """Write the files that `check_output_files` returned, each whole."""
    for form, path in files.items():
        write_output(path, FORMS[form][1](comparisons))


def comparison_exit_code(comparison: Comparison, *, fail_on_regression: bool, strict: str | None) -> ExitCode:
    """Return 2 where there is no comparable row, else 1 and 3 as the flags allow."""
    codes = set()
    if not any(pair.changes for pair in comparison.pairs):
        codes.add(ExitCode.USAGE)
    if fail_on_regression and comparison.alarms:
        codes.add(ExitCode.REGRESSION)
    is_strict = {UNDECIDED: comparison.is_clean, INVALID: comparison.is_whole}
    if strict is not None and not is_strict[strict]:
        codes.add(ExitCode.STRICT)
    return worst(codes)
