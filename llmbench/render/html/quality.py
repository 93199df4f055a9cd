"""Quality beside latency as a page: one plot with the Pareto front, and the table."""

from collections.abc import Iterator, Sequence

from llmbench.analysis.quality import KIND, QualityReport, QualityRow, quality_report
from llmbench.render.html.document import Block, Figures, Notes, Page, Section, render
from llmbench.render.html.series import colour
from llmbench.render.html.svg import Axis, Figure, Line, Marks, Point
from llmbench.render.quality import point_letter, quality_table, text_table
from llmbench.render.text import settings_text
from llmbench.schema.run import Run
from llmbench.schema.units import Unit, counted

_LEAST = 1e-6


def quality_page(report: QualityReport) -> str:
    """Return the page."""
    return render(
        Page(
            title=f"Quality beside latency: {report.base_model}",
            lead=(_about(report),),
            badges=(),
            sections=(Section(name="quality", title="Quality and latency", blocks=tuple(_blocks(report))),),
        )
    )


def quality_sections(run: Run) -> tuple[Section, ...]:
    """Return what a run that read texts shows of quality, without the latency beside; nothing of another run."""
    found = quality_report(run) if run.workload.kind == KIND else None
    if found is None:
        return ()
    blocks = (Notes(lines=(_about(found),)), *_blocks(found))
    return (Section(name="quality", title="Quality", blocks=blocks),)


def _about(report: QualityReport) -> str:
    base = report.base
    read = f"{counted(base.tokens, 'token')} in {counted(base.blocks, 'block')} of text"
    return (
        f"Base: {report.base_model} in f32 with an f32 cache, perplexity {base.perplexity:.2f} over {read}."
    )


def _blocks(report: QualityReport) -> Iterator[Block]:
    rows = report.rows
    figure = _figure(rows)
    if figure is not None:
        yield Figures(figures=(figure,))
    yield quality_table(rows)
    if report.by_text:
        yield text_table(report)
    faults = tuple(
        f"{point_letter(index)} INVALID: {fault}" for index, row in enumerate(rows) for fault in row.faults
    )
    if faults:
        yield Notes(lines=faults, tone="bad")


def _figure(rows: Sequence[QualityRow]) -> Figure | None:
    drawn = [(index, row, row.point) for index, row in enumerate(rows) if row.point is not None]
    if len(drawn) < 2:
        return None
    points = {index: (x * Unit.MILLISECONDS.scale, max(y, _LEAST)) for index, _, (x, y) in drawn}
    front = sorted(points[index] for index, row, _ in drawn if row.is_on_front)
    xs, ys = zip(*points.values(), strict=True)
    margin = (max(xs) - min(xs)) * 0.1 or 1.0
    marks = (
        Marks(
            points=(Point(*points[index], f"{point_letter(index)}: {settings_text(row.settings)}"),),
            colour=colour(index),
            name=point_letter(index),
            size=6.0 if row.is_on_front else 4.0,
            shape="diamond" if row.is_on_front else "circle",
        )
        for index, row, _ in drawn
    )
    return Figure(
        title="KL divergence against next tokens",
        caption="Lower and further left is better. Diamonds and their line: the Pareto front.",
        x=Axis(low=min(xs) - margin, high=max(xs) + margin, title="next tokens, ms", suffix=" ms"),
        y=Axis(low=min(ys) / 2, high=max(ys) * 2, is_log=True, title="nats"),
        shapes=(Line(points=front, colour=colour(0), dash="dash"), *marks),
    )
