"""Quality beside latency on a terminal: the table, and a plot of one against the other."""

import math
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from llmbench.analysis.output_agreement import Agreement
from llmbench.analysis.quality import QualityReport
from llmbench.render.quality import point_letter, quality_table, text_table
from llmbench.render.terminal.plots import axis_label, bare_figure, figure_text
from llmbench.render.terminal.table import print_hidden, print_line, print_table
from llmbench.render.text import settings_text
from llmbench.schema.units import Unit, counted

_LEAST_WIDTH = 60
"""A narrower screen has no plot: its axes would leave no room for it."""

_LEAST = 1e-6
"""A divergence below this is drawn at it: logarithms have no 0."""


def render_quality(report: QualityReport, console: Console) -> None:
    """Print the base, the tables, what loses too much, and the plot."""
    rows, base, name = report.rows, report.base, report.base_model
    blocks, tokens = counted(base.blocks, "block"), counted(base.tokens, "token")
    print_line(
        console,
        f"base: {name} in f32 with an f32 cache: perplexity {base.perplexity:.2f} over {tokens} in {blocks}",
        style="bold",
    )
    print_hidden(table := quality_table(rows), print_table(table, console), console)
    if report.by_text:
        print_table(text_table(report), console)
    for index, row in enumerate(rows):
        for fault in row.faults:
            print_line(console, f"{point_letter(index)} INVALID: {fault}", style="bold red")
        if row.tokens is not None and row.tokens.variants:
            print_line(console, f"{point_letter(index)}: {_agreement(row.tokens)}")
    drawn = [(point_letter(i), row) for i, row in enumerate(rows) if row.point is not None]
    if len(drawn) > 1 and console.width >= _LEAST_WIDTH and not console.options.ascii_only:
        print_line(console, "KL divergence (nats) against next tokens (ms)", style="bold")
        console.print(
            Text(_plot([(mark, *row.point) for mark, row in drawn if row.point], console.width)),
            soft_wrap=True,
        )
    front = [
        f"{mark} ({apart})" if (apart := settings_text(row.settings)) else mark
        for mark, row in drawn
        if row.is_on_front
    ]
    if front:
        print_line(console, f"* Pareto front, no other is as good in both: {'; '.join(front)}", style="dim")


def _agreement(found: Agreement) -> str:
    outputs = counted(found.variants, "output")
    if found.first is None:
        return f"greedy tokens are those without guessing in all of {outputs}"
    first = f", the first from token {found.first.token} on" if found.first.token else ""
    return f"greedy tokens differ from those without guessing in {len(found.partings)} of {outputs}{first}"


def _plot(points: Sequence[tuple[str, float, float]], width: int) -> str:
    figure = bare_figure(width)
    figure.x_label, figure.y_label = "ms", "nats"
    x = [seconds * Unit.MILLISECONDS.scale for _, seconds, _ in points]
    y = [math.log10(max(kld, _LEAST)) for _, _, kld in points]
    figure.set_x_limits(min_=min(x) - _margin(x), max_=max(x) + _margin(x))
    figure.set_y_limits(min_=math.floor(min(y)), max_=math.ceil(max(y) + 1e-9))
    figure.register_label_formatter(float, _label)
    for (mark, _, _), left, up in zip(points, x, y, strict=True):
        figure.scatter([left], [up], marker=mark)
    return figure_text(figure)


def _margin(values: Sequence[float]) -> float:
    return (max(values) - min(values)) * 0.1 or 1.0


def _label(value: float, chars: int, delta: float, left: bool = False) -> str:  # noqa: FBT001, FBT002  plotille's
    """A tick of the logarithmic y axis as its number; those of x, which stand to the left, as they are."""
    return axis_label(value, chars, delta, left=True) if left else f"{10**value:>{chars}.1e}"
