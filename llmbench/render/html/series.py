"""What a page draws in one colour: one configuration of one run, with the name that sets it apart."""

from collections.abc import Sequence
from dataclasses import dataclass

from llmbench.analysis import speedup, token_gaps
from llmbench.analysis.metrics.table import PHASES
from llmbench.analysis.report import Report, Row
from llmbench.analysis.token_gaps import GapProfile, Slope
from llmbench.render.html.document import Key
from llmbench.render.html.svg import Sign
from llmbench.render.text import settings_text

COLOURS = 8
"""Colours of the style sheet; more series than that begin again, with another line."""

_DASHES = ("solid", "dash", "dot")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlotSeries:
    """One configuration (*cell*) of a report. *name* is empty where a page has one only."""

    index: int
    name: str
    report: Report
    cell: int
    rows: tuple[Row, ...]
    profiles: tuple[GapProfile, ...]
    slope: Slope | None

    @property
    def colour(self) -> str:
        """Its colour in plots."""
        return colour(self.index)


def latencies(series: Sequence[PlotSeries]) -> tuple[str, ...]:
    """Return the latencies that are drawn: first, second and next tokens, or all later ones if only they are known."""
    known = {name for each in series for row in each.rows for name in row.summaries}
    first, *later = PHASES
    return (first, "tpot") if "tpot" in known and "next_token" not in known else (first, *later)


def key(series: Sequence[PlotSeries]) -> tuple[Key, ...]:
    """What the colours stand for, where a page has several series."""
    if len(series) < 2:
        return ()
    return (Key(entries=tuple(Sign(name=s.name, colour=s.colour, mark=dash(s.index)) for s in series)),)


def colour(index: int) -> str:
    """The colour number *index*, as the style sheet gives it."""
    return f"var(--s{index % COLOURS})"


def fill(index: int) -> str:
    """The same colour, so thin that others show through it."""
    return f"var(--f{index % COLOURS})"


def dash(index: int) -> str:
    """The line of a colour that was taken before."""
    return _DASHES[index // COLOURS % len(_DASHES)]


def all_series(reports: Sequence[Report], names: Sequence[str]) -> tuple[PlotSeries, ...]:
    """Every configuration of every report, in order; *names* has one per report."""
    found: list[PlotSeries] = []
    for report, name in zip(reports, names, strict=True):
        profiles, slopes = token_gaps.gap_profiles(report.evaluation), token_gaps.slopes(report.evaluation)
        for cell in range(len(report.run.cells)):
            found.append(
                PlotSeries(
                    index=len(found),
                    name=_name(name, report, cell),
                    report=report,
                    cell=cell,
                    rows=tuple(row for row in report.rows if row.cell == cell),
                    profiles=tuple(profile for profile in profiles if profile.cell == cell),
                    slope=slopes[cell],
                )
            )
    return tuple(found)


def _name(name: str, report: Report, cell: int) -> str:
    setups = speedup.setup_names(report.run)
    apart = setups[cell] if setups else settings_text(report.distinctions[cell])
    return ", ".join(part for part in (name, apart) if part)
