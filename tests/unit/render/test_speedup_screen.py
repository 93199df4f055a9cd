import io
from collections.abc import Callable

import pytest
from rich.console import Console

from llmbench.analysis.report import summarize_run
from llmbench.analysis.speedup import tabulate
from llmbench.render.terminal.speedup import render_speedup
from tests import builders

Golden = Callable[[str, str], None]


def screen(*, width: int, is_explained: bool = False) -> str:
    """What a console of that width shows of four setups at two lengths in three blocks."""
    report = summarize_run(builders.sockets_run(wobble=0.01))
    console = Console(file=io.StringIO(), width=width)
    render_speedup(tabulate(report), report, console, is_explained=is_explained)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize("width", [120, 80, 40])
def test_the_screen_at_each_width(golden: Golden, width: int) -> None:
    """The whole screen, as it was looked at once."""
    golden(f"sockets.{width}.txt", screen(width=width))


@pytest.mark.parametrize("width", [120, 80, 40])
def test_the_answer_stands_first_and_nothing_is_wider_than_the_screen(width: int) -> None:
    """One sentence, a small table, a chart and a verdict: at most 34 lines at 80 columns; details on request."""
    lines = screen(width=width).splitlines()

    assert lines[0].startswith("Tensor parallelism over 2 sockets: first")
    assert max(map(len, lines)) <= width
    assert width < 80 or len(lines) <= 34
    assert any("2.00\N{MULTIPLICATION SIGN}" in line and ("█" * 4) in line for line in lines)
    assert "efficiency" not in screen(width=width)
    assert "efficiency" in screen(width=width, is_explained=True)
