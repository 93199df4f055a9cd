"""``llmbench run``: from options to a configuration, then measure, keep, show."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from llmbench import plan, recipes, recording
from llmbench.cli.measuring import Outputs, Ways, measure
from llmbench.cli.measuring import resume as go_on
from llmbench.cli.options import Command, Duration, IntegerList, check_folder, check_output, find_prompts
from llmbench.config import ATTENTIONS, ENGINES, PropertyValue, RunConfig
from llmbench.errors import InputError
from llmbench.runner import Limits

_FRAMEWORKS = {"ov": "openvino"}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What the command line says, one field an option of the same name."""

    model: str
    device: str
    prompt: str | None
    prompt_file: tuple[str, ...]
    prompt_index: tuple[int, ...]
    input_tokens: tuple[int, ...]
    num_iters: int
    warmups: int
    launches: int
    infer_count: int
    batch_size: int
    load_config: tuple[str, ...]
    engine: str
    attention: str | None
    threads: int | None
    seed: int
    apply_chat_template: bool
    end_token_stopping: bool
    disable_prompt_permutation: bool
    no_verify: bool
    foreign_cpu_limit: float


def _properties(sources: tuple[str, ...]) -> Mapping[str, PropertyValue]:
    """The properties of every ``-lc``, later ones over earlier ones."""
    properties: dict[str, PropertyValue] = {}
    for source in sources:
        properties |= recipes.read_properties(source)
    return properties


def _config(asked: _Asked, model: str) -> RunConfig:
    """The configuration that the command line asks for."""
    found = find_prompts(
        text=asked.prompt,
        files=asked.prompt_file,
        indices=asked.prompt_index,
        lengths=asked.input_tokens,
        seed=asked.seed,
    )
    is_permuted = not asked.disable_prompt_permutation
    return RunConfig(
        model=model,
        prompts=tuple(dataclasses.replace(prompt, is_permuted=is_permuted) for prompt in found),
        engine=asked.engine,
        device=asked.device.upper() if asked.engine != "scripted" else asked.device,
        attention=asked.attention or ("sdpa" if asked.engine == "core" else "pa"),
        properties=_properties(asked.load_config),
        output_tokens=asked.infer_count,
        iterations=asked.num_iters,
        warmups=asked.warmups,
        launches=asked.launches,
        batch_size=asked.batch_size,
        seed=asked.seed,
        apply_chat_template=asked.apply_chat_template,
        stop_at_eos=asked.end_token_stopping,
        threads=asked.threads,
        foreign_cpu_limit=asked.foreign_cpu_limit,
        is_verified=not asked.no_verify,
    )


def _recipe_defaults(ctx: click.Context, _param: click.Parameter, path: Path | None) -> Path | None:
    """Take a recipe's values as defaults: what stands on the command line wins."""
    if path is not None:
        known = {param.name for param in ctx.command.params if isinstance(param, click.Option)}
        ctx.default_map = {**(ctx.default_map or {}), **recipes.read_run(path, known=known)}
    return path


_EXAMPLES = """\b
Examples:
  llmbench run -m models/pytorch/dldt/INT8 -n 2
  llmbench run -m models/pytorch/dldt/INT8 -p "What is openvino?" -n 2
  llmbench run -m models/pytorch/dldt/INT8 -pf prompts/llama-2-7b-chat_l.jsonl -n 2
  llmbench run -m models/pytorch/dldt/INT8 --input-tokens 32,512 -ic 64 --launches 5
  llmbench run -m models/pytorch/dldt/INT8 -bs 1 -lc ov_distributed_config.json"""


