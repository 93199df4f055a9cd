"""The search of ``tune``: a race of candidates, of their combinations, and a proof on fresh launches."""

import dataclasses
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any

from llmbench.analysis.comparison.change import Change
from llmbench.analysis.comparison.paired_run import compare_sides
from llmbench.analysis.comparison.rule import Rule, Verdict, read_thresholds
from llmbench.analysis.quality import QualityLimits, scores_of
from llmbench.analysis.race import (
    DEFAULT,
    Standing,
    cells_to_come,
    judge_race,
    large_cells,
    largest_gain,
    times_of,
)
from llmbench.analysis.report import distinguish, summarize_run
from llmbench.analysis.stages import request_metric
from llmbench.cli.block_view import measure_blocks
from llmbench.cli.dry_run import rehearse
from llmbench.cli.messages import say
from llmbench.cli.options.course import Course
from llmbench.cli.outputs import write_output
from llmbench.cli.quality_gate import QualityGate, find_base, limits_of
from llmbench.cli.run_view import View, missing_cause
from llmbench.errors import ExitCode, InputError, LaunchError
from llmbench.machine import topology
from llmbench.models.resolve import Side
from llmbench.render.sentences.commands import recipe_text, run_command, tuned_properties
from llmbench.render.text import change, ratio_change, settings_text
from llmbench.runner import plan, quality, space
from llmbench.runner.quality import Judged, Trial
from llmbench.schema.config import RunConfig
from llmbench.schema.engines import ModelKind
from llmbench.schema.run import Run, WorkloadSettings
from llmbench.schema.units import Direction, counted

_SEARCH_SHARE = 0.6
"""The share of the budget that the search may use; the rest is for the proof."""

_QUALITY_SHARE = 0.3
"""The share of it until which the quality of candidates is read first."""

_FIRST = "race"
"""The name of the first race."""

_LEAST_CELLS = 2
"""The default and one candidate are measured whatever the budget is."""

_NOT_REACHED = "the budget was used before it was measured"

_WORTH = 0.03
"""A setting counts if it makes the metric better by this share."""

_LEAST_LOSS = 0.01
_LOSS_FACTOR = 2.0
"""Without limits a candidate may lose twice what the default loses, or this many nats."""

