"""What is recorded of the requests of one launch together, where several are in flight at once.

It stands alone because a launch records it, workloads make it, and the analysis judges by it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from llmbench.schema.measurement import Conditions
from llmbench.schema.units import Bytes, Index, Instant, Joules, Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientUse:
    """What the client itself needed during the window, and how late it noticed what it was to measure.

    *cpu_s* is the CPU time of its process. *loop_lag_ns* are the delays of timers of its event loop, sampled regularly.
    *event_delay_ns* are the delays between the instant at which a reference stream wrote an event and the one at which
    the client took note of it; *send_delay_ns* those between the client's send of a request and its arrival there. The
    reference stream is a process of its own that shares clock, event loop and connections' code with what is measured.
    """

    cpu_s: Seconds
    loop_lag_ns: tuple[Index, ...] = ()
    event_delay_ns: tuple[Index, ...] = ()
    send_delay_ns: tuple[Index, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerUse:
    """What the server and the processes it started needed during the window; ``None`` is not known.

    *peak_bytes* is the most that was resident at once, sampled regularly. *energy_j* is that of all CPU packages, other
    processes included. *counters* are those of its own metrics page that grew meanwhile, with their growth.
    """

    cpu_s: Seconds | None = None
    peak_bytes: Bytes | None = None
    energy_j: Joules | None = None
    counters: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadWindow:
    """The window of a launch's measured requests, and what client, server and machine did in it.

    *begin_ns* is when the first measured request was due, *end_ns* when the first one behind the last measured one
    was: in between the load was as configured. *metered_s* is the time from the begin until the last measured request
    ended, in which CPU time and energy were counted; ``None`` in files of versions that did not record it.
    *conditions* are the machine's, with client and server as the worker; ``None`` where it is not known which
    processes belong to the server. *notes* are sentences on how requests were made.
    """

    begin_ns: Instant
    end_ns: Instant
    client: ClientUse
    server: ServerUse | None = None
    conditions: Conditions | None = None
    notes: tuple[str, ...] = ()
    metered_s: Seconds | None = None

    @property
    def length_s(self) -> float:
        """The length of the window in seconds."""
        return (self.end_ns - self.begin_ns) / 1e9

    @property
    def counted_s(self) -> float:
        """The seconds in which CPU times were counted: longer than the window where requests end behind it."""
        return self.metered_s or self.length_s
