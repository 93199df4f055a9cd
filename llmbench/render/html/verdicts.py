"""Comparisons on a page: the sentence, the ratios with their intervals as a plot and a table, and what changed."""

import textwrap
from collections.abc import Iterator, Sequence

from llmbench.analysis.comparison.change import Change
from llmbench.analysis.comparison.compare import Comparison
from llmbench.analysis.comparison.rule import Verdict
from llmbench.analysis.metrics import METRICS
from llmbench.render.html.document import (
    Block,
    Cell,
    Figure,
    Figures,
    Head,
    Notes,
    PlotValue,
    Table,
    column_label,
)
from llmbench.render.html.figures import rounded
from llmbench.render.sentences.remarks import agreement_remark
from llmbench.render.sentences.verdict import (
    VerdictLine,
    interval_text,
    lengths,
    next_steps,
    sentence,
    verdict_lines,
    verdict_word,
)
from llmbench.render.sentences.verdict import line_label as pair_label
from llmbench.render.text import share

TONES = {
    Verdict.REGRESSED: "bad",
    Verdict.IMPROVED: "good",
    Verdict.UNCHANGED: "",
    Verdict.INCONCLUSIVE: "warn",
    Verdict.INCOMPARABLE: "warn",
}
MAX_PLOTTED = 60
"""Rows of a plot; the table has all."""

_COLOURS = {"bad": "var:--bad", "good": "var:--good", "warn": "var:--warn", "": "var:--dim"}
_HIGHEST = 1.0
"""A plot of changes ends at +100 %, wherever an interval goes."""

_BREAK = "<br>"
_ROW_NAME_WIDTH = 24
"""Characters of a row's name in a line; more are cut off at 400 px."""


def blocks(comparison: Comparison) -> Iterator[Block]:
    """One comparison: what it says, what to do next, its plot and tables."""
    tone = TONES[comparison.verdict] or "good"
    yield Notes(lines=(sentence(comparison),), tone=tone)
    for step in next_steps(comparison):
        yield Notes(lines=(step.strip(),), is_code=step.startswith(" "), tone="dim")
    yield Notes(lines=tuple(_not_compared(comparison)), tone="warn")
    figure = ratios(comparison)
    if figure is not None:
        yield Figures(figures=(figure,))
        yield _table(comparison)
        yield Notes(lines=(lengths(comparison),), tone="dim")
    told = agreement_remark(comparison)
    if told:
        yield Notes(lines=(told.text,), tone="warn" if told.is_doubt else "dim")
    yield _changed(comparison)
    yield Notes(lines=comparison.warnings, tone="dim")
    yield Notes(lines=(_rule(comparison),), tone="dim")


def _not_compared(comparison: Comparison) -> Iterator[str]:
    for pair in comparison.pairs:
        if pair.reasons:
            yield f"not compared: {pair_label(comparison, pair)}: {'; '.join(pair.reasons)}"
    yield from (f"not compared: {found}" for found in comparison.unpaired)


def _changes(comparison: Comparison) -> list[tuple[VerdictLine, Change]]:
    found = [each for mean in comparison.means if mean.prompts > 1 for each in mean.changes]
    found += [each for pair in comparison.pairs for each in pair.changes]
    return list(zip(verdict_lines(comparison), found, strict=True))


def ratios(comparison: Comparison) -> Figure | None:
    """The change of each row with its interval, the thresholds behind them; ``None`` where nothing is compared."""
    every = _changes(comparison)
    found = every[:MAX_PLOTTED]
    if not found:
        return None
    left = f" The first {len(found)} of {len(every)} are drawn." if every[MAX_PLOTTED:] else ""
    names = [_row_name(line) for line, _ in found]
    names = [f"{name}{' ' * names[:position].count(name)}" for position, name in enumerate(names)]
    lowest, highest = _extent([change for _, change in found])
    return Figure(
        title="change of each metric",
        caption="Change from the base with its interval at 95 %; right is slower. The pale bar is the threshold "
        f"within which a change does not matter.{left}",
        is_wide=True,
        data=[_ratio_trace(tone, names, found) for tone in ("bad", "warn", "good", "")],
        layout={
            "height": 90 + len(found) * (10 + 14 * max(1 + name.count(_BREAK) for name in names)),
            "xaxis": {"title": {"text": "change"}, "ticksuffix": " %", "range": [lowest, highest]},
            "yaxis": {
                "categoryorder": "array",
                "categoryarray": names[::-1],
                "range": [-0.7, len(names) - 0.3],
            },
            "shapes": [*_thresholds(found), _zero()],
        },
    )