_PROBE_BLOCKS, _PROBE_TOKENS = 3, 128


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Outcome:
    """What came of a race: the fastest, and what is better than the default, dropped or not, the best first."""

    fastest: RunConfig
    helpful: tuple[RunConfig, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """How candidates are measured, and where that is kept; *workload* is that of a load, ``None`` of the task.

    *bounds* has of each race how many candidates it had, and how many times as fast as the default they are at most.
    """

    side: Side
    metric: str
    workload: WorkloadSettings | None = None
    gate: Mapping[str, Any]
    max_memory: int | None
    course: Course
    began: float = field(default_factory=time.monotonic)
    bounds: list[tuple[int, float]] = field(default_factory=list)

    def find(self, cells: Sequence[RunConfig] | None) -> RunConfig:
        """Return the candidate that is fastest so far: of *cells*, or of single settings and their combinations."""
        default = self.side.config
        candidates, single = self._candidates(cells)
        by_cell = {repr(each.apply(default)): each for each in single}
        found = self._race(candidates, _FIRST)
        helpful = [by_cell[repr(cell)] for cell in found.helpful if repr(cell) in by_cell]
        combined = space.combine(default, helpful)
        left_s = self.course.left_s(self.began, _SEARCH_SHARE)
        if not combined or (left_s is not None and left_s <= 0):
            return found.fastest
        return self._race([default, found.fastest, *combined], "combined").fastest

    def rehearse(self, cells: Sequence[RunConfig] | None, blocks: int) -> None:
        """Print the candidates of the first race, and run nothing; raise what would be raised before it."""
        candidates, single = self._candidates(cells)
        planned = plan.plan_launches(candidates, seed=candidates[DEFAULT].seed)
        rehearse(self._sides(candidates), planned, self.course.part(_FIRST), workload=self.workload)
        say(*(f"would try: {_changes(candidates[DEFAULT], each) or 'default'}" for each in candidates))
        size = (
            f"{counted(len(candidates), 'candidate')} in up to {counted(self.side.config.launches, 'block')}"
        )
        combined = ", then combinations of those that help" if single else ""
        say(f"{size}{combined}; a proof of {counted(blocks, 'block')}; nothing was run")

    def _candidates(
        self, cells: Sequence[RunConfig] | None
    ) -> tuple[tuple[RunConfig, ...], Sequence[space.Alternative]]:
        """Return the default and what is tried beside it: *cells*, or single settings, which can be combined."""
        default, is_exact = self.side.config, not self._has_logits
        if cells is not None:
            others = [dataclasses.replace(cell, launches=default.launches) for cell in cells]
            return (default, *(each for each in others if each != default)), ()
        single, untried = space.find_space(default, topology.read_topology(), is_exact=is_exact)
        if not self.course.is_quiet:
            say(*(f"not tried: {each.name}: {each.reason}" for each in untried))
        return (default, *(each.apply(default) for each in single)), single

    @property
    def _has_logits(self) -> bool:
        """Whether the quality of candidates can be read; raises InputError where it is to be limited and cannot."""
        config = self.side.config
        found = ModelKind.IR in config.engine_info.models and Path(config.model).is_dir()
        if not found and limits_of(self.gate):
            raise InputError(
                "--max-kld and --min-same-top need an IR, whose logits can be read",
                hint="convert the model first, or leave them out",
            )
        return found

    def _race(self, cells: Sequence[RunConfig], part: str) -> _Outcome:
        kept = self._suitable(cells, part)
        if len(kept) < 2:
            return _Outcome(fastest=kept[DEFAULT])
        say("", f"search among {counted(len(kept), 'candidate')}, the default included")
        apart = [_changes(kept[DEFAULT], each) or "default" for each in kept]
        left = set(range(len(kept)))

        def judge(run: Run) -> Collection[int]:
            standing = self._standing(run, left)
            waiting = cells_to_come(run, times_of(run, self.metric))
            left.intersection_update({*standing.left, *waiting})
            if not self.course.is_quiet:
                say(_standing_line(len({launch.block for launch in run.launches}), standing, apart))
            return left

        run = self._measure(tuple(kept), part, judge)
        times = times_of(run, self.metric)
        if DEFAULT not in times:
            cause, hint = missing_cause(summarize_run(run))
            raise LaunchError(
                f"no launch of the default is valid, so that nothing can be compared with it: {cause}",
                hint=hint or f"look at the run: llmbench report show {run.id}",
            )
        for cell in sorted(set(range(len(kept))) - {launch.cell for launch in run.launches}):
            say(f"left out: {apart[cell]}: {_NOT_REACHED}")
        gain = largest_gain(times)
        if gain is not None:
            self.bounds.append((len(times) - 1, gain))
        every = self._standing(run, range(len(kept)))
        return _Outcome(
            fastest=kept[self._standing(run, left).left[0]],
            helpful=tuple(kept[cell] for cell in every.better_than_default(_WORTH)),
        )

    def _sides(self, cells: Sequence[RunConfig]) -> list[Side]:
        return [dataclasses.replace(self.side, config=cell) for cell in cells]

    def _standing(self, run: Run, left: Collection[int]) -> Standing:
        """Return the standing among those that were not dropped before."""
        times = times_of(run, self.metric)
        large = large_cells(run, self.max_memory)
        return judge_race(
            {cell: found for cell, found in times.items() if cell in left and cell not in large}
        )

    def _measure(
        self, cells: tuple[RunConfig, ...], part: str, judge: Callable[[Run], Collection[int]]
    ) -> Run:
        view = View(is_quiet=self.course.is_quiet)
        run = view.measure(
            self._sides(cells),
            self.course.part(part),
            workload=self.workload,
            planned=plan.with_cell_first(plan.plan_launches(cells, seed=cells[0].seed), DEFAULT),
            stop=dataclasses.replace(
                self.course.stop_of_part(self.began, _SEARCH_SHARE), race=judge, least=_LEAST_CELLS
            ),
        )
        say(f"written: {view.path}")
        return run

    def _suitable(self, cells: Sequence[RunConfig], part: str) -> list[RunConfig]:
        """Return the candidates that change something and keep the quality; the others are named."""
        if not self._has_logits:
            return list(cells)
        read = [dataclasses.replace(cell, threads=None) for cell in cells]
        trial = Trial(
            base=find_base(self.gate["quality_base"] or self.side.model_info.path, self.side.model_info.path),
            texts=quality.read_texts((quality.ENGLISH,), _PROBE_BLOCKS * _PROBE_TOKENS),
            blocks=_PROBE_BLOCKS,
            block_tokens=_PROBE_TOKENS,
        )
        limits = limits_of(self.gate)
        course = self.course.part(f"{part}-quality")
        share = _QUALITY_SHARE if part == _FIRST else _SEARCH_SHARE
        stop = dataclasses.replace(self.course.stop_of_part(self.began, share), least=1 + _LEAST_CELLS)
        judged = QualityGate(limits=limits, trial=trial).measure(self._sides(read), course, stop=stop)
        default = judged.of_cells[DEFAULT]
        if default is None:
            raise InputError(
                "the quality of the default could not be measured",
                hint="look at the run file for the failure",
            )
        limits = limits or QualityLimits(max_kld=max(_LOSS_FACTOR * default.kld.value, _LEAST_LOSS))
        kept: list[RunConfig] = []
        for index, cell in enumerate(cells):
            reason = "" if index == DEFAULT else _why_not(index, cells, judged, limits)
            if reason:
                say(f"left out: {_changes(cells[DEFAULT], cell)}: {reason}")
            else:
                kept.append(cell)
        return kept

    def say_bounds(self) -> None:
        """Print how much better than the default any candidate may be at most."""
        metric = request_metric(self.metric)
        better = "times as fast" if metric.direction is Direction.LOWER else f"times as much {metric.title}"
        if not self.bounds:
            say("too few blocks to bound what a candidate may gain; give a longer --budget")
        for candidates, gain in self.bounds:
            names = "candidate" if candidates == 1 else f"any of {counted(candidates, 'candidate')}"
            say(f"by the race {names} is at most {max(gain, 1.0):.2f} {better} (95 % for all together)")

    def prove(self, best: RunConfig, blocks: int) -> ExitCode:
        """Compare the fastest candidate with the default on fresh launches; write its settings where it holds."""
        sides = [side.changed(launches=blocks) for side in self._sides([self.side.config, best])]
        say("", f"proof on {counted(blocks, 'block')} of fresh launches: {_changes(self.side.config, best)}")
        run, path = measure_blocks(
            sides,
            self.course.part("proof"),
            stop=self.course.stop_of_part(self.began),
            first_launch=self.side.config.launches * 1000,
            workload=self.workload,
        )
        say(f"written: {path}")
        comparison = compare_sides(run, Rule(thresholds=read_thresholds((f"all={_WORTH:.0%}",))))
        found = next((each for each in comparison.primary if each.metric == self.metric), None)
        say("", *_verdict(found, _changes(self.side.config, best)))
        self.say_bounds()
        if found is not None and found.verdict is Verdict.IMPROVED:
            outputs = self.course.outputs
            base = outputs.folder / str(outputs.name)
            if best.properties or best.threads is not None:
                write_output(base.with_name(f"{base.name}.properties.json"), tuned_properties(best))
            if self.workload is None:
                write_output(base.with_name(f"{base.name}.toml"), recipe_text(best))
            else:
                say(f"measure it again: {run_command(best, blocks, workload=self.workload)}")
        return ExitCode.OK if found is not None else ExitCode.LAUNCH


def _why_not(index: int, cells: Sequence[RunConfig], judged: Judged, limits: QualityLimits) -> str:
    """Return why a candidate is not tried: it was not measured, loses too much, or computes what another does."""
    found = judged.of_cells[index]
    if found is None:
        is_cut = len(judged.run.launches) < len(judged.run.cells)
        return _NOT_REACHED if is_cut else "its quality could not be measured"
    faults = limits.faults(found)
    if faults:
        return "; ".join(faults)
    for other, earlier in zip(cells[:index], judged.of_cells, strict=False):
        if earlier is None or scores_of(judged.run, earlier.cell) != scores_of(judged.run, found.cell):
            continue
        if space.is_numeric_only(other, cells[index]):
            return "no effect: it computes exactly what another candidate does"
        if space.differ_in_properties(other, cells[index]) and _read_back(judged, earlier.cell) == _read_back(
            judged, found.cell
        ):
            return "no effect: all properties are those of another candidate"
    return ""


def _read_back(judged: Judged, cell: int) -> Mapping[str, str]:
    """What the engine really used for a configuration."""
    return next(each.effective.properties for each in judged.run.launches if each.cell == cell)


def _changes(base: RunConfig, candidate: RunConfig) -> str:
    """What sets a candidate apart from the default."""
    _, apart = distinguish([base, candidate])
    return settings_text({name: value for name, value in apart.items() if name != "is_attention_fixed"})


def _standing_line(block: int, standing: Standing, apart: Sequence[str]) -> str:
    best = standing.left[0] if standing.left else DEFAULT
    ratio = change(standing.ratios.get(best, 1.0))
    leader = "the default leads" if best == DEFAULT else f"{apart[best]} leads with {ratio}"
    return f"block {block}: {leader}, {counted(len(standing.left), 'candidate')} left"


def _verdict(found: Change | None, changes: str) -> Iterator[str]:
    if found is None:
        yield "the proof has no valid launches; nothing is recommended"
        return
    ratio, metric = found.ratio, request_metric(found.metric)
    measured = f"{metric.title} {ratio_change(ratio)} on {counted(found.launches[0], 'fresh pair')}"
    is_time = metric.direction is Direction.LOWER
    best_ratio = ratio.low if is_time else 1 / ratio.high
    if found.verdict is Verdict.IMPROVED:
        gain = 1 / ratio.ratio if is_time else ratio.ratio
        what = "times as fast as the default" if is_time else f"times the default's {metric.title}"
        yield f"{changes} is {gain:.2f} {what}: {measured}"
    elif ratio.has_interval and best_ratio > 1 - _WORTH:
        yield f"no setting beats the default by 3 %: the best, {changes}, has {measured}"
    else:
        yield f"no setting is proved to beat the default by 3 %: the best, {changes}, has {measured}"
        yield "more --blocks, a longer --budget or a quieter machine would decide"
