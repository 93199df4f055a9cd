"""The tables that only a page has: every metric, token, launch and request, placement, and what was measured."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence

from llmbench.analysis import placement_proof, stats
from llmbench.analysis.comparison.compare import Comparison
from llmbench.analysis.comparison.differences import is_imported
from llmbench.analysis.evaluation import EvaluatedRequest
from llmbench.analysis.metrics.serving import SHOWN_METRICS
from llmbench.analysis.metrics.table import LAUNCH_METRICS, METRICS, present
from llmbench.analysis.placement_proof import Proof
from llmbench.analysis.report import Report, Row, distinguish, varied_settings
from llmbench.analysis.speedup import setup_names
from llmbench.analysis.stages import row_metric
from llmbench.render import views
from llmbench.render.html.series import PlotSeries
from llmbench.render.sentences.remarks import instants
from llmbench.render.table import EMPTY, Cell, Column, Table, count_cell, quantity, texts
from llmbench.render.text import load_time, setting_text, settings_text, share
from llmbench.schema.limits import describe_limits
from llmbench.schema.measurement import Placement
from llmbench.schema.run import EffectiveSettings, Environment, Launch, Run
from llmbench.schema.units import Unit, counted, format_bytes

MAX_TABLE_ROWS = 2000
"""Rows of a table; what is left out is said."""

MAX_PROMPT = 200
"""Characters of a prompt that are shown."""

_Rows = Iterable[tuple[PlotSeries, Iterable[Cell]]]


def _series_table(
    series: Sequence[PlotSeries], columns: Sequence[Column], rows: _Rows, *, fold: str = "", total: int = 0
) -> Table:
    """Return a table with the name of each row's series, where there are several, cut at MAX_TABLE_ROWS."""
    is_named = len(series) > 1
    if total > MAX_TABLE_ROWS:
        left = f"the first {MAX_TABLE_ROWS} of {counted(total, 'row')}; llmbench report csv writes all"
        fold = f"{fold}: {left}" if fold else left
    return Table(
        (*((Column("run", is_text=True),) if is_named else ()), *columns),
        tuple(
            (*((Cell(each.name, tone="name"),) if is_named else ()), *cells)
            for each, cells in itertools.islice(rows, MAX_TABLE_ROWS)
        ),
        fold=fold,
    )


def _metric_columns(names: Iterable[str]) -> list[Column]:
    return [Column(row_metric(name).title, unit=row_metric(name).unit.value) for name in names]


def _known(series: Sequence[PlotSeries], names: Iterable[str]) -> list[str]:
    return present(names, (row.summaries for each in series for row in each.rows))


def numbers_table(series: Sequence[PlotSeries]) -> Table:
    """Return what each prompt took: a row per prompt and series, so that runs are below each other."""
    prompts = list(dict.fromkeys(row.prompt.sha256 for each in series for row in each.rows))
    found = [(each, row) for each in series for row in each.rows]
    found.sort(key=lambda pair: prompts.index(pair[1].prompt.sha256))
    settings = {"run": [each.name for each, _ in found]} if len(series) > 1 else {}
    return views.run_table([row for _, row in found], settings)


def metric_table(series: Sequence[PlotSeries]) -> Table:
    """Return all metrics with interval and percentiles: a row per series, prompt and metric."""
    columns = [
        Column("prompt", is_text=True),
        Column("in", unit="tokens"),
        Column("metric", is_text=True),
        Column("unit", is_text=True),
        *map(Column, ("n", "centre", "low", "high", "p90", "p95", "p99")),
    ]
    found = [(each, row, name) for each in series for row in each.rows for name in row.summaries]
    rows = ((each, _metric_cells(row, name)) for each, row, name in found)
    fold = "every metric, its interval at 95 % and its percentiles"
    return _series_table(series, columns, rows, fold=fold, total=len(found))


def _metric_cells(row: Row, name: str) -> Iterator[Cell]:
    metric, found = row_metric(name), row.summaries[name]
    yield Cell(row.prompt.label)
    yield count_cell(row.input_tokens)
    yield Cell(metric.title, title=metric.definition)
    yield Cell(metric.unit.value)
    yield count_cell(found.n)
    ends = (found.low, found.high) if found.has_interval else (None, None)
    percentiles = (stats.percentile(row.values[name], percent) for percent in stats.PERCENTILE_NEEDS)
    yield from (quantity(value, metric.unit) for value in (found.median, *ends, *percentiles))


