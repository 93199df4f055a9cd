"""Whether the client that made a load was part of what it measured, and what else spoiled the window of a launch.

The client adds to each instant the time between a token's arrival and its own note of it. A reference stream of known
instants, read by the same event loop during the window, shows how much that is. What it adds to a figure may be 5 % of
it; beyond that the launch says more about the client than about the server, and does not count.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from llmbench.analysis.metrics.text import first_token, time_per_output_token
from llmbench.analysis.stats import median_of
from llmbench.analysis.validity import condition_reasons
from llmbench.schema.config import RunConfig
from llmbench.schema.load import LoadWindow
from llmbench.schema.measurement import Measurement
from llmbench.schema.units import NS_PER_S

CLIENT_LIMIT = 0.05
"""The share of a figure that the client may add to it."""

CLIENT_CPU_LIMIT = 0.9
"""The share of one CPU above which the client, which is one thread, has no time left to be on time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientAccount:
    """What the client added, in seconds; ``None`` where nothing was sampled.

    *late_s* is how late it noticed a token (median), *late_p99_s* the same for one in a hundred. *gap_s* is by how much
    two tokens in turn differed in it (median), *lag_s*
    how late its timers were (99 %). *due_s* is how late requests were sent after they were due, where nothing kept them
    waiting (median). *cpu_share* is its share of one CPU.
    """

    late_s: float | None
    late_p99_s: float | None
    gap_s: float | None
    lag_s: float | None
    due_s: float | None
    cpu_share: float | None


def client_account(window: LoadWindow, config: RunConfig, measured: Sequence[Measurement]) -> ClientAccount:
    """Return what the client added to the figures of a launch."""
    used = window.client
    gaps = [abs(after - before) for before, after in itertools.pairwise(used.event_delay_ns)]
    is_kept_waiting = config.request_rate is not None and config.concurrency is not None
    due = [m.sent_ns - m.start_ns for m in measured if m.sent_ns is not None]
    return ClientAccount(
        late_s=_quantile(used.event_delay_ns, 0.5),
        late_p99_s=_quantile(used.event_delay_ns, 0.99),
        gap_s=_quantile(gaps, 0.5),
        lag_s=_quantile(used.loop_lag_ns, 0.99),
        due_s=None if is_kept_waiting else _quantile(due, 0.5),
        cpu_share=used.cpu_s / window.counted_s if window.counted_s > 0 else None,
    )


def _quantile(values: Sequence[int], share: float) -> float | None:
    """The value in ns that this many do not exceed, in seconds."""
    if not values:
        return None
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] / NS_PER_S


def window_reasons(window: LoadWindow, config: RunConfig, measured: Sequence[Measurement]) -> tuple[str, ...]:
    """Return why no request of a launch counts; empty where they do."""
    completed = [m for m in measured if m.error is None]
    found = list(_client_reasons(client_account(window, config, completed), completed))
    if window.conditions is not None:
        found += condition_reasons(window.conditions, config)
    return tuple(found)


def _client_reasons(client: ClientAccount, completed: Sequence[Measurement]) -> Iterator[str]:
    first_s = median_of(filter(None, map(first_token, completed)))
    added_s = (client.late_s or 0.0) + (client.due_s or 0.0)
    if first_s and added_s > CLIENT_LIMIT * first_s:
        yield _sentence("the time to the first token", added_s, first_s)
    tpot_s = median_of(filter(None, map(time_per_output_token, completed)))
    steps = median_of(float(m.output_tokens - 1) for m in completed if m.output_tokens > 1)
    if tpot_s and steps and client.gap_s and client.gap_s / steps > CLIENT_LIMIT * tpot_s:
        yield _sentence("the time per token", client.gap_s / steps, tpot_s)
    if client.cpu_share is not None and client.cpu_share > CLIENT_CPU_LIMIT:
        yield f"the client used {client.cpu_share:.0%} of a CPU (limit {CLIENT_CPU_LIMIT:.0%}): it was the bottleneck"


def _sentence(what: str, added_s: float, figure_s: float) -> str:
    return (
        f"the client added {added_s * 1e3:.2f} ms to {what} of {figure_s * 1e3:.1f} ms "
        f"({added_s / figure_s:.1%}, limit {CLIENT_LIMIT:.0%})"
    )
