"""Which sockets worked, as a sentence."""

from collections.abc import Mapping, Sequence

from llmbench.analysis.placement_proof import Proof, shares
from llmbench.render.text import counted
from llmbench.units import format_list


def sentence(proof: Proof) -> str:
    """Who worked, how the CPU time and the pages were shared, and how often threads moved."""
    placement = proof.placement
    threads = " / ".join(str(work.threads) for work in placement.sockets)
    parts = [f"{_worked(proof)}: {percent(shares(placement))} of the CPU time, {threads} threads"]
    nodes = proof.machine.nodes or tuple(sorted(placement.pages))
    if placement.pages and nodes:
        loaded = f" (after loading {by_node(proof.loaded, nodes)})" if proof.loaded else ""
        parts.append(f"pages by node {by_node(placement.pages, nodes)}{loaded}")
    if placement.migrations is not None:
        parts.append(f"threads moved {counted(placement.migrations, 'time')}")
    return "; ".join(parts)


def _worked(proof: Proof) -> str:
    """Which sockets worked, in the words of what was asked."""
    placement, asked = proof.placement, proof.asked
    sockets = [work.socket for work in placement.sockets]
    if not proof.is_told:
        return "too short a time to tell which sockets worked"
    if len(sockets) == 1:
        return f"socket {sockets[0]} worked; these launches were held to it"
    if proof.idle:
        return "ONE SOCKET DID ALL THE WORK" if len(proof.idle) == len(asked) - 1 else _idle(proof)
    if proof.is_proved and asked:
        return "both sockets worked" if len(asked) == 2 else f"all {len(asked)} sockets worked"
    if asked:
        return "other processes hide which sockets worked; the shares are a guess"
    worked = placement.worked
    return f"socket {format_list(worked)} worked" if worked else "no socket worked for long"


def _idle(proof: Proof) -> str:
    """The sockets that should have worked."""
    return f"SOCKET {format_list(proof.idle)} DID NOT WORK"


def percent(values: Sequence[float]) -> str:
    """Shares beside each other: ``51 % / 49 %``."""
    return " / ".join(f"{value * 100:.0f} %" for value in values)


def by_node(pages: Mapping[int, int], nodes: Sequence[int]) -> str:
    """How bytes are shared among nodes."""
    total = sum(pages.values())
    return percent([pages.get(node, 0) / total if total else 0.0 for node in nodes])
