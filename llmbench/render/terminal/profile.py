"""A model's profile on a terminal: operations by time, what sockets can gain, attention, and the code that ran."""

from collections.abc import Iterator, Mapping

from llmbench.analysis.profile import SPLIT_KIND, ModelProfile, PartAttention, PassProfile
from llmbench.schema.units import counted, format_bytes, format_number

_UNNAMED = ("undef", "unknown")
_TOP = 5
"""Operations of a stage that are listed."""

_SUMMED = 3
"""Operations that a sentence names."""

_SHOWN_SHARE = 0.005
"""Kinds of operation below this share of both passes stand together."""


def profile_lines(found: ModelProfile) -> Iterator[str]:
    """Yield the profile as text."""
    threads = found.properties.get("INFERENCE_NUM_THREADS", "n/a")
    tokens = f"{counted(found.input_tokens, 'input token')}, {counted(found.output_tokens, 'output token')}"
    yield f"{tokens}, threads: {threads}"
    yield ""
    yield from _table(found)
    yield ""
    yield from _sums(found)
    yield _bounds(found)
    yield from (f"attention: {title}: {_attention(part)}" for title, part in found.attention.items())
    least = sum(found.constant_bytes.values()) / 100
    large = (f"{kind} {format_bytes(size)}" for kind, size in found.constant_bytes.items() if size >= least)
    precision = found.properties.get("INFERENCE_PRECISION_HINT", "n/a")
    cache = found.properties.get("KV_CACHE_PRECISION", "n/a")
    yield f"weights: {', '.join(large)}; KV cache: {cache}; computed in: {precision}"
    yield f"code that ran: first token {_code(found.first)}; next tokens {_code(found.next)}"
    features = found.properties.get("RUNTIME_REQUIREMENTS", "").partition("isa=")[2]
    if features:
        yield f"instruction sets the engine sees: {features}"


def stage_profile_lines(stages: Mapping[str, PassProfile]) -> Iterator[str]:
    """Yield the operations that take the most of each stage, and how much of its time they explain."""
    whole_s = sum(each.wall_s for each in stages.values())
    for name, found in sorted(stages.items(), key=lambda item: -item[1].wall_s):
        share = found.wall_s / whole_s if whole_s else 0.0
        wall = format_number(found.wall_s * 1e3)
        explained = f"{found.sum_s / found.wall_s:.0%}" if found.wall_s else "n/a"
        yield f"{name}: {wall} ms, {share:.1%} of all networks; operations take {explained} of it"
        for kind, seconds in list(found.kinds.items())[:_TOP]:
            yield f"  {kind:<24}{format_number(seconds * 1e3):>9} ms {seconds / found.wall_s:>7.1%}"


def profile_summary(found: ModelProfile) -> Iterator[str]:
    """Yield a sentence per phase: the operations that take most of it."""
    for title, phase in (("first token", found.first), ("next tokens", found.next)):
        shares = ((kind, _share(phase, kind)) for kind in phase.kinds)
        most = sorted(shares, key=lambda each: -each[1])[:_SUMMED]
        yield f"{title}: {', '.join(f'{kind} {share:.0%}' for kind, share in most)}"


def _table(found: ModelProfile) -> Iterator[str]:
    kinds = [*found.first.kinds, *(kind for kind in found.next.kinds if kind not in found.first.kinds)]
    shown = [
        kind for kind in kinds if max(_share(found.first, kind), _share(found.next, kind)) >= _SHOWN_SHARE
    ]
    names = {kind: f"{kind} ({found.counts.get(kind, 0)})" for kind in shown}
    width = max(map(len, names.values()), default=0)
    yield f"{'operation (count)':{width}}   first token, ms   next, ms/token"
    for kind in shown:
        yield f"{names[kind]:{width}}  {_cells(found, kind)}"
    if len(shown) < len(kinds):
        rest = [kind for kind in kinds if kind not in shown]
        yield f"{f'{len(rest)} other kinds':{width}}  {_cells(found, *rest)}"


def _cells(found: ModelProfile, *kinds: str) -> str:
    parts = []
    for phase in (found.first, found.next):
        seconds = sum(phase.kinds.get(kind, 0.0) for kind in kinds)
        share = sum(_share(phase, kind) for kind in kinds)
        parts.append(f"{format_number(seconds * 1e3):>9} {share:>6.1%}")
    return "   ".join(parts)


def _share(phase: PassProfile, kind: str) -> float:
    return phase.kinds.get(kind, 0.0) / phase.sum_s if phase.sum_s else 0.0


def _sums(found: ModelProfile) -> Iterator[str]:
    for name, phase in (("first token", found.first), ("next tokens", found.next)):
        sums = f"{format_number(phase.sum_s * 1e3)} of {format_number(phase.wall_s * 1e3)} ms"
        share = phase.sum_s / phase.wall_s
        doubt = "" if phase.is_whole else f"; {1 - share:.0%} is outside operators, and cannot be split"
        yield f"{name}: operations take {sums} of wall time ({share:.0%}){doubt}"


def _bounds(found: ModelProfile) -> str:
    first, later = found.first, found.next
    return (
        f"tensor parallelism splits {SPLIT_KIND}: {first.split_share:.0%} of the first token and "
        f"{later.split_share:.0%} of the next ones. Upper bound with two sockets (Amdahl): "
        f"{first.bound():.2f}x first token, {later.bound():.2f}x next tokens, without the cost of communication"
    )


def _attention(part: PartAttention) -> str:
    """Return what became of a part's attention: ``30 of 30 layers ...; executed: 30 SDPA with KV cache``."""
    executed = (
        " + ".join(f"{count} {kind}" for kind, count in part.executed.items()) or "nothing that is known"
    )
    lost = "" if part.is_whole else f"; NOT FUSED: {part.fusion.layers - part.fused} layers"
    return f"{part.fusion.sentence}; executed: {executed}{lost}"


def _code(phase: PassProfile) -> str:
    """The code that took a hundredth of the time or more: its name and precision, and its share."""
    found = ((name, seconds / phase.sum_s) for name, seconds in phase.primitives.items() if phase.sum_s)
    named = ((name, share) for name, share in found if share >= 0.01 and not name.startswith(_UNNAMED))
    return ", ".join(f"{name} {share:.0%}" for name, share in named) or "n/a"
