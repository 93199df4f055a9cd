"""What a report says of itself: whether it was stable, its warm-ups enough, and output identical in all launches."""

import collections
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from llmbench.analysis.bandwidth import BANDWIDTH, Bounds
from llmbench.analysis.comparison.compare import Comparison
from llmbench.analysis.metrics.table import METRICS
from llmbench.analysis.output_agreement import Agreement, Divergence
from llmbench.analysis.placement_proof import Proof, shares
from llmbench.analysis.report import Report, Row
from llmbench.analysis.speedup import setup_names
from llmbench.analysis.stability import Stability
from llmbench.render.text import after, change, in_brackets, number_text, settings_text, share
from llmbench.schema.config import Prompt
from llmbench.schema.units import counted, format_bytes, format_list

MOST_ROWS = 6
"""Rows that are named; of more their number is given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """A sentence; *is_doubt* where it makes the figures less to be relied on."""

    text: str
    is_doubt: bool


def remarks(report: Report) -> Iterator[Remark]:
    """One sentence on what is known to be well, if anything, then each doubt."""
    found, agreement = report.stability, report.agreement
    is_stable = bool(found) and all(each.is_stable for each in found)
    is_same = bool(agreement.variants) and not agreement.partings
    well = [
        *(["stable over the iterations"] if is_stable else []),
        *filter(None, [_enough(found)]),
        *(["output identical in all launches"] if is_same else []),
    ]
    if well:
        sentence = "; ".join(well)
        yield Remark(text=f"{sentence[0].upper()}{sentence[1:]}.", is_doubt=False)
    for text in (*_drifts(report, found), *_late(report, found), *_divergences(report, agreement)):
        yield Remark(text=text, is_doubt=True)


def agreement_remark(comparison: Comparison) -> Remark | None:
    """Whether base and candidate generated the same; ``None`` where nothing can be compared."""
    found = comparison.agreement
    if not found.variants:
        return None
    what = "greedy tokens" if found.has_tokens else "greedy texts"
    of = f"of {counted(found.variants, 'variant')}"
    first = found.first
    if first is None:
        return Remark(text=f"{what}: the same in {found.variants} {of}", is_doubt=False)
    where = _variant(comparison.base, first)
    at = f"first at token {first.token} ({where})" if first.token else f"first in {where}"
    return Remark(text=f"{what}: part in {len(found.partings)} {of}, {at}", is_doubt=True)


def _enough(found: Sequence[Stability]) -> str:
    """That there were enough warm-ups, and how many would have done; empty where that is not known of every row."""
    made = {each.warmups for each in found}
    needed = [each.needed for each in found if each.needed is not None]
    if not found or len(needed) < len(found) or any(each.is_late for each in found):
        return ""
    if len(made) > 1:
        return "the warm-ups were enough"
    count, most = next(iter(made)), max(needed)
    if most == count:
        verb = "was" if count == 1 else "were"
        return f"{counted(count, 'warm-up')} {verb} enough" if count else "no warm-up was needed"
    would = counted(most, "warm-up") if most else "no warm-up"
    return f"{would} would have {'been enough' if most else 'been needed'} ({count} made)"


def _drifts(report: Report, found: Sequence[Stability]) -> Iterator[str]:
    drifting = [each for each in found if each.drifts]
    for each in drifting[:MOST_ROWS]:
        how = ", ".join(f"{METRICS[name].title} {change(1 + by)}" for name, by in each.drifts.items())
        where = _prompt(report, each.cell, each.prompt)
        yield f"{where}: not stable: {how} from the first measured iteration to the last"
    if drifting[MOST_ROWS:]:
        yield f"not stable: {counted(len(drifting) - MOST_ROWS, 'more prompt')}"


def _late(report: Report, found: Sequence[Stability]) -> Iterator[str]:
    groups: dict[tuple[int, int], list[str]] = collections.defaultdict(list)
    for each in found:
        if each.needed is not None and each.is_late:
            groups[each.needed, each.warmups].append(_prompt(report, each.cell, each.prompt))
    for (needed, made), names in sorted(groups.items(), reverse=True):
        rest = len(names) - MOST_ROWS
        where = ", ".join([*names[:MOST_ROWS], *([f"{rest} more"] if rest > 0 else [])])
        made_text = f"{made or 'none'} {'were' if made > 1 else 'was'} made"
        slow = needed - made
        slower = (
            f"the first {slow} measured iterations are" if slow > 1 else "the first measured iteration is"
        )
        yield f"{where}: {counted(needed, 'warm-up')} would have been needed, {made_text}: {slower} slower"


def _divergences(report: Report, agreement: Agreement) -> Iterator[str]:
    groups: dict[str, list[Divergence]] = collections.defaultdict(list)
    for divergence in agreement.partings:
        groups[_prompt(report, divergence.cell, divergence.prompt)].append(divergence)
    for found in list(groups.values())[:MOST_ROWS]:
        first = min(found, key=lambda divergence: divergence.token or 0)
        more = f", and in {counted(len(found) - 1, 'more variant')}" if found[1:] else ""
        yield f"{_variant(report, first)}: {_how(first)}{more}"
    if len(groups) > MOST_ROWS:
        yield f"launches part in {len(agreement.partings)} of {counted(agreement.variants, 'variant')}"


def _how(divergence: Divergence) -> str:
    one, other = (index + 1 for index in divergence.launches)
    at = f"at token {divergence.token} of {divergence.tokens}" if divergence.token else "somewhere"
    return f"launch {one} parts with itself {at}" if one == other else f"launches {one} and {other} part {at}"


def _variant(report: Report, divergence: Divergence) -> str:
    where = _prompt(report, divergence.cell, divergence.prompt)
    return where if divergence.variant is None else f"{where} variant {divergence.variant}"


def _prompt(report: Report, cell: int, prompt: Prompt) -> str:
    setup = _setup(report, cell)
    return f"{prompt.label} [{setup}]" if setup else f"{prompt.label}{in_brackets(report.distinctions[cell])}"


def _setup(report: Report, cell: int) -> str:
    setups = setup_names(report.run)
    return setups[cell] if setups else ""


def instants(report: Report) -> str:
    """Return what the instants are that the definitions of a report's metrics name."""
    has_tokens = any("first_token" in row.figures for row in report.shown_rows)
    end = "t1..tn: output tokens are available" if has_tokens else "tn: its last stage ends"
    return f"s: {report.run.cells[0].begin}; {end}"


