"""A change of level in a history: the sentence on it, and the command that finds its cause.

They are for the terminal and the page alike.
"""

from llmbench.analysis.history import HistoryEntry, LevelChange
from llmbench.analysis.stages import row_metric
from llmbench.render.sentences.commands import ab_command, bisect_command, run_command
from llmbench.render.text import minute, ratio_change
from llmbench.schema.config import RunConfig
from llmbench.schema.units import counted

_BLOCKS = 10


def level_sentence(found: LevelChange) -> str:
    """Return by how much a metric changed, since which run, and on how many runs that rests."""
    ratio, run = found.ratio, found.after.report.run
    before, after = (counted(count, "run") for count in found.runs)
    versions = " ".join(f"{name} {old} to {new}," for name, old, new in _changed_versions(found))
    rest = f"accepted: {found.note}" if found.note is not None else f"{before} before, {after} since"
    title = row_metric(found.metric).title
    where = f"{run.id} ({minute(run.started_at)})"
    return f"{title} changed by {ratio_change(ratio)} at {where}: {f'{versions} ' if versions else ''}{rest}"


def level_command(found: LevelChange) -> str:
    """Return the command to type: find the version, compare both configurations, or measure the last one again."""
    before, after = (_config(entry) for entry in (found.before, found.after))
    changed = _changed_versions(found)
    if changed:
        package, old, new = changed[-1]
        return bisect_command(after, package, (old, new))
    workload = found.after.report.run.workload
    both = ab_command(before, after, _BLOCKS, workload=workload) if before != after else None
    return both or run_command(after, max(after.launches, _BLOCKS), workload=workload)


def _config(entry: HistoryEntry) -> RunConfig:
    return entry.report.run.cells[entry.cell]


def _changed_versions(found: LevelChange) -> list[tuple[str, str, str]]:
    """The engine's packages whose versions differ, with both."""
    old, new = (entry.report.run.software_of(entry.cell) for entry in (found.before, found.after))
    engine = _config(found.after).computing_engine
    return [
        (name, old[name], new[name])
        for name in (engine.packages if engine else ())
        if name in old and name in new and old[name] != new[name]
    ]