def definition_table(series: Sequence[PlotSeries]) -> Table:
    """Return what each metric means."""
    names = dict.fromkeys(name for each in series for row in each.rows for name in row.summaries)
    metrics = [*(row_metric(name) for name in names), *LAUNCH_METRICS.values()]
    rows = tuple(
        tuple(texts((metric.title, metric.definition, metric.unit.value, metric.direction.value)))
        for metric in metrics
    )
    fold = f"what the words mean ({' / '.join(dict.fromkeys(instants(each.report) for each in series))})"
    return Table(_text_columns("metric", "what it is", "unit", "better"), rows, fold=fold)


def _text_columns(*heads: str) -> tuple[Column, ...]:
    return tuple(Column(head, is_text=True) for head in heads)


def slope_table(series: Sequence[PlotSeries]) -> Table:
    """Return how much longer a token takes behind more context, for the series that can tell."""
    columns = [
        Column("slope", unit="ms/token per 1,000 tokens of context"),
        Column("at 95 %", unit="over launches"),
        Column("launches", unit="lowest to highest"),
        Column("over contexts of", unit="tokens"),
    ]
    return _series_table(series, columns, ((each, _slope_cells(each)) for each in series if each.slope))


def _slope_cells(series: PlotSeries) -> Iterator[Cell]:
    slope = series.slope
    if slope is None:
        return
    found, interval = slope.by_launch.values(), slope.interval
    is_open = interval is not None and interval[0] <= 0 <= interval[1]
    yield Cell(_slope_text(slope.median), note="~" if is_open else "", tone="warn" if is_open else "")
    yield (
        Cell(" to ".join(map(_slope_text, interval)))
        if interval
        else Cell(f"n={len(found)}: too few", tone="dim")
    )
    yield Cell(f"{_slope_text(min(found))} to {_slope_text(max(found))}") if len(found) > 1 else EMPTY
    yield Cell(f"{slope.shortest} to {slope.longest}")


def _slope_text(slope: float) -> str:
    return f"{slope * 1000 * Unit.MILLISECONDS.scale:+.3g}"


def token_table(series: Sequence[PlotSeries]) -> Table:
    """Return the median latency of every token: a row per token, a column a line of the plots."""
    lines = [(each, profile) for each in series for profile in each.profiles]
    tokens = sorted({gap.token for _, profile in lines for gap in profile.gaps})
    medians = [{gap.token: gap.median for gap in profile.gaps} for _, profile in lines]
    columns = [
        Column("output token"),
        *(
            Column(f"{profile.prompt.label}, {profile.input_tokens} in", unit=each.name or "ms")
            for each, profile in lines
        ),
    ]
    rows = (
        (series[0], [count_cell(token), *(quantity(of.get(token), Unit.MILLISECONDS) for of in medians)])
        for token in tokens
    )
    fold = "inter-token latency of every token in ms, medians over the requests that count"
    return _series_table(series[:1], columns, rows, fold=fold, total=len(tokens))


def launch_table(series: Sequence[PlotSeries]) -> Table:
    """Return the medians of each launch."""
    names = _known(series, SHOWN_METRICS)
    columns = [Column("launch"), Column("prompt", is_text=True), Column("in", unit="tokens")]
    found = [
        (each, row, launch)
        for each in series
        for row in each.rows
        for launch in sorted({index for medians in row.medians.values() for index in medians})
    ]
    rows = (
        (
            each,
            [
                count_cell(launch + 1),
                Cell(row.prompt.label),
                count_cell(row.input_tokens),
                *(quantity(row.medians.get(name, {}).get(launch), row_metric(name).unit) for name in names),
            ],
        )
        for each, row, launch in found
    )
    columns += _metric_columns(names)
    return _series_table(series, columns, rows, fold="the median of each launch", total=len(found))


def memory_table(series: Sequence[PlotSeries]) -> Table:
    """Return load time and memory of each launch, and how it ended."""
    columns = [
        Column("launch"),
        Column("started", is_text=True),
        *map(Column, ("load", "peak while loading", "peak while generating")),
        Column("outcome", is_text=True),
    ]
    found = [
        (each, launch) for each in series for launch in each.report.run.launches if launch.cell == each.cell
    ]
    rows = ((each, _launch_cells(launch)) for each, launch in found)
    return _series_table(series, columns, rows, total=len(found))


