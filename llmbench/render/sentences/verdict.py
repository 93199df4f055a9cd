"""A comparison in words, the same in every form: one sentence, and what to type next."""

import collections
import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from llmbench.analysis.comparison.change import Change
from llmbench.analysis.comparison.compare import Comparison, Pair
from llmbench.analysis.comparison.rule import Verdict
from llmbench.analysis.report import Report
from llmbench.analysis.stages import request_metric, stage_of
from llmbench.render.sentences.card import describe_server
from llmbench.render.sentences.commands import ab_command, run_command
from llmbench.render.text import change, in_brackets, number_text, share
from llmbench.schema.run import Launch, Run
from llmbench.schema.units import NS_PER_S, counted, format_duration

MEAN = "geomean"
"""What the row of the geometric mean over several prompts is called."""

MOST_LENGTHS = 12
"""Prompts whose lengths are reported one by one; of more the shortest and the longest."""

MOST_STAGES = 3
"""Stages that a sentence names."""

LEAST_LAUNCHES = 5
"""Launches per side to begin with, where nothing is known about noise."""

_OPENINGS = {
    Verdict.REGRESSED: "{candidate} is slower",
    Verdict.IMPROVED: "{candidate} is faster",
    Verdict.UNCHANGED: "Nothing changed beyond the thresholds",
    Verdict.INCONCLUSIVE: "Undecided",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictLine:
    """One change as text, for a table. *where* is a prompt, or the mean over several."""

    where: str
    metric: str
    unit: str
    base: str
    candidate: str
    change: str
    interval: str
    verdict: Verdict
    is_alarm: bool
    source: Change


def verdict_lines(comparison: Comparison) -> tuple[VerdictLine, ...]:
    """Every change: the means over several prompts first, then prompt by prompt."""
    found = [
        _line(each, f"{MEAN}{in_brackets(mean.settings)}")
        for mean in comparison.means
        if mean.prompts > 1
        for each in mean.changes
    ]
    found += [_line(each, line_label(comparison, pair)) for pair in comparison.pairs for each in pair.changes]
    return tuple(found)


def line_label(comparison: Comparison, pair: Pair) -> str:
    """A pair's short name: its prompt, and what sets its configuration apart."""
    marks = "".join(f" [{mark}]" for mark in pair.marks)
    return f"{pair.base.prompt.label}{in_brackets(comparison.base.distinctions[pair.base.cell])}{marks}"


def side_lines(comparison: Comparison) -> tuple[str, ...]:
    """What was measured: model, engine and CPU, a line per side where they are not the same, and the launches."""
    base, candidate = (_side_line(report) for report in (comparison.base, comparison.candidate))
    names = comparison.sides
    lines = (base,) if base == candidate else (f"{names[0]}: {base}", f"{names[1]}: {candidate}")
    launches = {found.launches for found in comparison.judged}
    about = [f"launches: {before} + {after}" for before, after in launches if len(launches) == 1]
    if any(mean.prompts > 1 for mean in comparison.means):
        about.append(f"{MEAN}: geometric mean over the prompts")
    return (*lines, "; ".join(about)) if about else lines


def _side_line(report: Report) -> str:
    run = report.run
    cells = range(len(run.cells))
    models = dict.fromkeys(
        f"{run.origin_of(cell).name} {run.origin_of(cell).weight_format or ''}".strip() for cell in cells
    )
    targets = (describe_server(config.server) if config.server else config.engine for config in run.cells)
    engines = dict.fromkeys(targets) if run.version else {}
    software = dict.fromkeys(filter(None, (_engine_version(run, cell) for cell in cells)))
    parts = (" / ".join(models), " / ".join(engines), " / ".join(software), run.environment.cpu_model)
    return ", ".join(part or "unknown CPU" for part in parts if part or part is parts[-1])


def _engine_version(run: Run, cell: int) -> str:
    """What a configuration's engine computes with, and its version; empty where none was recorded."""
    engine = run.cells[cell].computing_engine
    if engine is None:
        return ""
    package = "openvino" if engine.framework == "ov" else engine.packages[0]
    version = run.software_of(cell).get(package)
    return f"{'OpenVINO' if package == 'openvino' else package} {version}" if version else ""


def not_compared(comparison: Comparison) -> Iterator[str]:
    """Yield what has no verdict, and why."""
    for pair in comparison.pairs:
        if pair.reasons:
            yield f"not compared: {line_label(comparison, pair)}: {'; '.join(pair.reasons)}"
    yield from (f"not compared: {found}" for found in comparison.unpaired)


def lengths(comparison: Comparison) -> str:
    """How long the prompts of the table are, by their short names; empty where nothing is compared."""
    found = {pair.base.prompt.label: pair.base.input_tokens for pair in comparison.pairs if pair.changes}
    found = {name: tokens for name, tokens in found.items() if tokens}
    if len(found) > MOST_LENGTHS:
        return (
            f"input tokens: {min(found.values())} to {max(found.values())} in {counted(len(found), 'prompt')}"
        )
    text = ", ".join(f"{name} {tokens}" for name, tokens in found.items())
    return f"input tokens: {text}" if text else ""


def _line(found: Change, where: str) -> VerdictLine:
    unit = request_metric(found.metric).unit
    return VerdictLine(
        where=where,
        metric=found.metric,
        unit=unit.value,
        base=number_text(found.base, unit),
        candidate=number_text(found.candidate, unit),
        change=change(found.ratio.ratio),
        interval=interval_text(found),
        verdict=found.verdict,
        is_alarm=found.is_alarm,
        source=found,
    )


def interval_text(found: Change) -> str:
    """``+8.1 to +16 %``; empty where nothing is known about noise."""
    if not found.ratio.has_interval:
        return ""
    return f"{change(found.ratio.low).removesuffix(' %')} to {change(found.ratio.high)}"


def sentence(comparison: Comparison) -> str:
    """The whole comparison in one plain sentence."""
    verdict = comparison.verdict
    if verdict is Verdict.INCOMPARABLE:
        return f"Nothing can be compared: {_why_incomparable(comparison)}."
    primary = [
        f"{request_metric(found.metric).title} {_spoken(found, verdict)}{in_brackets(mean.settings)}"
        for mean, found in sorted(
            ((mean, found) for mean in comparison.means for found in mean.changes),
            key=lambda item: not _is_behind(item[1], verdict),
        )
    ]
    text = "; ".join(primary)
    if verdict in _MOVED and not any(_is_behind(found, verdict) for found in comparison.primary):
        text = f"{_farthest(comparison, verdict)}; over all prompts {text}"
    candidate = comparison.sides[1] if comparison.is_paired else "the candidate"
    opening = _OPENINGS[verdict].format(candidate=candidate)
    parts = [
        f"{opening}: {text}",
        _moved_stages(comparison),
        _rows(comparison),
        comparison.remark,
        *comparison.doubts,
    ]
    return " ".join(f"{part[0].upper()}{part[1:]}." for part in parts if part)


_MOVED = {Verdict.REGRESSED: "slower", Verdict.IMPROVED: "faster"}


def _moved_stages(comparison: Comparison) -> str:
    """The stages that moved as the whole did, each where it costs or saves the most, that one first."""
    verdict = comparison.verdict
    moved = [
        (line_label(comparison, pair), each)
        for pair in comparison.pairs
        for each in pair.changes
        if stage_of(each.metric) and verdict in _MOVED and each.verdict is verdict
    ]
    moved.sort(key=lambda item: -abs(item[1].candidate - item[1].base))
    by_stage: dict[str, str] = {}
    for where, found in moved:
        metric = request_metric(found.metric)
        added = number_text(abs(found.candidate - found.base), metric.unit)
        text = f"{metric.title} {change(found.ratio.ratio)} ({added} ms in {where})"
        by_stage.setdefault(found.metric, text)
    named = ", ".join(list(by_stage.values())[:MOST_STAGES])
    return f"The {_MOVED[verdict]} stage{'s are' if len(by_stage) > 1 else ' is'} {named}" if named else ""


def _is_behind(found: Change, verdict: Verdict) -> bool:
    return found.is_alarm if verdict is Verdict.REGRESSED else found.verdict is verdict


def _rows(comparison: Comparison) -> str:
    """How many rows have which verdict, where they do not all have those of the means."""
    rows = [found for pair in comparison.pairs for found in pair.changes]
    kinds = collections.Counter(_kind(found) for found in rows)
    if set(kinds) <= {_kind(found) for found in comparison.primary}:
        return ""
    return f"Of {counted(len(rows), 'row')} {', '.join(f'{count} {kind}' for kind, count in kinds.most_common())}"


def _kind(found: Change) -> str:
    if found.verdict is Verdict.REGRESSED and not found.is_alarm:
        return "regressed but too uncertain to count"
    return found.verdict.value


def _spoken(found: Change, verdict: Verdict) -> str:
    """A change in a sentence: how much, between what, whether it is decided, and how where the *verdict* is another."""
    reach = interval_text(found)
    text = f"{change(found.ratio.ratio)} ({reach})" if reach else change(found.ratio.ratio)
    if found.verdict is Verdict.REGRESSED and not found.is_alarm:
        return f"{text}, too uncertain to count"
    if found.verdict is Verdict.INCONCLUSIVE:
        return f"~ {text}"
    word = "no change" if found.verdict is Verdict.UNCHANGED else found.verdict.value
    return text if found.verdict is verdict else f"{text}, {word}"


def _farthest(comparison: Comparison, verdict: Verdict) -> str:
    where, found = max(
        (
            (line_label(comparison, pair), each)
            for pair in comparison.pairs
            for each in pair.changes
            if _is_behind(each, verdict)
        ),
        key=lambda item: abs(math.log(item[1].ratio.ratio)),
    )
    return f"{request_metric(found.metric).title} of {where} {_spoken(found, verdict)}"


def _why_incomparable(comparison: Comparison) -> str:
    for found in comparison.mismatches:
        return f"the {found.name} differs ({found.base} against {found.candidate})"
    for pair in comparison.pairs:
        if pair.reasons:
            return f"{line_label(comparison, pair)}: {'; '.join(pair.reasons)}"
    return "the two have no prompt in common"


def next_steps(comparison: Comparison) -> Iterator[str]:
    """What these data could have shown, and what to type to know more; nothing where all is decided."""
    waiting = [each for each in comparison.primary if is_open(each)]
    waiting = waiting or [each for pair in comparison.pairs for each in pair.changes if is_open(each)]
    if comparison.verdict is Verdict.INCOMPARABLE or not waiting:
        return
    if not (comparison.base.is_valid and comparison.candidate.is_valid):
        yield "one of the runs is invalid, so no regression is reported; find the cause with: llmbench doctor"
        return
    visible = [each.smallest_visible for each in waiting if each.smallest_visible is not None]
    if visible:
        yield f"too noisy: only changes of {share(max(visible))} or more are detectable"
    launches = launches_to_decide(waiting)
    if launches is None:
        yield "no reasonable number of launches settles the undecided rows; reduce the noise first: llmbench doctor"
        return
    yield from _measure_again(comparison, launches)


def _measure_again(comparison: Comparison, launches: int) -> Iterator[str]:
    """What to type: an ``ab`` where options alone tell the sides apart, else the command of each side."""
    runs = [report.run for report in (comparison.base, comparison.candidate)]
    base, candidate = (run.cells[0] for run in runs)
    pair_s = sum(_launch_s(run.launches) for run in runs)
    time = f" (about {format_duration(launches * pair_s)})"
    file = comparison.run_files[1]
    again = ab_command(base, candidate, launches, file, workload=runs[1].workload)
    commands = dict.fromkeys(
        run_command(run.cells[0], launches, path, workload=run.workload)
        for run, path in zip(runs, comparison.run_files, strict=True)
    )
    if comparison.is_paired and not (again is None and base.is_load):
        yield f"to settle the undecided rows, measure {counted(launches, 'block')}{time}:"
        yield f"  {again or f'llmbench ab A.toml B.toml --blocks {launches}'}"
    elif again is not None and len(commands) > 1 and _has_same_software(comparison):
        yield f"to settle the undecided rows, measure both sides in {counted(launches, 'block')}{time}:"
        yield f"  {again}"
    else:
        yield f"to settle the undecided rows, measure both sides with {counted(launches, 'launch', 'launches')}{time}:"
        yield from (f"  {command}" for command in commands)


def _has_same_software(comparison: Comparison) -> bool:
    before, after = comparison.base.run, comparison.candidate.run
    same_machine = before.environment.cpu_model == after.environment.cpu_model
    return same_machine and before.software_of(0) == after.software_of(0)


def _launch_s(launches: Sequence[Launch]) -> float:
    taken = [
        (launch.load_s or 0.0) + sum((m.end_ns - m.start_ns) / NS_PER_S for m in launch.measurements)
        for launch in launches
        if launch.measurements
    ]
    return statistics.fmean(taken) if taken else 0.0


def is_open(found: Change) -> bool:
    """Return whether more launches would say more: undecided, or slower but not beyond doubt."""
    return found.verdict is Verdict.INCONCLUSIVE or (
        found.verdict is Verdict.REGRESSED and not found.is_alarm
    )


def launches_to_decide(waiting: Sequence[Change]) -> int | None:
    """Return the launches per side that decide every open change: what is needed, and twice what there was.

    ``None`` where it would take more than anyone measures.
    """
    known = [each for each in waiting if each.ratio.spread is not None]
    if not known:
        return LEAST_LAUNCHES
    needed = [each.needed for each in known if each.verdict is Verdict.INCONCLUSIVE]
    if None in needed:
        return None
    doubled = [2 * max(each.launches) for each in known]
    return max([*doubled, *(n for n in needed if n is not None)])
