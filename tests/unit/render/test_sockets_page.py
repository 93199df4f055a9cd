"""The page of a run of ``llmbench sockets``: the answer first, setups by their names, speed-ups as a chart."""

import pytest

from llmbench.analysis.report import summarize_run
from llmbench.analysis.speedup import tabulate
from llmbench.render.html import page, sockets
from llmbench.render.html.document import Figures, Notes, Page
from llmbench.render.html.svg import Bar, Figure
from llmbench.render.table import Table
from tests import builders

SETUPS = ["socket 0 alone", "socket 1 alone", "both sockets", "both sockets, tensor parallel"]


@pytest.fixture(scope="module")
def shown() -> Page:
    """The page of four setups at two lengths in three blocks."""
    return page.page_value([summarize_run(builders.sockets_run(wobble=0.01))])


def chart(shown: Page) -> Figure:
    """Its chart of speed-ups."""
    return next(block for block in shown.sections[0].blocks if isinstance(block, Figures)).figures[0]


def test_the_answer_stands_first(shown: Page) -> None:
    """One sentence in the colour of the answer, then one table, then one chart."""
    kinds = [type(block) for block in shown.sections[0].blocks if block != Notes(lines=(), tone="bad")]
    headline = shown.sections[0].blocks[0]

    assert [Notes, Notes, Table, Figures] == kinds
    assert isinstance(headline, Notes)
    assert headline.lines[0].startswith("Tensor parallelism over 2 sockets: first token 2.0")
    assert "good" == headline.tone


def test_the_table_has_setups_by_lengths(shown: Page) -> None:
    """200 ms times the mean noise of three blocks (0.9967) on socket 0; with tensor parallelism half of it."""
    table = next(block for block in shown.sections[0].blocks if isinstance(block, Table))

    assert SETUPS == [row[0].text for row in table.rows]
    assert ["first, 32 in", "first, 1024 in", "next, 32 in", "next, 1024 in"] == list(table.names()[1:])
    first = table.names().index("first, 1024 in")
    assert ("199.3", "") == (table.rows[0][first].text, table.rows[0][first].note)
    assert "2.0" == table.rows[3][first].note[:3]


def test_bars_have_their_intervals(shown: Page) -> None:
    """Two setups, two lengths, two metrics: eight bars, each with the ends of its interval and a line at 1."""
    figure = chart(shown)
    bars = [shape for shape in figure.shapes if isinstance(shape, Bar)]

    assert 8 == len(bars)
    assert all(marks.points[0].low is not None for marks in figure.marks)
    assert SETUPS[2:] == [sign.name for sign in figure.key]
    assert [1, 1] == [y for _, y in figure.lines[0].points]
    assert all(figure.y.low <= y <= figure.y.high for bar in bars for y in bar.y)


def test_setups_have_names_and_no_settings(shown: Page) -> None:
    """No property or socket list stands where a setup is named."""
    text = page.render(shown)
    before_setup = text[: text.index('id="setup"')]

    assert all(name in before_setup for name in SETUPS)
    assert "TENSOR_PARALLEL" not in before_setup
    assert "sockets=" not in before_setup


@pytest.mark.parametrize(
    ("long", "tone"),
    [
        (builders.LONG, "good"),
        (dict.fromkeys(builders.LONG, 100.0), "warn"),
        ({**builders.LONG, "split": 400.0}, "bad"),
    ],
)
def test_the_colour_is_that_of_the_answer(long: dict[str, float], tone: str) -> None:
    """It pays, it is undecided, it is slower at every length."""
    report = summarize_run(builders.sockets_run(wobble=0.01, long=long))

    headline = sockets.sockets_section(report).blocks[0]

    assert isinstance(headline, Notes)
    assert tone == headline.tone


def test_without_shared_blocks_there_is_no_chart() -> None:
    """One block has no interval, but bars; no launch at all has neither."""
    one = summarize_run(builders.sockets_run(blocks=1))
    figure = sockets.speedup_figure(tabulate(one))

    assert figure is not None
    assert all(marks.points[0].low is None for marks in figure.marks)
