"""``llmbench report``: show, export and compare runs."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from llmbench.cli.compare import compare
from llmbench.cli.loading import load, salvage_option
from llmbench.cli.messages import shown
from llmbench.cli.report_history import history
from llmbench.cli.report_html import as_html
from llmbench.errors import ExitCode, InputError

if TYPE_CHECKING:
    from llmbench.analysis.report import Report

_PATH = click.Path(path_type=Path)


@click.group(short_help="Show, export and compare runs.")
def command() -> None:
    """Show, export and compare runs.

    A PATH is a run file (.jsonl), a CSV of either layout, or a CSV or JSON that llm_bench wrote.
    """


def _output_option(function: Callable[..., int]) -> Callable[..., int]:
    """``-o FILE``, standard output without it."""
    return click.option(
        "-o", "--output", type=_PATH, metavar="FILE", help="Write to FILE, replaced whole if it exists."
    )(function)


def _deliver(text: str, output: Path | None) -> None:
    """A text to a file or to standard output."""
    if output is None:
        click.echo(text, nl=False)
        return
    from llmbench.render import write_atomically

    write_atomically(output, text)
    click.echo(shown(f"written: {output}"), err=True)


def _code(reports: "list[Report]") -> ExitCode:
    """2 where nothing counts, else 0."""
    return ExitCode.OK if any(row.launches for report in reports for row in report.rows) else ExitCode.USAGE


@command.command(short_help="The table of a run.")
@click.argument("paths", type=_PATH, nargs=-1, required=True, metavar="PATH...")
@click.option("--plot", is_flag=True, help="Plots of latency and of every token's gap below each table.")
@salvage_option
def show(paths: tuple[Path, ...], plot: bool, salvage: bool) -> int:
    """Show the table of each run, its caveats below it."""
    from rich.console import Console

    from llmbench.analysis.report import summarize
    from llmbench.render import screen

    console = Console()
    reports = [summarize(load(path, salvage=salvage)) for path in paths]
    for index, report in enumerate(reports):
        if index:
            console.print()
        screen.render_report(report, console)
        if plot:
            from llmbench.render.plots import render_plots

            render_plots(report, console)
    return _code(reports)


@command.command(name="csv", short_help="A run as CSV.")
@click.argument("paths", type=_PATH, nargs=-1, required=True, metavar="PATH...")
@click.option(
    "--layout",
    type=click.Choice(["tidy", "llm-bench"]),
    default="tidy",
    show_default=True,
    help="tidy has a row a request with its configuration; llm-bench has that tool's 34 columns.",
)
@click.option("--summary", is_flag=True, help="One row per prompt and metric instead of one a request.")
@_output_option
@salvage_option
def as_csv(*, paths: tuple[Path, ...], layout: str, summary: bool, output: Path | None, salvage: bool) -> int:
    """Write runs as CSV, on standard output unless -o names a file."""
    from llmbench.analysis.report import summarize
    from llmbench.render import csv

    if layout == "llm-bench" and (summary or len(paths) > 1):
        what = "has its own summary rows" if summary else "holds one run"
        raise InputError(f"the llm-bench layout {what}", hint="use --layout tidy")
    runs = [load(path, salvage=salvage) for path in paths]
    reports = [summarize(run) for run in runs]
    if layout == "llm-bench":
        text = csv.llm_bench_csv(runs[0])
    else:
        text = csv.summary_csv(*reports) if summary else csv.tidy_csv(*runs)
    _deliver(text, output)
    return _code(reports)


@command.command(name="json", short_help="A run as JSON.")
@click.argument("path", type=_PATH, metavar="PATH")
@click.option(
    "--layout",
    type=click.Choice(["report", "llm-bench"]),
    default="report",
    show_default=True,
    help="report has summaries with their definitions; llm-bench has that tool's layout.",
)
@_output_option
@salvage_option
def as_json(path: Path, layout: str, output: Path | None, salvage: bool) -> int:
    """Write a run as JSON, on standard output unless -o names a file."""
    from llmbench.analysis.report import summarize
    from llmbench.render import json

    run = load(path, salvage=salvage)
    report = summarize(run)
    _deliver(json.llm_bench_json(run) if layout == "llm-bench" else json.report_json(report), output)
    return _code([report])


for subcommand in (as_html, compare, history):
    command.add_command(subcommand)
