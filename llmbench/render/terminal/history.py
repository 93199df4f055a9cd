"""Runs over time on a terminal: a small curve for each prompt and metric, and a table of the runs."""

from collections.abc import Iterator, Sequence

from rich.console import Console

from llmbench.analysis import history
from llmbench.analysis.comparison.change import Change
from llmbench.analysis.comparison.rule import Verdict
from llmbench.analysis.history import HistoryLine, Track
from llmbench.analysis.metrics import METRICS
from llmbench.analysis.stats import Summary
from llmbench.render.terminal.report import Column, print_line, print_table, sign, width
from llmbench.render.text import change, counted, margin, number_text, plain

CURVE = 40
"""Runs of a curve at most, the last ones."""

_LEVELS = "▁▂▃▄▅▆▇█"
_ASCII_LEVELS = "_.-:=+*#"
_HOLE = " "
_DROPPED_FIRST = ("highest", "lowest", "unit", "openvino", "launches", "oldest", "started", "in")
_TITLE = ("model", "weight format", "engine", "device", "CPU")


def render_history(lines: Sequence[HistoryLine], names: Sequence[str], console: Console) -> None:
    """Print each line: what it is, its curves, its runs; what sets lines apart stands in their titles."""
    apart = differing(lines)
    for index, line in enumerate(lines):
        if index:
            console.print()
        for text in titles(line, apart):
            print_line(console, text, style="bold")
        found = history.tracks(line, names)
        if found and len(line.entries) > 1:
            print_table(_fitting(_curves(found, is_ascii=console.options.ascii_only), console), console)
            console.print()
        runs = _fitting(_runs(line, names, sign(console)), console)
        if width(runs) > console.width:
            runs = _fitting(_runs(line, names, ""), console)
        print_table(runs, console)
    if lines:
        print_line(console, _legend(lines), style="dim")


def differing(lines: Sequence[HistoryLine]) -> tuple[str, ...]:
    """The names of what is not the same in all lines, and does not stand in every title."""
    names = dict.fromkeys(name for line in lines for name in line.setup.named)
    return tuple(
        name
        for name in names
        if name not in _TITLE and len({line.setup.named.get(name, "") for line in lines}) > 1
    )


def titles(line: HistoryLine, apart: Sequence[str]) -> Iterator[str]:
    """What was measured on what, and when."""
    named = line.setup.named
    parts = [named[name] for name in _TITLE] + [
        f"{name}={named.get(name) or 'default'}" for name in apart if named.get(name) or name in named
    ]
    yield ", ".join(part for part in parts if part)
    dates = [entry.report.run.started_at[:10] for entry in line.entries]
    span = " to ".join(dict.fromkeys((dates[0], dates[-1])))
    yield f"{counted(len(line.entries), 'run')}, {span}"


def curve(values: Sequence[float | None], *, is_ascii: bool = False) -> str:
    """Values as a row of small bars between the lowest and the highest; a value that is missing is a hole."""
    levels = _ASCII_LEVELS if is_ascii else _LEVELS
    known = [value for value in values if value is not None]
    if not known:
        return _HOLE * len(values)
    low, reach = min(known), max(known) - min(known)
    middle = len(levels) // 2 - 1
    return "".join(
        _HOLE
        if value is None
        else levels[round((value - low) / reach * (len(levels) - 1)) if reach else middle]
        for value in values
    )


def _curves(tracks: Sequence[Track], *, is_ascii: bool) -> list[Column]:
    known = [[point.median for point in track.points if point] for track in tracks]
    units = [METRICS[track.metric].unit for track in tracks]
    values = [[point.median if point else None for point in track.points[-CURVE:]] for track in tracks]

    def numbers(key: str, of: Sequence[float]) -> Column:
        cells = tuple(number_text(value, unit) for value, unit in zip(of, units, strict=True))
        return Column(key=key, head=key, cells=cells)

    return [
        _texts("prompt", [track.prompt.label for track in tracks]),
        Column(key="in", head="in", cells=tuple(str(track.input_tokens) for track in tracks)),
        _texts("metric", [METRICS[track.metric].short_title for track in tracks]),
        _texts("unit", [unit.value for unit in units]),
        _texts("trend", [curve(found, is_ascii=is_ascii) for found in values]),
        numbers("oldest", [found[0] for found in known]),
        numbers("latest", [found[-1] for found in known]),
        Column(
            key="change",
            head="change",
            cells=tuple(change(found[-1] / found[0]) if found[0] else "n/a" for found in known),
        ),
        numbers("lowest", [min(found) for found in known]),
        numbers("highest", [max(found) for found in known]),
    ]


def _runs(line: HistoryLine, names: Sequence[str], plus_minus: str) -> list[Column]:
    """A row a run: when, which, and the means over its prompts with the step from the run before.

    Without a sign of the margin there is none.
    """
    runs = [entry.report.run for entry in line.entries]
    columns = [
        _texts("started", [run.started_at[:16].replace("T", " ") for run in runs]),
        _texts("run", [plain(run.id) for run in runs]),
        _texts("openvino", [plain(entry.engine) for entry in line.entries]),
        Column(
            key="launches",
            head="launches",
            cells=tuple(str(max((row.launches for row in entry.rows), default=0)) for entry in line.entries),
        ),
    ]
    for name in names:
        found = [history.mean(entry, name) for entry in line.entries]
        steps = history.steps(line, name)
        unit = METRICS[name].unit.value
        head = f"{METRICS[name].short_title}\n{unit}"
        columns.append(
            Column(key=name, head=head, cells=tuple(_mean(each, name, plus_minus) for each in found))
        )
        if any(steps):
            columns.append(_texts("step", [step(each) for each in steps]))
    notes = [
        "" if entry.is_green else _why(entry.report.is_valid, entry.report.run.is_complete)
        for entry in line.entries
    ]
    return [*columns, *([_texts("note", notes)] if any(notes) else [])]


def _why(is_valid: bool, is_complete: bool) -> str:  # noqa: FBT001  both are said together
    return "INVALID" if not is_valid else "cut short" if not is_complete else "rows missing"


def _mean(found: Summary | None, name: str, plus_minus: str) -> str:
    if found is None:
        return "n/a"
    reach = margin(found, sign=plus_minus) if plus_minus else ""
    return f"{number_text(found.median, METRICS[name].unit)} {reach}".rstrip()


def step(found: Change | None) -> str:
    """The change from the run before: ``+10 % regressed``, ``~ +1.2 %`` where undecided, nothing where unchanged."""
    if found is None or found.verdict is Verdict.UNCHANGED:
        return ""
    told = change(found.ratio.ratio)
    return f"~ {told}" if found.verdict is Verdict.INCONCLUSIVE else f"{told} {found.verdict.value}"


def _texts(key: str, cells: Sequence[str]) -> Column:
    return Column(key=key, head=key, cells=tuple(cells), is_text=True)


def _fitting(columns: list[Column], console: Console) -> list[Column]:
    for key in _DROPPED_FIRST:
        if width(columns) <= console.width:
            break
        columns = [column for column in columns if column.key != key]
    return columns


def _legend(lines: Sequence[HistoryLine]) -> str:
    several = any(len(line.setup.prompts) > 1 for line in lines)
    means = "geometric means over the prompts; " if several else ""
    return f"{means}step: from the last valid run before, ~ undecided, empty where unchanged"
