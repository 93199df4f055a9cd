"""``llmbench profile``: where the time of the first and the next tokens goes, and what two sockets could bring."""

from collections.abc import Iterator, Mapping
from typing import Any

import click

from llmbench.cli.messages import say
from llmbench.cli.options.config_options import PLACEMENT_OPTIONS, ask, check_places
from llmbench.cli.options.resolve import resolve_configurations
from llmbench.cli.options.types import Command
from llmbench.errors import InputError
from llmbench.measure.profile import SPLIT_KIND, ModelProfile, PassProfile, profile
from llmbench.schema.config import WEIGHT_FORMATS
from llmbench.schema.units import format_bytes, format_number

_UNNAMED = ("undef", "unknown")
_SHOWN_SHARE = 0.005
"""Kinds of operation below this share of both passes stand together."""


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


def profile_lines(found: ModelProfile) -> Iterator[str]:
    """The profile as text."""
    threads = found.properties.get("INFERENCE_NUM_THREADS", "n/a")
    yield f"{found.input_tokens} input tokens, {found.output_tokens} output tokens, {threads} threads"
    yield ""
    yield from _table(found)
    yield ""
    yield from _sums(found)
    yield _bounds(found)
    yield _attention(found)
    weights = ", ".join(f"{kind} {format_bytes(size)}" for kind, size in _large(found.constant_bytes))
    precision = found.properties.get("INFERENCE_PRECISION_HINT", "n/a")
    cache = found.properties.get("KV_CACHE_PRECISION", "n/a")
    yield f"weights: {weights}; KV cache: {cache}; computed in: {precision}"
    yield f"code that ran: first token {_code(found.first)}; next tokens {_code(found.next)}"
    features = found.properties.get("RUNTIME_REQUIREMENTS", "").partition("isa=")[2]
    if features:
        yield f"instruction sets the engine sees: {features}"


def _table(found: ModelProfile) -> Iterator[str]:
    """A row for each kind of operation that takes time, longest in the first token first."""
    kinds = [*found.first.kinds, *(kind for kind in found.next.kinds if kind not in found.first.kinds)]
    shown = [
        kind for kind in kinds if max(_share(found.first, kind), _share(found.next, kind)) >= _SHOWN_SHARE
    ]
    names = {kind: f"{kind} ({found.counts.get(kind, 0)})" for kind in shown}
    width = max(map(len, names.values()), default=0)
    yield f"{'operation (count)':{width}}   first token, ms   next tokens, ms/token"
    for kind in shown:
        yield f"{names[kind]:{width}}  {_cells(found, kind)}"
    if len(shown) < len(kinds):
        rest = [kind for kind in kinds if kind not in shown]
        yield f"{f'{len(rest)} other kinds':{width}}  {_cells(found, *rest)}"


def _cells(found: ModelProfile, *kinds: str) -> str:
    """Time and share of some kinds in both phases."""
    parts = []
    for phase in (found.first, found.next):
        seconds = sum(phase.kinds.get(kind, 0.0) for kind in kinds)
        share = sum(_share(phase, kind) for kind in kinds)
        parts.append(f"{format_number(seconds * 1e3):>9} {share:>6.1%}")
    return "   ".join(parts)


def _share(phase: PassProfile, kind: str) -> float:
    """A kind's share of the operations' time."""
    return phase.kinds.get(kind, 0.0) / phase.sum_s if phase.sum_s else 0.0


def _sums(found: ModelProfile) -> Iterator[str]:
    """How far the operations add up to the wall time."""
    for name, phase in (("first token", found.first), ("next tokens", found.next)):
        told = f"{format_number(phase.sum_s * 1e3)} of {format_number(phase.wall_s * 1e3)} ms"
        share = phase.sum_s / phase.wall_s
        doubt = (
            "" if phase.is_whole else "; NOT WITHIN A TENTH: the rest is in no operation, and is not split"
        )
        yield f"{name}: operations take {told} of wall time ({share:.0%}){doubt}"


def _bounds(found: ModelProfile) -> str:
    """What tensor parallelism can split, and the most that two sockets can gain."""
    first, later = found.first, found.next
    return (
        f"tensor parallelism splits {SPLIT_KIND}: {first.split_share:.0%} of the first token and "
        f"{later.split_share:.0%} of the next ones. Over two sockets that is at most {first.bound():.2f} and "
        f"{later.bound():.2f} times as fast (Amdahl), were the split itself free"
    )


def _attention(found: ModelProfile) -> str:
    """What became of attention."""
    before, after = (_counted(found.attention[where]) for where in ("model", "executed"))
    if not found.is_attention_found:
        verdict = "NOT RECOGNISED as one operation: neither it nor its KV cache can be fused, nor paged"
    elif found.is_cache_fused:
        verdict = "found, and fused with the KV cache"
    else:
        verdict = "found, NOT FUSED with the KV cache"
    return f"attention: {before} in the model, {after} executed: {verdict}"


def _counted(kinds: Mapping[str, int]) -> str:
    """``30 ScaledDotProductAttention``."""
    return " + ".join(f"{count} {kind}" for kind, count in kinds.items()) or "none"


def _large(sizes: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    """The element types that hold a hundredth of the constants or more."""
    total = sum(sizes.values())
    yield from ((kind, size) for kind, size in sizes.items() if size * 100 >= total)


def _code(phase: PassProfile) -> str:
    """The code that took a hundredth of the time or more: its name and precision, and its share."""
    found = ((name, seconds / phase.sum_s) for name, seconds in phase.primitives.items() if phase.sum_s)
    named = ((name, share) for name, share in found if share >= 0.01 and not name.startswith(_UNNAMED))
    return ", ".join(f"{name} {share:.0%}" for name, share in named) or "n/a"
