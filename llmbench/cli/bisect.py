"""``llmbench bisect``: the version of an engine that made a model slower or faster."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from llmbench.analysis.comparison.change import Change
from llmbench.analysis.comparison.paired_run import compare_sides
from llmbench.analysis.comparison.rule import Rule, Verdict, read_thresholds
from llmbench.analysis.report import summarize_run
from llmbench.analysis.stages import named_metric, row_metric
from llmbench.cli.block_view import measure_blocks
from llmbench.cli.messages import say, warn
from llmbench.cli.model_source import prepared
from llmbench.cli.options.course import Course, blocks_option, course_options
from llmbench.cli.options.sides import read_side, single_options
from llmbench.cli.options.types import Command, WordList
from llmbench.cli.run_view import missing_cause
from llmbench.errors import ExitCode, InputError, LaunchError, LlmbenchError
from llmbench.models.resolve import Side
from llmbench.render.text import ratio_change
from llmbench.runner import interpreter, session
from llmbench.runner.bisection import Bisected, BudgetUsedError, bisect_versions, first_measurable
from llmbench.runner.environments import (
    known_versions,
    make_environment,
    read_span,
    run_maker,
    select_versions,
    size_bytes,
)
from llmbench.runner.launchers import default_launcher
from llmbench.schema.config import RunConfig
from llmbench.schema.run import Run
from llmbench.schema.tasks import TASKS
from llmbench.schema.units import counted, format_bytes, format_duration

_NUMBERS = 1000
"""Launches of each comparison are numbered from another thousand on, so that none is like one before."""

_EXAMPLES = """\b
Examples:
  llmbench bisect openvino-genai==2025.3..2026.4 -m models --weight-format int8
  llmbench bisect openvino-genai --versions 2026.1.0.0,2026.2.0.0 -m models --weight-format int8
  llmbench bisect build --versions a1,b2,c3 --command "./make-env {version}" -m models --weight-format int8"""


@click.command(
    cls=Command, params=single_options(), short_help="The version that changed it.", epilog=_EXAMPLES
)
@click.argument("span", metavar="PACKAGE[==A..B]")
@click.option(
    "--versions",
    type=WordList(),
    default=(),
    metavar="A,B,...",
    help="These versions, oldest first.  [default: all releases from A to B that the package index has]",
)
@click.option(
    "--command",
    "maker",
    metavar="CMD",
    help="Makes the environment of a {version}, and prints its Python as the last line; no index is used.",
)
@click.option(
    "--metric",
    metavar="NAME",
    help="What changed: first_token or tpot.  [default: the one that changed more from A to B]",
)
@blocks_option(default=6, help="Blocks of each comparison.")
@click.option(
    "--threshold",
    default="3%",
    metavar="3%",
    help="The change that counts; a smaller one from A to B ends the search.",
)
@course_options
@click.pass_context
def command(  # noqa: PLR0917
    ctx: click.Context,
    /,
    span: str,
    versions: tuple[str, ...],
    maker: str | None,
    metric: str | None,
    blocks: int,
    threshold: str,
    course: Course,
    **options: Any,
) -> int:
    """Find the version of a package that changed a latency, by bisection.

    Each version has an environment of its own, made from the package index once and kept in the cache folder. Two
    versions are compared as by llmbench ab, in interleaved blocks of fresh launches; the version that is found is
    compared with the one before it on launches of its own. A version that cannot be installed or measured is left out
    and named. The exit code is 1 where it became slower.
    """
    _check_task(options.get("task"))
    package, first, last = read_span(span)
    chosen = _find_versions(package, first, last, versions)
    side = read_side(ctx, None, options, launches=blocks, prepare=prepared)
    _check_task(side.config.task)
    rule = Rule(thresholds=read_thresholds((f"all={threshold}",)))
    trial = _Trial(
        make=(lambda version: run_maker(maker, version))
        if maker
        else (lambda version: make_environment(package, version, engine=side.config.engine)),
        side=side,
        metric=_known_metric(metric),
        rule=rule,
        course=course.named("bisect"),
    )
    found = bisect_versions(trial.from_first_measurable(chosen), trial.compare, blocks=blocks)
    cost = f"{counted(found.comparisons, 'comparison')}, {format_duration(time.monotonic() - trial.began)}"
    say("", *_sentences(found, package, threshold), f"{cost}{trial.disk_use()}")
    is_slower = found.since is not None and found.whole.verdict is Verdict.REGRESSED
    return ExitCode.REGRESSION if is_slower else ExitCode.OK


def _check_task(task: str | None) -> None:
    """Refuse what has no first token, and what needs more packages than those of its engine."""
    if task is not None and TASKS[task].workload not in {"text", "vision"}:
        raise InputError(
            f"bisect does not measure {task}", hint="leave out -t: bisect compares text generation"
        )


def _known_metric(metric: str | None) -> str | None:
    if metric is None:
        return None
    found = named_metric(metric)
    if found not in {"first_token", "tpot"}:
        raise InputError(f"--metric {metric} is not compared", hint="choose first_token or tpot")
    return found


def _find_versions(
    package: str, first: str | None, last: str | None, versions: Sequence[str]
) -> tuple[str, ...]:
    """Return the versions to search, oldest first; raise InputError where there are fewer than two."""
    if versions and first:
        raise InputError("A..B and --versions both name versions", hint="give one of them")
    if versions:
        found = tuple(versions)
    elif first is None or last is None:
        raise InputError(
            f"no versions of {package} were given", hint=f"write {package}==2025.3..2026.4, or --versions"
        )
    else:
        found = select_versions(known_versions(package), first, last)
    if len(found) < 2:
        raise InputError(
            f"{counted(len(found), 'version')} of {package} to search: {', '.join(found) or 'none'}",
            hint="name a wider span",
        )
    say(f"{counted(len(found), 'version')}: {', '.join(found)}")
    return found


_UNMEASURABLE = (
    "the warnings above have the causes; an IR that was converted with a newer version may crash an older one: "
    "give the GGUF file, or convert with the oldest"
)


@dataclasses.dataclass(kw_only=True)
class _Trial:
    """Environments as they are needed, and comparisons of two of them."""

    make: Callable[[str], Path]
    side: Side
    metric: str | None
    rule: Rule
    course: Course
    began: float = dataclasses.field(default_factory=time.monotonic)
    count: int = 0
    sides: dict[str, Side | None] = dataclasses.field(default_factory=dict)

    def from_first_measurable(self, versions: Sequence[str]) -> tuple[str, ...]:
        """Return the versions from the oldest on that can be measured."""
        start = first_measurable(versions, lambda version: self._side(version) is not None)
        if start is None or start == len(versions) - 1:
            raise InputError("no two versions can be measured", hint=_UNMEASURABLE)
        return tuple(versions[start:])

    def _side(self, version: str) -> Side | None:
        """Return the side that measures a version, its environment made now; ``None`` where that fails."""
        if version not in self.sides:
            self.sides[version] = self._new_side(version)
        return self.sides[version]

    def _new_side(self, version: str) -> Side | None:
        if not self.course.is_quiet:
            say(f"{version}: preparing its environment")
        try:
            python = self.make(version)
            interpreter.check_interpreter(str(python), engine=self.side.config.engine)
            config = dataclasses.replace(self.side.config, interpreter=str(python))
            why = self._fault(config, version)
        except LlmbenchError as error:
            why = error.message
        if why is not None:
            warn(f"{version} is not measurable: {why}")
            return None
        return dataclasses.replace(self.side, config=config)

    def _fault(self, config: RunConfig, version: str) -> str | None:
        """Return why a version cannot be measured, by one short launch; ``None`` where it can."""
        short = dataclasses.replace(config, launches=1, iterations=1, warmups=0)
        run = session.measure(
            [short],
            models=[self.side.model_info],
            outputs=self.course.part(f"check-{version}").outputs,
            policy=self.course.policy,
            launcher=default_launcher(),
        )
        failures = [failure.message for _, failure in run.failures]
        doubts = [doubt for launch in run.launches for m in launch.measurements for doubt in m.suspicions]
        return next(iter((*failures, *doubts)), None)

    def compare(self, base: str, candidate: str, blocks: int) -> Change | None:
        """Compare two versions on fresh launches; ``None`` where the second cannot be measured.

        Raises BudgetUsedError where the budget has ended; the first comparison is always made.
        """
        sides = [self._side(version) for version in (base, candidate)]
        if sides[0] is None or sides[1] is None:
            return None
        left_s = self.course.left_s(self.began)
        if self.count and left_s is not None and left_s <= 0:
            raise BudgetUsedError
        self.count += 1
        say(f"comparing {candidate} with {base}")
        chosen = [side.changed(launches=blocks) for side in sides if side is not None]
        run, _ = measure_blocks(
            chosen,
            self.course.part(str(self.count)),
            stop=self.course.stop_of_part(self.began),
            first_launch=self.count * _NUMBERS,
        )
        return self._judge(run, f"{base} and {candidate}")

    def _judge(self, run: Run, versions: str) -> Change:
        """Return the change of the metric; without one so far, of that which changed most."""
        found = [] if run.lacks_launches else list(compare_sides(run, self.rule).primary)
        if not found:
            cause, hint = missing_cause(summarize_run(run))
            raise LaunchError(
                f"{versions} could not be compared: {cause or 'they have no row in common'}",
                hint=hint or f"look at the run: llmbench report show {run.id}",
            )
        self.metric = self.metric or max(found, key=lambda each: abs(each.ratio.ratio - 1)).metric
        picked = next(each for each in found if each.metric == self.metric)
        if not self.course.is_quiet:
            say(f"  {row_metric(picked.metric).title} {ratio_change(picked.ratio)}: {picked.verdict.value}")
        return picked

    def disk_use(self) -> str:
        """Return what the environments in the cache take."""
        pythons = [Path(str(side.config.interpreter)) for side in self.sides.values() if side is not None]
        kept = [python.parent.parent for python in pythons if (python.parent.parent / "complete").exists()]
        size = sum(map(size_bytes, kept))
        return (
            f"; {counted(len(kept), 'environment')} in {kept[0].parent}, {format_bytes(size)}" if kept else ""
        )


def _sentences(found: Bisected, package: str, threshold: str) -> list[str]:
    """Return what was found, and what to doubt of it."""
    title, whole = row_metric(found.whole.metric).title, ratio_change(found.whole.ratio)
    if found.whole.verdict is Verdict.INCONCLUSIVE:
        line = f"undecided: {title} {whole} from the oldest to the newest; more --blocks or a quieter machine decide"
    elif found.is_used:
        word = "slower" if found.whole.ratio.ratio > 1 else "faster"
        line = f"{word} after {package} {found.before} and up to {found.since}: {title} {whole} over all versions; "
        line += "the budget ended before it was narrowed down to one"
    elif found.since is None or found.step is None:
        line = f"no change above {threshold}: {title} {whole} from the oldest to the newest"
    elif found.is_one_step:
        word = "slower" if found.step.ratio.ratio > 1 else "faster"
        step = f"{title} {ratio_change(found.step.ratio)} against {found.before}"
        line = f"{word} since {package} {found.since}: {step}, {whole} over all versions"
    else:
        step = f"{found.since} alone by {ratio_change(found.step.ratio)}"
        line = f"{title} changed by {whole} over all versions, but {step}: it came in several steps"
    lines = [line]
    if not found.is_sure:
        lines.append("a comparison on the way stayed undecided; repeat with more --blocks")
    if found.unmeasurable:
        lines.append(f"not measurable and left out: {', '.join(found.unmeasurable)}")
    return lines
