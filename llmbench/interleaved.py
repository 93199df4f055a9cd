"""A run of two configurations whose launches were made in turns, as base and candidate."""

import dataclasses

from llmbench.comparison import Comparison, compare
from llmbench.comparison.rule import COMPARED, Rule
from llmbench.errors import InputError
from llmbench.report import summarize
from llmbench.run import Outcome, Run

SIDES = ("A", "B")
"""What the base and the candidate are called."""


def split(run: Run) -> tuple[Run, Run]:
    """The run of the first configuration and that of the second; blocks say which of their launches belong together.

    Raises InputError where the run does not hold two configurations, measured in turns.
    """
    if len(run.cells) != len(SIDES):
        raise InputError(
            f"{run.id} holds {len(run.cells)} configuration{'s' * (len(run.cells) != 1)}; a comparison takes two",
            hint="name a base and a candidate, or a run of llmbench ab",
        )
    if any(launch.block is None for launch in run.launches if launch.outcome is Outcome.FINISHED):
        raise InputError(f"{run.id} does not tell which of its launches were made together")
    base, candidate = (_side(run, cell) for cell in range(len(SIDES)))
    return base, candidate


def _side(run: Run, cell: int) -> Run:
    """One configuration's part of a run."""
    return dataclasses.replace(
        run,
        id=f"{run.id}:{SIDES[cell]}",
        cells=(run.cells[cell],),
        environment=dataclasses.replace(run.environment, versions=run.software_of(cell)),
        provenance=run.origin_of(cell),
        origins=(),
        launches=tuple(dataclasses.replace(each, cell=0) for each in run.launches if each.cell == cell),
    )


def compare_sides(run: Run, rule: Rule | None = None) -> Comparison:
    """The candidate against the base, launches of one block against each other; see split.

    What the two configurations differ in may differ: that is what they are compared for.
    """
    base, candidate = split(run)
    rule = rule or Rule()
    rule = dataclasses.replace(rule, vary=rule.vary | _varied(base, candidate))
    found = compare(summarize(base, COMPARED), summarize(candidate, COMPARED), rule, is_paired=True)
    return dataclasses.replace(found, remark=_remark(run))


def _varied(base: Run, candidate: Run) -> frozenset[str]:
    """What the configurations of two sides differ in, by the names of `MAY_VARY`."""
    before, after = base.cells[0], candidate.cells[0]
    is_other_model = base.provenance.source_id != candidate.provenance.source_id
    is_other_turn = before.apply_chat_template != after.apply_chat_template
    differences = {
        "model": is_other_model,
        "input_tokens": is_other_model or is_other_turn,
        "output_tokens": before.output_tokens != after.output_tokens,
        "batch_size": before.batch_size != after.batch_size,
        "generation": before.stop_at_eos != after.stop_at_eos or is_other_turn,
    }
    return frozenset(name for name, differs in differences.items() if differs)


def finished_blocks(run: Run) -> int:
    """How many blocks have a finished launch of every configuration."""
    by_block: dict[int | None, set[int]] = {}
    for launch in run.launches:
        if launch.outcome is Outcome.FINISHED:
            by_block.setdefault(launch.block, set()).add(launch.cell)
    return sum(len(cells) == len(run.cells) for cells in by_block.values())


def _remark(run: Run) -> str:
    """That fewer blocks were measured than were asked for, where it is so."""
    asked, made = run.cells[0].launches, finished_blocks(run)
    return f"Stopped early, after {made} of {asked} blocks" if made < asked else ""


def is_narrow(comparison: Comparison, share: float) -> bool:
    """Whether the intervals of all primary means reach at most *share* of their ratio to either side."""
    found = [change.ratio for change in comparison.primary]
    return bool(found) and all(
        ratio.has_interval and max(ratio.high / ratio.ratio, ratio.ratio / ratio.low) <= 1 + share
        for ratio in found
    )
