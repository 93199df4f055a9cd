"""``llmbench report html``: runs, and comparisons among them, as one page."""

from pathlib import Path

import click

from llmbench.cli.compare import compare_all, page
from llmbench.cli.loading import load, salvage_option
from llmbench.cli.messages import shown
from llmbench.cli.options import check_output
from llmbench.errors import ExitCode

_PATH = click.Path(path_type=Path)


@click.command(name="html", short_help="Runs as one page with plots.")
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
    from llmbench.analysis.comparison.rule import Rule
    from llmbench.analysis.report import summarize
    from llmbench.render import html, write_atomically

    target = output or Path(f"{paths[0].stem}.html")
    check_output(target, "-o")
    runs = [load(path, salvage=salvage) for path in paths]
    if compare:
        comparisons = compare_all(runs, Rule())
        reports = [report for each in comparisons for report in (each.base, each.candidate)]
        text = page(comparisons)
    else:
        reports = [summarize(run) for run in runs]
        text = html.page(reports)
    write_atomically(target, text)
    click.echo(shown(f"written: {target}"), err=True)
    return ExitCode.OK if any(row.launches for report in reports for row in report.rows) else ExitCode.USAGE
