"""``llmbench ab``: two configurations measured in turns, in fresh processes, and the verdict on the second."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from llmbench.analysis.comparison.compare import SIDES, Comparison
from llmbench.analysis.comparison.paired_run import compare_sides, flagged_prompts, settle
from llmbench.analysis.comparison.rule import Rule, read_thresholds
from llmbench.cli.block_view import BlockView, describe_block, measure_blocks
from llmbench.cli.compare import (
    FORMS,
    StrictCommand,
    annotate,
    check_output_files,
    comparison_exit_code,
    comparison_options,
    show_comparisons,
    strict_option,
    threshold_option,
    write_comparisons,
)
from llmbench.cli.dry_run import rehearse
from llmbench.cli.fleet import fleet_options
from llmbench.cli.load_view import LoadBlockView
from llmbench.cli.messages import say, warn
from llmbench.cli.model_source import converted_gguf, prepared
from llmbench.cli.options.course import Course, blocks_option, course_options
from llmbench.cli.options.load import load_workload
from llmbench.cli.options.sides import read_sides, side_options
from llmbench.cli.options.table import option
from llmbench.cli.options.types import PATH, ShareType
from llmbench.cli.outputs import check_run_file
from llmbench.cli.quality_gate import GATE, gate_options, gated
from llmbench.cli.run_view import whole_code
from llmbench.errors import ExitCode, LlmbenchError, worst
from llmbench.models.resolve import Side
from llmbench.render.terminal.profile import profile_summary
from llmbench.runner.blocks import LEAST_BLOCKS
from llmbench.runner.plan import plan_launches
from llmbench.runner.profile import profile
from llmbench.schema.config import RunConfig
from llmbench.schema.run import WorkloadSettings
from llmbench.schema.units import counted

_OPENVINO = "ov"
_LEAST_PROFILED = 3
"""Output tokens that a profile needs at least."""

_EXAMPLES = """\b
Examples:
  llmbench ab before.toml after.toml
  llmbench ab -m models --weight-format int8 --weight-format int4 --input-tokens 32,512
  llmbench ab -m models/pytorch/dldt/INT8 --threads 16 --threads 32 --budget 20m --until 2%
  llmbench ab bench.toml --python old/bin/python --python new/bin/python --confirm
  llmbench ab -m models --server genai --concurrency 4 --goodput ttft:500,tpot:50 --threads 16 --threads 32"""


@click.command(
    cls=StrictCommand,
    params=side_options(),
    short_help="Compare two configurations, in turns.",
    epilog=_EXAMPLES,
)
@click.argument("recipes", nargs=-1, type=PATH, metavar="[A.toml] [B.toml]")
@blocks_option(default=10, help="Each has one fresh launch of A and one of B, in random order.")
@click.option(
    "--until",
    type=ShareType(),
    help=f"Stop when the intervals of both means are so narrow; not before {counted(LEAST_BLOCKS, 'block')}.",
)
@click.option("--confirm", is_flag=True, help="Measure what seems slower again, before it counts.")
@threshold_option()
@strict_option
@comparison_options
@gate_options
@option("dry_run")
@fleet_options
@course_options
@click.pass_context
def command(  # noqa: PLR0917
    ctx: click.Context,
    /,
    recipes: tuple[Path, ...],
    blocks: int,
    until: float | None,
    confirm: bool,
    threshold: tuple[str, ...],
    strict: str | None,
    course: Course,
    dry_run: bool,
    **options: Any,
) -> int:
    """Compare B with A: blocks of fresh launches in random order, and a verdict on pairs.

    A and B are recipes (RUN.toml), or options: one that is given twice says first what A is, then what B is; given
    once it is for both. The exit code is 1 where B is slower. The run file contains both sides; compare it again with
    llmbench report compare FILE.
    """
    files = check_output_files({form: options.pop(form) for form in FORMS}, recipes)
    check_run_file(files, course.outputs.folder, course.outputs.name)
    rule = Rule(thresholds=read_thresholds(threshold))
    gate = {name: options.pop(name) for name in GATE}
    sides = read_sides(ctx, recipes, options, blocks=blocks, prepare=prepared)
    if sides[0].config == sides[1].config:
        warn("A and B are the same: give an option twice to compare, or use llmbench calibrate")
    say(*describe_block(sides))
    cells, request_s = [side.config for side in sides], course.policy.limits.request_s or 0.0
    trial = _Trial(
        rule=rule,
        course=course.with_policy(must_split=strict is not None),
        until=until,
        workload=load_workload(options, cells, request_s) if any(cell.is_load for cell in cells) else None,
    )
    if dry_run:
        trial.rehearse(sides)
        say(f"blocks: {blocks}, launches: {2 * blocks}; nothing was run")
        return ExitCode.OK
    base, candidate = gated(sides, gate, trial.course)
    sides = base, candidate
    comparisons = [trial.measure(sides)]
    if confirm and comparisons[0].alarms:
        comparisons = list(settle(comparisons[0], trial.measure_again(sides, comparisons[0])))
        show_comparisons(comparisons[1:])
    write_comparisons(comparisons, files)
    _explain_engines(sides)
    return _exit_code(comparisons, strict=strict)


def _explain_engines(sides: tuple[Side, Side]) -> None:
    """Where one side's engine is OpenVINO's and the other's is not, say where the time of that one goes."""
    frameworks = [side.config.engine_info.framework for side in sides]
    if len(set(frameworks)) == 1 or _OPENVINO not in frameworks:
        return
    number = frameworks.index(_OPENVINO)
    config = sides[number].config
    if config.interpreter is not None or not config.device.startswith("CPU"):
        return
    try:
        found = profile(_core_config(config))
    except LlmbenchError as error:
        say(f"where the time of {SIDES[number]} goes is not known: {error.message}")
        return
    say(*(f"{SIDES[number]}, where the time goes (core engine): {text}" for text in profile_summary(found)))


