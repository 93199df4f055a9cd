"""``llmbench report html``: runs, and comparisons among them, as one page."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from llmbench.cli.loading import load, salvage_option
from llmbench.cli.messages import shown
from llmbench.cli.options import check_output
from llmbench.errors import ExitCode, InputError

if TYPE_CHECKING:
    from llmbench.comparison import Comparison
    from llmbench.report import Report

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
@click.option("--compare", is_flag=True, help="The first PATH is the base, the others are compared with it.")
@salvage_option
def as_html(paths: tuple[Path, ...], output: Path | None, compare: bool, salvage: bool) -> int:
    """Write runs as one self-contained HTML page: plots, tables, caveats; it needs no network.

    A PATH is a run file (.jsonl), a CSV of either layout, or a CSV or JSON that llm_bench wrote.
    """
    from llmbench.render import html, write_atomically
    from llmbench.report import summarize

    if compare and len(paths) < 2:
        raise InputError("--compare needs two runs or more", hint="name the base first, then the candidates")
    target = output or Path(f"{paths[0].stem}.html")
    check_output(target, "-o")
    reports = [summarize(load(path, salvage=salvage)) for path in paths]
    write_atomically(target, html.page(reports, _comparisons(reports) if compare else ()))
    click.echo(shown(f"written: {target}"), err=True)
    return ExitCode.OK if any(row.launches for report in reports for row in report.rows) else ExitCode.USAGE


def _comparisons(reports: "Sequence[Report]") -> "tuple[Comparison, ...]":
    """Each later run against the first."""
    from llmbench.comparison import compare

    base, *candidates = reports
    return tuple(compare(base, candidate) for candidate in candidates)
