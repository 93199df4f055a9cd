"""``llmbench tune``: the fastest settings of a configuration, proved on launches that the search never saw."""

import dataclasses
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from llmbench.analysis.comparison.change import Change
from llmbench.analysis.comparison.paired_run import compare_sides
from llmbench.analysis.comparison.rule import Rule, Verdict, read_thresholds
from llmbench.analysis.quality import QualityLimits, scores_of
from llmbench.analysis.race import DEFAULT, Standing, judge_race, large_cells, times_of
from llmbench.analysis.report import distinguish
from llmbench.cli.messages import say
from llmbench.cli.model_source import prepared
from llmbench.cli.options.course import block_options
from llmbench.cli.options.resolve import check_locations, resolve_models
from llmbench.cli.options.sides import Side, read_side, single_options
from llmbench.cli.options.table import parse_options, recipe_options
from llmbench.cli.options.types import Command, Size, check_folder
from llmbench.cli.outputs import write_output
from llmbench.cli.quality_gate import GATE, QualityGate, find_base, gate_options, limits_of
from llmbench.cli.run_view import View, measure_blocks
from llmbench.errors import ExitCode, InputError
from llmbench.machine import topology
from llmbench.models.resolve import ModelInfo
from llmbench.render.sentences.commands import recipe_text, tuned_properties
from llmbench.render.text import change, counted, settings_text
from llmbench.runner import plan, quality, session, space
from llmbench.runner.blocks import Stop
from llmbench.runner.launchers.base import TimeLimits
from llmbench.runner.quality import Judged, Trial
from llmbench.runner.session import Outputs, Policy
from llmbench.schema.config import RunConfig
from llmbench.schema.engines import ModelKind
from llmbench.schema.run import Run
from llmbench.store import reader

METRIC_OF = {"first": "first_token", "next": "tpot"}
"""What ``--for`` names."""

_SEARCH_SHARE = 0.6
"""The share of the budget that the search may use; the rest is for the proof."""

_WORTH = 0.03
"""A setting counts if it makes the metric smaller by this share."""

_LEAST_LOSS = 0.01
_LOSS_FACTOR = 2.0
"""Without limits a candidate may lose twice what the default loses, or so many nats."""

_PROBE_BLOCKS, _PROBE_TOKENS = 3, 128

_EXAMPLES = """\b
Examples:
  llmbench tune -m models --weight-format int8 --for next --budget 30m
  llmbench tune -m models --weight-format int8 --for first --input-tokens 1024 -ic 16 --max-kld 0.02
  llmbench tune -m models --weight-format int8 --space space.toml"""


@click.command(
    cls=Command, params=single_options(), short_help="The fastest settings, proved.", epilog=_EXAMPLES
)
@click.option(
    "--for",
    "goal",
    type=click.Choice(tuple(METRIC_OF)),
    default="next",
    help="What is to be fast: the first token, or the next ones.",
)
@click.option(
    "--space",
    type=click.Path(path_type=Path),
    metavar="FILE.toml",
    help="Candidates: a recipe in which settings have several values.  [default: from engine and machine]",
)
@click.option("--max-memory", type=Size(), help="Drop candidates whose peak memory is above this: 4GiB.")
@click.option("--rounds", type=click.IntRange(min=3), default=8, help="Blocks of the search at most.")
@click.option("--blocks", type=click.IntRange(min=2), default=8, help="Blocks of the proof at the end.")
@gate_options()
@block_options
@click.pass_context
def command(  # noqa: PLR0917
    ctx: click.Context,
    /,
    goal: str,
    space: Path | None,
    max_memory: int | None,
    rounds: int,
    blocks: int,
    budget: float | None,
    output_dir: Path,
    name: str | None,
    overwrite: bool,
    timeout: float,
    keep_going: bool,
    quiet: bool,
    cooldown: float,
    **options: Any,
) -> int:
    """Search the fastest settings, then compare them with the default on fresh launches.

    Candidates are measured in the same blocks as the default, and those that are clearly slower are dropped. The
    fastest of many noisy candidates is partly lucky, so that it is then compared with the default on launches that the
    search never saw. That no setting beats the default by 3 % is a result, too. Candidates that lose more quality than
    --max-kld or --min-same-top allow, by default twice what the default loses, are left out.
    """
    check_folder(output_dir, "--output-dir")
    gate = {each: options.pop(each) for each in GATE}
    side = read_side(ctx, None, options, launches=rounds, prepare=prepared)
    search = _Search(
        side=side,
        metric=METRIC_OF[goal],
        gate=gate,
        max_memory=max_memory,
        outputs=Outputs(folder=output_dir, name=name or reader.new_id("tune"), overwrite=overwrite),
        policy=Policy(
            limits=TimeLimits(load_s=timeout, request_s=timeout), keep_going=True, cooldown_s=cooldown
        ),
        deadline=None if budget is None else time.monotonic() + budget,
        budget=budget,
        is_quiet=quiet,
    )
    del keep_going
    best = search.find(None if space is None else _cells_of(space, options))
    if best == side.config:
        say("", "the default is the fastest of all candidates; there is nothing to prove")
        return ExitCode.OK
    return search.prove(best, blocks)


