"""``llmbench load``: a server under load, at one or several rates or numbers of requests at once."""

from pathlib import Path
from typing import Any

import click

from llmbench.cli.fleet import fleet_options
from llmbench.cli.load_view import LoadView
from llmbench.cli.options.course import check_resume, take_course
from llmbench.cli.options.help import GroupedOption
from llmbench.cli.options.load import (
    ENGINE_OPTIONS,
    LENGTH_OPTIONS,
    LOAD_DEFAULTS,
    LOAD_ENGINES,
    MODEL_OPTIONS,
    load_configurations,
    load_workload,
)
from llmbench.cli.options.table import LOAD_OPTIONS, is_typed, parameters
from llmbench.cli.options.types import OUTPUT_FILE, Command, Duration, WordChoice, check_folder
from llmbench.cli.outputs import check_outputs, check_run_file
from llmbench.cli.run_files import find_run
from llmbench.cli.run_view import Display
from llmbench.runner import plan
from llmbench.runner.launchers.base import TimeLimits
from llmbench.schema.settings.base import Group
from llmbench.schema.settings.serving import LOAD_TIMEOUT_S

_EXAMPLES = """\b
Examples:
  llmbench load --url http://127.0.0.1:8000 --concurrency 1,2,4,8
  llmbench load -m models --server genai --concurrency 8 --goodput ttft:200,tpot:50 --launches 5
  llmbench load -m models --server genai --request-rate 1,2,4 --duration 60s --html load.html
  llmbench load -m models --server genai --engine genai-batching --concurrency 4
  llmbench load -m model.gguf --server "my-server --port {port} --model {model}" --trace arrivals.csv"""

_RESULTS = ("output_dir", "name", "overwrite", "strict", "quiet", "explain")
_COURSE = (*_RESULTS, "timeout", "order", "keep_going", "cooldown", "resume", "salvage", "foreign_cpu_limit")
_WITH_RESUME = {*_COURSE, "html", "start_timeout"} - {"order", "foreign_cpu_limit"}
"""Options that may be given beside ``--resume``."""

_CHANGES: dict[str, dict[str, Any]] = {
    "model": {"help": "Model that the server loads, or its name there."},
    "engine": {
        "type": WordChoice(LOAD_ENGINES),
        "default": None,
        "multiple": True,
        "metavar": "ENGINE",
        "help": f"{LOAD_ENGINES[0]}: the model without a server, to separate network and engine.",
        "group": Group.TARGET.value,
        "is_rare": False,
    },
    "num_iters": {
        "default": LOAD_DEFAULTS["num_iters"],
        "help": "Measured requests per launch.",
        "group": Group.LOAD.value,
    },
    "warmups": {
        "default": None,
        "help": "Requests before them.  [default: 2 per request at once]",
        "group": Group.LOAD.value,
    },
    "launches": {"help": "Fresh starts of the server; 5 to compare runs.", "group": Group.LOAD.value},
    "infer_count": {"default": LOAD_DEFAULTS["infer_count"], "group": Group.LOAD.value},
    "input_tokens": {
        "default": LOAD_DEFAULTS["input_tokens"],
        "help": "Tokens of each prompt, exactly.  [sweep]",
        "group": Group.LOAD.value,
    },
    "timeout": {
        "default": LOAD_TIMEOUT_S,
        "show_default": "5m",
        "help": "Limit for a first token, and for each later one.",
    },
    "resume": {"help": "Continue a load that was interrupted, in its own configuration."},
}


@click.command(
    cls=Command,
    params=parameters(
        *MODEL_OPTIONS,
        *LOAD_OPTIONS,
        "engine",
        *LENGTH_OPTIONS,
        "launches",
        *ENGINE_OPTIONS,
        *_COURSE,
        **_CHANGES,
    ),
    short_help="Measure a server under load.",
    epilog=_EXAMPLES,
)
@click.option(
    "--start-timeout",
    cls=GroupedOption,
    type=Duration(),
    default="20m",
    group=Group.RUN.value,
    is_rare=True,
    help="Limit for starting the server.",
)
@click.option(
    "--html",
    cls=GroupedOption,
    type=OUTPUT_FILE,
    metavar="FILE",
    group=Group.RESULTS.value,
    help="Write a page with the curve of latency against load.",
)
@fleet_options
@click.pass_context
def command(  # noqa: PLR0917
    ctx: click.Context,
    /,
    start_timeout: float,
    order: str,
    strict: bool,
    explain: bool,
    resume: Path | None,
    salvage: bool,
    html: Path | None,
    **options: Any,
) -> int:
    """Measure a server of the OpenAI protocol with many requests in flight at once.

    Each launch starts the server afresh (--server), or is a new set of connections to one that runs already (--url).
    Requests that bring the load up, and those that keep it up until the last measured one has ended, are left out of
    the figures. The time to the first token counts from the instant at which a request was due: a wait for a free
    connection is part of it.
    """
    files = check_outputs({"--html": html}, [path for path in (resume,) if path is not None])
    timeout_s = options["timeout"]
    limits = TimeLimits(load_s=start_timeout, request_s=timeout_s + _PATIENCE_S)
    course = take_course(options).with_policy(limits=limits)
    check_run_file(files, course.outputs.folder, course.outputs.name)
    display = Display(is_quiet=course.is_quiet, is_strict=strict, is_explained=explain)
    if resume is not None:
        check_resume(name for name in ctx.params if name not in _WITH_RESUME and is_typed(ctx, name))
        return LoadView(display, html=html, salvage=salvage).resume_and_show(find_run(resume), course)
    check_folder(course.outputs.folder, "--output-dir")
    sides = load_configurations(options)
    cells = [side.config for side in sides]
    return LoadView(display, html=html).measure_and_show(
        sides,
        course,
        workload=load_workload(options, cells, timeout_s),
        planned=plan.plan_launches(cells, seed=options["seed"] if order == "random" else None),
    )


_PATIENCE_S = 30.0
"""How much longer than a request the parent waits for a sign of life of the client, which ends requests itself."""
