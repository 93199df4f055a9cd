"""One self-contained HTML page for runs and comparisons: plots, and a table behind every number."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from llmbench.analysis.comparison.compare import Comparison
from llmbench.analysis.load_curve import load_curves
from llmbench.analysis.metrics.table import METRICS
from llmbench.analysis.report import Report, Row
from llmbench.analysis.speedup import is_sockets_run
from llmbench.analysis.stats import Summary
from llmbench.render import views
from llmbench.render.html import plots, requests, tables
from llmbench.render.html.document import Block, Figures, Notes, Page, Section, Tile, Tiles, render
from llmbench.render.html.quality import quality_sections
from llmbench.render.html.series import PlotSeries, all_series, key, latencies
from llmbench.render.html.sockets import details_section, sockets_section
from llmbench.render.html.stages import stage_blocks
from llmbench.render.html.svg import Figure
from llmbench.render.sentences.load import client_lines, load_lines, server_lines
from llmbench.render.sentences.remarks import agreement_remark, bandwidth_sentences, remarks
from llmbench.render.sentences.verdict import (
    lengths,
    next_steps,
    not_compared,
    sentence,
    side_lines,
    verdict_lines,
)
from llmbench.render.table import Table
from llmbench.render.text import after, margin, number_text
from llmbench.schema.run import Provenance
from llmbench.schema.units import counted

_GRAVE = ("INVALID", "FALLBACK", "PLAIN ATTENTION")
"""Words of caveats without which the figures mislead."""

SERIES_DRAWN = 4
"""Of more series than this, requests are not drawn one by one; the tables tell."""

WARNINGS_SHOWN = 6
"""Caveats that are shown at once."""


def page(reports: Sequence[Report], comparisons: Sequence[Comparison] = ()) -> str:
    """The page of one report or more, comparisons among them first."""
    return render(page_value(reports, comparisons))


def page_value(reports: Sequence[Report], comparisons: Sequence[Comparison] = ()) -> Page:
    """Return that page as a value."""
    names = _names(reports, comparisons)
    series, by_name = all_series(reports, names), dict(zip(names, reports, strict=True))
    about_sockets = [report for report in reports if is_sockets_run(report.run)] if len(reports) == 1 else []
    qualities = quality_sections(reports[0].run) if len(reports) == 1 else ()
    sections = (
        *qualities,
        *map(sockets_section, about_sockets),
        *_verdicts(comparisons),
        _section("numbers", "The numbers", _numbers(series, by_name, is_compared=bool(comparisons))),
        *map(details_section, about_sockets),
        _section("load", "Against load", _loads(reports)),
        _section("stages", "Stage by stage", stage_blocks(series)),
        _section("length", "Against input length", _lengths(series)),
        _section("gaps", "Token by token", _gaps(series)),
        _section("launches", "Launch by launch", _launches(series)),
        _section("memory", "Load and memory", _memory(series, by_name)),
        _section("placement", "Placement", _placement(series)),
        _section("setup", "What was measured, and on what", _shown(*tables.setup_tables(reports))),
        _section("requests", "Every request", (tables.request_table(series),)),
    )
    return Page(
        title=_title(reports, comparisons),
        lead=tuple(_lead(reports)),
        badges=tuple(_badges(reports, comparisons)),
        sections=tuple(
            section
            for section in sections
            if any(not isinstance(block, Notes) or block.lines for block in section.blocks)
        ),
    )


def _section(name: str, title: str, blocks: Iterable[Block]) -> Section:
    return Section(name=name, title=title, blocks=tuple(blocks))


def _title(reports: Sequence[Report], comparisons: Sequence[Comparison]) -> str:
    """Model, weight format, CPU and verdict; of several models or CPUs their number."""
    models = list(dict.fromkeys(_model(report) for report in reports))
    machines = list(dict.fromkeys(report.run.environment.cpu_model for report in reports))
    what = models[0] if len(models) == 1 else counted(len(reports), "run")
    if len(machines) == 1 and machines[0]:
        what = f"{what} on {machines[0]}"
    if comparisons:
        return f"{what}: {comparisons[0].verdict.value}" if len(comparisons) == 1 else f"{what}, compared"
    return what


def _names(reports: Sequence[Report], comparisons: Sequence[Comparison]) -> list[str]:
    """What each report is called: by its run, or by its part in the comparison; alone it needs no name."""
    if len(reports) == 1:
        return [""]
    ids = [report.run.id for report in reports]
    names = [
        f"{name} ({number})" if ids.count(name) > 1 else name for number, name in enumerate(ids, start=1)
    ]
    if not comparisons:
        return names
    base, candidate = comparisons[0].sides
    return [base, *([candidate] if len(reports) == 2 else names[1:])]


def _model(report: Report) -> str:
    run = report.run
    cells = range(len(run.cells)) if run.origins else range(1)
    return ", ".join(dict.fromkeys(_called(run.origin_of(cell)) for cell in cells))


def _called(origin: Provenance) -> str:
    """The name of a model with its weight format, never a path."""
    weights = origin.weight_format or ""
    return origin.name if weights.lower() in origin.name.lower() else f"{origin.name} {weights}"


def _lead(reports: Sequence[Report]) -> Iterator[str]:
    run, config = reports[0].run, reports[0].run.cells[0]
    if len(reports) == 1:
        ways = [
            config.engine if run.version else "",
            config.device,
            counted(config.output_tokens, "output token") if config.output_tokens else "",
        ]
        ways += [counted(len(run.finished), "launch", "launches")]
        ways += [
            f"{counted(config.iterations, 'request')} each"
            if config.is_load
            else f"{counted(config.iterations, 'iteration')} after {counted(config.warmups, 'warm-up')}"
        ]
        if config.batch_size > 1:
            ways.append(f"batch of {config.batch_size}")
        yield ", ".join(part for part in ways if part)
    machines = dict.fromkeys(report.run.environment.cpu_model for report in reports)
    shown = [machine for machine in machines if machine]
    engines = dict.fromkeys(report.run.environment.versions.get("openvino", "") for report in reports)
    shown += [f"OpenVINO {version}" for version in engines if version]
    dates = sorted({report.run.started_at[:10] for report in reports if report.run.started_at})
    shown += [" to ".join(dict.fromkeys((dates[0], dates[-1])))] if dates else []
    if shown:
        yield ", ".join(shown)


def _badges(reports: Sequence[Report], comparisons: Sequence[Comparison]) -> Iterator[tuple[str, str]]:
    for comparison in comparisons:
        yield comparison.verdict.value, views.TONES[comparison.verdict] or "good"
    for report in reports:
        name = f"{report.run.id}: " if len(reports) > 1 else ""
        if not report.is_valid:
            yield f"{name}INVALID", "bad"
        if not report.run.is_complete:
            yield f"{name}cut short", "warn"
        if not any(row.launches for row in report.rows):
            yield f"{name}nothing that counts was measured", "bad"


def _verdicts(comparisons: Sequence[Comparison]) -> Iterator[Section]:
    for index, comparison in enumerate(comparisons):
        title = f"{comparison.candidate.run.id} against {comparison.base.run.id}"
        yield Section(name=f"verdict{index}", title=title, blocks=tuple(_comparison(comparison)))


def _numbers(
    series: Sequence[PlotSeries], reports: Mapping[str, Report], *, is_compared: bool
) -> Iterator[Block]:
    if len(series) == 1:
        yield from _tiles(series[0])
    if not is_compared:  # the warnings and remarks of a comparison stand at its verdict
        yield from _warnings(series, reports)
        yield from _remarks(reports)
    yield from _shown(tables.numbers_table(series))
    summaries = [found for each in series for row in each.rows for found in row.summaries.values()]
    if summaries:
        yield Notes(lines=tuple(_margins(series, summaries)), tone="dim")
        yield tables.metric_table(series)
        yield tables.definition_table(series)


def _margins(series: Sequence[PlotSeries], summaries: Sequence[Summary]) -> Iterator[str]:
    if any(found.has_interval for found in summaries):
        several = any(row.launches > 1 for each in series for row in each.rows)
        over = "launches (Student's t on logarithms)" if several else "the iterations of one launch"
        yield f"± is the farther end of the interval at 95 % over {over}; hover for both ends."
    yield from dict.fromkeys(f"no ±: {warning}" for found in summaries for warning in found.warnings)


def _remarks(reports: Mapping[str, Report]) -> Iterator[Block]:
    """Whether each run, by its name, was stable and its launches generated the same; doubts in another colour."""
    found = [(name, remark) for name, report in reports.items() for remark in remarks(report)]
    for is_doubt, tone in ((False, "dim"), (True, "warn")):
        lines = tuple(after(name, remark.text) for name, remark in found if remark.is_doubt is is_doubt)
        yield Notes(lines=lines, tone=tone)


def _warnings(series: Sequence[PlotSeries], reports: Mapping[str, Report]) -> Iterator[Block]:
    """Caveats of every run and of its rows, the gravest first; of many the later ones are folded."""
    found = [after(name, warning) for name, report in reports.items() for warning in report.warnings]
    found += [
        after(each.name, f"{row.prompt.label}: {warning}")
        for each in series
        for row in each.rows
        for warning in row.warnings
    ]
    yield from _caveats(found)


def _caveats(found: Iterable[str]) -> Iterator[Block]:
    lines = list(dict.fromkeys(found))
    grave = [line for line in lines if any(word in line for word in _GRAVE)]
    rest = [line for line in lines if line not in grave]
    yield Notes(lines=tuple(grave), tone="bad")
    yield Notes(lines=tuple(rest[:WARNINGS_SHOWN]), tone="warn")
    if rest[WARNINGS_SHOWN:]:
        yield tables.caveat_table(rest[WARNINGS_SHOWN:])


def _loads(reports: Sequence[Report]) -> Iterator[Block]:
    """Latency against load, the knee, errors, and what client and server used; nothing of other runs."""
    for report in reports:
        drawn = tuple(plots.load_figures(load_curves(report)))
        if drawn:
            yield Figures(figures=drawn)
        yield Notes(lines=tuple(load_lines(report)))
        yield Notes(lines=(*client_lines(report), *server_lines(report)), tone="dim")


def _lengths(series: Sequence[PlotSeries]) -> Iterator[Block]:
    """Latency against input length; of several series each metric by itself."""
    caption = "Bars: intervals at 95 %, cut where they leave the plot. Pale points: launches."
    first, *later = latencies(series)
    groups = [(first,), tuple(reversed(later))]
    if len(series) > 1:
        groups = [(name,) for name in latencies(series)]
    titles = [" and ".join(METRICS[name].title for name in names) for names in groups]
    found = [
        plots.against_length(series, names, title=title, caption=caption)
        for names, title in zip(groups, titles, strict=True)
    ]
    yield from _drawn(series, *found)


def _drawn(series: Sequence[PlotSeries], *found: Figure | None) -> Iterator[Block]:
    drawn = tuple(figure for figure in found if figure is not None)
    if drawn:
        yield from key(series)
        yield Figures(figures=drawn)


def _shown(*found: Table) -> Iterator[Table]:
    yield from (table for table in found if table.rows)


def _gaps(series: Sequence[PlotSeries]) -> Iterator[Block]:
    yield from _drawn(series, *plots.against_position(series))
    yield from _shown(tables.slope_table(series), tables.token_table(series))


def _launches(series: Sequence[PlotSeries]) -> Iterator[Block]:
    drawn = requests.by_launch(series) if len(series) <= SERIES_DRAWN else ()
    yield from _drawn(series, *drawn)
    if drawn:
        note = "Points: requests in the order they were made. Lines: medians of launches. Bands: intervals at 95 %."
        yield Notes(lines=(note,), tone="dim")
    yield from _shown(tables.launch_table(series))


def _memory(series: Sequence[PlotSeries], reports: Mapping[str, Report]) -> Iterator[Block]:
    caption = "The worker's own high-water mark while it generates."
    yield from _drawn(series, plots.against_length(series, ("memory",), title="peak memory", caption=caption))
    yield from _shown(tables.memory_table(series))
    lines = (after(name, line) for name, report in reports.items() for line in bandwidth_sentences(report))
    yield Notes(lines=tuple(lines), tone="dim")


def _placement(series: Sequence[PlotSeries]) -> Iterator[Block]:
    yield from _drawn(series, plots.socket_figure(series))
    yield from _shown(tables.placement_table(series))


def _comparison(comparison: Comparison) -> Iterator[Block]:
    tone = views.TONES[comparison.verdict] or "good"
    yield Notes(lines=(sentence(comparison),), tone=tone)
    yield Notes(lines=side_lines(comparison), tone="dim")
    for step in next_steps(comparison):
        yield Notes(lines=(step.strip(),), is_code=step.startswith(" "), tone="dim")
    yield Notes(lines=tuple(not_compared(comparison)), tone="warn")
    yield from _caveats(comparison.warnings)
    yield from _remarks(dict(zip(comparison.sides, (comparison.base, comparison.candidate), strict=True)))
    figure = plots.ratios(comparison)
    if figure is not None:
        yield Figures(figures=(figure,))
        yield views.comparison_table(verdict_lines(comparison), comparison.sides).with_first(
            "prompt", "metric", "change", "verdict"
        )
        yield Notes(lines=(lengths(comparison),), tone="dim")
    remark = agreement_remark(comparison)
    if remark:
        yield Notes(lines=(remark.text,), tone="warn" if remark.is_doubt else "dim")
    yield tables.difference_table(comparison)
    yield Notes(lines=(_rule(comparison),), tone="dim")


def _rule(comparison: Comparison) -> str:
    test = "launches paired" if comparison.is_paired else "launches independent (Welch)"
    return (
        f"The replicate is the launch; {test}. Regressed or improved: the interval excludes no change and the ratio is "
        "beyond the threshold. Unchanged: the whole interval is within it. ~ undecided, ! counts for the exit code."
    )


def _tiles(series: PlotSeries) -> Iterator[Tiles]:
    """Yield first, second and later tokens at the longest input, with the shortest below."""
    found = []
    for name in latencies([series]):
        rows = sorted((row for row in series.rows if name in row.summaries), key=lambda row: row.input_tokens)
        if not rows:
            continue
        unit = METRICS[name].unit
        shortest, longest = rows[0], rows[-1]
        note = f"{_reach(longest, name)}, at {counted(longest.input_tokens, 'token')} in"
        if shortest.input_tokens < longest.input_tokens:
            center = number_text(shortest.summaries[name].median, unit)
            note += f"; {center} {_reach(shortest, name)} at {shortest.input_tokens}"
        shown = f"{number_text(longest.summaries[name].median, unit)} {unit.value}"
        found.append(Tile(head=METRICS[name].title, text=shown, note=note))
    if found:
        yield Tiles(tiles=tuple(found))


def _reach(row: Row, name: str) -> str:
    """How uncertain a value is: ``±3 %``; both ends of two launches, whose interval would say nothing."""
    medians = sorted(row.medians[name].values())
    if len(medians) == 2:
        return f"n=2: {' to '.join(number_text(value, METRICS[name].unit) for value in medians)}"
    return margin(row.summaries[name]) or "no interval"
