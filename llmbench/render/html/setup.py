"""What was measured and on what: a column a run, and the rows in which runs differ marked."""

from collections.abc import Iterator, Mapping, Sequence

from llmbench.analysis.comparison.differences import is_foreign
from llmbench.analysis.report import Report, distinguish, varied_settings
from llmbench.render.html.document import Cell, Head, Table
from llmbench.render.text import counted
from llmbench.schema.run import EffectiveSettings, Environment, Outcome, Run
from llmbench.schema.units import format_bytes

MAX_PROMPT = 200
"""Characters of a prompt that are shown."""


def tables(reports: Sequence[Report]) -> Iterator[Table]:
    """Model, machine and software; settings; what was in force; the prompts."""
    runs = [report.run for report in reports]
    subjects = [subject for run in runs for subject in _subjects(run)]
    yield _matrix([name for name, _ in subjects], [told for _, told in subjects])
    told = [run for run in runs if not is_foreign(run)]
    names = [run.id for run in told]
    yield _matrix(names, [_settings(run) for run in told], fold="settings that were asked for")
    yield _matrix(names, [_in_force(run) for run in told], fold="in force, as the engine said after loading")
    yield prompts(runs)


def _subjects(run: Run) -> list[tuple[str, dict[str, str]]]:
    """What was measured, by name; of each configuration where model or software are not the same in all."""
    cells = [_told(run, cell) for cell in range(len(run.cells))]
    if all(told == cells[0] for told in cells):
        return [(run.id, cells[0])]
    apart = distinguish(run.cells)
    return [
        (", ".join((run.id, *(f"{name}={value}" for name, value in apart[cell].items()))), told)
        for cell, told in enumerate(cells)
    ]


def _matrix(subjects: Sequence[str], columns: Sequence[Mapping[str, str]], *, fold: str = "") -> Table:
    """Things by name, a column a subject; what is empty in all of them is left out."""
    names = [
        name
        for name in dict.fromkeys(name for column in columns for name in column)
        if any(column.get(name) for column in columns)
    ]
    heads = [Head(text="", is_text=True)]
    heads += [Head(text=name if len(subjects) > 1 else "", is_text=True) for name in subjects]
    rows = []
    for name in names:
        values = [column.get(name, "") for column in columns]
        tone = "warn" if len(set(values)) > 1 else ""
        rows.append((Cell(text=name, tone="name"), *(Cell(text=found, tone=tone) for found in values)))
    return Table(heads=tuple(heads), rows=tuple(rows), fold=fold)


def _told(run: Run, cell: int) -> dict[str, str]:
    origin = run.origin_of(cell)
    return {
        "run": run.id,
        "started": run.started_at[:19].replace("T", " ") + " UTC" if run.started_at else "",
        "model": origin.source_id or "",
        "source": origin.source or "",
        "revision": origin.revision or "",
        "weight format": origin.weight_format or "",
        "content": (origin.content_sha256 or "")[:16],
        "files": run.cells[cell].model,
        **_machine(run.environment),
        **run.software_of(cell),
        **run.environment.variables,
        "measured by": f"llmbench {run.version}" if run.version else "",
        "imported from": run.source or "",
    }


def _machine(environment: Environment) -> dict[str, str]:
    topology = environment.topology
    shape = ""
    if topology.cpus:
        shape = (
            f"{counted(len(topology.sockets), 'socket')}, {counted(topology.cores, 'core')}, "
            f"{len(topology.allowed)} of {counted(len(topology.cpus), 'CPU')} allowed"
        )
    load, rate = environment.load_average, environment.memory_rate
    return {
        "CPU": environment.cpu_model,
        "topology": shape,
        "memory": format_bytes(environment.memory_bytes) if environment.memory_bytes else "",
        "kernel": environment.kernel,
        "governor": environment.governor or "",
        "transparent hugepages": environment.transparent_hugepages or "",
        "load average before": "" if load is None else f"{load:.2f}",
        "last-level cache": format_bytes(sum(environment.last_caches.values()))
        if environment.last_caches
        else "",
        "memory (triad)": f"{rate.bytes_per_s / 1e9:.1f} GB/s, {rate.measured_at[:10]}" if rate else "",
    }


def _settings(run: Run) -> dict[str, str]:
    """Settings by name; those that vary inside a run list their values."""
    flat = [varied_settings(config) for config in run.cells]
    names = dict.fromkeys(name for found in flat for name in found)
    return {name: " / ".join(dict.fromkeys(found.get(name, "") for found in flat)) for name in names}


def _in_force(run: Run) -> dict[str, str]:
    """What the first launch that finished said."""
    launch = next((found for found in run.launches if found.outcome is Outcome.FINISHED), None)
    found = launch.effective if launch else EffectiveSettings()
    return {"attention": found.attention or "", **found.properties, **found.scheduler}


def prompts(runs: Sequence[Run]) -> Table:
    """The prompts: where they come from and how they begin."""
    found = dict.fromkeys(
        (prompt.sha256, prompt) for run in runs for config in run.cells for prompt in config.prompts
    )
    heads = tuple(Head(text=name, is_text=True) for name in ("prompt", "set", "hash", "text"))
    rows = tuple(
        (
            Cell(text=prompt.label),
            Cell(text=prompt.set),
            Cell(text=digest[:12]),
            Cell(text=_beginning(prompt.text, prompt.tokens)),
        )
        for digest, prompt in found
    )
    return Table(heads=heads, rows=rows, fold="prompts")


def _beginning(text: str | None, tokens: int | None) -> str:
    if text is None:
        return f"synthetic, {tokens} tokens"
    return text if len(text) <= MAX_PROMPT else f"{text[:MAX_PROMPT]}… ({len(text)} characters)"