def _core_config(config: RunConfig) -> RunConfig:
    """The first prompt of a configuration on the engine that can be profiled."""
    return dataclasses.replace(
        config,
        engine="core",
        attention="sdpa",
        model=converted_gguf(config.model),
        prompts=config.prompts[:1],
        output_tokens=max(config.output_tokens, _LEAST_PROFILED),
        batch_size=1,
        scheduler={},
    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Trial:
    """How the two sides are measured and judged."""

    rule: Rule
    course: Course
    until: float | None
    workload: WorkloadSettings | None

    def rehearse(self, sides: tuple[Side, Side]) -> None:
        """Refuse what measuring would refuse, and print how long it would take."""
        planned = plan_launches([side.config for side in sides])
        rehearse(sides, planned, self.course, workload=self.workload)

    def measure(self, sides: tuple[Side, Side]) -> Comparison:
        """Measure the blocks, show what they say."""
        comparison = self._compare(sides, self.course, first_launch=0)
        show_comparisons([comparison])
        return comparison

    def measure_again(self, sides: tuple[Side, Side], found: Comparison) -> Comparison:
        """The prompts that seem slower, on fresh launches, in a run file of their own."""
        wanted = flagged_prompts(found)
        base, candidate = (_narrowed(side, wanted) for side in sides)
        say("", "measuring again what seems slower")
        again = self.course.part("confirm")
        return self._compare((base, candidate), again, first_launch=2 * base.config.launches)

    def _compare(self, sides: tuple[Side, Side], course: Course, *, first_launch: int) -> Comparison:
        """The comparison of what was measured; says where it is kept."""
        run, path = measure_blocks(
            sides,
            course,
            stop=dataclasses.replace(course.stop, until=self.until),
            first_launch=first_launch,
            workload=self.workload,
            show=LoadBlockView if self.workload else BlockView,
        )
        say(f"written: {path}")
        found = annotate(compare_sides(run, self.rule))
        return dataclasses.replace(found, run_files=(str(path), str(path)))


def _narrowed(side: Side, prompts: frozenset[str]) -> Side:
    """The side with only the prompts of these hashes."""
    kept = tuple(prompt for prompt in side.config.prompts if prompt.sha256 in prompts)
    return side.changed(prompts=kept)


def _exit_code(comparisons: Sequence[Comparison], *, strict: str | None) -> ExitCode:
    """What the last comparison says, and 5 where launches are to blame, also for there being nothing to compare."""
    launches = worst(whole_code(each.base, each.candidate) for each in comparisons)
    verdict = comparison_exit_code(comparisons[-1], fail_on_regression=True, strict=strict)
    return launches if launches and verdict is ExitCode.USAGE else worst([launches, verdict])
