"""``llmbench demo``: fetch, convert, run and report on a small real model."""

import re
import shlex
from pathlib import Path

import click

from llmbench.cli.messages import say
from llmbench.cli.options.course import Course
from llmbench.cli.options.table import option
from llmbench.cli.options.types import Command, check_folder
from llmbench.cli.retrieval_source import demo_language_model
from llmbench.cli.run_view import Display, RunView
from llmbench.models import demo
from llmbench.models.resolve import Side, find_model_info
from llmbench.runner.launchers.base import TimeLimits
from llmbench.runner.session import Outputs, Policy
from llmbench.schema.config import RunConfig
from llmbench.schema.run import Run
from llmbench.store import reader
from llmbench.workloads import prompts

_OUTPUT_TOKENS = 64
_LIMIT_S = 300.0
_SHOWN_CHARACTERS = 300


def _excerpt(text: str) -> str:
    plain = re.sub(r"\s+", " ", click.unstyle(text)).strip()
    plain = "".join(character for character in plain if character.isprintable())
    return plain if len(plain) <= _SHOWN_CHARACTERS else f"{plain[:_SHOWN_CHARACTERS]}..."


def _show_texts(run: Run) -> None:
    """Show what the model wrote to each prompt in the warm-up, which has the prompts as they are."""
    config = run.cells[0]
    say("", "What the model wrote (a 135M model: fluent, not wise):")
    for measurement in run.launches[0].measurements[: len(config.prompts)]:
        prompt = config.prompts[measurement.prompt]
        say(f"  [P{prompt.index}] {_excerpt(prompt.text or '')}")
        say(f"    -> {_excerpt(measurement.sequences[0].text or '')}")


@click.command(
    cls=Command,
    short_help="The whole path on a small real model.",
    epilog="""
    llmbench demo
    llmbench demo -n 3 --output-dir results""",
)
@option("num_iters", default=6)
@option("output_dir")
@option("quiet", is_rare=False)
@option("explain")
def command(num_iters: int, output_dir: Path, quiet: bool, explain: bool) -> int:
    """Measure SmolLM2-135M on this machine: three prompts of different lengths.

    The model (94 MiB, Apache-2.0) is fetched once and kept in the user's cache folder; after that it works
    offline. A run file, a CSV and a JSON are left in the output folder. On a busy machine the figures are marked as
    invalid, as in every run; the demo itself fails only where a launch does.
    """
    check_folder(output_dir, "--output-dir")
    folder = demo_language_model(demo.demo_folder() / "models")
    model_info = find_model_info(folder, engine="genai")
    config = RunConfig(
        model=model_info.path,
        prompts=prompts.read_prompts(prompts.prompt_sets()["demo"]),
        iterations=num_iters,
        output_tokens=_OUTPUT_TOKENS,
        apply_chat_template=True,
    )
    name = reader.new_id("demo")
    display = Display(
        csv=output_dir / f"{name}.csv",
        json=output_dir / f"{name}.json",
        is_quiet=quiet,
        is_explained=explain,
        is_lenient=True,
    )
    policy = Policy(limits=TimeLimits(load_s=_LIMIT_S, request_s=_LIMIT_S))
    course = Course(outputs=Outputs(folder=output_dir, name=name), policy=policy)
    code = RunView(display).measure_and_show([Side(model_info=model_info, config=config)], course)
    run = reader.read_run(output_dir / f"{name}.jsonl")
    _show_texts(run)
    page = f"llmbench report html {shlex.quote(f'{output_dir / name}.jsonl')}"
    say("", "next, the page of this run, and a model of your own:")
    say(f"  {page}", "  llmbench run ORGANISATION/MODEL", is_whole=True)
    return code
