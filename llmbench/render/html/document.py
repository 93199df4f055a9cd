"""A page as values, and the one file it becomes: style and script inlined, nothing asked of a network.

Every text is escaped where it enters the page. The script blocks are named by their hashes in the page's own
Content-Security-Policy, which allows no other script and no request at all.
"""

import base64
import hashlib
import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

from llmbench.render.table import Table
from llmbench.render.text import plain

if TYPE_CHECKING:
    from jinja2 import Environment

PlotValue = str | int | float | bool | None | Sequence["PlotValue"] | Mapping[str, "PlotValue"]
"""What a figure is made of; a string ``var:--name`` is the colour that the style sheet gives that name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign:
    """What a colour and a line stand for; *mark* is ``solid``, ``dash``, ``dot``, or ``cross``."""

    name: str
    colour: str
    mark: str = "solid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """What the colours of the plots below stand for."""

    entries: tuple[Sign, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A plot: traces and layout as Plotly has them, a title, and a sentence that says how to read it.

    *key* tells what its own colours and lines stand for. One that *is_wide* has a row of its own.
    """

    title: str
    caption: str
    data: Sequence[Mapping[str, PlotValue]]
    layout: Mapping[str, PlotValue]
    key: tuple[Sign, ...] = ()
    is_wide: bool = False


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
    sections = [section for section in page.sections if section.blocks]
    figures = [
        figure
        for section in sections
        for block in section.blocks
        if isinstance(block, Figures)
        for figure in block.figures
    ]
    scripts = [_plotting_library(), _read("page.js")] if figures else []
    template = _environment().get_template("page.html")
    return template.render(
        page=page,
        sections=sections,
        style=_read("page.css"),
        scripts=scripts,
        policy=_policy(scripts),
        figures=_as_data([{"data": figure.data, "layout": figure.layout} for figure in figures]),
        kind=lambda block: type(block).__name__,
    )


def column_label(text: str) -> str:
    """A text from a file as a plot shows it: Plotly reads a few tags in its labels, and none may come from a file."""
    return html.escape(plain(text), quote=False)


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


def _read(name: str) -> str:
    return files("llmbench.render.html").joinpath(name).read_text(encoding="utf-8")


def _plotting_library() -> str:
    """Plotly's script, which cannot end the element that holds it."""
    from plotly.offline import get_plotlyjs

    script: str = get_plotlyjs()
    return script.replace("\r\n", "\n").replace("</script", "<\\/script")


def _policy(scripts: Sequence[str]) -> str:
    """The Content-Security-Policy: these scripts and inline style, images that the page holds itself, no network."""
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
        for script in scripts
    )
    allowed = hashes or "'none'"
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def _as_data(content: PlotValue) -> str:
    """JSON that can stand inside an element: no character of it begins a tag. Raises ValueError on NaN, a bug."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
