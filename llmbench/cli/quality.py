"""``llmbench quality``: what a weight format or a cache precision costs in quality, beside what it gains in latency."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from llmbench.analysis.quality import QualityReport, QualityRow, quality_report, quality_rows
from llmbench.analysis.report import Report, distinguish, summarize_run
from llmbench.cli.messages import complain, say
from llmbench.cli.model_source import prepared
from llmbench.cli.options.completion import FileText
from llmbench.cli.options.course import Course, blocks_option, course_options
from llmbench.cli.options.resolve import resolve_models
from llmbench.cli.options.table import MEASUREMENT, parameters
from llmbench.cli.options.types import OUTPUT_FILE, Command
from llmbench.cli.outputs import check_outputs, print_on_screen, write_output
from llmbench.cli.quality_gate import QualityGate, find_base, limit_options, limits_of
from llmbench.cli.run_view import View
from llmbench.errors import ExitCode, worst
from llmbench.models.resolve import Side
from llmbench.render.csv import csv_text
from llmbench.render.quality import quality_table
from llmbench.render.terminal.quality import render_quality
from llmbench.runner import plan
from llmbench.runner.quality import ENGLISH, LANGUAGES, Judged, Trial, read_texts
from llmbench.schema.run import Run

_EXAMPLES = """\b
Examples:
  llmbench quality models --weight-format fp16,int8,int4 --kv-cache-precision u8,f16 --base fp32
  llmbench quality models --weight-format int8,int4 --max-kld 0.05 --html quality.html
  llmbench quality models --weight-format int8 --kv-cache-precision u8,u4 --attention pa,sdpa --text german.txt"""


@click.command(
    cls=Command,
    params=parameters(*MEASUREMENT, model={"multiple": True}, launches={"default": 3}),
    short_help="Output quality beside latency.",
    epilog=_EXAMPLES,
)
@click.argument("models", nargs=-1, type=FileText(), metavar="[MODEL]...")
@click.option(
    "--base",
    metavar="FORMAT|MODEL",
    help="What everything is compared with, computed in f32.  [default: fp32 or fp16 beside the model, or itself]",
)
@click.option(
    "--text",
    "texts",
    multiple=True,
    type=FileText(lambda: LANGUAGES),
    metavar="LANGUAGE|FILE",
    help=f"Text to read: {', '.join(LANGUAGES)}, or a file; may be given several times.  [default: {ENGLISH}]",
)
@blocks_option(least=1, default=8, help="Blocks of each text; intervals need three.")
@click.option(
    "--block-tokens",
    type=click.IntRange(min=4),
    default=256,
    help="Tokens of a block; the second half is scored.",
)
@click.option(
    "--chunk-tokens",
    type=click.IntRange(min=1),
    default=16,
    help="Tokens of a forward pass: the cache is read back from the second pass of a block on.",
)
@limit_options
@click.option("--no-latency", is_flag=True, help="Read the texts only.")
@click.option("--csv", type=OUTPUT_FILE, metavar="FILE", help="The table as CSV.")
@click.option("--html", type=OUTPUT_FILE, metavar="FILE", help="The table and its plot as a page.")
@course_options
def command(  # noqa: PLR0917
    models: tuple[str, ...],
    base: str | None,
    texts: tuple[str, ...],
    blocks: int,
    block_tokens: int,
    chunk_tokens: int,
    no_latency: bool,
    csv: Path | None,
    html: Path | None,
    course: Course,
    **options: Any,
) -> int:
    """Compare next-token distributions with a base's, token by token, and show latency and memory beside.

    Every configuration reads the same blocks of text in chunks, so that the precision of the KV cache acts as it does
    while text is generated. Then all are measured as llmbench run does. The exit code is 1 where a configuration loses
    more than --max-kld or --min-same-top allow.
    """
    files = check_outputs(
        {"--csv": csv, "--html": html}, [Path(text) for text in texts if text not in LANGUAGES]
    )
    options["model"] = models = tuple(dict.fromkeys((*models, *options["model"])))
    sides = _with_plain_ones(resolve_models(prepared(options)))
    cells = [side.config for side in sides]
    limits = limits_of(options)
    trial = Trial(
        base=find_base(base, sides[0].model_info.path, root=models[0]),
        texts=read_texts(texts or (ENGLISH,), blocks * block_tokens),
        blocks=blocks,
        block_tokens=block_tokens,
        chunk_tokens=chunk_tokens,
    )
    gate = QualityGate(limits=limits, trial=trial)
    judged = gate.measure(sides, course)
    latency = None if no_latency else _measure_latency(sides, course)
    rows = quality_rows(
        distinguish(cells),
        judged.of_cells,
        limits,
        latency=latency,
        file_bytes=[side.model_info.provenance.file_bytes for side in sides],
    )
    found = quality_report(judged.run, rows)
    if found is None:
        complain(f"the base was not measured: {_why(judged.run)}")
        return ExitCode.LAUNCH
    return worst([_show(found, files), _exit_code(rows, judged, latency)])


def _with_plain_ones(sides: Sequence[Side]) -> tuple[Side, ...]:
    """Add to configurations that guess tokens ahead the same ones without, whose tokens they must have."""
    found: dict[str, Side] = {}
    for side in sides:
        for config in (side.config.without_speculation, side.config):
            found.setdefault(repr(config), dataclasses.replace(side, config=config))
    return tuple(found.values())


def _show(found: QualityReport, files: Mapping[str, Path]) -> ExitCode:
    """Write the files that were requested, and print the tables."""
    if (csv := files.get("--csv")) is not None:
        write_output(csv, csv_text(quality_table(found.rows)))
    if (html := files.get("--html")) is not None:
        from llmbench.render.html.quality import quality_page

        write_output(html, quality_page(found))
    return print_on_screen(lambda console: render_quality(found, console))


def _measure_latency(sides: Sequence[Side], course: Course) -> Report:
    """Measure all configurations as ``run`` does, in rounds; return the report."""
    view, cells = View(is_quiet=course.is_quiet), [side.config for side in sides]
    planned = plan.plan_launches(cells, seed=cells[0].seed)
    run = view.measure(sides, course.part("latency"), planned=planned, stop=course.stop)
    say(f"written: {view.path}")
    return summarize_run(run)


def _exit_code(rows: Sequence[QualityRow], judged: Judged, latency: Report | None) -> ExitCode:
    """5 where a launch failed, or a configuration has no figures; 1 where one loses more than allowed."""
    runs = [judged.run, *([latency.run] if latency else [])]
    if None in judged.of_cells or any(run.lacks_launches for run in runs):
        complain(f"not every configuration was measured: {_why(*runs)}")
        return ExitCode.LAUNCH
    return ExitCode.REGRESSION if any(row.faults for row in rows) else ExitCode.OK


def _why(*runs: Run) -> str:
    messages = (failure.message for run in runs for _, failure in run.failures)
    return next(messages, "a launch was not made")