@click.command(cls=Command, short_help="Measure a model.", epilog=_EXAMPLES)
@click.option(
    "-m", "--model", metavar="IR_DIR|FILE.gguf", help="IR folder, a parent of exactly one, or a GGUF file."
)
@click.option("-d", "--device", default="CPU", help="OpenVINO device.")
@click.option("-p", "--prompt", metavar="TEXT", help="One prompt.  [default: What is OpenVINO?]")
@click.option(
    "-pf",
    "--prompt-file",
    multiple=True,
    metavar="FILE.jsonl",
    help='Lines of {"prompt": "text"}; repeatable.',
)
@click.option(
    "-pi", "--prompt-index", type=IntegerList(least=0), default=(), help="Only these prompts of the file."
)
@click.option(
    "--input-tokens", type=IntegerList(), default=(), help="Synthetic prompts of exactly so many tokens."
)
@click.option("-n", "--num-iters", default=6, help="Measured iterations in each launch.")
@click.option("--warmups", default=1, help="Iterations before them; kept, flagged, never averaged in.")
@click.option(
    "--launches", default=1, help="Fresh processes; five or more make a comparison worth something."
)
@click.option("-ic", "--infer-count", default=128, help="Output tokens, exactly so many.")
@click.option(
    "-bs", "--batch-size", default=1, help="Sequences in a request; each is a distinct variant of the prompt."
)
@click.option(
    "-lc", "--load-config", multiple=True, metavar="JSON|FILE|KEY=VALUE", help="OpenVINO properties."
)
@click.option(
    "-f", "--framework", type=click.Choice(list(_FRAMEWORKS)), default="ov", help="As in llm_bench."
)
@click.option("-s", "--seed", default=42, help="For synthetic prompts.")
@click.option("--engine", type=click.Choice(ENGINES), default="genai", help="What generates.")
@click.option(
    "--attention", type=click.Choice(ATTENTIONS), help="Paged attention or SDPA.  [default: pa with genai]"
)
@click.option("--threads", type=int, help="INFERENCE_NUM_THREADS; getting fewer is an error.")
@click.option("--apply-chat-template", is_flag=True, help="Hand prompts over as a user's turn.")
@click.option("--end-token-stopping", is_flag=True, help="Let the end of text stop a sequence early.")
@click.option(
    "--disable-prompt-permutation", is_flag=True, help="The same prompt each iteration, not a variant."
)
@click.option("--no-verify", is_flag=True, help="Do not hold the files against their manifest; recorded.")
@click.option(
    "--foreign-cpu-limit", default=0.05, help="CPU share of others that makes a measurement invalid."
)
@click.option(
    "-c",
    "--recipe",
    type=click.Path(path_type=Path),
    is_eager=True,
    callback=_recipe_defaults,
    metavar="RUN.toml",
    help="Options from a file.",
)
@click.option(
    "-r",
    "--report",
    type=click.Path(path_type=Path),
    metavar="OUT.csv",
    help="CSV in llm_bench's columns, replaced if it exists.",
)
@click.option(
    "-rj",
    "--report-json",
    type=click.Path(path_type=Path),
    metavar="OUT.json",
    help="JSON in llm_bench's layout, replaced if it exists.",
)
@click.option(
    "--output-dir", type=click.Path(path_type=Path), default="reports", help="Where the run file goes."
)
@click.option("--name", help="Name of the run and of its file.  [default: time, model, short id]")
@click.option("--overwrite", is_flag=True, help="Replace a run file of that name.")
@click.option("--timeout", type=Duration(), default="20m", help="For loading, and for each request.")
@click.option("--keep-going", is_flag=True, help="Go on with the next launch when one fails.")
@click.option(
    "--strict", is_flag=True, help="Fail on what is only doubtful: invalid rows, an ineffective policy."
)
@click.option("--quiet", is_flag=True, help="Only the table and the files.")
@click.option("--dry-run", is_flag=True, help="Say what would be measured, and stop.")
@click.option(
    "--resume",
    type=click.Path(path_type=Path),
    metavar="RUN.jsonl",
    help="Go on with a run that was cut short; its configuration is taken from the file.",
)
@click.pass_context
def command(  # noqa: PLR0917
    ctx: click.Context,
    /,
    output_dir: Path,
    name: str | None,
    report: Path | None,
    report_json: Path | None,
    timeout: float,
    keep_going: bool,
    overwrite: bool,
    strict: bool,
    quiet: bool,
    dry_run: bool,
    recipe: Path | None,
    framework: str,
    resume: Path | None,
    **options: Any,
) -> int:
    """Measure how long a model makes a person wait.

    Each launch is a fresh process that loads the model, runs the warm-ups and then -n iterations over the
    prompts. Every measurement is on the disk before the next begins.
    """
    del (
        recipe,
        framework,
    )  # a recipe has become defaults; llm_bench's other frameworks are refused by the choice
    check_output(report, "-r")
    check_output(report_json, "-rj")
    outputs = Outputs(folder=output_dir, name=name, csv=report, json=report_json, overwrite=overwrite)
    ways = Ways(
        limits=Limits(load_s=timeout, request_s=timeout),
        keep_going=keep_going,
        is_strict=strict,
        is_quiet=quiet,
    )
    if resume is not None:
        _check_resume(ctx)
        return go_on(resume, outputs, ways)
    asked = _Asked(**_without_recipe_prompts(ctx, options))
    if not asked.model:
        raise InputError("no model was given", hint="name an IR folder or a GGUF file with -m")
    check_folder(output_dir, "--output-dir")
    subject = recording.find_subject(asked.model, engine=asked.engine, is_verified=not asked.no_verify)
    config = _config(asked, subject.path)
    recording.check_lengths(config, subject.context_tokens)
    if dry_run:
        return _describe((config,))
    return measure((config,), subject, outputs, ways)


def _without_recipe_prompts(ctx: click.Context, options: dict[str, Any]) -> dict[str, Any]:
    """The options, those of a recipe that name prompts left out where the command line names some itself."""
    ways = {"prompt": None, "prompt_file": (), "input_tokens": ()}
    if not any(ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE for name in ways):
        return options
    recipe = {name for name in ways if ctx.get_parameter_source(name) is ParameterSource.DEFAULT_MAP}
    return options | {name: ways[name] for name in recipe}


def _check_resume(ctx: click.Context) -> None:
    """Refuse options that say what to measure: the run file has said so already."""
    given = [
        name
        for name in _Asked.__dataclass_fields__
        if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
    ]
    if given:
        raise InputError(
            f"--resume takes the configuration from the run file; {', '.join(given)} was given as well",
            hint="leave it out, or start a new run",
        )


def _describe(cells: tuple[RunConfig, ...]) -> int:
    """Say what would be measured."""
    planned = plan.launches(cells)
    for launch in planned:
        config = cells[launch.cell]
        work = f"{config.warmups} warm-up + {config.iterations} measured iterations"
        click.echo(
            f"launch {launch.index + 1}: {config.model} on {config.device} with {config.engine}, "
            f"prompts: {len(config.prompts)}, {work}, {config.output_tokens} output tokens"
        )
    requests = recording.planned_requests(cells, planned)
    click.echo(f"requests: {requests}, launches: {len(planned)}; nothing was run")
    return 0
