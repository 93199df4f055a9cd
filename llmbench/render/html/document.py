"""A page as values, and the one file it becomes: style inlined, plots drawn, no network needed.

Every text is escaped where it enters the page. It has no script, and its own Content-Security-Policy allows neither
scripts nor requests.
"""

from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

from llmbench.render.html import svg
from llmbench.render.html.svg import Figure, Sign
from llmbench.render.table import Table
from llmbench.render.text import plain

if TYPE_CHECKING:
    from jinja2 import Environment

_POLICY = (
    "default-src 'none'; script-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'"
)
"""The page's Content-Security-Policy: inline style, images that the page holds itself, no script and no network."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """What the colours of the plots below stand for."""

    entries: tuple[Sign, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Plots beside each other, as many as the window holds."""

    figures: tuple[Figure, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """A large number with the words above and below it."""

    head: str
    text: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiles:
    """The numbers to take away."""

    tiles: tuple[Tile, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Notes:
    """Sentences, one below the other; *tone* colours them, *is_code* shows them as something to type."""

    lines: tuple[str, ...]
    tone: str = ""
    is_code: bool = False


Block = Table | Figures | Tiles | Notes | Key


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of a page; one without blocks is left out."""

    name: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A whole page: title, the lines under it, words in frames (text and tone), and its sections."""

    title: str
    lead: tuple[str, ...]
    badges: tuple[tuple[str, str], ...]
    sections: tuple[Section, ...]


def render(page: Page) -> str:
    """The page as one HTML file."""
    template = _environment().get_template("page.html")
    return template.render(
        page=page,
        sections=[section for section in page.sections if section.blocks],
        style=files("llmbench.render.html").joinpath("page.css").read_text(encoding="utf-8"),
        policy=_POLICY,
        drawings=_drawings,
        kind=lambda block: type(block).__name__,
    )


def _drawings(figure: Figure) -> str:
    """The plot of a figure; of a wide one a second drawing for narrow windows."""
    if not figure.is_wide:
        return svg.draw(figure)
    return svg.draw(figure, svg.WIDE, ' class="broad"') + svg.draw(figure, svg.NARROW, ' class="narrow"')


def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("llmbench.render.html", "."),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: plain(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
