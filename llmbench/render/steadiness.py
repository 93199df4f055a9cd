"""What a report says of itself: whether it was steady, its warm-ups enough, and every launch said the same."""

import collections
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from llmbench.analysis.comparison.compare import Comparison
from llmbench.analysis.metrics import METRICS
from llmbench.analysis.output_agreement import Agreement, Parting
from llmbench.analysis.report import Report
from llmbench.analysis.steadiness import Steadiness
from llmbench.config import Prompt
from llmbench.render.text import change, counted

MOST_ROWS = 6
"""Rows that are named; of more their number is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """A sentence; *is_doubt* where it makes the figures less to be relied on."""

    text: str
    is_doubt: bool


def remarks(report: Report) -> Iterator[Remark]:
    """One sentence on what is known to be well, if anything, then each doubt."""
    found, agreement = report.steadiness, report.agreement
    well = [text for text in (_steady(found), _enough(found), _same(agreement)) if text]
    if well:
        sentence = "; ".join(well)
        yield Remark(text=f"{sentence[0].upper()}{sentence[1:]}.", is_doubt=False)
    for text in (*_drifts(report, found), *_late(report, found), *_partings(report, agreement)):
        yield Remark(text=text, is_doubt=True)


def agreement_remark(comparison: Comparison) -> Remark | None:
    """Whether base and candidate said the same; ``None`` where nothing can be set against each other."""
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


def _steady(found: Sequence[Steadiness]) -> str:
    """That nothing drifts; empty where that is not known of every row."""
    return "steady over the iterations" if found and all(each.is_steady for each in found) else ""


def _enough(found: Sequence[Steadiness]) -> str:
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


def _same(agreement: Agreement) -> str:
    """That launches agree; empty where they do not, or there is nothing to compare."""
    return "every launch said the same" if agreement.variants and not agreement.partings else ""


def _drifts(report: Report, found: Sequence[Steadiness]) -> Iterator[str]:
    """What was not steady, row by row."""
    drifting = [each for each in found if each.drifts]
    for each in drifting[:MOST_ROWS]:
        how = ", ".join(f"{METRICS[name].title} {change(1 + by)}" for name, by in each.drifts.items())
        where = _prompt(report, each.cell, each.prompt)
        yield f"{where}: not steady: {how} from the first measured iteration to the last"
    if drifting[MOST_ROWS:]:
        yield f"not steady: {len(drifting) - MOST_ROWS} more prompts"


def _late(report: Report, found: Sequence[Steadiness]) -> Iterator[str]:
    """Where more warm-ups would have been needed, rows alike together."""
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


def _partings(report: Report, agreement: Agreement) -> Iterator[str]:
    """Where launches part: of each prompt the variant in which they do so first."""
    groups: dict[str, list[Parting]] = collections.defaultdict(list)
    for parting in agreement.partings:
        groups[_prompt(report, parting.cell, parting.prompt)].append(parting)
    for found in list(groups.values())[:MOST_ROWS]:
        first = min(found, key=lambda parting: parting.token or 0)
        more = f", and in {counted(len(found) - 1, 'more variant')}" if found[1:] else ""
        yield f"{_variant(report, first)}: {_how(first)}{more}"
    if len(groups) > MOST_ROWS:
        yield f"launches part in {len(agreement.partings)} of {counted(agreement.variants, 'variant')}"


def _how(parting: Parting) -> str:
    """How two outputs of one run part."""
    one, other = (index + 1 for index in parting.launches)
    at = f"at token {parting.token} of {parting.tokens}" if parting.token else "somewhere"
    return f"launch {one} parts with itself {at}" if one == other else f"launches {one} and {other} part {at}"


def _variant(report: Report, parting: Parting) -> str:
    """A variant of a prompt, ``P0 variant 2``."""
    where = _prompt(report, parting.cell, parting.prompt)
    return where if parting.variant is None else f"{where} variant {parting.variant}"


def _prompt(report: Report, cell: int, prompt: Prompt) -> str:
    """A prompt's short name, and what sets its configuration apart."""
    apart = report.distinctions[cell]
    told = ", ".join(f"{name}={value}" for name, value in apart.items() if value)
    return f"{prompt.label} [{told or 'default'}]" if apart else prompt.label
