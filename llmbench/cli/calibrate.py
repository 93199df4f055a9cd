"""``llmbench calibrate``: one configuration against itself, and what a gate on this machine is worth."""

import contextlib
from pathlib import Path
from typing import Any

import click

from llmbench.analysis.comparison.paired_run import compare_sides
from llmbench.analysis.comparison.rule import Rule, Verdict, read_thresholds
from llmbench.analysis.history import setup_of
from llmbench.analysis.noise import calibration, false_alarms
from llmbench.cli.block_view import measure_blocks
from llmbench.cli.compare import threshold_option
from llmbench.cli.fleet import fleet_options
from llmbench.cli.messages import complain, say
from llmbench.cli.model_source import prepared
from llmbench.cli.options.course import Course, blocks_option, course_options
from llmbench.cli.options.sides import read_side, single_options
from llmbench.cli.options.types import PATH, Command
from llmbench.errors import ExitCode
from llmbench.schema.run import Run

_EXAMPLES = """\b
Examples:
  llmbench calibrate -m models/pytorch/dldt/INT8 --input-tokens 32,512 -ic 64
  llmbench calibrate bench.toml --launches 10 --threshold all=2%"""


@click.command(
    cls=Command, params=single_options(), short_help="The noise floor of this machine.", epilog=_EXAMPLES
)
@click.argument("recipe", required=False, type=PATH, metavar="[RUN.toml]")
@blocks_option(default=10, help="Each has two fresh launches of the same.")
@click.option(
    "--launches", type=click.IntRange(min=2), default=5, help="Launches per side of the gate that is judged."
)
@threshold_option(help="What counts as a change for that gate. METRIC may be all.")
@fleet_options
@course_options
@click.pass_context
def command(  # noqa: PLR0917
    ctx: click.Context,
    /,
    recipe: Path | None,
    blocks: int,
    launches: int,
    threshold: tuple[str, ...],
    course: Course,
    **options: Any,
) -> int:
    """Measure a configuration against itself: how much it varies when nothing changes.

    Says how far launches and sessions differ, which change is visible, how many launches show 1, 2, 5 and 10 %, and
    how often a gate of --launches per side would call an unchanged build slower. What is found is kept in the cache
    folder, by machine, model and configuration; report compare puts it into its notes.
    """
    rule = Rule(thresholds=read_thresholds(threshold))
    side = read_side(ctx, recipe, options, launches=blocks, prepare=prepared)
    run, path = measure_blocks((side, side), course)
    setup = setup_of(run, 0)
    found = calibration.add_session(setup, calibration.session_of(run))
    _show(run, found, false_alarms.false_alarms(found, launches, rule), rule)
    say(f"written: {path}", f"kept: {calibration.calibration_file(setup)}")
    return ExitCode.LAUNCH if run.lacks_launches else ExitCode.OK


def _show(run: Run, found: calibration.Calibration, alarms: false_alarms.FalseAlarms, rule: Rule) -> None:
    from rich.console import Console

    from llmbench.render.sentences.verdict import sentence
    from llmbench.render.terminal.calibration import render_calibration

    with contextlib.suppress(SystemExit, OSError):  # rich's answers to a closed standard output
        render_calibration(found, alarms, Console(), blocks=run.cells[0].launches)
    trial = compare_sides(run, rule)
    say(f"A against A: {sentence(trial)}")
    if trial.verdict is Verdict.REGRESSED:
        complain("this is a false alarm: nothing differs between the two")