def _launch_cells(launch: Launch) -> Iterator[Cell]:
    peaks = [m.memory.peak_bytes for m in launch.measurements if m.memory is not None]
    yield count_cell(launch.index + 1)
    yield Cell(launch.started_at[:19].replace("T", " "), title=launch.started_at)
    yield EMPTY if launch.load_s is None else Cell(load_time(launch.load_s, launch.model_cache))
    yield _bytes(launch.load_memory.peak_bytes if launch.load_memory else None)
    yield _bytes(max(peaks, default=None))
    how = launch.outcome.value
    if launch.failure:
        how = f"{how} in {launch.failure.phase}: {launch.failure.message}"
    yield Cell(how, tone="" if launch.is_finished else "bad")


def _bytes(size: int | None) -> Cell:
    return EMPTY if size is None else Cell(format_bytes(size), value=size, title=f"{size} bytes")


def request_table(series: Sequence[PlotSeries]) -> Table:
    """Return every request, warm-ups and those that do not count included and marked."""
    names = _known(series, METRICS)
    columns = [
        Column("launch"),
        Column("iteration"),
        *_text_columns("prompt", "counts"),
        Column("in", unit="tokens"),
        Column("out", unit="tokens"),
        *_metric_columns(names),
    ]
    found = [
        (each, judged)
        for each in series
        for judged in each.report.evaluation.requests
        if judged.launch.cell == each.cell
    ]
    rows = ((each, _request_cells(judged, names)) for each, judged in found)
    fold = f"all {counted(len(found), 'request')}"
    return _series_table(series, columns, rows, fold=fold, total=len(found))


def _request_cells(judged: EvaluatedRequest, names: Sequence[str]) -> Iterator[Cell]:
    m = judged.measurement
    yield count_cell(judged.launch.index + 1)
    yield count_cell(m.iteration)
    yield Cell(judged.prompt.label)
    yield _standing(judged)
    yield count_cell(m.input_tokens)
    yield count_cell(m.output_tokens)
    yield from (quantity(judged.value(name), METRICS[name].unit) for name in names)


def _standing(judged: EvaluatedRequest) -> Cell:
    if judged.reasons:
        return Cell(f"no: {'; '.join(judged.reasons)}", tone="bad")
    if judged.measurement.is_warmup:
        return Cell("warm-up", tone="dim")
    if not judged.is_counted:
        return Cell(f"no: its launch {judged.launch.outcome.value}", tone="bad")
    return Cell("yes")


def placement_table(series: Sequence[PlotSeries]) -> Table:
    """Return where each configuration ran: a row per socket; none where it was not observed."""
    columns = [
        Column("socket"),
        Column("worked", is_text=True),
        *map(Column, ("busy", "share of the CPU time", "CPUs", "threads")),
        Column("pages", is_text=True),
        Column("migrations", unit="all sockets"),
    ]
    proofs = ((each, each.report.proofs[each.cell]) for each in series)
    rows = ((each, cells) for each, proved in proofs if proved is not None for cells in _sockets(proved))
    return _series_table(series, columns, rows)


def _sockets(proved: Proof) -> Iterator[tuple[Cell, ...]]:
    placement = proved.placement
    for work, part in zip(placement.sockets, placement_proof.shares(placement), strict=True):
        yield (
            count_cell(work.socket),
            _worked(proved, work.socket),
            Cell(share(placement.share(work))),
            Cell(share(part)),
            count_cell(work.cpus),
            count_cell(work.threads),
            _pages(placement),
            Cell("n/a") if placement.migrations is None else count_cell(placement.migrations),
        )


def _worked(proved: Proof, socket: int) -> Cell:
    if not proved.is_reported:
        return Cell("too short to decide", tone="dim")
    if socket in proved.placement.worked:
        return Cell("yes", tone="good")
    if socket in proved.placement.idle:
        return Cell("no", tone="bad" if socket in proved.requested else "dim")
    return Cell("unclear", tone="warn")


def _pages(placement: Placement) -> Cell:
    if not placement.pages:
        return EMPTY
    return Cell(
        ", ".join(f"node {node}: {format_bytes(size)}" for node, size in sorted(placement.pages.items()))
    )


def difference_table(comparison: Comparison) -> Table:
    """Return what else is not the same on both sides."""
    rows = tuple(
        (
            Cell(found.name, tone="name"),
            Cell(setting_text(found.base), tone="" if found.base else "dim"),
            Cell(setting_text(found.candidate), tone="" if found.candidate else "dim"),
        )
        for found in comparison.changes
    )
    nothing = ((Cell("nothing that was recorded"), Cell(), Cell()),)
    return Table(_text_columns("what else changed", *comparison.sides), rows or nothing)


