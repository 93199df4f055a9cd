"""``llmbench run``: from options to a configuration, then measure, keep, show."""

import sys
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from llmbench.cli.dry_run import describe_cells, rehearse
from llmbench.cli.fleet import Share, fleet_options, share_of
from llmbench.cli.messages import say
from llmbench.cli.model_source import prepared, would_convert
from llmbench.cli.options.completion import FileText
from llmbench.cli.options.course import check_resume, take_course
from llmbench.cli.options.resolve import resolve_models
from llmbench.cli.options.table import MEASUREMENT, OPTIONS, is_typed, parameters
from llmbench.cli.options.types import LLM_BENCH, LOGS, Command, check_folder
from llmbench.cli.outputs import check_outputs, check_run_file
from llmbench.cli.quality_gate import GATE, gated
from llmbench.cli.run_files import find_run
from llmbench.cli.run_view import Display, RunView
from llmbench.runner import plan

_EXAMPLES = """\b
Examples:
  llmbench run HuggingFaceTB/SmolLM2-135M-Instruct
  llmbench run -m models/pytorch/dldt/INT8 -n 2
  llmbench run -m models/pytorch/dldt/INT8 -p "What is openvino?" -n 2
  llmbench run -m models -pf prompts/llama-2-7b-chat_l.jsonl -n 2
  llmbench run -m models --input-tokens 32,512 -ic 64 --launches 5
  llmbench run -m models/pytorch/dldt/INT8 -bs 1 -lc ov_distributed_config.json
  llmbench run -m models --weight-format int8,int4 --threads 1,2 --dry-run"""


@click.command(
    cls=Command,
    params=parameters(*OPTIONS, model={"multiple": True}),
    short_help="Measure a model.",
    epilog=_EXAMPLES,
)
@click.argument("models", nargs=-1, type=FileText(), metavar="[MODEL]...")
@fleet_options
@click.option("--share", type=Share(), hidden=True)
@click.pass_context
def command(  # noqa: PLR0917
    ctx: click.Context,
    /,
    models: tuple[str, ...],
    report: Path | None,
    report_json: Path | None,
    order: str,
    strict: bool,
    explain: bool,
    log: str | None,
    dry_run: bool,
    recipe: str | None,
    resume: Path | None,
    salvage: bool,
    share: tuple[int, int] | None,
    **options: Any,
) -> int:
    """Measure the latency of a model: time to the first token, to the second, and per token.

    A MODEL is an OpenVINO IR folder, a GGUF file, or a Hugging Face model (a folder or a name on the hub), which is
    converted once (to int8 unless --weight-format says otherwise) and kept in the cache. Several are a sweep.

    Each launch is a fresh process that loads the model, runs the warm-ups and then -n iterations over the
    prompts. Every measurement is written to disk before the next begins.
    """
    models = options["model"] = tuple(dict.fromkeys((*models, *options["model"])))
    inputs = [Path(path) for path in (recipe, resume, *options["prompt_file"]) if path is not None]
    files = check_outputs({"-r": report, "-rj": report_json}, inputs)
    course = take_course(options, must_split=strict)
    check_run_file(files, course.outputs.folder, course.outputs.name)
    display = Display(
        csv=report,
        json=report_json,
        is_quiet=course.is_quiet,
        is_strict=strict,
        is_explained=explain,
        log=log or _default_log(report),
    )
    if resume is not None:
        check_resume(each for each in (*MEASUREMENT, *GATE) if each != "model" and is_typed(ctx, each))
        view = RunView(display, salvage=salvage)
        return view.resume_and_show(find_run(resume), course, model=next(iter(models), None))
    check_folder(course.outputs.folder, "--output-dir")
    options = _without_recipe_prompts(ctx, options)
    pending = would_convert(options) if dry_run else ()
    if pending:
        say(*(f"{model} would be fetched and converted first, once; nothing was run" for model in pending))
        return 0
    sides = resolve_models(prepared(options))
    if share is not None:
        sides = share_of(sides, share)
    cells = [side.config for side in sides]
    planned = plan.plan_launches(cells, seed=options["seed"] if order == "random" else None)
    if dry_run:
        rehearse(sides, planned, course)
        say(*describe_cells(cells, planned))
        return 0
    return RunView(display).measure_and_show(gated(sides, options, course), course, planned=planned)


def _default_log(report: Path | None) -> str:
    """Return llm_bench's lines where its CSV was requested and a script reads what is printed; one line else."""
    if report is None or (sys.stdout is not None and sys.stdout.isatty()):
        return LOGS[0]
    say("log: llm_bench's lines, because -r was given and this is no terminal (--log compact for short ones)")
    return LLM_BENCH


def _without_recipe_prompts(ctx: click.Context, options: dict[str, Any]) -> dict[str, Any]:
    """The options, those of a recipe that name prompts left out where the command line names some itself."""
    ways = ("prompt", "prompt_file", "input_tokens")
    if not any(is_typed(ctx, name) for name in ways):
        return options
    recipe = {name for name in ways if ctx.get_parameter_source(name) is ParameterSource.DEFAULT_MAP}
    return options | dict.fromkeys(recipe, ())
