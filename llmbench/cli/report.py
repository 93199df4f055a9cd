"""``llmbench report``: show, export and compare runs."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import click
from rich.console import Console

from llmbench.analysis.comparison.rule import Rule
from llmbench.analysis.history import history_lines
from llmbench.analysis.metrics import HEADLINES, METRICS, find_metric
from llmbench.analysis.report import Report, summarize_run
from llmbench.cli.compare import compare_all, compare_command, comparison_page
from llmbench.cli.messages import load_run, salvage_option, warn, write_output
from llmbench.cli.options.help import HelpCommand, HelpGroup
from llmbench.cli.options.types import check_output
from llmbench.errors import ExitCode, InputError
from llmbench.render import csv, json
from llmbench.render.csv import summary_csv
from llmbench.render.terminal.history import render_history
from llmbench.render.terminal.plots import render_plots
from llmbench.render.terminal.report import render_report

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(
    cls=HelpCommand,
    name="history",
    short_help="A metric over the runs of one machine.",
    epilog="""
    llmbench report history
    llmbench report history reports --metric next_token --last 20 --html history.html""",
)
@click.argument("paths", type=click.Path(path_type=Path), nargs=-1, metavar="[PATH]...")
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="NAME",
    help="Shown, and in --csv; may be given several times.  [default: first_token, next_token]",
)
@click.option("--last", type=click.IntRange(min=1), metavar="N", help="Only the last N runs of each line.")
@click.option("--csv", type=_FILE, metavar="FILE", help="CSV, a row a run, prompt and metric.")
@click.option("--html", type=_FILE, metavar="FILE", help="The same as a page with plots.")
@salvage_option
def history(
    *,
    paths: tuple[Path, ...],
    metrics: tuple[str, ...],
    last: int | None,
    csv: Path | None,
    html: Path | None,
    salvage: bool,
) -> int:
    """Show how latencies went from run to run, for each machine and configuration by itself.

    A PATH is a folder of run files (without one: reports), or a single file as for the other reports. Runs of the
    same CPU, model, weight format, settings and prompts are one line, whatever their versions.
    """
    names = _find_metrics(metrics)
    for option, path in (("--csv", csv), ("--html", html)):
        check_output(path, option)
    reports = list(_reports(paths or (Path("reports"),), names, salvage=salvage))
    if not reports:
        raise InputError("no run was found", hint="name a folder that llmbench run wrote to")
    found = [line.last(last) for line in history_lines(reports)]
    kept = {entry.report.run.id for line in found for entry in line.entries}
    if csv is not None:
        write_output(csv, summary_csv(*(report for report in reports if report.run.id in kept)))
    if html is not None:
        from llmbench.render.html.history import history_page

        write_output(html, history_page(found, names))
    render_history(found, names, Console())  # after the files, which whoever ends reading early still gets
    return ExitCode.OK


def _find_metrics(metrics: Sequence[str]) -> tuple[str, ...]:
    """The metrics wanted; raises InputError on one that does not exist."""
    found = [find_metric(name) for name in metrics]
    for written, name in zip(metrics, found, strict=True):
        if name is None:
            raise InputError(f"--metric {written} is no metric", hint=f"choose among {', '.join(METRICS)}")
    return tuple(dict.fromkeys(name for name in found if name)) or HEADLINES


def _reports(paths: Sequence[Path], names: Sequence[str], *, salvage: bool) -> Iterator[Report]:
    """The runs of every path; in a folder, what cannot be read is named and left out."""
    for path in paths:
        if not path.is_dir():
            yield summarize_run(load_run(path, salvage=salvage), names)
            continue
        for file in sorted(path.glob("*.jsonl")):
            try:
                run = load_run(file, salvage=salvage)
            except InputError as error:
                warn(f"left out: {error.message}")
            else:
                yield summarize_run(run, names)


_PATH = click.Path(path_type=Path)


@click.command(
    cls=HelpCommand,
    name="html",
    short_help="Runs as one page with plots.",
    epilog="""
    llmbench report html reports/base.jsonl
    llmbench report html --compare reports/base.jsonl reports/new.jsonl -o change.html""",
)
@click.argument("paths", type=_PATH, nargs=-1, required=True, metavar="PATH...")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write to FILE, replaced whole if it exists.  [default: the first PATH's name with .html, here]",
)
@click.option(
    "--compare",
    is_flag=True,
    help="The first PATH is the base, the others are compared with it; a run of llmbench ab stands alone.",
)
@salvage_option
def as_html(paths: tuple[Path, ...], output: Path | None, compare: bool, salvage: bool) -> int:
    """Write runs as one self-contained HTML page: plots, tables, caveats; it needs no network.

    A PATH is a run file (.jsonl), a CSV of either layout, or a CSV or JSON that llm_bench wrote.
    """
    from llmbench.render.html import page as html

    target = output or Path(f"{paths[0].stem}.html")
    check_output(target, "-o")
    runs = [load_run(path, salvage=salvage) for path in paths]
    if compare:
        comparisons = compare_all(runs, Rule())
        reports = [report for each in comparisons for report in (each.base, each.candidate)]
        text = comparison_page(comparisons)
    else:
        reports = [summarize_run(run) for run in runs]
        text = html.page(reports)
    write_output(target, text)
    return _code(reports)


@click.group(
    cls=HelpGroup,
    invoke_without_command=True,
    short_help="Show, export and compare runs.",
    epilog="""
    llmbench report show reports/base.jsonl --plot
    llmbench report compare reports/base.jsonl reports/new.jsonl --fail-on-regression""",
)
@click.pass_context
def command(ctx: click.Context) -> None:
    """Show, export and compare runs.

    A PATH is a run file (.jsonl), a CSV of either layout, or a CSV or JSON that llm_bench wrote.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help(), color=ctx.color)


