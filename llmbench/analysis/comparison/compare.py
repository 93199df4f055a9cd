"""Base against candidate: rows paired, a ratio with its interval and a verdict for each, and what else changed.

The replicate is the launch. A row's verdict stands on its own interval and threshold; the exit code asks fewer,
stricter questions, so that many rows do not make many false alarms.
"""

import dataclasses
import functools
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from llmbench.analysis import output_agreement, stats
from llmbench.analysis.comparison import anomalies, change, differences, pairing
from llmbench.analysis.comparison.change import Change
from llmbench.analysis.comparison.differences import Difference
from llmbench.analysis.comparison.pairing import Couple
from llmbench.analysis.comparison.rule import Rule, Threshold, Verdict, compared_metrics
from llmbench.analysis.output_agreement import Agreement, CellPrompt
from llmbench.analysis.report import Report, Row
from llmbench.analysis.stages import LEAST_OF_WHOLE, LEAST_SHARE, stage_of

SIDES = ("A", "B")
"""What the base and the candidate of one run are called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two rows of one prompt and their changes; *reasons* say why they are incomparable."""

    base: Row
    candidate: Row
    changes: tuple[Change, ...]
    reasons: tuple[str, ...] = ()

    @property
    def marks(self) -> tuple[str, ...]:
        """What must be beside the figures, with the side it concerns: ``candidate tensor_parallel=ineffective``."""
        sides = (("base", self.base), ("candidate", self.candidate))
        return tuple(f"{side} {mark}" for side, row in sides for mark in row.marks)

    @property
    def has_same_input(self) -> bool:
        """Whether the very same tokens went in, as far as the hash of the prompt and their number tell."""
        base, candidate = self.base, self.candidate
        return (base.prompt.sha256, base.input_tokens) == (candidate.prompt.sha256, candidate.input_tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean:
    """The geometric means over the prompts that both sides have, of the cell that *settings* set apart."""

    prompts: int
    settings: Mapping[str, str]
    changes: tuple[Change, ...]


@dataclass(frozen=True, kw_only=True)  # no slots: what takes long is computed once
class Comparison:
    """One base and one candidate.

    *unpaired* has a sentence on every row without a partner, *doubts* one on each launch that is an outlier, each
    drift over launches, and attention that changed although it was not requested. *mismatches* are differences that
    make rows incomparable; those that *rule* allows are the first of the *changes*, after that of the attention.
    *run_files* are where base and candidate were read, empty if from no run file. *remark* is what a reader must know
    with the verdict itself, such as that the measuring stopped early.
    """

    base: Report
    candidate: Report
    rule: Rule
    pairs: tuple[Pair, ...]
    means: tuple[Mean, ...]
    unpaired: tuple[str, ...]
    mismatches: tuple[Difference, ...]
    changes: tuple[Difference, ...]
    warnings: tuple[str, ...]
    doubts: tuple[str, ...] = ()
    run_files: tuple[str, str] = ("", "")
    is_paired: bool = False
    remark: str = ""

    @property
    def sides(self) -> tuple[str, str]:
        """What base and candidate are called: A and B where they were measured in turns."""
        return SIDES if self.is_paired else ("base", "candidate")

    @property
    def judged(self) -> tuple[Change, ...]:
        """Every change that has a verdict, means first; headline, table, exit code and files all stand on these."""
        return (*self.primary, *(found for pair in self.pairs for found in pair.changes))

    @property
    def primary(self) -> tuple[Change, ...]:
        """The means that are looked at first."""
        return tuple(found for mean in self.means for found in mean.changes)

    @property
    def alarms(self) -> tuple[Change, ...]:
        """The regressions that hold for the exit code, means first."""
        return tuple(found for found in self.judged if found.is_alarm)

    @property
    def verdict(self) -> Verdict:
        """The whole comparison in a word: an alarm, else what means and rows say together.

        A regression that is no alarm is too uncertain to count: it leaves the whole inconclusive, as an undecided row.
        """
        output = {found.verdict for found in self.judged}
        if self.alarms:
            return Verdict.REGRESSED
        if not output:
            return Verdict.INCOMPARABLE
        if output & {Verdict.REGRESSED, Verdict.INCONCLUSIVE}:
            return Verdict.INCONCLUSIVE
        return Verdict.IMPROVED if Verdict.IMPROVED in output else Verdict.UNCHANGED

    @functools.cached_property
    def agreement(self) -> Agreement:
        """Whether greedy search generated the same on both sides, for equal prompts that were compared."""
        locations = (
            (_location(pair.base), _location(pair.candidate))
            for pair in self.pairs
            if not pair.reasons and pair.has_same_input
        )
        return output_agreement.between(self.base.run, self.candidate.run, locations)

    @property
    def is_whole(self) -> bool:
        """Whether everything was measured, valid and compared, whatever it shows."""
        return (
            bool(self.judged)
            and not self.unpaired
            and not any(pair.reasons for pair in self.pairs)
            and not any(row.invalid for report in (self.base, self.candidate) for row in report.rows)
        )

    @property
    def is_clean(self) -> bool:
        """Whether everything was valid, compared and decided."""
        is_open = any(
            found.verdict is Verdict.INCONCLUSIVE
            or (found.verdict is Verdict.REGRESSED and not found.is_alarm)
            for found in self.judged
        )
        return self.is_whole and not is_open


def compare(
    base: Report, candidate: Report, rule: Rule | None = None, *, is_paired: bool = False
) -> Comparison:
    """The comparison of two reports.

    *is_paired* is true where their launches were made in turns; then those of the same block (where no block was
    recorded, of the same index) belong together.
    """
    rule = rule or Rule()
    names = SIDES if is_paired else ("base", "candidate")
    found = pairing.pair(base, candidate, rule.vary)
    differing = differences.mismatches(base.run, candidate.run)
    mismatches = tuple(each for each in differing if each.name not in rule.vary)
    lifted = (*(each for each in differing if each.name in rule.vary), *found.lifted)
    judge = _Judge(
        rule=rule,
        is_paired=is_paired,
        is_valid=base.is_valid and candidate.is_valid,
        blocks=(base.run.blocks, candidate.run.blocks) if is_paired else ({}, {}),
        names=compared_metrics(base.run),
        primary=base.run.workload.primary_metrics,
    )
    pairs = [judge.pair(_guarded(couple, mismatches)) for couple in found.couples]
    return Comparison(
        base=base,
        candidate=candidate,
        rule=rule,
        pairs=_alarmed(pairs, rule),
        means=_alarmed_means(
            [judge.mean(group, base.distinctions) for group in _by_cell(pairs)], rule, len(judge.primary)
        ),
        unpaired=(*found.unpaired, *_unmeasured(base, candidate)),
        mismatches=mismatches,
        changes=(
            *differences.attention_change(base.run, candidate.run),
            *lifted,
            *differences.changes(base.run, candidate.run),
        ),
        doubts=(
            *differences.attention_doubt(base.run, candidate.run),
            *anomalies.anomalies(base, candidate, names),
        ),
        warnings=_warnings(base, candidate, names),
        is_paired=is_paired,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judge:
    """Turns couples into changes under a rule."""

    rule: Rule
    is_paired: bool
    is_valid: bool
    blocks: tuple[Mapping[int, int], Mapping[int, int]]
    names: tuple[str, ...]
    primary: tuple[str, ...]

    def pair(self, couple: Couple) -> Pair:
        """The changes of every metric that both rows have."""
        changes = () if couple.reasons else self._changes(self.names, [couple.base], [couple.candidate])
        reasons = couple.reasons or (() if changes else ("a side has no valid request",))
        return Pair(base=couple.base, candidate=couple.candidate, changes=changes, reasons=reasons)

    def mean(self, group: Sequence[Pair], distinctions: Sequence[Mapping[str, str]]) -> Mean:
        """The primary metrics' means over the prompts of one configuration."""
        return Mean(
            prompts=len(group),
            settings=distinctions[group[0].base.cell],
            changes=self._changes(
                self.primary, [pair.base for pair in group], [pair.candidate for pair in group]
            ),
        )

    def _changes(
        self, names: Sequence[str], base: Sequence[Row], candidate: Sequence[Row]
    ) -> tuple[Change, ...]:
        found = []
        for name in (each for each in names if self._weighs(each, (*base, *candidate))):
            before = change.sample(base, name, self.blocks[0])
            after = change.sample(candidate, name, self.blocks[1])
            if before and after:
                found.append(
                    change.judge_change(
                        name,
                        before,
                        after,
                        threshold=self._threshold(name, base),
                        is_paired=self.is_paired,
                        is_valid=self.is_valid,
                    )
                )
        return tuple(found)

    def _threshold(self, name: str, base: Sequence[Row]) -> Threshold:
        """That of a metric; a stage for which none is given must move the whole that its stages cover as well."""
        found = self.rule.threshold_of(name)
        if stage_of(name) is None or name in self.rule.thresholds:
            return found
        return dataclasses.replace(found, seconds=LEAST_OF_WHOLE * statistics.fmean(map(_stages_s, base)))

    def _weighs(self, name: str, rows: Sequence[Row]) -> bool:
        """Whether a metric is worth a verdict: all are but stages that take next to nothing."""
        if stage_of(name) is None or name in self.rule.thresholds:
            return True
        times = [(row.summaries[name].median, _stages_s(row)) for row in rows if name in row.summaries]
        return any(time >= LEAST_SHARE * whole for time, whole in times)


def _stages_s(row: Row) -> float:
    """Seconds that all stages of a row take."""
    return sum(summary.median for metric, summary in row.summaries.items() if stage_of(metric))


def _unmeasured(base: Report, candidate: Report) -> Iterator[str]:
    """A sentence on each prompt that was to be measured, and has no row on either side."""
    rows = {row.prompt.sha256 for report in (base, candidate) for row in report.rows}
    for prompt in dict.fromkeys(prompt for cell in base.run.cells for prompt in cell.prompts):
        if prompt.sha256 not in rows:
            yield f"{prompt.label} of {prompt.set} was measured on neither side"


def _by_cell(pairs: Sequence[Pair]) -> list[list[Pair]]:
    groups: dict[tuple[int, int], list[Pair]] = {}
    for pair in pairs:
        if not pair.reasons:
            groups.setdefault((pair.base.cell, pair.candidate.cell), []).append(pair)
    return list(groups.values())


def _location(row: Row) -> CellPrompt:
    return row.cell, row.config.prompts.index(row.prompt)


def _guarded(couple: Couple, mismatches: Sequence[Difference]) -> Couple:
    """The couple, incomparable where the runs differ in what must match."""
    reasons = (f"{found.name}: {found.base} against {found.candidate}" for found in mismatches)
    return dataclasses.replace(couple, reasons=(*reasons, *couple.reasons))


def _alarmed(pairs: Sequence[Pair], rule: Rule) -> tuple[Pair, ...]:
    """The pairs with the alarms of all their rows together: half the error, shared out after Holm."""
    changes = [found for pair in pairs for found in pair.changes]
    adjusted = stats.holm([change.p_value(found) for found in changes])
    marked = iter(change.with_alarms(changes, adjusted, rule.row_error))
    return tuple(
        dataclasses.replace(pair, changes=tuple(next(marked) for _ in pair.changes)) for pair in pairs
    )


def _alarmed_means(means: Sequence[Mean], rule: Rule, metrics: int) -> tuple[Mean, ...]:
    """The means with their alarms: the other half of the error, shared out evenly."""
    error = rule.mean_error(len(means), metrics)
    return tuple(
        dataclasses.replace(
            mean,
            changes=tuple(
                change.with_alarms(mean.changes, [change.p_value(found) for found in mean.changes], error)
            ),
        )
        for mean in means
    )


def _warnings(base: Report, candidate: Report, names: Sequence[str]) -> tuple[str, ...]:
    sides = tuple(zip(names, (base, candidate), strict=True))
    found = [f"{side}: {warning}" for side, report in sides for warning in report.warnings]
    found += [
        f"{side}: {row.prompt.label}: {warning}"
        for side, report in sides
        for row in report.rows
        for warning in row.warnings
    ]
    return (*differences.unknowns(base.run, candidate.run), *dict.fromkeys(found))