def caveat_table(lines: Sequence[str]) -> Table:
    """Return caveats, folded."""
    fold = counted(len(lines), "more caveat")
    return Table(_text_columns(""), tuple((Cell(line),) for line in lines), fold=fold)


def setup_tables(reports: Sequence[Report]) -> Iterator[Table]:
    """Yield model, machine and software; settings; what was effective; the prompts."""
    runs = [report.run for report in reports]
    models = [model for run in runs for model in _models(run)]
    yield _matrix([name for name, _ in models], [shown for _, shown in models])
    shown = [run for run in runs if not is_imported(run)]
    names = [run.id for run in shown]
    yield _matrix(names, [_settings(run) for run in shown], fold="requested settings")
    yield _matrix(
        names,
        [_effective(run) for run in shown],
        fold="effective settings, as reported by the engine after loading",
    )
    yield prompt_table(runs)


def _models(run: Run) -> list[tuple[str, dict[str, str]]]:
    """What was measured, by name; of each configuration where model or software are not the same in all."""
    cells = [_identity(run, cell) for cell in range(len(run.cells))]
    if all(shown == cells[0] for shown in cells):
        return [(run.id, cells[0])]
    apart = setup_names(run) or [settings_text(found) for found in distinguish(run.cells)]
    return [(f"{run.id}, {name}", shown) for name, shown in zip(apart, cells, strict=True)]


def _matrix(models: Sequence[str], by_model: Sequence[Mapping[str, str]], *, fold: str = "") -> Table:
    """Things by name, a column per subject; what is empty in all of them is left out."""
    names = [
        name
        for name in dict.fromkeys(name for column in by_model for name in column)
        if any(column.get(name) for column in by_model)
    ]
    columns = _text_columns("", *(name if len(models) > 1 else "" for name in models))
    rows = []
    for name in names:
        values = [column.get(name, "") for column in by_model]
        tone = "warn" if len(set(values)) > 1 else ""
        rows.append((Cell(name, tone="name"), *(Cell(value, tone=tone) for value in values)))
    return Table(columns, tuple(rows), fold=fold)


def _identity(run: Run, cell: int) -> dict[str, str]:
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
        **(
            environment.settings
            or {
                "governor": environment.governor or "",
                "transparent hugepages": environment.transparent_hugepages or "",
            }
        ),
        "load average before": "" if load is None else f"{load:.2f}",
        "last-level cache": format_bytes(sum(environment.last_caches.values()))
        if environment.last_caches
        else "",
        "memory (triad)": f"{rate.bytes_per_s / 1e9:.1f} GB/s, {rate.measured_at[:10]}" if rate else "",
        "waits in the 10 s before": ", ".join(
            f"{what} {share:.0%}" for what, share in environment.pressure.items()
        ),
        **(describe_limits(environment.limits) if environment.limits else {}),
    }


def _settings(run: Run) -> dict[str, str]:
    """Settings by name; those that vary inside a run list their values."""
    flat = [varied_settings(config) for config in run.cells]
    names = dict.fromkeys(name for found in flat for name in found)
    return {name: " / ".join(dict.fromkeys(found.get(name, "") for found in flat)) for name in names}


def _effective(run: Run) -> dict[str, str]:
    launch = next(iter(run.finished), None)
    found = launch.effective if launch else EffectiveSettings()
    return {"attention": found.attention or "", **found.properties, **found.scheduler}


def prompt_table(runs: Sequence[Run]) -> Table:
    """The prompts: where they come from and how they begin."""
    found = dict.fromkeys(
        (prompt.sha256, prompt) for run in runs for config in run.cells for prompt in config.prompts
    )
    rows = tuple(
        tuple(texts((prompt.label, prompt.set, digest[:12], _beginning(prompt.text, prompt.tokens))))
        for digest, prompt in found
    )
    return Table(_text_columns("prompt", "set", "hash", "text"), rows, fold="prompts")


def _beginning(text: str | None, tokens: int | None) -> str:
    if text is None:
        return f"synthetic, {counted(tokens or 0, 'token')}"
    return text if len(text) <= MAX_PROMPT else f"{text[:MAX_PROMPT]}… ({len(text)} characters)"
