"""Where the threads of each configuration worked, and where its pages were: a plot and a table."""

from collections.abc import Iterator, Sequence

from llmbench.analysis import placement_proof
from llmbench.analysis.placement_proof import Proof
from llmbench.render.html.document import Cell, Figure, Head, PlotValue, Table, column_label
from llmbench.render.html.figures import rounded
from llmbench.render.html.series import PlotSeries
from llmbench.render.text import share
from llmbench.schema.measurement import WORKED_SHARE, Placement
from llmbench.schema.units import format_bytes


def figure(series: Sequence[PlotSeries]) -> Figure | None:
    """How busy each socket was kept; ``None`` where nobody looked, or the machine has one socket."""
    found = [
        (each, proved.placement)
        for each in series
        for proved in [placement_proof.prove(each.report.run, each.cell)]
        if proved is not None and len(proved.placement.sockets) > 1
    ]
    if not found:
        return None
    return Figure(
        title="how busy each socket was",
        caption=f"Of the time its CPUs could be filled; below {WORKED_SHARE:.0%} a socket did not do its part.",
        data=[
            {
                "type": "bar",
                "name": column_label(each.name or "this run"),
                "x": [f"socket {work.socket}" for work in seen.sockets],
                "y": [rounded(seen.share(work) * 100) for work in seen.sockets],
                "marker": {"color": each.colour},
                "hovertemplate": "%{x}: %{y:.0f} %",
            }
            for each, seen in found
        ],
        layout={
            "yaxis": {"title": {"text": "% busy"}, "rangemode": "tozero"},
            "shapes": [_threshold(WORKED_SHARE * 100)],
        },
    )


def _threshold(level: float) -> dict[str, PlotValue]:
    line: dict[str, PlotValue] = {"color": "var:--dim", "dash": "dot", "width": 1}
    return {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": level, "y1": level, "line": line}


def table(series: Sequence[PlotSeries]) -> Table | None:
    """Where each configuration worked: a row a socket; ``None`` where nobody looked."""
    heads = [Head(text="run", is_text=True)] if len(series) > 1 else []
    heads += [Head(text="socket"), Head(text="worked", is_text=True), Head(text="busy")]
    heads += [
        Head(text="share of the CPU time"),
        Head(text="CPUs"),
        Head(text="threads"),
        Head(text="pages", is_text=True),
    ]
    heads += [Head(text="migrations", unit="all sockets")]
    rows = [
        (*([Cell(text=each.name, tone="name")] if len(series) > 1 else []), *cells)
        for each in series
        for proved in [placement_proof.prove(each.report.run, each.cell)]
        if proved is not None
        for cells in _sockets(proved)
    ]
    return Table(heads=tuple(heads), rows=tuple(rows)) if rows else None


def _sockets(proved: Proof) -> Iterator[tuple[Cell, ...]]:
    placement = proved.placement
    for work, part in zip(placement.sockets, placement_proof.shares(placement), strict=True):
        yield (
            Cell(text=str(work.socket)),
            _verdict(proved, work.socket),
            Cell(text=share(placement.share(work))),
            Cell(text=share(part)),
            Cell(text=str(work.cpus)),
            Cell(text=str(work.threads)),
            _pages(placement),
            Cell(text="n/a" if placement.migrations is None else str(placement.migrations)),
        )


def _verdict(proved: Proof, socket: int) -> Cell:
    if not proved.is_told:
        return Cell(text="too short to tell", tone="dim")
    if socket in proved.placement.worked:
        return Cell(text="yes", tone="good")
    if socket in proved.placement.idle:
        return Cell(text="no", tone="bad" if socket in proved.asked else "dim")
    return Cell(text="unclear", tone="warn")


def _pages(placement: Placement) -> Cell:
    if not placement.pages:
        return Cell(text="n/a", tone="dim")
    shown = ", ".join(f"node {node}: {format_bytes(size)}" for node, size in sorted(placement.pages.items()))
    return Cell(text=shown)
