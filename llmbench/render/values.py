"""Findings as values of JSON, which holds neither NaN nor infinity."""

import math
from collections.abc import Sequence

from llmbench.analysis.bandwidth import Bounds
from llmbench.analysis.output_agreement import Agreement
from llmbench.analysis.placement_proof import Proof, shares
from llmbench.analysis.steadiness import Steadiness
from llmbench.measurement import SocketWork

Value = str | int | float | bool | None | Sequence["Value"] | dict[str, "Value"]


def finite(value: float | None) -> float | None:
    """The value, or ``None`` for what JSON cannot hold."""
    return value if value is not None and math.isfinite(value) else None


def bounds_value(bounds: Bounds) -> Value:
    """What the bandwidth of a configuration is to be compared with, in bytes and bytes a second."""
    return {
        "step_bytes": round(bounds.step_bytes),
        "sockets": list(bounds.sockets),
        "cache_bytes": bounds.cache_bytes,
        "is_cached": bounds.is_cached,
        "memory_bytes_per_s": bounds.bytes_per_s,
        "measured_at": bounds.rate.measured_at if bounds.rate else None,
    }


def placement_value(found: Proof) -> Value:
    """Where a configuration ran: each socket's CPU time and share, pages by node in bytes, moves between CPUs."""
    placement = found.placement
    return {
        "wall_s": round(placement.wall_s, 6),
        "cpu_s": round(placement.own_s, 6),
        "asked_sockets": list(found.asked),
        "worked": list(placement.worked),
        "idle": list(placement.idle),
        "is_proved": found.is_proved,
        "sockets": [
            {"socket": work.socket, "share": round(share, 4), **_work(work)}
            for work, share in zip(placement.sockets, shares(placement), strict=True)
        ],
        "pages_loaded_bytes": {str(node): size for node, size in found.loaded.items()},
        "pages_bytes": {str(node): size for node, size in placement.pages.items()},
        "migrations": placement.migrations,
    }


def _work(work: SocketWork) -> dict[str, Value]:
    """What one socket did."""
    return {
        "cpus": work.cpus,
        "expected_cpus": work.expected_cpus,
        "threads": work.threads,
        "busy_s": round(work.busy_s, 6),
        "thread_s": round(work.thread_s, 6),
    }


def agreement_value(found: Agreement) -> Value:
    """How many variants of prompts were said more than once, and where they part; ``null`` where none was.

    The second launch is the candidate's where two runs are compared.
    """
    if not found.variants:
        return None
    partings: list[Value] = [
        {
            "cell": parting.cell,
            "prompt": parting.prompt.label,
            "variant": parting.variant,
            "launches": list(parting.launches),
            "token": parting.token,
            "tokens": parting.tokens,
        }
        for parting in found.partings
    ]
    return {"variants": found.variants, "has_tokens": found.has_tokens, "partings": partings}


def steadiness_value(found: Steadiness) -> Value:
    """Whether a prompt was measured steadily: changes over the iterations as shares, warm-ups made and needed."""
    return {
        "is_steady": found.is_steady,
        "drifts": {name: round(change, 6) for name, change in found.drifts.items()},
        "warmups": found.warmups,
        "warmups_needed": found.needed,
    }
