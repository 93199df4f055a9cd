"""``llmbench report``: show, export and compare runs."""

import difflib
import shlex
import webbrowser
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import click
from rich.console import Console

from llmbench.analysis.comparison.rule import Rule
from llmbench.analysis.history import HistoryLine, history_lines, level_changes
from llmbench.analysis.metrics.table import HEADLINES, METRICS
from llmbench.analysis.quality import KIND, quality_report
from llmbench.analysis.report import Report, summarize_run
from llmbench.analysis.speedup import is_sockets_run, tabulate
from llmbench.analysis.stages import named_metric
from llmbench.cli.compare import compare_all, compare_command, comparison_page
from llmbench.cli.fleet import fleet_report
from llmbench.cli.messages import complain, load_run, salvage_option, warn
from llmbench.cli.options.help import HelpCommand, HelpGroup
from llmbench.cli.options.types import OUTPUT_FILE, PATH, WordChoice
from llmbench.cli.outputs import (
    STANDARD_OUTPUT,
    check_outputs,
    is_standard_output,
    print_on_screen,
    write_output,
)
from llmbench.cli.run_files import REPORTS, RunPath, last_run, or_last
from llmbench.errors import ExitCode, InputError, worst
from llmbench.render import csv, json
from llmbench.render.csv import summary_csv
from llmbench.render.markdown import report_markdown
from llmbench.render.stages import request_stages
from llmbench.render.terminal.history import render_history
from llmbench.render.terminal.plots import render_plots
from llmbench.render.terminal.quality import render_quality
from llmbench.render.terminal.report import render_report
from llmbench.render.terminal.speedup import render_speedup
from llmbench.render.trace import trace_json
from llmbench.schema.run import Run
from llmbench.schema.units import counted
from llmbench.store.acceptances import read_acceptances, write_acceptances
from llmbench.store.reader import paused_collector


@click.command(
    cls=HelpCommand,
    name="history",
    short_help="A metric over the runs of one machine.",
    epilog="""
    llmbench report history
    llmbench report history reports --metric next_token --last 20 --html history.html""",
)
@click.argument("paths", type=PATH, nargs=-1, metavar="[PATH]...")
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="NAME",
    help="Shown, and in --csv; may be given several times.  [default: first_token, next_token]",
)
@click.option(
    "--accept",
    "accepted",
    nargs=2,
    multiple=True,
    metavar="RUN NOTE",
    help="Accept the change of level at a run, for a reason: a new baseline begins there.",
)
@click.option("--fail-on-regression", is_flag=True, help="Exit 1 where a level rose and was not accepted.")
@click.option("--last", type=click.IntRange(min=1), metavar="N", help="Only the last N runs of each line.")
@click.option("--csv", type=OUTPUT_FILE, metavar="FILE", help="CSV, one row per run, prompt and metric.")
@click.option("--html", type=OUTPUT_FILE, metavar="FILE", help="The same as a page with plots.")
@salvage_option
def history(
    *,
    paths: tuple[Path, ...],
    metrics: tuple[str, ...],
    accepted: tuple[tuple[str, str], ...],
    fail_on_regression: bool,
    last: int | None,
    csv: Path | None,
    html: Path | None,
    salvage: bool,
) -> int:
    """Show how latencies went from run to run, for each machine and configuration by itself.

    A PATH is a folder of run files (without one: reports), or a single file as for the other reports. Runs of the
    same CPU, model, weight format, settings and prompts are one line, whatever their versions. Below it stands where
    its level changed for good, slow drifts included, with the command that finds the cause.
    """
    names = _find_metrics(metrics)
    check_outputs({"--csv": csv, "--html": html}, paths)
    runs = list(_runs(paths or (REPORTS,), salvage=salvage))
    _refuse_repeated(runs)
    names = names if metrics else _with_primary(names, runs)
    reports = [summarize_run(run, names) for _, run in runs]
    if not reports:
        raise InputError(
            f"there are no runs in {', '.join(map(str, paths)) or REPORTS}",
            hint="name the folder of the runs: llmbench report history DIR",
        )
    notes = _acceptances(
        next((path for path in paths or (REPORTS,) if path.is_dir()), None), accepted, reports
    )
    found = _with_figures([line.last(last) for line in history_lines(reports)], names)
    kept = {entry.report.run.id for line in found for entry in line.entries}
    if csv is not None:
        write_output(csv, summary_csv(*(report for report in reports if report.run.id in kept)))
    if html is not None:
        from llmbench.render.html.history import history_page

        write_output(html, history_page(found, names, notes))
    changes = [each for line in found for name in names for each in level_changes(line, name, notes)]
    is_worse = fail_on_regression and any(each.is_regression for each in changes)
    code = ExitCode.REGRESSION if is_worse else ExitCode.OK
    if any(path is not None and is_standard_output(path) for path in (csv, html)):
        return code
    return worst([code, print_on_screen(lambda console: render_history(found, names, console, notes))])


