"""Steps that the requests of a scripted server share, as those of continuous batching.

A step begins when the one before has ended. It prefills every prompt that arrived before, while the others wait, or it
adds a token to each request. How long a request takes follows from when the others begin, and from nothing else.
"""

import dataclasses
import queue
import time

from llmbench.schema.units import NS_PER_S


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StepTimes:
    """How long steps take, in seconds: *first* and *per_token* one that prefills, *next* and *per_request* the others.

    *per_token* is added for each input token, *per_request* for each request that the step adds a token to.
    """

    first: float
    per_token: float
    next: float
    per_request: float


@dataclasses.dataclass(slots=True)
class _Member:
    arrived_ns: int
    input_tokens: int
    left: int
    instants: queue.SimpleQueue[int]


class StepClock:
    """Tells each request when its tokens are due; no lateness shifts the steps."""

    def __init__(self, times: StepTimes) -> None:
        self._times = times
        self._arrivals: queue.SimpleQueue[_Member] = queue.SimpleQueue()
        self._waiting: list[_Member] = []
        self._members: list[_Member] = []
        self._at_ns = 0

    def join_batch(self, arrived_ns: int, input_tokens: int, output_tokens: int) -> queue.SimpleQueue[int]:
        """Return a queue that receives the instant of each token when it has come."""
        member = _Member(arrived_ns, input_tokens, output_tokens, queue.SimpleQueue())
        self._arrivals.put(member)
        return member.instants

    def step(self) -> None:
        """Make one step, and return when it has ended; where there is no request wait for one."""
        members = self._members
        waiting = self._arrived(is_idle=not members)
        at_ns = self._at_ns if members else max(self._at_ns, min(member.arrived_ns for member in waiting))
        fresh = [member for member in waiting if member.arrived_ns <= at_ns]
        self._waiting = [member for member in waiting if member.arrived_ns > at_ns]
        self._at_ns = at_ns + round(self._length_s(fresh, len(members)) * NS_PER_S)
        time.sleep(max(0, self._at_ns - time.perf_counter_ns()) / NS_PER_S)
        for member in fresh or members:
            member.instants.put(self._at_ns)
            member.left -= 1
        self._members = [member for member in (*members, *fresh) if member.left > 0]

    def _arrived(self, *, is_idle: bool) -> list[_Member]:
        found = self._waiting or ([self._arrivals.get()] if is_idle else [])
        while not self._arrivals.empty():
            found.append(self._arrivals.get())
        return found

    def _length_s(self, fresh: list[_Member], decoded: int) -> float:
        times = self._times
        if fresh:
            return times.first + times.per_token * sum(member.input_tokens for member in fresh)
        return times.next + times.per_request * decoded