def _cells_of(path: Path, typed: Mapping[str, Any]) -> tuple[RunConfig, ...]:
    """Return the configurations of a space: its lists, over what the command line says."""
    given = {name: value for name, value in typed.items() if value not in (None, (), False)}
    _, cells = resolve_models(prepared(parse_options(given | recipe_options(path))))
    return cells


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Search:
    """How candidates are measured, and where that is kept."""

    side: Side
    metric: str
    gate: Mapping[str, Any]
    max_memory: int | None
    outputs: Outputs
    policy: Policy
    deadline: float | None
    budget: float | None
    is_quiet: bool

    def find(self, cells: Sequence[RunConfig] | None) -> RunConfig:
        """Return the candidate that is fastest so far: of *cells*, or of single settings and their combinations."""
        default = self.side.config
        if cells is not None:
            others = [dataclasses.replace(cell, launches=default.launches) for cell in cells]
            return self._race([default, *(each for each in others if each != default)], "race")[0]
        single = space.alternatives(default, topology.read_topology())
        by_cell = {repr(each.apply(default)): each for each in single}
        order = self._race([default, *(each.apply(default) for each in single)], "race")
        helpful = [by_cell[repr(cell)] for cell in order[: order.index(default)]]
        combined = space.combine(default, helpful)
        if not combined or not self._has_time():
            return order[0]
        return self._race([default, order[0], *combined], "combined")[0]

    def _has_time(self) -> bool:
        if self.deadline is None or self.budget is None:
            return True
        return self.deadline - time.monotonic() > (1 - _SEARCH_SHARE) * self.budget

    def _race(self, cells: Sequence[RunConfig], part: str) -> list[RunConfig]:
        """Return the candidates that are left when the race is over, the fastest first."""
        kept = self._suitable(cells, part)
        if len(kept) < 2:
            return kept
        say("", f"search among {counted(len(kept), 'candidate')}, the default included")
        apart = [_changes(kept[DEFAULT], each) or "default" for each in kept]
        left = set(range(len(kept)))

        def judge(run: Run) -> Collection[int]:
            standing = self._standing(run, left)
            left.intersection_update(standing.left)
            if not self.is_quiet:
                say(_standing_line(len({launch.block for launch in run.launches}), standing, apart))
            return left

        run = self._measure(tuple(kept), part, judge)
        return [kept[cell] for cell in self._standing(run, left).left] or [kept[DEFAULT]]

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
        check_locations(cells, is_strict=False)
        left_s = None
        if self.deadline is not None and self.budget is not None:
            left_s = max(self.deadline - time.monotonic() - (1 - _SEARCH_SHARE) * self.budget, 1.0)
        with View(is_quiet=self.is_quiet) as view:
            run = session.measure(
                cells,
                models=[self.side.model_info] * len(cells),
                outputs=self._named(part),
                policy=self.policy,
                planned=plan.plan_launches(cells, seed=cells[0].seed),
                stop=Stop(budget_s=left_s, race=judge),
                launcher=view.launcher,
                on_event=view.show,
            )
        say(f"written: {view.path}")
        return run

    def _named(self, part: str) -> Outputs:
        return dataclasses.replace(self.outputs, name=f"{self.outputs.name}-{part}")

    def _suitable(self, cells: Sequence[RunConfig], part: str) -> list[RunConfig]:
        """Return the candidates that change something and keep the quality; the others are named."""
        if ModelKind.IR not in cells[0].engine_info.models or not Path(cells[0].model).is_dir():
            return list(cells)
        models: Sequence[ModelInfo] = [self.side.model_info] * len(cells)
        read = [dataclasses.replace(cell, threads=None) for cell in cells]
        trial = Trial(
            base=find_base(self.gate["quality_base"] or self.side.model_info.path, models),
            texts=quality.read_texts((quality.ENGLISH,), _PROBE_BLOCKS * _PROBE_TOKENS),
            blocks=_PROBE_BLOCKS,
            block_tokens=_PROBE_TOKENS,
        )
        limits = limits_of(self.gate)
        judged = QualityGate(limits=limits, trial=trial).measure(
            read, models, self._named(f"{part}-quality"), self.policy, is_quiet=self.is_quiet
        )
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

    def prove(self, best: RunConfig, blocks: int) -> ExitCode:
        """Compare the fastest candidate with the default on fresh launches; write its settings where it holds."""
        sides = [
            dataclasses.replace(self.side, config=dataclasses.replace(config, launches=blocks))
            for config in (self.side.config, best)
        ]
        left_s = None if self.deadline is None else max(self.deadline - time.monotonic(), 1.0)
        say("", f"proof on {counted(blocks, 'block')} of fresh launches: {_changes(self.side.config, best)}")
        run, path = measure_blocks(
            sides,
            self._named("proof"),
            self.policy,
            Stop(budget_s=left_s),
            is_quiet=self.is_quiet,
            first_launch=self.side.config.launches * 1000,
        )
        say(f"written: {path}")
        comparison = compare_sides(run, Rule(thresholds=read_thresholds((f"all={_WORTH:.0%}",))))
        found = next((each for each in comparison.primary if each.metric == self.metric), None)
        say("", *_verdict(found, _changes(self.side.config, best)))
        if found is not None and found.verdict is Verdict.IMPROVED:
            base = self.outputs.folder / str(self.outputs.name)
            if best.properties or best.threads is not None:
                write_output(base.with_name(f"{base.name}.properties.json"), tuned_properties(best))
            write_output(base.with_name(f"{base.name}.toml"), recipe_text(best))
        return ExitCode.OK if found is not None else ExitCode.LAUNCH