def _with_figures(lines: list[HistoryLine], names: tuple[str, ...]) -> list[HistoryLine]:
    """Return the lines that have any of some metrics, and warn of the others; all where none has."""
    found = [line for line in lines if line.has_any(names)]
    left_out = len(lines) - len(found)
    if found and left_out:
        warn(
            f"left out: {counted(left_out, 'configuration')} without {' or '.join(names)} "
            "(runs that were cut short, or that measure something else)"
        )
    return found or lines


def _acceptances(
    folder: Path | None, added: Sequence[tuple[str, str]], reports: Sequence[Report]
) -> dict[str, str]:
    """The accepted changes of a folder of runs, those *added* written into it; raises InputError on unknown runs."""
    if folder is None:
        if added:
            raise InputError("--accept keeps its note in a folder of runs", hint="name the folder")
        return {}
    notes = read_acceptances(folder)
    ids = [report.run.id for report in reports]
    for name, note in added:
        fitting = [each for each in ids if each.startswith(name)]
        if len(fitting) != 1:
            raise InputError(
                f"--accept {name} is the beginning of {counted(len(fitting), 'run')}",
                hint="give the whole name of one",
            )
        notes[fitting[0]] = note
    if added:
        click.echo(f"written: {write_acceptances(folder, notes)}", err=True)
    return notes


def _find_metrics(metrics: Sequence[str]) -> tuple[str, ...]:
    """The metrics wanted; raises InputError on one that does not exist."""
    found = [named_metric(name) for name in metrics]
    for written, name in zip(metrics, found, strict=True):
        if name is None:
            near = difflib.get_close_matches(written, METRICS, n=1)
            meant = f"did you mean {near[0]}? " if near else ""
            raise InputError(
                f"--metric {written} is not a metric", hint=f"{meant}the metrics are {', '.join(METRICS)}"
            )
    return tuple(dict.fromkeys(name for name in found if name)) or HEADLINES


def _with_primary(names: tuple[str, ...], runs: Iterable[tuple[Path, Run]]) -> tuple[str, ...]:
    """The metrics that are shown by default, those of a load first, and those of workloads that have none of these."""
    found = dict.fromkeys((run.workload.is_concurrent, run.workload.primary_metrics) for _, run in runs)
    of_load = [name for is_load, primary in found if is_load for name in primary]
    more = [name for _, primary in found if not set(primary) & set(names) for name in primary]
    return tuple(dict.fromkeys((*of_load, *names, *more)))


def _runs(paths: Sequence[Path], *, salvage: bool) -> Iterator[tuple[Path, Run]]:
    """The runs of every path."""
    for path in paths:
        if not path.is_dir():
            if path.exists() or path != REPORTS:
                yield path, load_run(path, salvage=salvage)
            continue
        yield from _runs_of_folder(path, salvage=salvage)


def _runs_of_folder(folder: Path, *, salvage: bool) -> Iterator[tuple[Path, Run]]:
    """The runs of a folder, each once; what cannot be read and what is a copy is named and left out."""
    found: dict[tuple[str, str], Path] = {}
    for file in sorted(folder.glob("*.jsonl")):
        try:
            run = load_run(file, salvage=salvage)
        except InputError as error:
            warn(f"left out: {error.message}")
            continue
        first = found.setdefault((run.id, run.started_at), file)
        if first is file:
            yield file, run
        else:
            warn(f"left out: {file} is a copy of {first}")


@click.command(
    cls=HelpCommand,
    name="html",
    short_help="Runs as one page with plots.",
    epilog="""
    llmbench report html --open
    llmbench report html base -o base.html
    llmbench report html --compare base new -o change.html""",
)
@click.argument("paths", type=RunPath(), nargs=-1, metavar="[RUN]...")
@click.option(
    "-o",
    "--output",
    type=OUTPUT_FILE,
    metavar="FILE",
    help="Write to FILE, replaced if it exists.  [default: the first RUN's name with .html, here]",
)
@click.option(
    "--compare",
    is_flag=True,
    help="Compare the other runs with the first; a run of llmbench ab needs no other.",
)
@click.option("--open", "is_opened", is_flag=True, help="Open the page in a browser.")
@salvage_option
def as_html(
    *, paths: tuple[Path, ...], output: Path | None, compare: bool, is_opened: bool, salvage: bool
) -> int:
    """Write runs as one self-contained HTML page: plots, tables, caveats; it needs no network.

    Without RUN it is the last run.
    """
    from llmbench.render.html import page as html

    paths = or_last(paths)
    target = output or Path(f"{paths[0].stem}.html")
    check_outputs({"-o": target}, paths)
    runs = [load_run(path, salvage=salvage) for path in paths]
    if compare:
        comparisons = compare_all(runs, Rule())
        reports = [report for each in comparisons for report in (each.base, each.candidate)]
        text = comparison_page(comparisons)
    else:
        reports = [summarize_run(run) for run in runs]
        text = html.page(reports)
    write_output(target, text)
    if is_opened and not webbrowser.open(target.absolute().as_uri()):
        warn(f"no browser was found; open {target.absolute()}")
    return _code(reports)


