"""``llmbench report history``: a metric over the runs of one machine and configuration."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from llmbench.cli.loading import load, salvage_option
from llmbench.cli.messages import shown, warn
from llmbench.cli.options import check_output
from llmbench.errors import ExitCode, InputError

if TYPE_CHECKING:
    from llmbench.analysis.report import Report

_FILE = click.Path(path_type=Path, dir_okay=False)
_DEFAULTS = ("first_token", "next_token")


@click.command(name="history", short_help="A metric over the runs of one machine.")
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
    from rich.console import Console

    from llmbench.analysis.history import lines
    from llmbench.render.screen_history import render_history

    names = _checked(metrics)
    for option, path in (("--csv", csv), ("--html", html)):
        check_output(path, option)
    reports = list(_reports(paths or (Path("reports"),), names, salvage=salvage))
    if not reports:
        raise InputError("no run was found", hint="name a folder that llmbench run wrote to")
    found = [line.last(last) for line in lines(reports)]
    kept = {entry.report.run.id for line in found for entry in line.entries}
    _write([report for report in reports if report.run.id in kept], csv)
    if html is not None:
        from llmbench.render.html import history_page

        _deliver(history_page(found, names), html)
    render_history(found, names, Console())  # after the files, which whoever ends reading early still gets
    return ExitCode.OK


def _checked(metrics: Sequence[str]) -> tuple[str, ...]:
    """The metrics wanted; raises InputError on one that does not exist."""
    from llmbench.analysis.metrics import METRICS

    names = tuple(name.replace("-", "_") for name in metrics) or _DEFAULTS
    for name in names:
        if name not in METRICS:
            raise InputError(f"--metric {name} is no metric", hint=f"choose among {', '.join(METRICS)}")
    return names


def _reports(paths: Sequence[Path], names: Sequence[str], *, salvage: bool) -> "Iterator[Report]":
    """The runs of every path; in a folder, what cannot be read is named and left out."""
    from llmbench.analysis.report import summarize

    for path in paths:
        if not path.is_dir():
            yield summarize(load(path, salvage=salvage), names)
            continue
        for file in sorted(path.glob("*.jsonl")):
            try:
                run = load(file, salvage=salvage)
            except InputError as error:
                warn(f"left out: {error.message}")
            else:
                yield summarize(run, names)


def _write(reports: "Sequence[Report]", path: Path | None) -> None:
    """The CSV, if one is wanted."""
    if path is not None:
        from llmbench.render.csv import summary_csv

        _deliver(summary_csv(*reports), path)


def _deliver(text: str, path: Path) -> None:
    """A text to a file."""
    from llmbench.render import write_atomically

    write_atomically(path, text)
    click.echo(shown(f"written: {path}"), err=True)
