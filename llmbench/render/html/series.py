"""What a page draws in one colour: one configuration of one run, with the name that sets it apart."""

from collections.abc import Sequence
from dataclasses import dataclass

from llmbench import gaps
from llmbench.gaps import Profile, Slope
from llmbench.render.text import label
from llmbench.report import Report, Row

COLOURS = 8
"""Colours of the style sheet; more series than that begin again, with another line."""

_DASHES = ("solid", "dash", "dot")


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One configuration (*cell*) of a report. *name* is empty where a page has one series only."""

    index: int
    name: str
    report: Report
    cell: int
    rows: tuple[Row, ...]
    profiles: tuple[Profile, ...]
    slope: Slope | None

    @property
    def colour(self) -> str:
        """Its colour in plots."""
        return colour(self.index)


def colour(index: int) -> str:
    """The colour number *index*, as the style sheet gives it."""
    return f"var:--s{index % COLOURS}"


def fill(index: int) -> str:
    """The same colour, so thin that others show through it."""
    return f"var:--f{index % COLOURS}"


def dash(index: int) -> str:
    """The line of a colour that was taken before."""
    return _DASHES[index // COLOURS % len(_DASHES)]


def all_series(reports: Sequence[Report]) -> tuple[Series, ...]:
    """Every configuration of every report, in order."""
    found: list[Series] = []
    for report in reports:
        profiles, slopes = gaps.profiles(report.run), gaps.slopes(report.run)
        for cell in range(len(report.run.cells)):
            found.append(
                Series(
                    index=len(found),
                    name=_name(report, cell, is_alone=len(reports) == 1),
                    report=report,
                    cell=cell,
                    rows=tuple(row for row in report.rows if row.cell == cell),
                    profiles=tuple(profile for profile in profiles if profile.cell == cell),
                    slope=slopes[cell],
                )
            )
    return tuple(found)


def _name(report: Report, cell: int, *, is_alone: bool) -> str:
    """The run where there are several, and the settings that set a configuration apart."""
    parts = [] if is_alone else [report.run.id]
    parts += [f"{name}={value or 'default'}" for name, value in report.distinctions[cell].items()]
    return ", ".join(parts)


def row_name(row: Row) -> str:
    """A prompt with its length: ``P0, 32 tokens in``."""
    return f"{label(row)}, {row.input_tokens} tokens in"
