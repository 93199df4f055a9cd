"""``llmbench profile``: where the time of the first and the next tokens goes, and what two sockets could bring."""

from pathlib import Path
from typing import Any

import click

from llmbench.cli.messages import say, say_json
from llmbench.cli.model_source import converted_gguf, prepared
from llmbench.cli.options.completion import FileText
from llmbench.cli.options.resolve import check_locations, resolve_one
from llmbench.cli.options.table import PLACEMENT, option, parameters, parse_options, recipe_options
from llmbench.cli.options.types import Command, WordChoice
from llmbench.errors import InputError
from llmbench.render.terminal.profile import profile_lines, stage_profile_lines
from llmbench.runner.profile import profile, profile_pipeline
from llmbench.schema.settings.any_workload import WEIGHT_FORMATS


@click.command(
    cls=Command,
    short_help="Where the time goes, by operator.",
    epilog="""
    llmbench profile -m models/pytorch/dldt/INT8
    llmbench profile -m models/pytorch/dldt/INT8 --input-tokens 1024 --threads 16 --json
    llmbench profile -c tts-two-stage""",
)
@option("model", metavar="MODEL", help="IR folder, a parent of exactly one, or a GGUF file.")
@option(
    "weight_format",
    type=WordChoice(WEIGHT_FORMATS, case_sensitive=False),
    metavar=None,
    default=None,
    help="Which of several IRs below -m.",
)
@click.option("-c", "--recipe", type=FileText(), metavar="PIPELINE.toml", help="A pipeline, by stage.")
@option("input_tokens", type=click.IntRange(min=1), default=256, help="Length of the prompt.")
@option("infer_count", type=click.IntRange(min=3), default=32, help="Output tokens.")
@option("load_config", help="OpenVINO properties.")
@option("threads", type=click.IntRange(min=1), default=None, help="INFERENCE_NUM_THREADS.")
@option("no_verify", help="Skip checksum verification.")
@click.option("--json", "is_json", is_flag=True, help="Print everything as JSON, in seconds and bytes.")
def command(*, is_json: bool, recipe: str | None, **options: Any) -> int:
    """Say which operations take the time of the first token and of the next ones.

    The share of FullyConnected is what tensor parallelism can split, so it bounds what two sockets can bring. It also
    tells whether attention was recognised, which precisions are effective, and which instructions ran.
    """
    given = {name: value for name, value in options.items() if value not in (None, ())}
    if recipe is not None:
        return _profile_pipeline(recipe, given, is_json=is_json)
    if given.get("model"):
        given["model"] = converted_gguf(str(given["model"]))
    options = prepared(parse_options({**given, "engine": "core", "foreign_cpu_limit": 1.0}))
    config = resolve_one(
        {**options, "is_text_enough": True},
        refusal="profile takes one configuration; these options make a sweep",
    ).config
    check_locations((config,), is_strict=False)
    found = profile(config)
    if is_json:
        say_json(found)
    else:
        say(f"{config.model}, {config.device}, core engine", *profile_lines(found))
    return 0


def _profile_pipeline(recipe: str, given: dict[str, Any], *, is_json: bool) -> int:
    """Profile the networks of a pipeline; lengths in tokens mean nothing there."""
    kept = {name: value for name, value in given.items() if name not in {"input_tokens", "infer_count"}}
    values = {**recipe_options(recipe), **kept, "foreign_cpu_limit": 1.0}
    if values.get("task") != "pipeline":
        raise InputError(f"{recipe} describes no pipeline", hint="profile a model with -m")
    config = resolve_one(parse_options(values), refusal="profile takes one configuration of {}").config
    check_locations((config,), is_strict=False)
    found = profile_pipeline(config)
    if is_json:
        say_json(found)
    else:
        say(f"{Path(config.model).stem}, {config.device}, {found.prompt}", *stage_profile_lines(found.stages))
    return 0


command.params.extend(parameters(*reversed(PLACEMENT)))
