"""Runs over time on a terminal: a small curve for each prompt and metric, and a table of the runs."""

from collections.abc import Iterator, Mapping, Sequence

from rich.console import Console

from llmbench.analysis import history
from llmbench.analysis.history import HistoryLine, level_changes
from llmbench.render import views
from llmbench.render.sentences.level_changes import level_command, level_sentence
from llmbench.render.terminal.table import print_line, print_table
from llmbench.render.text import minute, settings_text
from llmbench.schema.units import counted

_TITLE = ("model", "weight format", "engine", "device", "CPU")


def render_history(
    lines: Sequence[HistoryLine],
    names: Sequence[str],
    console: Console,
    accepted: Mapping[str, str] | None = None,
) -> None:
    """Print each line: what it is, its curves, its runs, and where its level changed.

    What sets lines apart is in their titles. *accepted* has the notes of accepted changes, by run.
    """
    apart = differing(lines)
    for index, line in enumerate(lines):
        if index:
            console.print()
        for text in titles(line, apart):
            print_line(console, text, style="bold")
        found = [track for track in history.tracks(line, names) if any(track.points)]
        if found and len(line.entries) > 1:
            print_table(views.trend_table(found), console)
            console.print()
        print_table(views.history_table(line, names), console)
        for change in (change for name in names for change in level_changes(line, name, accepted)):
            style = "bold red" if change.is_regression else ""
            print_line(console, level_sentence(change), style=style)
            if change.note is None:
                print_line(console, f"  {level_command(change)}", style="dim", is_whole=True)
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
    """What was measured on what, and when; what is not set is left out, since most settings are not."""
    named, entry = dict(line.setup.named), line.entries[-1]
    named["model"] = entry.report.run.origin_of(entry.cell).name
    settings = settings_text({name: named[name] for name in apart if named.get(name)})
    parts = [*(named[name] for name in _TITLE), settings]
    yield ", ".join(part for part in parts if part)
    first, last = (minute(line.entries[end].report.run.started_at) for end in (0, -1))
    zone = " UTC" * last.endswith("UTC")
    span = " to ".join(dict.fromkeys((first[:10], last[:10]))) + zone
    yield f"{counted(len(line.entries), 'run')}, {span}"


def _legend(lines: Sequence[HistoryLine]) -> str:
    several = any(len(line.setup.prompts) > 1 for line in lines)
    means = "geometric means over the prompts; " if several else ""
    return f"{means}step: from the last valid run before, ~ undecided, empty where unchanged"
