"""``llmbench report compare``: base against candidates, and the exit code that a job can trust."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from llmbench.cli.loading import load, salvage_option
from llmbench.cli.options import check_output
from llmbench.errors import ExitCode, worst

if TYPE_CHECKING:
    from llmbench.comparison import Comparison
    from llmbench.comparison.rule import Rule

_PATH = click.Path(path_type=Path)
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(short_help="Base against candidates, with a verdict.")
@click.argument("base", type=_PATH, metavar="BASE")
@click.argument("candidates", type=_PATH, nargs=-1, required=True, metavar="CAND...")
@click.option("--fail-on-regression", is_flag=True, help="Exit 1 where a candidate is slower.")
@click.option("--strict", is_flag=True, help="Exit 3 where anything is undecided, invalid or not compared.")
@click.option(
    "--threshold",
    multiple=True,
    metavar="METRIC=5%,2ms",
    help="What counts as a change; more than both where two are given. METRIC may be all.",
)
@click.option("--vary", multiple=True, metavar="FIELD", help="Compare although FIELD differs; never the CPU.")
@click.option("--md", type=_FILE, metavar="FILE", help="Markdown, for a pull request.")
@click.option("--junit", type=_FILE, metavar="FILE", help="JUnit XML, for a job's test report.")
@click.option("--json", type=_FILE, metavar="FILE", help="JSON, with the rule that was used.")
@click.option("--csv", type=_FILE, metavar="FILE", help="CSV, a row a change.")
@salvage_option
def compare(
    *,
    base: Path,
    candidates: tuple[Path, ...],
    fail_on_regression: bool,
    strict: bool,
    threshold: tuple[str, ...],
    vary: tuple[str, ...],
    md: Path | None,
    junit: Path | None,
    json: Path | None,
    csv: Path | None,
    salvage: bool,
) -> int:
    """Compare candidates with a base, launch against launch.

    A PATH is a run file (.jsonl), a CSV of either layout, or a CSV or JSON that llm_bench wrote. Without
    --fail-on-regression and --strict the exit code is 0 whatever the verdict, and 2 where nothing can be compared.
    """
    from llmbench.comparison.rule import Rule, read_thresholds

    files = {"--md": md, "--junit": junit, "--json": json, "--csv": csv}
    for option, path in files.items():
        check_output(path, option)
    rule = Rule(
        thresholds=read_thresholds(threshold), vary=frozenset(name.replace("-", "_") for name in vary)
    )
    comparisons = _compare_all(base, candidates, rule, salvage=salvage)
    _show(comparisons)
    _write(comparisons, {option: path for option, path in files.items() if path is not None})
    return _exit_code(comparisons, fail_on_regression=fail_on_regression, strict=strict)


def _compare_all(
    base: Path, candidates: Sequence[Path], rule: "Rule", *, salvage: bool
) -> "list[Comparison]":
    """Each candidate against the base."""
    from llmbench.comparison import compare as compare_reports
    from llmbench.comparison.rule import COMPARED
    from llmbench.report import summarize

    before = summarize(load(base, salvage=salvage), COMPARED)
    return [
        compare_reports(before, summarize(load(path, salvage=salvage), COMPARED), rule) for path in candidates
    ]


def _show(comparisons: "Sequence[Comparison]") -> None:
    """The tables on standard output."""
    from rich.console import Console

    from llmbench.render.screen_comparison import render_comparison

    console = Console()
    for index, comparison in enumerate(comparisons):
        if index:
            console.print()
        render_comparison(comparison, console)


def _write(comparisons: "Sequence[Comparison]", files: Mapping[str, Path]) -> None:
    """The files that were asked for, each whole."""
    from llmbench.render import write_atomically
    from llmbench.render.comparison_json import comparison_json
    from llmbench.render.csv import comparison_csv
    from llmbench.render.junit import comparison_junit
    from llmbench.render.markdown import comparison_markdown

    forms: dict[str, Callable[[Sequence[Comparison]], str]] = {
        "--md": comparison_markdown,
        "--junit": comparison_junit,
        "--json": comparison_json,
        "--csv": comparison_csv,
    }
    for option, path in files.items():
        write_atomically(path, forms[option](comparisons))
        click.echo(f"written: {path}", err=True)


def _exit_code(comparisons: "Sequence[Comparison]", *, fail_on_regression: bool, strict: bool) -> ExitCode:
    """2 where a candidate has no comparable row, else 1 and 3 where they were asked for."""
    codes = set()
    for comparison in comparisons:
        if not any(pair.changes for pair in comparison.pairs):
            codes.add(ExitCode.USAGE)
        if fail_on_regression and comparison.alarms:
            codes.add(ExitCode.REGRESSION)
        if strict and not comparison.is_clean:
            codes.add(ExitCode.STRICT)
    return worst(codes)
