"""``llmbench report html``: runs, and comparisons among them, as one page."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from llmbench.cli.loading import load, salvage_option
from llmbench.cli.messages import shown
from llmbench.cli.options import check_output
from llmbench.errors import ExitCode

if TYPE_CHECKING:
    from llmbench.comparison import Comparison
    from llmbench.report import Report
    from llmbench.run import Run

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
    from llmbench.render import html, write_atomically
    from llmbench.report import summarize

    target = output or Path(f"{paths[0].stem}.html")
    check_output(target, "-o")
    runs = [load(path, salvage=salvage) for path in paths]
    if compare:
        reports, comparisons = _compared(runs)
    else:
        reports, comparisons = [summarize(run) for run in runs], []
    write_atomically(target, html.page(reports, comparisons))
    click.echo(shown(f"written: {target}"), err=True)
    return ExitCode.OK if any(row.launches for report in reports for row in report.rows) else ExitCode.USAGE


def _compared(runs: "Sequence[Run]") -> "tuple[list[Report], list[Comparison]]":
    """Every run's report and its comparison with the first; of a run alone those of its two sides."""
    from llmbench.comparison import compare
    from llmbench.interleaved import compare_sides, split
    from llmbench.report import summarize

    if len(runs) == 1:
        return [summarize(side) for side in split(runs[0])], [compare_sides(runs[0])]
    base, *candidates = map(summarize, runs)
    return [base, *candidates], [compare(base, each) for each in candidates]
