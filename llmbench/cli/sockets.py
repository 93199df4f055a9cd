"""``llmbench sockets``: one socket, the other, both, both with tensor parallelism; the speed-up and its proof."""

import contextlib
from pathlib import Path
from typing import Any

import click

from llmbench.analysis import report, speedup
from llmbench.analysis.report import Report
from llmbench.cli.fleet import fleet_options
from llmbench.cli.messages import complain, say, say_json, shown
from llmbench.cli.model_source import prepared
from llmbench.cli.options.course import Course, blocks_option, course_options
from llmbench.cli.options.resolve import resolve_one
from llmbench.cli.options.table import option, parse_options
from llmbench.cli.options.types import OUTPUT_FILE, PATH, Command, WordChoice
from llmbench.cli.outputs import check_outputs, write_output
from llmbench.cli.run_view import View
from llmbench.errors import ExitCode
from llmbench.machine import topology
from llmbench.models.resolve import Side
from llmbench.runner.plan import plan_launches
from llmbench.schema.settings.any_workload import WEIGHT_FORMATS
from llmbench.store import reader
from llmbench.store.events import LaunchStarted


class _SocketView(View):
    """What ``sockets`` shows: each launch as it begins."""

    def _loaded(self, event: LaunchStarted) -> None:
        if self._is_quiet or self._live.shares_screen:
            return
        config = self._config
        name = speedup.setup_name(speedup.setup_kind(config), config.sockets)
        block = "" if event.block is None else f"block {event.block + 1} of {config.launches}: "
        with self._live.paused():
            click.echo(shown(f"{block}{name}: loaded in {event.load_s or 0:.1f} s"), err=True)


_ONE_FORMAT = WordChoice(WEIGHT_FORMATS, case_sensitive=False)
_EXAMPLES = """\b
Examples:
  llmbench sockets -m models/pytorch/dldt/INT8 --input-tokens 32,256,1024,2048 -bs 1
  llmbench sockets -m models/pytorch/dldt/INT8 --blocks 10 --budget 30m --attention sdpa"""


@click.command(cls=Command, short_help="What a second socket brings.", epilog=_EXAMPLES)
@option("model", help="IR folder, a parent of one, or a GGUF file.")
@option("weight_format", type=_ONE_FORMAT, metavar=None, default=None, help="Which of several IRs below -m.")
@option("input_tokens", default="32,256,1024", help="Synthetic prompts of N tokens.")
@option("batch_size", type=click.IntRange(min=1), default=1, help="Sequences in a request.")
@option("infer_count", type=click.IntRange(min=1), default=64, help="Output tokens.")
@option("num_iters", default=3)
@option("warmups", help="Iterations before them; never averaged in.")
@blocks_option(
    "--launches",
    "launches",
    least=1,
    default=5,
    help="Blocks of one fresh launch of each setup, in random order.",
)
@option("sockets", help="Which sockets.  [default: all]")
@option("load_config", help="OpenVINO properties.")
@option("engine", type=str, help="As for run.")
@option("attention", type=str, default=None, help="As for run.")
@option("seed", help="For the prompts and the order of launches.")
@option("no_verify")
@option("foreign_cpu_limit", help="CPU share of other processes that makes a request invalid.")
@option("explain", help="Add every metric, threads, proof and notes to the result.")
@click.option(
    "--show",
    type=PATH,
    metavar="RUN.jsonl",
    help="Measure nothing: print the table of a run that was made before.",
)
@click.option("--json", "is_json", is_flag=True, help="Print the table as JSON.")
@click.option(
    "--html",
    type=OUTPUT_FILE,
    metavar="FILE",
    help="Write a page as well: the result, the speed-ups as a chart, and all details.",
)
@fleet_options
@course_options
def command(
    *,
    sockets: tuple[int, ...],
    explain: bool,
    course: Course,
    show: Path | None,
    is_json: bool,
    html: Path | None,
    **options: Any,
) -> int:
    """Measure one socket, the other, both, and both with tensor parallelism.

    Each block has a fresh launch of every one of them, in random order; speed-ups are paired by block. The
    result says first how much faster it is, and from which input length on it pays; -v has details.
    """
    check_outputs({"--html": html}, inputs=[show] if show else [])
    if show is not None:
        summarized = report.summarize_run(reader.read_run(show))
        _show(summarized, show, is_json=is_json, html=html, is_explained=explain)
        return _exit_code(summarized)
    side = resolve_one(
        prepared(parse_options({name: value for name, value in options.items() if value is not None})),
        refusal="sockets measures one configuration; these options make a sweep",
    )
    cells = speedup.socket_configurations(side.config, topology.read_topology(), sockets)
    view = _SocketView(is_quiet=course.is_quiet)
    run = view.measure(
        [Side(model_info=side.model_info, config=cell) for cell in cells],
        course.with_policy(must_split=True),
        planned=plan_launches(cells, seed=cells[0].seed),
        stop=course.stop,
    )
    summarized = report.summarize_run(run)
    _show(summarized, view.path, is_json=is_json, html=html, is_explained=explain)
    return _exit_code(summarized)


def _show(summarized: Report, path: Path, *, is_json: bool, html: Path | None, is_explained: bool) -> None:
    """The tables and sentences, or the values, on standard output; the page in its file."""
    table = speedup.tabulate(summarized)
    if html is not None:
        from llmbench.render.html.page import page

        write_output(html, page([summarized]))
    if is_json:
        say_json(table)
        return
    from rich.console import Console

    from llmbench.render.terminal.speedup import render_speedup

    with contextlib.suppress(SystemExit):  # rich's answer to a closed standard output
        render_speedup(table, summarized, Console(), is_explained=is_explained)
    say(f"written: {path}")


def _exit_code(summarized: Report) -> ExitCode:
    """5 where a launch failed, or a setup has a prompt without a request that counts; fewer blocks are fine."""
    if summarized.lacks_rows:
        complain("a setup has no valid measurement; see the notes")
    return ExitCode.OK if summarized.is_whole else ExitCode.LAUNCH
