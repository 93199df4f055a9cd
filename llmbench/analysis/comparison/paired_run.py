"""A run of two configurations whose launches were made in turns, as base and candidate."""

import dataclasses
from collections.abc import Iterator
from collections.abc import Set as AbstractSet

from llmbench.analysis.bandwidth import BANDWIDTH
from llmbench.analysis.comparison.change import Change
from llmbench.analysis.comparison.compare import SIDES, Comparison, compare
from llmbench.analysis.comparison.rule import Rule, Verdict, compared_metrics
from llmbench.analysis.report import summarize_run
from llmbench.errors import InputError
from llmbench.schema.config import Prompt, RunConfig
from llmbench.schema.run import Run
from llmbench.schema.units import counted


def split_sides(run: Run) -> tuple[Run, Run]:
    """The run of the first configuration and that of the second; blocks say which of their launches belong together.

    Raises InputError where the run does not hold two configurations, measured in turns.
    """
    if len(run.cells) != len(SIDES):
        raise InputError(
            f"{run.id} has {len(run.cells)} configuration{'s' * (len(run.cells) != 1)}; a comparison takes two",
            hint="name a base and a candidate, or a run of llmbench ab",
        )
    if any(launch.block is None for launch in run.finished):
        raise InputError(f"{run.id} does not record which of its launches form a block")
    base, candidate = (_side(run, cell) for cell in range(len(SIDES)))
    return base, candidate


def _side(run: Run, cell: int) -> Run:
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
    base, candidate = split_sides(run)
    rule = rule or Rule()
    rule = dataclasses.replace(rule, vary=rule.vary | _varied(base, candidate))
    is_one_engine = base.cells[0].engine == candidate.cells[0].engine
    more = () if is_one_engine else (BANDWIDTH.name,)
    before, after = (summarize_run(side, (*compared_metrics(side), *more)) for side in (base, candidate))
    found = compare(before, after, rule, is_paired=True)
    return dataclasses.replace(found, remark=_remark(run))


def _varied(base: Run, candidate: Run) -> frozenset[str]:
    before, after = base.cells[0], candidate.cells[0]
    is_other_model = base.provenance.source_id != candidate.provenance.source_id
    is_other_turn = before.apply_chat_template != after.apply_chat_template
    differences = {
        "model": is_other_model,
        "input_tokens": is_other_model or is_other_turn,
        "output_tokens": before.output_tokens != after.output_tokens,
        "batch_size": before.batch_size != after.batch_size,
        "generation": is_other_turn or _way(before) != _way(after),
    }
    return frozenset(name for name, differs in differences.items() if differs)


def _way(config: RunConfig) -> tuple[object, ...]:
    return config.stop_at_eos, config.way, config.generation


def finished_blocks(run: Run) -> int:
    """How many blocks have a finished launch of every configuration."""
    by_block: dict[int, set[int]] = {}
    for launch in run.finished:
        if launch.block is not None:
            by_block.setdefault(launch.block, set()).add(launch.cell)
    return sum(len(cells) == len(run.cells) for cells in by_block.values())


def _remark(run: Run) -> str:
    """That fewer blocks were measured than were planned, where it is so."""
    planned, made = run.cells[0].launches, finished_blocks(run)
    return f"Stopped early, after {made} of {counted(planned, 'block')}" if made < planned else ""


def is_narrow(comparison: Comparison, share: float) -> bool:
    """Whether the intervals of all primary means reach at most *share* of their ratio to either side."""
    found = [change.ratio for change in comparison.primary]
    return bool(found) and all(
        ratio.has_interval and max(ratio.high / ratio.ratio, ratio.ratio / ratio.low) <= 1 + share
        for ratio in found
    )


Flag = tuple[Prompt | None, str]
"""A row and a metric: a prompt of the base, ``None`` for the mean over all."""


def flags(comparison: Comparison) -> Iterator[tuple[Flag, Change]]:
    """Every change with its row and metric."""
    for mean in comparison.means:
        yield from (((None, found.metric), found) for found in mean.changes)
    for pair in comparison.pairs:
        yield from (((pair.base.prompt, found.metric), found) for found in pair.changes)


def flagged_prompts(comparison: Comparison) -> frozenset[str]:
    """Return the hashes of the prompts of the alarms; of the mean's, all of them."""
    found = {prompt for (prompt, _), change in flags(comparison) if change.is_alarm}
    every = {pair.base.prompt for pair in comparison.pairs if pair.changes}
    return frozenset(prompt.sha256 for prompt in (every if None in found else found) if prompt)


def settle(first: Comparison, again: Comparison) -> tuple[Comparison, Comparison]:
    """Two comparisons of the same sides, the second on fresh launches, with the alarms of the first that held.

    An alarm holds where the second calls the same row and metric regressed.
    """
    slower = {flag for flag, change in flags(again) if change.verdict is Verdict.REGRESSED}
    pinned = {flag for flag, change in flags(first) if change.is_alarm and flag in slower}
    blocks = max((change.launches[0] for _, change in flags(again)), default=0)
    remark = f"{'Confirmed' if pinned else 'Not confirmed'} on {blocks} fresh blocks"
    remark = f"{remark}. {again.remark}" if again.remark else remark
    return _marked(first, pinned), dataclasses.replace(_marked(again, pinned), remark=remark)


def _marked(comparison: Comparison, pinned: AbstractSet[Flag]) -> Comparison:
    """The comparison with these alarms and no others."""

    def mark(changes: tuple[Change, ...], prompt: Prompt | None) -> tuple[Change, ...]:
        """Return the changes of a row, or of the means (no prompt), with these alarms only."""
        return tuple(
            dataclasses.replace(found, is_alarm=(prompt, found.metric) in pinned) for found in changes
        )

    return dataclasses.replace(
        comparison,
        means=tuple(dataclasses.replace(mean, changes=mark(mean.changes, None)) for mean in comparison.means),
        pairs=tuple(
            dataclasses.replace(pair, changes=mark(pair.changes, pair.base.prompt))
            for pair in comparison.pairs
        ),
    )
