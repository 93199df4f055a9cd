"""Runs over time on a page: a plot for each metric of a line, and a table of its runs."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

from llmbench.analysis import history
from llmbench.analysis.history import HistoryEntry, HistoryLine, Track
from llmbench.analysis.stages import request_metric
from llmbench.render import views
from llmbench.render.html.document import Block, Figures, Notes, Page, Section, render
from llmbench.render.html.plots import relative_point
from llmbench.render.html.series import colour, dash
from llmbench.render.html.svg import Axis, Figure, Line, Marks, Shape, Sign
from llmbench.render.sentences.level_changes import level_command, level_sentence
from llmbench.render.terminal.history import differing, titles
from llmbench.render.text import minute, number_text, prompt_name
from llmbench.schema.units import counted

_TWO_DAYS_S = 2 * 86_400
_LEAST_REACH = 8.0


def history_page(
    lines: Sequence[HistoryLine], names: Sequence[str], accepted: Mapping[str, str] | None = None
) -> str:
    """Return the page of runs over time, a section per line; *accepted* has the notes of accepted changes, by run."""
    return render(history_value(lines, names, accepted))


def history_value(
    lines: Sequence[HistoryLine], names: Sequence[str], accepted: Mapping[str, str] | None = None
) -> Page:
    """Return that page as a value."""
    runs = {entry.report.run.id for line in lines for entry in line.entries}
    return Page(
        title=f"History of {counted(len(runs), 'run')}",
        lead=("Steps are from the last valid run before: ~ is undecided, an empty one unchanged.",),
        badges=(),
        sections=tuple(_sections(lines, names, accepted)),
    )


def _sections(
    lines: Sequence[HistoryLine], names: Sequence[str], accepted: Mapping[str, str] | None
) -> Iterator[Section]:
    apart = differing(lines)
    for index, line in enumerate(lines):
        title, span = titles(line, apart)
        yield Section(
            name=f"line{index}", title=f"{title}: {span}", blocks=tuple(_blocks(line, names, accepted))
        )


def _blocks(line: HistoryLine, names: Sequence[str], accepted: Mapping[str, str] | None) -> Iterator[Block]:
    tracks = [track for track in history.tracks(line, names) if any(track.points)]
    if len(line.entries) > 1:
        by_metric = [[track for track in tracks if track.metric == name] for name in names]
        figures = tuple(_figure(found, line.entries) for found in by_metric if found)
        if figures:
            yield Figures(figures=figures)
    yield views.history_table(line, names).without("launches", *names)
    changes = [each for name in names for each in history.level_changes(line, name, accepted)]
    for change in changes:
        yield Notes(lines=(level_sentence(change),), tone="bad" if change.is_regression else "")
        if change.note is None:
            yield Notes(lines=(level_command(change),), is_code=True)


def _figure(tracks: Sequence[Track], entries: Sequence[HistoryEntry]) -> Figure:
    """One metric over the runs, a line per prompt, as changes from its oldest run: so prompts of all lengths fit."""
    known = [(point.median / _oldest(track) - 1) * 100 for track in tracks for point in track.points if point]
    reach = max(max(known) - min(known), _LEAST_REACH)
    margin = max(reach / 4, min(reach, _farthest(tracks)))
    return Figure(
        title=request_metric(tracks[0].metric).title,
        caption="Change from the oldest run. Bars: intervals at 95 %, an arrow where they go on.",
        key=tuple(
            Sign(name=prompt_name(track.prompt, track.input_tokens), colour=colour(index), mark=dash(index))
            for index, track in enumerate(tracks)
        ),
        x=_time_axis(entries),
        y=Axis(low=min(known) - margin, high=max(known) + margin, suffix=" %"),
        shapes=tuple(
            shape for index, track in enumerate(tracks) for shape in _track_shapes(index, track, entries)
        ),
    )


def _instant(entry: HistoryEntry) -> float:
    """When a run was started, in seconds; an instant without a zone is UTC."""
    found = datetime.fromisoformat(entry.report.run.started_at)
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def _time_axis(entries: Sequence[HistoryEntry]) -> Axis:
    """True to time: a tick for some of the runs, with the year, and the time of day where all are within two days."""
    instants = [_instant(entry) for entry in entries]
    first, last = min(instants), max(instants)
    margin = (last - first) * 0.06 or 1.0
    form = "%Y-%m-%d %H:%M" if last - first < _TWO_DAYS_S else "%Y-%m-%d"
    ticks = tuple(
        (instant, datetime.fromtimestamp(instant, UTC).strftime(form)) for instant in sorted(set(instants))
    )
    return Axis(title="UTC", low=first - margin, high=last + margin, ticks=ticks, has_grid=False)


def _farthest(tracks: Sequence[Track]) -> float:
    known = [point for track in tracks for point in track.points if point and point.has_interval]
    return max(
        (max(point.high / point.median - 1, 1 - point.low / point.median) * 100 for point in known), default=0
    )


def _oldest(track: Track) -> float:
    """The first value of a track; 1 where it is 0, of which nothing is a share."""
    return next((point.median for point in track.points if point), 1.0) or 1.0


def _track_shapes(index: int, track: Track, entries: Sequence[HistoryEntry]) -> Iterator[Shape]:
    unit = request_metric(track.metric).unit
    oldest = _oldest(track)
    found = [(entry, point) for entry, point in zip(entries, track.points, strict=True) if point is not None]
    points = tuple(
        relative_point(
            _instant(entry), point, oldest, f"{_which(entry)}: {number_text(point.median, unit)} {unit.value}"
        )
        for entry, point in found
    )
    name = prompt_name(track.prompt, track.input_tokens)
    yield Line(points=[(p.x, p.y) for p in points], colour=colour(index), name=name, dash=dash(index))
    yield Marks(points=points, colour=colour(index), name=name, size=3.5)


def _which(entry: HistoryEntry) -> str:
    run = entry.report.run
    return ", ".join(part for part in (entry.name, minute(run.started_at), entry.engine) if part)
