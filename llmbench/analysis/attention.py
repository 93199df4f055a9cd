"""Which attention the launches of a run used, and what must be beside their figures where it is not the best one."""

from llmbench.schema.attention import FUSED
from llmbench.schema.run import WRONG_TOKENS, EffectiveSettings, Run
from llmbench.schema.units import counted


def effective_of(run: Run, cell: int) -> EffectiveSettings | None:
    """Return the effective settings of a configuration's first launch that recorded its attention."""
    found = (launch.effective for launch in run.launches if launch.cell == cell)
    return next((each for each in found if each.attention), None)


def describe_attention(effective: EffectiveSettings) -> str:
    """Return the kind of attention, the share of fused layers where it is not all, and how it was requested."""
    proof = effective.attention_proof
    if proof is None:
        return effective.attention or ""
    parts = [effective.attention or "unknown"]
    if proof.fusion is not None and not proof.fusion.is_whole:
        parts.append(f"{proof.fusion.fused} of {counted(proof.fusion.layers, 'layer')} fused")
    requested = "instead of paged attention" if proof.fallback else proof.request
    return f"{', '.join(parts)} ({requested})"


def attention_alarms(run: Run) -> tuple[str, ...]:
    """Return what must be beside every figure: wrong tokens, paged attention replaced, or layers not fused."""
    return tuple(dict.fromkeys(alarm for each in run.launches for alarm in effective_alarms(each.effective)))


def effective_alarms(effective: EffectiveSettings) -> tuple[str, ...]:
    """Return what must be beside the figures of a launch with these settings."""
    alarm = _attention_alarm(effective)
    return (*_wrong_tokens(effective), *([] if alarm is None else [alarm]))


def _wrong_tokens(effective: EffectiveSettings) -> list[str]:
    return [note for note in effective.notes if note.startswith(WRONG_TOKENS)]


def _attention_alarm(effective: EffectiveSettings) -> str | None:
    proof = effective.attention_proof
    lost = _lost_layers(effective)
    if proof is not None and proof.fallback is not None:
        kind = effective.attention or "another attention"
        return f"FALLBACK: {kind} was used instead of paged attention, the default: {proof.fallback}{lost}"
    if lost:
        return f"PLAIN ATTENTION{lost}, so next tokens take longer than they need to"
    return None


def attention_mark(run: Run, cell: int) -> tuple[str, ...]:
    """Return the marks of every row of a configuration: wrong tokens, an attention that is not what it should be."""
    launches = [launch.effective for launch in run.launches if launch.cell == cell]
    wrong = ("tokens=wrong",) if any(map(_wrong_tokens, launches)) else ()
    effective = effective_of(run, cell)
    if effective is None or _attention_alarm(effective) is None:
        return wrong
    proof = effective.attention_proof
    return (*wrong, "attention=fallback" if proof and proof.fallback else "attention=plain")


def has_same_attention(base: EffectiveSettings, candidate: EffectiveSettings) -> bool:
    """Return whether two launches used one kind of attention.

    The ``SDPA`` of older versions, which recorded no proof, is any that is not paged.
    """
    pair = (base, candidate)
    if all(each.attention_proof for each in pair):
        return describe_attention(base) == describe_attention(candidate)
    kinds = [each.attention or "" for each in pair]
    return kinds[0] == kinds[1] or all(kind.startswith(FUSED) for kind in kinds)


def _lost_layers(effective: EffectiveSettings) -> str:
    fusion = effective.attention_proof.fusion if effective.attention_proof else None
    return "" if fusion is None or fusion.is_whole else f": only {fusion.sentence}"
