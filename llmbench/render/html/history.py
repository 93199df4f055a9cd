"""Runs over time on a page: a plot for each metric of a line, and a table of its runs."""

import math
from collections.abc import Iterator, Sequence

from llmbench.analysis import history
from llmbench.analysis.history import HistoryEntry, HistoryLine, Track
from llmbench.analysis.metrics import METRICS
from llmbench.render import views
from llmbench.render.html.document import (
    Block,
    Figure,
    Figures,
    Page,
    PlotValue,
    Section,
    Sign,
    column_label,
    render,
)
from llmbench.render.html.plots import bars, rounded
from llmbench.render.html.series import colour, dash
from llmbench.render.terminal.history import differing, titles
from llmbench.render.text import counted, number_text, prompt_name

_TICKS = 4
_LEAST_REACH = 8.0


def history_page(lines: Sequence[HistoryLine], names: Sequence[str]) -> str:
    """Return the page of runs over time, a section a line."""
    runs = {entry.report.run.id for line in lines for entry in line.entries}
    return render(
        Page(
            title=f"History of {counted(len(runs), 'run')}",
            lead=("Steps are from the last valid run before: ~ is undecided, an empty one unchanged.",),
            badges=(),
            sections=tuple(_sections(lines, names)),
        )
    )


def _sections(lines: Sequence[HistoryLine], names: Sequence[str]) -> Iterator[Section]:
    apart = differing(lines)
    for index, line in enumerate(lines):
        title, span = titles(line, apart)
        yield Section(name=f"line{index}", title=f"{title}: {span}", blocks=tuple(_blocks(line, names)))


def _blocks(line: HistoryLine, names: Sequence[str]) -> Iterator[Block]:
    tracks = history.tracks(line, names)
    if len(line.entries) > 1:
        by_metric = [[track for track in tracks if track.metric == name] for name in names]
        figures = tuple(_figure(found, line.entries) for found in by_metric if found)
        if figures:
            yield Figures(figures=figures)
    yield views.history_table(line, names).without("launches", *names)


def _figure(tracks: Sequence[Track], entries: Sequence[HistoryEntry]) -> Figure:
    """One metric over the runs, a line a prompt, as changes from its oldest run: so prompts of all lengths fit."""
    traces = [_trace(index, track, entries) for index, track in enumerate(tracks)]
    known = [(point.median / _oldest(track) - 1) * 100 for track in tracks for point in track.points if point]
    reach = max(max(known) - min(known), _LEAST_REACH)
    margin = max(reach / 4, min(reach, _farthest(tracks)))
    step = max(1, math.ceil(len(entries) / _TICKS))
    return Figure(
        title=METRICS[tracks[0].metric].title,
        caption="Change from the oldest run. Bars: intervals at 95 %, cut where they leave the plot.",
        key=tuple(
            Sign(name=prompt_name(track.prompt, track.input_tokens), colour=colour(index), mark=dash(index))
            for index, track in enumerate(tracks)
        ),
        data=traces,
        layout={
            "xaxis": {
                "tickvals": list(range(0, len(entries), step)),
                "ticktext": _when(entries)[::step],
                "tickangle": 0,
            },
            "yaxis": {
                "ticksuffix": " %",
                "range": [rounded(min(known) - margin), rounded(max(known) + margin)],
            },
        },
    )


def _when(entries: Sequence[HistoryEntry]) -> list[str]:
    """When each run was started: the day, or day and time where a day has several."""
    started = [entry.report.run.started_at for entry in entries]
    days = [instant[:10] for instant in started]
    return days if len(set(days)) == len(days) else [instant[5:16].replace("T", " ") for instant in started]


def _farthest(tracks: Sequence[Track]) -> float:
    known = [point for track in tracks for point in track.points if point and point.has_interval]
    return max(
        (max(point.high / point.median - 1, 1 - point.low / point.median) * 100 for point in known), default=0
    )


def _oldest(track: Track) -> float:
    """The first value of a track; 1 where it is 0 and nothing can be held against it."""
    return next((point.median for point in track.points if point), 1.0) or 1.0


def _trace(index: int, track: Track, entries: Sequence[HistoryEntry]) -> dict[str, PlotValue]:
    unit = METRICS[track.metric].unit
    oldest = _oldest(track)
    found = [(position, point) for position, point in enumerate(track.points) if point is not None]
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": column_label(prompt_name(track.prompt, track.input_tokens)),
        "x": [position for position, _ in found],
        "y": [rounded((point.median / oldest - 1) * 100) for _, point in found],
        "error_y": bars([point for _, point in found], 100 / oldest) | {"color": colour(index)},
        "text": [
            f"{column_label(_which(entries[position]))}: {number_text(point.median, unit)} {unit.value}"
            for position, point in found
        ],
        "line": {"color": colour(index), "dash": dash(index)},
        "marker": {"color": colour(index), "size": 7},
        "hovertemplate": "%{text} (%{y:+.1f} %)",
    }


def _which(entry: HistoryEntry) -> str:
    run = entry.report.run
    return ", ".join(part for part in (run.id, run.started_at[:16].replace("T", " "), entry.engine) if part)
