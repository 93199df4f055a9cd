"""``llmbench profile``: where the time of the first and the next tokens goes, and what two sockets could bring."""

from typing import Any

import click

from llmbench.cli.messages import say
from llmbench.cli.options.config_options import PLACEMENT_OPTIONS, ask, check_places
from llmbench.cli.options.resolve import resolve_configurations
from llmbench.cli.options.types import Command
from llmbench.errors import InputError
from llmbench.render.terminal.profile import profile_lines
from llmbench.runner.profile import profile
from llmbench.schema.config import WEIGHT_FORMATS


def _with_places(command: click.Command) -> click.Command:
    """The command with the options that say where it runs."""
    for option in reversed(PLACEMENT_OPTIONS):
        command = option(command)
    return command


@_with_places
@click.command(cls=Command, short_help="Where the time goes, by operation.")
@click.option("-m", "--model", metavar="IR_DIR", help="IR folder, or a parent of exactly one.")
@click.option(
    "--weight-format",
    type=click.Choice(WEIGHT_FORMATS, case_sensitive=False),
    help="Which of several IRs below -m.",
)
@click.option("--input-tokens", type=click.IntRange(min=1), default=256, help="Length of the prompt.")
@click.option("-ic", "--infer-count", type=click.IntRange(min=3), default=32, help="Output tokens.")
@click.option(
    "-lc", "--load-config", multiple=True, metavar="JSON|FILE|KEY=VALUE", help="OpenVINO properties."
)
@click.option("--threads", type=click.IntRange(min=1), help="INFERENCE_NUM_THREADS.")
@click.option("--no-verify", is_flag=True, help="Do not hold the files against their manifest.")
@click.option("--json", "is_json", is_flag=True, help="Print everything as JSON, in seconds and bytes.")
def command(*, is_json: bool, **options: Any) -> int:
    """Say which operations take the time of the first token and of the next ones.

    The share of FullyConnected is what tensor parallelism can split, so it bounds what two sockets can bring. It also
    tells whether attention was recognised, which precisions are in force, and which instructions ran.
    """
    given = {name: value for name, value in options.items() if value not in (None, ())}
    _, cells = resolve_configurations(ask({**given, "engine": "core", "foreign_cpu_limit": 1.0}))
    if len(cells) > 1:
        raise InputError(
            "profile takes one configuration; these options make a sweep", hint="give one value each"
        )
    check_places(cells, is_strict=False)
    found = profile(cells[0])
    if is_json:
        import msgspec

        say(msgspec.json.format(msgspec.json.encode(found)).decode())
    else:
        say(f"{cells[0].model}, {cells[0].device}, core engine", *profile_lines(found))
    return 0