def placement_sentence(proof: Proof) -> str:
    """Who worked, how the CPU time and the pages were shared, and how often threads moved."""
    placement = proof.placement
    threads = " / ".join(str(work.threads) for work in placement.sockets)
    noun = "thread" if threads == "1" else "threads"
    parts = [f"{_worked(proof)}: {percent(shares(placement))} of the CPU time, {threads} {noun}"]
    nodes = proof.machine.nodes or tuple(sorted(placement.pages))
    if placement.pages and nodes:
        loaded = f" (after loading {by_node(proof.loaded, nodes)})" if proof.loaded else ""
        parts.append(f"pages by node {by_node(placement.pages, nodes)}{loaded}")
    if placement.migrations is not None:
        parts.append(f"threads moved {counted(placement.migrations, 'time')}")
    return "; ".join(parts)


def _worked(proof: Proof) -> str:
    placement, requested = proof.placement, proof.requested
    sockets = [work.socket for work in placement.sockets]
    if not proof.is_reported:
        return "too short to decide which sockets worked"
    if len(sockets) == 1:
        return f"socket {sockets[0]} worked (these launches were pinned to it)"
    if proof.idle:
        is_one = len(proof.idle) == len(requested) - 1
        return "ONE SOCKET DID ALL THE WORK" if is_one else f"SOCKET {format_list(proof.idle)} DID NOT WORK"
    if proof.is_proved and requested:
        return (
            "both sockets worked"
            if len(requested) == 2
            else f"all {counted(len(requested), 'socket')} worked"
        )
    if requested:
        return "other processes hide which sockets worked; the shares are a guess"
    worked = placement.worked
    return f"socket {format_list(worked)} worked" if worked else "no socket worked for long"


def percent(values: Sequence[float]) -> str:
    """Shares beside each other: ``51 % / 49 %``."""
    return " / ".join(f"{value * 100:.0f} %" for value in values)


def by_node(pages: Mapping[int, int], nodes: Sequence[int]) -> str:
    """How bytes are shared among nodes."""
    total = sum(pages.values())
    return percent([pages.get(node, 0) / total if total else 0.0 for node in nodes])


_READS_MORE = 4 / 3
"""A triad counts two reads and a write; the read that a write costs on most processors is not counted."""


def bandwidth_sentences(report: Report) -> Iterator[str]:
    """One per configuration that has a bandwidth, its settings before it where there are several."""
    for cell, bounds in enumerate(report.bounds):
        rows = [row for row in report.rows if row.cell == cell]
        if bounds is not None and any(BANDWIDTH.name in row.summaries for row in rows):
            where = _setup(report, cell) or settings_text(report.distinctions[cell])
            yield after(where, bandwidth_sentence(rows, bounds))


def bandwidth_sentence(rows: Sequence[Row], bounds: Bounds) -> str:
    """The rates of some prompts, and what they are to be compared with."""
    rates = [row.summaries[BANDWIDTH.name].median for row in rows if BANDWIDTH.name in row.summaries]
    read = f"next tokens: {_span([_rate(min(rates)), _rate(max(rates))])} GB/s of weights and KV cache"
    if bounds.is_cached and bounds.cache_bytes is not None:
        fits = f"{format_bytes(round(bounds.step_bytes))} per token fit in the {format_bytes(bounds.cache_bytes)} cache"
        return f"{read}; {fits}, memory bandwidth is not the limit"
    if bounds.bytes_per_s is None or bounds.rate is None:
        return f"{read}; run llmbench doctor once to see it as a share of this machine's bandwidth"
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
    return number_text(bytes_per_s, BANDWIDTH.unit)


def _span(ends: Sequence[str]) -> str:
    """``14.2``, or ``14.2 to 15.1`` where the ends are not the same."""
    return " to ".join(dict.fromkeys(ends))