def _output_option(function: Callable[..., int]) -> Callable[..., int]:
    """``-o FILE``, standard output without it."""
    return click.option(
        "-o", "--output", type=_PATH, metavar="FILE", help="Write to FILE, replaced whole if it exists."
    )(function)


def _deliver(text: str, output: Path | None) -> None:
    """A text to a file or to standard output."""
    if output is None:
        click.echo(text, nl=False)
    else:
        write_output(output, text)


def _code(reports: list[Report]) -> ExitCode:
    """2 where nothing counts, else 0."""
    return ExitCode.OK if any(row.launches for report in reports for row in report.rows) else ExitCode.USAGE


@command.command(
    short_help="The table of a run.",
    epilog="""
    llmbench report show reports/base.jsonl
    llmbench report show reports/base.jsonl --plot""",
)
@click.argument("paths", type=_PATH, nargs=-1, required=True, metavar="PATH...")
@click.option("--plot", is_flag=True, help="Plots of latency and of every token's gap below each table.")
@salvage_option
def show(paths: tuple[Path, ...], plot: bool, salvage: bool) -> int:
    """Show the table of each run, its caveats below it."""
    console = Console()
    reports = [summarize_run(load_run(path, salvage=salvage)) for path in paths]
    for index, report in enumerate(reports):
        if index:
            console.print()
        render_report(report, console)
        if plot:
            render_plots(report, console)
    return _code(reports)


@command.command(
    name="csv",
    short_help="A run as CSV.",
    epilog="""
    llmbench report csv reports/base.jsonl -o base.csv
    llmbench report csv reports/base.jsonl --summary""",
)
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
    if layout == "llm-bench" and (summary or len(paths) > 1):
        what = "has its own summary rows" if summary else "holds one run"
        raise InputError(f"the llm-bench layout {what}", hint="use --layout tidy")
    reports = [summarize_run(load_run(path, salvage=salvage)) for path in paths]
    if layout == "llm-bench":
        text = csv.llm_bench_csv(reports[0].evaluation)
    elif summary:
        text = csv.summary_csv(*reports)
    else:
        text = csv.tidy_csv(*(report.evaluation for report in reports))
    _deliver(text, output)
    return _code(reports)


@command.command(
    name="json",
    short_help="A run as JSON.",
    epilog="""
    llmbench report json reports/base.jsonl -o base.json
    llmbench report json reports/base.jsonl --layout llm-bench""",
)
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
    report = summarize_run(load_run(path, salvage=salvage))
    is_llm_bench = layout == "llm-bench"
    _deliver(json.llm_bench_json(report.evaluation) if is_llm_bench else json.report_json(report), output)
    return _code([report])


for subcommand in (as_html, compare_command, history):
    command.add_command(subcommand)