def _why_not(index: int, cells: Sequence[RunConfig], judged: Judged, limits: QualityLimits) -> str:
    """Return why a candidate is not tried: it was not measured, loses too much, or computes what another does."""
    found = judged.of_cells[index]
    if found is None:
        return "its quality could not be measured"
    faults = limits.faults(found)
    if faults:
        return "; ".join(faults)
    for other, earlier in zip(cells[:index], judged.of_cells, strict=False):
        is_same = earlier is not None and scores_of(judged.run, earlier.cell) == scores_of(
            judged.run, found.cell
        )
        if is_same and space.is_numeric_only(other, cells[index]):
            return "no effect: it computes exactly what another candidate does"
    return ""


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
    ratio = found.ratio
    reach = f" [{change(ratio.low)}, {change(ratio.high)}]" if ratio.has_interval else ""
    measured = (
        f"{found.metric.replace('_', ' ')} {change(ratio.ratio)}{reach} on {found.launches[0]} fresh pairs"
    )
    if found.verdict is Verdict.IMPROVED:
        yield f"{changes} is {1 / ratio.ratio:.2f} times as fast as the default: {measured}"
    elif ratio.has_interval and ratio.low > 1 - _WORTH:
        yield f"no setting beats the default by 3 %: the best, {changes}, has {measured}"
    else:
        yield f"no setting is proved to beat the default by 3 %: the best, {changes}, has {measured}"
        yield "more --blocks, a longer --budget or a quieter machine would decide"