class RunOrCommand(HelpGroup):
    """A group that shows the run whose name stands in place of a subcommand."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the subcommand that the arguments call, or ``show``; raise InputError on a misspelt one."""
        if args[0] in self.commands or args[0].startswith("-"):
            return super().resolve_command(ctx, args)
        near = difflib.get_close_matches(args[0].lower(), self.commands, n=1)
        if near and not Path(args[0]).exists():
            raise InputError(
                f"there is no command {args[0]!r}",
                hint=f"did you mean {near[0]}? {shlex.join(['llmbench', 'report', near[0], *args[1:]])}",
            )
        return show.name, show, args


@click.group(
    cls=RunOrCommand,
    invoke_without_command=True,
    short_help="Show, export and compare runs.",
    epilog="""
    llmbench report
    llmbench report show base --plot
    llmbench report html --open
    llmbench report compare base new --fail-on-regression""",
)
@click.pass_context
def command(ctx: click.Context) -> None:
    """Show, export and compare runs.

    Without a subcommand it shows the last run in reports, or the RUN that is named. A RUN is a run file (.jsonl), a
    CSV of either layout, a CSV or JSON that llm_bench wrote, a folder (its last run), or the beginning of a run's name.
    """
    ctx.with_resource(paused_collector())
    if ctx.invoked_subcommand is None:
        ctx.exit(ctx.invoke(show))


_output_option = click.option(
    "-o", "--output", type=PATH, metavar="FILE", help="Write to FILE, replaced whole if it exists."
)


def _code(reports: list[Report]) -> ExitCode:
    """Return 2 where nothing was measured, 5 where none of it is valid, and say so; else 0."""
    if any(row.launches for report in reports for row in report.rows):
        return ExitCode.OK
    if not any(row.measured for report in reports for row in report.shown_rows):
        complain("no request was measured")
        return ExitCode.USAGE
    from llmbench.cli.run_view import explain_missing

    explain_missing(*reports)
    return ExitCode.LAUNCH


@command.command(
    short_help="The table of a run.",
    epilog="""
    llmbench report show
    llmbench report show base --plot
    llmbench report show reports/base.jsonl --md""",
)
@click.argument("paths", type=RunPath(), nargs=-1, metavar="[RUN]...")
@click.option("--plot", is_flag=True, help="Add plots of latency and of the time between tokens.")
@click.option("-v", "--explain", is_flag=True, help="Add notes, definitions and all metrics to each card.")
@click.option("--md", "form", flag_value="md", help="Print Markdown, for a pull request or a mail.")
@click.option("--jsonl", "form", flag_value="jsonl", help="Print a line of JSON per row of the table.")
@salvage_option
def show(
    paths: tuple[Path, ...] = (),
    *,
    plot: bool = False,
    explain: bool = False,
    form: str | None = None,
    salvage: bool = False,
) -> int:
    """Show the result card of each run, whether it is valid included; without RUN the last run."""
    reports = [summarize_run(load_run(path, salvage=salvage)) for path in or_last(paths)]
    if form is not None:
        write = {"md": report_markdown, "jsonl": json.report_lines}[form]
        write_output(STANDARD_OUTPUT, "\n".join(write(report) for report in reports))
        return _code(reports)
    shown = print_on_screen(lambda console: _show(reports, console, with_plots=plot, is_explained=explain))
    return worst([shown, _code(reports)])


def _show(reports: Sequence[Report], console: Console, *, with_plots: bool, is_explained: bool) -> None:
    for index, report in enumerate(reports):
        if index:
            console.print()
        losses = quality_report(report.run) if report.run.workload.kind == KIND else None
        if losses is not None:
            render_quality(losses, console)
            continue
        if is_sockets_run(report.run) and not report.lacks_rows:
            render_speedup(tabulate(report), report, console, is_explained=is_explained)
        else:
            render_report(report, console, is_explained=is_explained)
        if with_plots:
            render_plots(report, console)