def _row_name(line: VerdictLine) -> str:
    """What a row of the plot is of, in lines that leave room for the plot on a narrow screen."""
    words = f"{line.where} {METRICS[line.metric].title}"
    return _BREAK.join(
        column_label(part) for part in textwrap.wrap(words, _ROW_NAME_WIDTH, break_long_words=False)
    )


def _extent(changes: Sequence[Change]) -> tuple[float, float]:
    """What the plot shows, in percent: all ratios and thresholds, and of intervals not more than makes sense."""
    reach = max(max(abs(each.ratio.ratio - 1), each.threshold) for each in changes)
    for each in changes:
        if each.ratio.has_interval:
            reach = max(reach, min(_HIGHEST, max(each.ratio.high - 1, 1 - each.ratio.low)))
    return rounded(-110 * min(reach, _HIGHEST)), rounded(110 * reach)


def _ratio_trace(
    tone: str, names: Sequence[str], found: Sequence[tuple[VerdictLine, Change]]
) -> dict[str, PlotValue]:
    mine = [
        (name, change)
        for name, (line, change) in zip(names, found, strict=True)
        if TONES[line.verdict] == tone
    ]
    ratios_found = [change.ratio for _, change in mine]
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [rounded((ratio.ratio - 1) * 100) for ratio in ratios_found],
        "y": [name for name, _ in mine],
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [rounded((r.high - r.ratio) * 100) if r.has_interval else 0 for r in ratios_found],
            "arrayminus": [rounded((r.ratio - r.low) * 100) if r.has_interval else 0 for r in ratios_found],
            "color": _COLOURS[tone],
        },
        "marker": {"color": _COLOURS[tone], "size": 9},
        "text": [interval_text(change) for _, change in mine],
        "hovertemplate": "%{y}: %{x:+.2f} % (%{text})<extra></extra>",
    }


def _thresholds(found: Sequence[tuple[VerdictLine, Change]]) -> list[PlotValue]:
    """Behind each row the changes that do not matter."""
    last = len(found) - 1
    return [
        {
            "type": "rect",
            "x0": rounded(-change.threshold * 100),
            "x1": rounded(change.threshold * 100),
            "y0": last - position - 0.32,
            "y1": last - position + 0.32,
            "fillcolor": "var:--f7",
            "line": {"width": 0},
            "layer": "below",
        }
        for position, (_, change) in enumerate(found)
    ]


def _zero() -> dict[str, PlotValue]:
    line: dict[str, PlotValue] = {"color": "var:--dim", "width": 1}
    return {
        "type": "line",
        "x0": 0,
        "x1": 0,
        "yref": "paper",
        "y0": 0,
        "y1": 1,
        "line": line,
        "layer": "below",
    }


def _table(comparison: Comparison) -> Table:
    heads = [Head(text=name, is_text=True) for name in ("prompt", "metric", "unit")]
    heads += [Head(text=name) for name in ("base", "candidate", "change", "at 95 %")]
    heads += [Head(text="verdict", is_text=True), Head(text="threshold"), Head(text="launches")]
    heads += [Head(text="smallest visible change")]
    return Table(heads=tuple(heads), rows=tuple(_row(line, change) for line, change in _changes(comparison)))


def _row(line: VerdictLine, change: Change) -> tuple[Cell, ...]:
    tone = TONES[line.verdict]
    visible = change.smallest_visible
    return (
        Cell(text=line.where),
        Cell(text=METRICS[line.metric].title),
        Cell(text=line.unit),
        Cell(text=line.base),
        Cell(text=line.candidate),
        Cell(text=line.change, tone=tone),
        Cell(text=line.interval or "unknown", tone="" if line.interval else "dim"),
        Cell(text=verdict_word(line), tone=tone, title=line.verdict.value),
        Cell(text=share(change.threshold)),
        Cell(text=" + ".join(str(count) for count in change.launches)),
        Cell(text="n/a", tone="dim") if visible is None else Cell(text=share(visible)),
    )


def _changed(comparison: Comparison) -> Table:
    heads = tuple(Head(text=name, is_text=True) for name in ("what else changed", "base", "candidate"))
    rows = tuple(
        (
            Cell(text=found.name, tone="name"),
            Cell(text=found.base or "not set", tone="" if found.base else "dim"),
            Cell(text=found.candidate or "not set", tone="" if found.candidate else "dim"),
        )
        for found in comparison.changes
    )
    return Table(
        heads=heads, rows=rows or ((Cell(text="nothing that was recorded"), Cell(text=""), Cell(text="")),)
    )


def _rule(comparison: Comparison) -> str:
    test = "launches paired" if comparison.is_paired else "launches independent (Welch)"
    return (
        f"The replicate is the launch; {test}. Regressed or improved: the interval excludes no change and the ratio is "
        "beyond the threshold. Unchanged: the whole interval lies within it. ~ undecided, ! counts for the exit code."
    )
