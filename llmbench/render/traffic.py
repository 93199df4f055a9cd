"""What the later tokens read from memory, beside what this memory can do, in a sentence."""

from collections.abc import Iterator, Sequence

from llmbench.analysis.bandwidth import BANDWIDTH, Bounds
from llmbench.analysis.report import Report, Row
from llmbench.render.text import number, share
from llmbench.units import format_bytes, format_list

_READS_MORE = 4 / 3
"""A triad counts two reads and a write; the read that a write costs on most processors is not counted."""


def sentences(report: Report) -> Iterator[str]:
    """One a configuration that has a bandwidth, its settings before it where there are several."""
    for cell, bounds in enumerate(report.bounds):
        rows = [row for row in report.rows if row.cell == cell]
        if bounds is not None and any(BANDWIDTH.name in row.summaries for row in rows):
            where = ", ".join(f"{name}={value}" for name, value in report.distinctions[cell].items())
            yield f"{where}: {sentence(rows, bounds)}" if where else sentence(rows, bounds)


def sentence(rows: Sequence[Row], bounds: Bounds) -> str:
    """The rates of some prompts, and what they are to be compared with."""
    rates = [row.summaries[BANDWIDTH.name].median for row in rows if BANDWIDTH.name in row.summaries]
    read = f"next tokens: {_span([_rate(min(rates)), _rate(max(rates))])} GB/s of weights and KV cache"
    if bounds.is_cached and bounds.cache_bytes is not None:
        fits = f"{format_bytes(round(bounds.step_bytes))} a step fit the {format_bytes(bounds.cache_bytes)} cache"
        return f"{read}; {fits}, so what memory can do is no bound"
    if bounds.bytes_per_s is None or bounds.rate is None:
        return f"{read}; llmbench doctor measures what this memory can do, to compare with"
    where = f"the memory of socket {format_list(bounds.sockets)}" if bounds.sockets else "this memory"
    partly = "" if bounds.rate.is_beyond_caches else ", partly from caches"
    triad = f"triad {_rate(bounds.bytes_per_s)} GB/s{partly}, measured {bounds.rate.measured_at[:10]}"
    shares = [rate / bounds.bytes_per_s for rate in (min(rates), max(rates))]
    if shares[-1] > _READS_MORE:
        return (
            f"{read}: more than {where} gave ({triad}); run llmbench doctor again when the machine is quiet"
        )
    more = "; reads alone can give up to a third more than a triad" if shares[-1] > 1 else ""
    return f"{read}, {_span([share(each) for each in shares])} of what {where} can do ({triad}){more}"


def _rate(bytes_per_s: float) -> str:
    """GB/s without the unit."""
    return number(bytes_per_s, BANDWIDTH.unit)


def _span(ends: Sequence[str]) -> str:
    """``14.2``, or ``14.2 to 15.1`` where the ends are not the same."""
    return " to ".join(dict.fromkeys(ends))