def _refuse_repeated(found: Iterable[tuple[Path, Run]]) -> None:
    """Raise InputError where a run is there twice, whose requests would count double."""
    seen: dict[tuple[str, str], Path] = {}
    for path, run in found:
        first = seen.setdefault((run.id, run.started_at), path)
        if first is not path:
            what = f"{path} was given twice" if first == path else f"{first} and {path} are the same run"
            raise InputError(what, hint="give each run once")


@command.command(
    name="csv",
    short_help="A run as CSV.",
    epilog="""
    llmbench report csv reports/base.jsonl -o base.csv
    llmbench report csv reports/base.jsonl --summary""",
)
@click.argument("paths", type=RunPath(), nargs=-1, metavar="[RUN]...")
@click.option(
    "--layout",
    type=WordChoice(["tidy", "llm-bench"]),
    default="tidy",
    show_default=True,
    help="tidy has one row per request with its configuration; llm-bench has that tool's 34 columns.",
)
@click.option("--summary", is_flag=True, help="One row per prompt and metric instead of one per request.")
@click.option(
    "--stages", is_flag=True, help="One row per request and stage, such as a vocoder or a retrieval."
)
@_output_option
@salvage_option
def as_csv(
    *, paths: tuple[Path, ...], layout: str, summary: bool, stages: bool, output: Path | None, salvage: bool
) -> int:
    """Write runs as CSV, on standard output unless -o names a file."""
    if summary and stages:
        raise InputError("--summary and --stages are two layouts", hint="choose one of them")
    if layout == "llm-bench" and (summary or stages or len(paths) > 1):
        what = "has its own summary rows" if summary else "has no stages" if stages else "has one run"
        raise InputError(f"the llm-bench layout {what}", hint="use --layout tidy")
    paths = or_last(paths)
    check_outputs({"-o": output}, paths)
    runs = [load_run(path, salvage=salvage) for path in paths]
    _refuse_repeated(zip(paths, runs, strict=True))
    reports = [summarize_run(run, None if summary else ()) for run in runs]
    if layout == "llm-bench":
        text = csv.llm_bench_csv(reports[0].evaluation)
    elif summary:
        text = csv.summary_csv(*reports)
    elif stages:
        text = csv.csv_text(request_stages(*reports))
    else:
        text = csv.tidy_csv(*(report.evaluation for report in reports))
    write_output(output or STANDARD_OUTPUT, text)
    return _code(reports)


@command.command(
    name="json",
    short_help="A run as JSON.",
    epilog="""
    llmbench report json reports/base.jsonl -o base.json
    llmbench report json reports/base.jsonl --layout llm-bench""",
)
@click.argument("path", type=RunPath(), required=False, metavar="[RUN]")
@click.option(
    "--layout",
    type=WordChoice(["report", "llm-bench"]),
    default="report",
    show_default=True,
    help="report has summaries with their definitions; llm-bench has that tool's layout.",
)
@_output_option
@salvage_option
def as_json(path: Path | None, layout: str, output: Path | None, salvage: bool) -> int:
    """Write a run as JSON, on standard output unless -o names a file."""
    path = path or last_run(REPORTS)
    check_outputs({"-o": output}, [path])
    is_llm_bench = layout == "llm-bench"
    report = summarize_run(load_run(path, salvage=salvage), () if is_llm_bench else None)
    text = json.llm_bench_json(report.evaluation) if is_llm_bench else json.report_json(report)
    write_output(output or STANDARD_OUTPUT, text)
    return _code([report])


@command.command(
    name="trace",
    short_help="A run as a trace for Perfetto or chrome://tracing.",
    epilog="""
    llmbench report trace trace.json
    llmbench report trace reports/base.jsonl trace.json""",
)
@click.argument("path", type=RunPath(), nargs=-1, metavar="[RUN]")
@click.argument("output", type=OUTPUT_FILE, metavar="OUT.json")
@salvage_option
def as_trace(path: tuple[Path, ...], output: Path, *, salvage: bool) -> int:
    """Write requests, stages and tokens as a Chrome trace; without RUN that of the last run.

    Each launch is a process, each request a span with its stages inside and its tokens as instants.
    """
    if len(path) > 1:
        raise InputError(f"a trace is of one run; {len(path)} were given", hint="name one RUN, then OUT.json")
    found = path[0] if path else last_run(REPORTS)
    check_outputs({"OUT.json": output}, [found])
    report = summarize_run(load_run(found, salvage=salvage), ())
    write_output(output, trace_json(report.evaluation))
    return ExitCode.OK


for subcommand in (as_html, compare_command, fleet_report, history):
    command.add_command(subcommand)
